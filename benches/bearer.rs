//! How long a policy takes to let a request with an access token pass that it has seen before.
//!
//! `cargo bench --bench bearer`. The first request verifies the token; what is measured is every one after it.

#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use portcullis::config::Decoder;
use portcullis::config::source::yaml;
use portcullis::net::Scheme;
use portcullis::oidc::clock::SystemClock;
use portcullis::oidc::session::{DEFAULT_CACHED, MemoryStore, SessionKeys, Sessions};
use portcullis::oidc::settings::{Dialect, decode};
use portcullis::oidc::{Decision, Deps, Events, NoEvents, Policy, Providers, RequestParts, UsedStates};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEY: &str = "a-key-for-measurements-only-0123456789abcdef";
const TOKENS: usize = 1_000;

/// A provider of metadata and keys; gives its issuer and its signing key.
async fn provider() -> (String, EncodingKey) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let (x, y) = pair.public_key().as_ref().split_at(1).1.split_at(32);
    let jwks = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "alg": "ES256",
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)}]});
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let issuer = format!("http://{}", listener.local_addr().expect("an address"));
    let metadata = json!({"issuer": issuer, "authorization_endpoint": format!("{issuer}/a"),
        "token_endpoint": format!("{issuer}/t"), "jwks_uri": format!("{issuer}/jwks")});
    let answer = |value: Value| axum::routing::get(move || std::future::ready(axum::Json(value.clone())));
    let app = axum::Router::new()
        .route("/.well-known/openid-configuration", answer(metadata))
        .route("/jwks", answer(jwks));
    drop(tokio::spawn(async move { axum::serve(listener, app).await }));
    (issuer, EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("PKCS #8").as_ref()))
}

fn policy(issuer: &str) -> Policy {
    let text = format!(
        "providerURL: {issuer}\nclientID: bench\nclientSecret: secret\nsessionEncryptionKey: {KEY}\n\
         callbackURL: /oauth2/callback\nforceHTTPS: false\nallowPrivateIPAddresses: true\n\
         enableBearerAuth: true\naudience: https://api.example.com\nallowedRolesAndGroups: [department-3]\n"
    );
    let mut decoder = Decoder::new();
    let settings = decode(&yaml::parse("bench", &text).expect("YAML"), Dialect::Plugin, &mut decoder);
    let (settings, _) = decoder.finish(settings).expect("settings");
    let keys = Arc::new(SessionKeys::new(&[KEY.into()]).expect("a key"));
    let store = Arc::new(MemoryStore::new(16));
    let sessions = Sessions::new(store, keys, Arc::new(SystemClock), DEFAULT_CACHED).expect("sessions");
    let events: Arc<dyn Events> = Arc::new(NoEvents);
    let runtime = tokio::runtime::Handle::current();
    let providers = Arc::new(Providers::new(Arc::clone(&events), runtime.clone()));
    let (directory, used) = (Arc::default(), Arc::new(UsedStates::default()));
    let deps = Deps { sessions, providers, directory, used, events, runtime };
    Policy::new("bench", settings, &deps).expect("a policy")
}

/// Headers with an access token of about 1 KB.
fn machine(number: usize, issuer: &str, key: &EncodingKey) -> HeaderMap {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    let groups: Vec<_> = (0..20).map(|group| format!("department-{group}")).collect();
    let claims = json!({
        "iss": issuer, "aud": "https://api.example.com", "sub": format!("machine-{number}"), "client_id": "machine",
        "iat": now, "exp": now + 3_600, "jti": format!("{number:032}"), "scope": "read write", "groups": groups,
    });
    let mut header = Header::new(Algorithm::ES256);
    (header.typ, header.kid) = (Some("at+jwt".to_owned()), Some("1".to_owned()));
    let token = jsonwebtoken::encode(&header, &claims, key).expect("a token");
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("application/json"));
    headers.insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).expect("a header"));
    headers
}

fn request(headers: &HeaderMap) -> RequestParts<'_> {
    RequestParts {
        method: &Method::GET,
        scheme: Scheme::Http,
        authority: "api.example.com",
        path: "/v1/items",
        query: Some("page=2"),
        headers,
        body: None,
        client: std::net::IpAddr::from([192, 0, 2, 7]),
        peer_trusted: false,
        request_id: "0123456789abcdef",
    }
}

/// Panics unless the request passes without having waited for anything.
fn pass(policy: &Policy, headers: &HeaderMap, now: SystemTime) {
    let decision = policy.decide(&request(headers), now).now_or_never().expect("no waiting");
    assert!(matches!(black_box(decision), Decision::Forward(_)), "not let pass");
}

fn bearer(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let now = SystemTime::now();
    let (issuer, key) = runtime.block_on(provider());
    let policy = policy(&issuer);
    let tokens: Vec<_> = (0..TOKENS).map(|number| machine(number, &issuer, &key)).collect();
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
