//! How long a policy takes to let a request with an access token pass that it has seen before.
//!
//! `cargo bench --bench bearer`. The first request verifies the token; what is measured is every one after it.

#![allow(missing_docs, clippy::expect_used)]

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::SystemTime;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use portcullis::oidc::session::MemoryStore;
use portcullis::oidc::{Decision, Policy};
use serde_json::json;
use support::provider::Provider;
use support::{BEARER, deps, policy_of, request};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOKENS: usize = 1_000;

/// Headers with an access token of about 1 KB.
fn machine(number: usize, provider: &Provider) -> HeaderMap {
    let groups: Vec<_> = (0..20).map(|group| format!("department-{group}")).collect();
    let claims = json!({
        "aud": "https://api.example.com", "sub": format!("machine-{number}"), "client_id": "machine",
        "jti": format!("{number:032}"), "scope": "read write", "groups": groups,
    });
    let token = provider.sign("at+jwt", &claims);
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("application/json"));
    headers.insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).expect("a header"));
    headers
}

/// Panics unless the request passes without having waited for anything.
fn pass(policy: &Policy, headers: &HeaderMap, now: SystemTime) {
    let decision = policy.decide(&request(headers), now).now_or_never().expect("no waiting");
    assert!(matches!(black_box(decision), Decision::Forward(_)), "not let pass");
}

fn bearer(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let provider = runtime.block_on(Provider::start());
    let policy = policy_of(&deps(Arc::new(MemoryStore::new(16))), &provider.issuer, BEARER);
    let tokens: Vec<_> = (0..TOKENS).map(|number| machine(number, &provider)).collect();
    let now = SystemTime::now();
    // The first ones may come before the provider is known.
    let first = tokens.first().expect("a token");
    while let Decision::Respond(_) = runtime.block_on(policy.decide(&request(first), now)) {
        runtime.block_on(tokio::task::yield_now());
    }
    for headers in &tokens {
        assert!(matches!(runtime.block_on(policy.decide(&request(headers), now)), Decision::Forward(_)));
    }
    let mut group = criterion.benchmark_group("bearer");
    group.bench_function("one_token", |bencher| bencher.iter(|| pass(&policy, first, now)));
    group.bench_function(format!("{TOKENS}_tokens"), |bencher| {
        let mut turns = tokens.iter().cycle();
        bencher.iter(|| pass(&policy, turns.next().expect("a token"), now));
    });
    group.finish();
}

criterion_group!(benches, bearer);
criterion_main!(benches);
