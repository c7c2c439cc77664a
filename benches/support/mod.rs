//! Policies, and sessions as a provider of medium talkativeness makes them.

// Each of those who measure takes what it needs.
#![allow(dead_code)]
// What goes wrong here ends a measurement or a test.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod provider;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Method};
use portcullis::config::Decoder;
use portcullis::config::source::yaml;
use portcullis::net::Scheme;
use portcullis::oidc::clock::SystemClock;
use portcullis::oidc::session::{
    DEFAULT_CACHED, ScopeId, SessionKeys, SessionRecord, SessionStore, Sessions,
};
use portcullis::oidc::settings::{Dialect, decode};
use portcullis::oidc::{Deps, Events, NoEvents, Policy, Providers, RequestParts, UsedStates};
use serde_json::{Value, json};

/// Nobody listens there; live sessions need no provider.
pub const ISSUER: &str = "http://127.0.0.1:9";
pub const CLIENT: &str = "bench";
const KEY: &str = "a-key-for-measurements-only-0123456789abcdef";

/// What a policy is told so that it asserts who comes.
pub const ASSERTION: &str =
    "identityAssertion: {issuer: 'https://edge.example', audience: ['https://app.example']}\n";

/// What a policy is told so that it takes access tokens.
pub const BEARER: &str = "enableBearerAuth: true\naudience: https://api.example.com\n";

/// Sessions over `store`, and a policy with the rules that most have: excluded paths, a group, headers.
pub fn policy(store: Arc<dyn SessionStore>) -> (Policy, Sessions) {
    let deps = deps(store);
    (policy_of(&deps, ISSUER, ""), deps.sessions)
}

/// A process with its sessions in `store`.
pub fn deps(store: Arc<dyn SessionStore>) -> Deps {
    let events: Arc<dyn Events> = Arc::new(NoEvents);
    let runtime = tokio::runtime::Handle::current();
    Deps {
        sessions: sessions(store),
        providers: Arc::new(Providers::new(Arc::clone(&events), runtime.clone())),
        directory: Arc::default(),
        used: Arc::new(UsedStates::default()),
        events,
        runtime,
    }
}

/// Sessions of which none is in memory yet.
pub fn sessions(store: Arc<dyn SessionStore>) -> Sessions {
    let keys = Arc::new(SessionKeys::new(&[KEY.into()]).expect("a key"));
    Sessions::new(store, keys, Arc::new(SystemClock), DEFAULT_CACHED).expect("sessions")
}

/// The policy of [`policy`] with another provider and `more` lines of configuration.
pub fn policy_of(deps: &Deps, issuer: &str, more: &str) -> Policy {
    let text = format!(
        "providerURL: {issuer}\nclientID: {CLIENT}\nclientSecret: secret\nsessionEncryptionKey: {KEY}\n\
         callbackURL: /oauth2/callback\nlogoutURL: /oauth2/logout\nforceHTTPS: false\n\
         allowPrivateIPAddresses: true\nexcludedURLs: [/public, /healthz, /favicon.ico]\n\
         allowedRolesAndGroups: [department-3]\n{more}"
    );
    let mut decoder = Decoder::new();
    let settings = decode(&yaml::parse("bench", &text).expect("YAML"), Dialect::Plugin, &mut decoder);
    let (settings, _) = decoder.finish(settings).expect("settings");
    Policy::new("bench", settings, deps).expect("a policy")
}

/// What a login leaves: an ID token of 1.2 KB, an access token of 1 KB, a refresh token, five groups.
pub fn record(number: usize, now: SystemTime) -> SessionRecord {
    let claims = claims(number);
    SessionRecord {
        scope: ScopeId::new(ISSUER, CLIENT),
        subject: format!("f81d4fae-7dec-11d0-a765-{number:012}").into(),
        identifier: format!("first.last.{number}@example.com").into(),
        claims: claims.as_object().cloned().unwrap_or_default(),
        id_token: random(1200).into(),
        access_token: random(1000).into(),
        refresh_token: Some(random(700).into()),
        id_expiry: Some(now + Duration::from_secs(36_000)),
        access_expiry: Some(now + Duration::from_secs(36_000)),
        created: now,
        refreshed_at: None,
        refresh_token_issued: Some(now),
        idle_lifetime: None,
        absolute_expiry: now + Duration::from_secs(86_400),
        sid: Some(format!("a81d4fae-7dec-11d0-a765-{number:012}").into()),
        generation: 0,
    }
}

/// What a provider says of a user.
pub fn claims(number: usize) -> Value {
    let groups: Vec<_> = (0..5).map(|group| format!("department-{group}")).collect();
    json!({
        "iss": ISSUER, "aud": CLIENT, "sub": format!("f81d4fae-7dec-11d0-a765-{number:012}"),
        "email": format!("first.last.{number}@example.com"), "email_verified": true,
        "name": format!("First Last {number}"), "preferred_username": format!("first.last.{number}"),
        "groups": groups,
    })
}

/// As most of a token is: nothing in it can be compressed beyond the six bits of a base64url character.
fn random(length: usize) -> String {
    let mut bytes = vec![0; length * 3 / 4];
    rand::fill(&mut bytes).expect("random numbers");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The headers of a browser with this `Cookie`.
pub fn browser(cookie: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "app.example.com"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0",
        ),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.9"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(COOKIE, HeaderValue::from_str(cookie).expect("a cookie"));
    headers
}

/// The name of the session cookie where the outside is plain http.
pub fn cookie_name() -> String {
    format!("_oidc_raczylo_session_{}", ScopeId::new(ISSUER, CLIENT).tag())
}

/// A request for a page with these headers.
pub fn request(headers: &HeaderMap) -> RequestParts<'_> {
    RequestParts {
        method: &Method::GET,
        scheme: Scheme::Http,
        authority: "app.example.com",
        path: "/reports/2026/overview",
        query: Some("page=2&sort=name"),
        headers,
        body: None,
        client: std::net::IpAddr::from([192, 0, 2, 7]),
        peer_trusted: false,
        request_id: "0123456789abcdef",
    }
}
