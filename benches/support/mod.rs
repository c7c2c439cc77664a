//! A policy without a provider, and sessions as a provider of medium talkativeness makes them.

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
use serde_json::json;

/// Nobody listens there; live sessions need no provider.
const ISSUER: &str = "http://127.0.0.1:9";
const CLIENT: &str = "bench";
const KEY: &str = "a-key-for-measurements-only-0123456789abcdef";

/// Sessions over `store`, and a policy with the rules that most have: excluded paths, a group, headers.
pub fn policy(store: Arc<dyn SessionStore>) -> (Policy, Sessions) {
    let text = format!(
        "providerURL: {ISSUER}\nclientID: {CLIENT}\nclientSecret: secret\nsessionEncryptionKey: {KEY}\n\
         callbackURL: /oauth2/callback\nlogoutURL: /oauth2/logout\nforceHTTPS: false\n\
         allowPrivateIPAddresses: true\nexcludedURLs: [/public, /healthz, /favicon.ico]\n\
         allowedRolesAndGroups: [department-3]\n"
    );
    let mut decoder = Decoder::new();
    let settings = decode(&yaml::parse("bench", &text).expect("YAML"), Dialect::Plugin, &mut decoder);
    let (settings, _) = decoder.finish(settings).expect("settings");
    let keys = Arc::new(SessionKeys::new(&[KEY.into()]).expect("a key"));
    let sessions = Sessions::new(store, keys, Arc::new(SystemClock), DEFAULT_CACHED).expect("sessions");
    let events: Arc<dyn Events> = Arc::new(NoEvents);
    let runtime = tokio::runtime::Handle::current();
    let deps = Deps {
        sessions: sessions.clone(),
        providers: Arc::new(Providers::new(Arc::clone(&events), runtime.clone())),
        directory: Arc::default(),
        used: Arc::new(UsedStates::default()),
        events,
        runtime,
    };
    (Policy::new("bench", settings, &deps).expect("a policy"), sessions)
}

/// What a login leaves: an ID token of 1.2 KB, an access token of 1 KB, a refresh token, five groups.
pub fn record(number: usize, now: SystemTime) -> SessionRecord {
    // Random, as most of a token is: nothing in it can be compressed beyond the six bits of a base64url character.
    let text = |length: usize| -> String {
        let mut bytes = vec![0; length * 3 / 4];
        rand::fill(&mut bytes).expect("random numbers");
        URL_SAFE_NO_PAD.encode(bytes)
    };
    let groups: Vec<_> = (0..5).map(|group| format!("department-{group}")).collect();
    let claims = json!({
        "iss": ISSUER, "aud": CLIENT, "sub": format!("f81d4fae-7dec-11d0-a765-{number:012}"),
        "email": format!("first.last.{number}@example.com"), "email_verified": true,
        "name": format!("First Last {number}"), "preferred_username": format!("first.last.{number}"),
        "groups": groups,
    });
    SessionRecord {
        scope: ScopeId::new(ISSUER, CLIENT),
        subject: format!("f81d4fae-7dec-11d0-a765-{number:012}").into(),
        identifier: format!("first.last.{number}@example.com").into(),
        claims: claims.as_object().cloned().unwrap_or_default(),
        id_token: text(1200).into(),
        access_token: text(1000).into(),
        refresh_token: Some(text(700).into()),
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
