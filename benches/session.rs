//! How long a policy takes to let a request with a live session pass: cookie, session, verdict, the headers for the service.
//!
//! `cargo bench --bench session`. No network, no store: what every authenticated request pays.

#![allow(missing_docs, clippy::expect_used, clippy::panic)]

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::SystemTime;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use http::HeaderMap;
use portcullis::oidc::session::MemoryStore;
use portcullis::oidc::{Decision, Policy};
use support::{browser, cookie_name, policy, record, request};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SESSIONS: usize = 10_000;

/// Panics unless the request passes without having waited for anything.
fn pass(policy: &Policy, headers: &HeaderMap, now: SystemTime) {
    let decision = policy.decide(&request(headers), now).now_or_never().expect("no waiting");
    let Decision::Forward(identity) = black_box(decision) else { panic!("not let pass") };
    identity.headers.iter().for_each(|(name, value)| _ = black_box((name.title(), value)));
}

fn session(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let now = SystemTime::now();
    let (policy, sessions) = policy(Arc::new(MemoryStore::new(SESSIONS * 2)));
    let ids: Vec<String> = (0..SESSIONS)
        .map(|number| {
            let created = runtime.block_on(sessions.create(record(number, now)));
            created.expect("a session").0.to_text()
        })
        .collect();
    let name = cookie_name();
    let alone: Vec<_> = ids.iter().map(|id| browser(&format!("{name}={id}"))).collect();
    let among: Vec<_> = ids
        .iter()
        .map(|id| browser(&format!("theme=dark; {name}={id}; _ga=GA1.1.1234567890.1700000000; lang=en")))
        .collect();

    let mut group = criterion.benchmark_group("session");
    for (name, requests) in [("only_ours", &alone), ("among_other_cookies", &among)] {
        requests.iter().for_each(|headers| pass(&policy, headers, now));
        group.bench_function(format!("{name}/one_session"), |bencher| {
            let headers = requests.first().expect("a request");
            bencher.iter(|| pass(&policy, headers, now));
        });
        group.bench_function(format!("{name}/{SESSIONS}_sessions"), |bencher| {
            let mut turns = requests.iter().cycle();
            bencher.iter(|| pass(&policy, turns.next().expect("a request"), now));
        });
    }
    group.finish();
}

criterion_group!(benches, session);
criterion_main!(benches);
