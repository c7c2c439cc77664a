//! How long a policy takes to let a request with a live session pass: cookie, session, verdict, the headers for the service.
//!
//! `cargo bench --bench session`. No network, no store: what every authenticated request pays. Beside the ordinary session
//! one that tells the service who comes in a signed assertion, and one that the browser carries in its cookies.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use http::HeaderMap;
use portcullis::oidc::session::{CookieStore, MemoryStore, Sessions};
use portcullis::oidc::{Decision, Deps, Policy};
use support::provider::Provider;
use support::{ASSERTION, ISSUER, browser, claims, cookie_name, deps, policy_of, record, request, sessions};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SESSIONS: usize = 10_000;

/// Each takes a login.
const CARRIED: usize = 1_000;

/// What a browser sends beside the cookies that are ours.
const OTHERS: [&str; 2] = ["theme=dark; ", "; _ga=GA1.1.1234567890.1700000000; lang=en"];

/// Panics unless the request passes without having waited for anything.
fn pass(policy: &Policy, headers: &HeaderMap, now: SystemTime) {
    let decision = policy.decide(&request(headers), now).now_or_never().expect("no waiting");
    let Decision::Forward(identity) = black_box(decision) else { panic!("not let pass") };
    identity.headers.iter().for_each(|(name, value)| _ = black_box((name.title(), value)));
}

/// The same request over and over, and many in turn, when all have passed once.
fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, policy: &Policy, requests: &[HeaderMap]) {
    let now = SystemTime::now();
    requests.iter().for_each(|headers| pass(policy, headers, now));
    group.bench_function(format!("{name}/one_session"), |bencher| {
        bencher.iter(|| pass(policy, &requests[0], now));
    });
    group.bench_function(format!("{name}/{}_sessions", requests.len()), |bencher| {
        let mut turns = requests.iter().cycle();
        bencher.iter(|| pass(policy, turns.next().expect("a request"), now));
    });
}

/// The `Cookie` values of as many browsers.
fn ids(runtime: &Runtime, sessions: &Sessions) -> Vec<String> {
    let now = SystemTime::now();
    let create = |number| {
        let created = runtime.block_on(sessions.create(record(number, now)));
        format!("{}={}", cookie_name(), created.expect("a session").0.to_text())
    };
    (0..SESSIONS).map(create).collect()
}

fn alone(cookies: &[String]) -> Vec<HeaderMap> {
    cookies.iter().map(|cookie| browser(cookie)).collect()
}

fn among_others(cookies: &[String]) -> Vec<HeaderMap> {
    let [before, after] = OTHERS;
    cookies.iter().map(|cookie| browser(&format!("{before}{cookie}{after}"))).collect()
}

fn session(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let deps = deps(Arc::new(MemoryStore::new(SESSIONS * 2)));
    let policy = policy_of(&deps, ISSUER, "");
    let ids = ids(&runtime, &deps.sessions);
    let mut group = criterion.benchmark_group("session");
    measure(&mut group, "only_ours", &policy, &alone(&ids));
    measure(&mut group, "among_other_cookies", &policy, &among_others(&ids));
    group.finish();
}

/// Signed once for half of its life, and signed for each request.
fn asserted(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let deps = deps(Arc::new(MemoryStore::new(SESSIONS * 2)));
    let policy = policy_of(&deps, ISSUER, ASSERTION);
    let requests = alone(&ids(&runtime, &deps.sessions));
    let mut group = criterion.benchmark_group("session_with_assertion");
    measure(&mut group, "only_ours", &policy, &requests);
    group.bench_function("signed_anew", |bencher| {
        // Half of its life is over each time that the clock goes forth, and it is not yet good when that goes back.
        let now = SystemTime::now();
        let mut times = [now, now + Duration::from_secs(40)].into_iter().cycle();
        bencher.iter(|| pass(&policy, &requests[0], times.next().expect("a time")));
    });
    group.finish();
}

/// What a browser brings is opened once for each process; then a fingerprint tells that it is the same.
fn carried(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let provider = runtime.block_on(Provider::start());
    let deps = deps(Arc::new(CookieStore::new(CARRIED * 2)));
    let policy = policy_of(&deps, &provider.issuer, "");
    let login = |number| runtime.block_on(provider.login(&policy, &claims(number)));
    let cookies: Vec<_> = (0..CARRIED).map(login).collect();
    println!("the first browser carries {} bytes", cookies[0].len());
    let mut group = criterion.benchmark_group("session_in_cookies");
    measure(&mut group, "only_ours", &policy, &alone(&cookies));
    measure(&mut group, "among_other_cookies", &policy, &among_others(&cookies));
    group.bench_function("new_to_the_process", |bencher| {
        let (headers, now) = (browser(&cookies[0]), SystemTime::now());
        let another = || {
            let sessions = sessions(Arc::new(CookieStore::new(16)));
            policy_of(&Deps { sessions, ..deps.clone() }, &provider.issuer, "")
        };
        bencher.iter_batched_ref(another, |policy| pass(policy, &headers, now), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, session, asserted, carried);
criterion_main!(benches);
