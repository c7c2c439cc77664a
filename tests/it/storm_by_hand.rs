//! The load and failure tests as large as on paper: `make storm`. One line each: what was demanded, what was measured,
//! whether it holds. The first argument picks tests by name; see `benches/README.md` for the rest.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
// The harness serves the integration tests too, and this needs a part of it.
#![allow(dead_code)]

mod harness;
mod scenarios;

use std::time::Duration;

use harness::probe::go_last;
use scenarios::{Scale, Verdict, hang, login, long, outage, refresh};
use tokio::runtime::{Builder, Runtime};

/// Runs the scenarios whose name starts with `only`.
macro_rules! run {
    ($scale:expr, $only:expr, $failed:expr, $($name:literal: $scenario:path),+ $(,)?) => {
        $(if $only.is_empty() || $only.iter().any(|only| only == $name) {
            let verdict: Verdict = Box::pin($scenario($scale)).await;
            println!("{verdict}");
            $failed += usize::from(!verdict.holds());
        })+
    };
}

/// What counts, or compares costs; how many failed. Nobody goes before anybody: clients that starve would not keep the proxy
/// busy, and a provider that does would not answer in time on a machine that others use.
async fn counts(scale: Scale, only: &[String]) -> usize {
    let mut failed = 0;
    run!(scale, only, failed,
        "P1": long::p1_hot_session,
        "P2": long::p2_incident_trace,
        "P6": refresh::p6_poison,
        "P7": outage::p7_token_endpoint_fails,
        "P8": refresh::p8_leader_leaves,
        "P9": outage::p9_provider_down_at_start,
        "P10": outage::p10_provider_down_when_warm,
        "P12": login::p12_key_rotation,
        "P13": login::p13_login_storm,
        "P16": long::p16_soak,
        "N87": login::n87_begun_logins,
    );
    failed
}

/// What takes times while requests come at once; how many failed.
async fn storms(scale: Scale, only: &[String]) -> usize {
    let mut failed = 0;
    run!(scale, only, failed,
        "P3": refresh::p3_p4_one_expired_session,
        "P5": refresh::p5_mass_expiry,
        "P7H": hang::p7_hanging_provider_delays_nobody_else,
        "P11": outage::p11_first_requests,
        "P15": refresh::p15_reload_under_storm,
    );
    if scale.one_worker {
        run!(scale, only, failed, "P17": refresh::p17_one_worker);
    }
    failed
}

fn from_environment(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Its threads begin with `first`. The proxy is started from the main thread, and has its priority.
fn runtime(first: fn()) -> Runtime {
    Builder::new_multi_thread().enable_all().on_thread_start(first).build().unwrap()
}

/// In a storm what plays clients and provider gets the time that the proxy leaves, so that a probe measures the proxy and
/// not its neighbours.
fn main() {
    let only: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let length = Duration::from_secs(from_environment("STORM_SECONDS", 60).into());
    let sessions = usize::try_from(from_environment("STORM_SESSIONS", 5_000)).unwrap();
    let workers = std::env::var("STORM_WORKERS").unwrap_or_default();
    let (even, behind) = (runtime(|| {}), runtime(go_last));
    let mut failed = 0;
    println!("P14, replicas, is `cargo test --test it oidc_replicas`.");
    for (one_worker, title) in [(false, "A worker for every core"), (true, "One worker")] {
        if workers == if one_worker { "all" } else { "one" } {
            continue;
        }
        println!("\n{title}:");
        let scale = Scale { full: true, one_worker, length, sessions };
        failed += even.block_on(counts(scale, &only)) + behind.block_on(storms(scale, &only));
    }
    if failed > 0 {
        println!("\n{failed} FAILED");
        std::process::exit(1);
    }
}
