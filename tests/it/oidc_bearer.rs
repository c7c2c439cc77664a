//! Clients that are no browsers: access tokens (RFC 6750, RFC 9068) through the real binary.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Request;
use portcullis::demo::provider::{Client, Forgery};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use url::Url;

use crate::harness::client::{Browser, Http2, get, send};
use crate::harness::http1::{Connection, Message};
use crate::harness::idp::{self, CLIENT, Plan, World};
use crate::harness::origin::{Origin, Seen, ok};
use crate::harness::{eventually, soon};

pub const AUDIENCE: &str = "https://api.example.test";
pub const MACHINE: &str = "machine";
pub const SECRET: &str = "the machine's own secret";

/// Validity of a token beyond its `exp`, for clocks that differ.
const SKEW: u64 = 60;

/// A policy with bearer mode, in which failures cost nothing.
pub fn plan() -> Plan {
    let plan = Plan::new().plugin("enableBearerAuth: true").plugin(&format!("audience: {AUDIENCE}"));
    plan.plugin("bearerFailureThreshold: 0")
}

/// A world whose provider knows a machine.
pub async fn with_machine(plan: Plan) -> World {
    let world = plan.start().await;
    world.idp.register(Client {
        id: MACHINE.to_owned(),
        secret: SECRET.to_owned(),
        redirect_uris: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
    });
    world
}

/// An access token that the provider gives the machine, for `audience` or, if that is empty, an opaque one.
pub async fn issued(world: &World, audience: &str) -> String {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", MACHINE),
        ("client_secret", SECRET),
        ("scope", "read write"),
        ("audience", audience),
    ];
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.post(format!("{}/token", world.idp.issuer())).form(&form).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The claims of a good access token.
fn claims(world: &World) -> Map<String, Value> {
    let claims = json!({
        "iss": world.idp.issuer(), "aud": AUDIENCE, "sub": "worker", "client_id": MACHINE, "jti": "1",
        "iat": now(), "exp": now() + 300, "scope": "read write", "groups": ["ops", "dev/backend"], "roles": ["reader"],
    });
    claims.as_object().unwrap().clone()
}

/// A token that is good but for one claim; null takes it out.
fn token(world: &World, name: &str, value: Value) -> String {
    let mut claims = claims(world);
    claims.insert(name.to_owned(), value);
    claims.retain(|_, value| !value.is_null());
    world.idp.sign("at+jwt", &claims, None).unwrap()
}

fn good(world: &World) -> String {
    world.idp.sign("at+jwt", &claims(world), None).unwrap()
}

pub async fn show(world: &World, token: &str) -> Message {
    with_authorization(world, &format!("Bearer {token}")).await
}

async fn with_authorization(world: &World, value: &str) -> Message {
    get(world.proxy.web(), "localhost", "/api", &[("Authorization", value)]).await
}

/// 401 `invalid_token`, nothing at the service, no cookie.
async fn is_refused(world: &World, token: &str, what: &str) {
    let before = world.origin.requests().len();
    let answer = show(world, token).await;
    assert_eq!(answer.status(), 401, "{what}: {answer:?}");
    let challenge = answer.get("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer error=\"invalid_token\""), "{what}: {challenge}");
    let body: Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(body["error"], "invalid_token", "{what}");
    assert_eq!((answer.get("set-cookie"), answer.get("cache-control")), (None, Some("no-store")), "{what}");
    assert_eq!(world.origin.requests().len(), before, "{what}: it came to the service");
}

#[tokio::test]
async fn a_machine_comes_with_a_token_of_its_own_and_no_cookie() {
    let world = with_machine(plan()).await;
    let token = issued(&world, AUDIENCE).await;
    let calls = world.idp.counters().get("GET /jwks");
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let forged = [("X-Forwarded-User", "root"), ("x_user_groups", "root"), ("X-User-Roles", "root")];
        let value = format!("{scheme} {token}");
        let fields = [&forged[..], &[("Authorization", &value)]].concat();
        let answer = get(world.proxy.web(), "localhost", "/api?a=1", &fields).await;
        assert_eq!((answer.status(), answer.get("set-cookie")), (200, None), "{scheme}: {answer:?}");
        let seen = world.origin.last();
        assert_eq!(seen.target, "/api?a=1");
        assert_eq!(seen.head.all("x-forwarded-user"), [MACHINE]);
        assert_eq!(seen.head.all("x-auth-request-user"), [MACHINE]);
        assert_eq!(seen.get("x-auth-request-redirect"), Some("/api?a=1"));
        for name in [
            "x-user-groups",
            "x_user_groups",
            "x-user-roles",
            "authorization",
            "cookie",
            "x-auth-request-token",
        ] {
            assert_eq!(seen.get(name), None, "{name}");
        }
    }
    assert!(world.idp.counters().get("GET /jwks") <= calls + 1);
    assert_eq!(world.proxy.metric("portcullis_oidc_bearer_total", &["accepted"]).await, 3.0);

    let groups = good(&world);
    let request = Request::get("http://localhost/api").header("authorization", format!("Bearer {groups}"));
    let answer = Http2::open(world.proxy.web()).await.send(request.body(()).unwrap(), &[], false).await;
    assert_eq!((answer.status, answer.headers.get("set-cookie")), (200, None));
    let seen = world.origin.last();
    assert_eq!(seen.head.all("x-forwarded-user"), ["worker"]);
    assert_eq!(
        (seen.get("x-user-groups"), seen.get("x-user-roles")),
        (Some("ops,dev/backend"), Some("reader"))
    );
    let bearer = format!("Bearer {groups}");
    let fields = [("Authorization", bearer.as_str()), ("Content-Length", "0")];
    assert_eq!(send(world.proxy.web(), "POST", "localhost", "/api", &fields).await.status(), 200);
}

#[tokio::test]
async fn the_native_block_does_the_same() {
    let world = with_machine(plan()).await;
    let lines =
        format!("enableBearerAuth: true\naudience: {AUDIENCE}\nheaders: [{{name: X-Block, value: native}}]");
    let text = idp::dynamic(&world.idp.issuer(), &world.origin, &lines, "");
    world.proxy.change(&text.replace("      plugin:\n        traefikoidc:\n", "      oidc:\n"));
    let token = issued(&world, AUDIENCE).await;
    eventually("the native block is in use", || async {
        show(&world, &token).await;
        world.origin.requests().last().is_some_and(|seen| seen.get("x-block") == Some("native"))
    })
    .await;
    assert_eq!(world.origin.last().head.all("x-forwarded-user"), [MACHINE]);
    is_refused(&world, &issued(&world, "https://other.example.test").await, "another audience").await;
}

#[tokio::test]
async fn tokens_for_others_of_other_kinds_and_of_other_times_open_nothing() {
    let world = with_machine(plan()).await;
    is_refused(&world, &issued(&world, "https://other.example.test").await, "another audience").await;
    for (name, value) in [
        ("aud", json!(["https://other.example.test"])),
        ("aud", json!("https://api.example.test/")),
        ("aud", json!(CLIENT)),
        ("aud", Value::Null),
        ("iss", json!("https://evil.example.test")),
        ("iss", Value::Null),
        ("exp", json!(now() - SKEW - 1)),
        ("exp", Value::Null),
        ("nbf", json!(now() + SKEW + 30)),
        ("iat", json!(now() + SKEW + 30)),
        ("iat", json!(now() - 86_401)),
        ("sub", Value::Null),
        ("sub", json!("a,b")),
        ("sub", json!("x".repeat(257))),
    ] {
        is_refused(&world, &token(&world, name, value.clone()), &format!("{name} {value}")).await;
    }
    let expired = show(&world, &token(&world, "exp", json!(now() - SKEW - 1))).await;
    let expected = "Bearer error=\"invalid_token\", error_description=\"the access token has expired\"";
    assert_eq!(expired.get("www-authenticate"), Some(expected));
    is_refused(&world, &id_token(&world).await, "an ID token").await;
    let logout = world.idp.logout_token(CLIENT, Map::from_iter([("sub".to_owned(), json!("alice"))]));
    is_refused(&world, &logout.unwrap(), "a logout token").await;
    let mut logout = claims(&world);
    logout.insert("events".to_owned(), json!({"http://schemas.openid.net/event/backchannel-logout": {}}));
    is_refused(&world, &world.idp.sign("at+jwt", &logout, None).unwrap(), "a logout token for us").await;
    for typ in ["logout+jwt", "secevent+jwt", "JOSE"] {
        is_refused(&world, &world.idp.sign(typ, &claims(&world), None).unwrap(), typ).await;
    }
    assert_eq!(show(&world, &good(&world)).await.status(), 200);
}

/// The ID token of a login at the provider.
async fn id_token(world: &World) -> String {
    let tokens: std::sync::Arc<std::sync::Mutex<Vec<String>>> = std::sync::Arc::default();
    let kept = std::sync::Arc::clone(&tokens);
    world.idp.tamper(Some(std::sync::Arc::new(move |_, members| {
        kept.lock().unwrap().extend(members.get("id_token").and_then(Value::as_str).map(str::to_owned));
    })));
    world.browser_of("alice").await;
    world.idp.tamper(None);
    tokens.lock().unwrap().pop().expect("no login")
}

#[tokio::test]
async fn forged_signatures_open_nothing_and_unknown_keys_cost_one_fetch() {
    let world = with_machine(plan()).await;
    assert_eq!(show(&world, &good(&world)).await.status(), 200);
    for forgery in [Forgery::WrongKey, Forgery::NoSignature, Forgery::PublicKeyAsSecret] {
        let forged = world.idp.sign("at+jwt", &claims(&world), Some(forgery)).unwrap();
        is_refused(&world, &forged, &format!("{forgery:?}")).await;
    }
    let good = good(&world);
    let (signed, _) = good.rsplit_once('.').unwrap();
    for cut in [
        format!("{signed}."),
        signed.to_owned(),
        format!("{good}.x"),
        format!("..{good}"),
        "a.b.c".to_owned(),
    ] {
        is_refused(&world, &cut, &cut).await;
    }
    let before = world.idp.counters().get("GET /jwks");
    for _ in 0..20 {
        let unknown = world.idp.sign("at+jwt", &claims(&world), Some(Forgery::UnknownKey)).unwrap();
        // The provider has just been asked for its keys, because of a forgery: nobody can say yet whether this is one.
        let answer = show(&world, &unknown).await;
        assert_eq!((answer.status(), answer.get("retry-after").is_some()), (503, true), "an unknown key");
    }
    let fetched = world.idp.counters().get("GET /jwks") - before;
    assert!(fetched <= 1, "{fetched} fetches for 20 tokens");
}

/// New keys of the provider are found although nobody logs in.
#[tokio::test]
async fn keys_rotate_under_machines() {
    let world = with_machine(plan()).await;
    let old = issued(&world, AUDIENCE).await;
    assert_eq!(show(&world, &old).await.status(), 200);
    world.idp.rotate_keys(true).unwrap();
    assert_eq!(show(&world, &issued(&world, AUDIENCE).await).await.status(), 200);
    assert_eq!(show(&world, &old).await.status(), 200);
}

#[tokio::test]
async fn headers_that_are_no_single_token_are_malformed() {
    let world = with_machine(plan()).await;
    let good = good(&world);
    let bearer = format!("Bearer {good}");
    for values in [
        &[bearer.as_str(), bearer.as_str()][..],
        &[&bearer, "Basic YTpi"],
        &["Basic YTpi", &bearer],
        &["Bearer"],
        &["Bearer "],
        &["Bearer a b"],
        &[&format!("{bearer}, Basic YTpi")],
        &[&format!("Bearer {}", "a".repeat(33 * 1024))],
    ] {
        let fields: Vec<(&str, &str)> = values.iter().map(|value| ("Authorization", *value)).collect();
        let answer = get(world.proxy.web(), "localhost", "/api", &fields).await;
        assert_eq!(answer.status(), 400, "{values:.60?}");
        let challenge = answer.get("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer error=\"invalid_request\""), "{challenge}");

        let mut request = Request::get("http://localhost/api");
        for value in values {
            request = request.header("authorization", *value);
        }
        let http2 = Http2::open(world.proxy.web()).await;
        assert_eq!(http2.send(request.body(()).unwrap(), &[], false).await.status, 400, "{values:.60?}");
    }
    let endless = format!("Bearer {}", "a.".repeat(1 << 20));
    assert!(matches!(with_authorization(&world, &endless).await.status(), 400 | 431));
    // Elsewhere a token is none (RFC 6750 sections 2.2 and 2.3 are not supported).
    for target in [format!("/api?access_token={good}"), format!("/api?a=1&bearer={good}")] {
        let answer = get(world.proxy.web(), "localhost", &target, &[("Accept", "application/json")]).await;
        assert_eq!((answer.status(), answer.get("www-authenticate")), (401, Some("Bearer")), "{answer:?}");
    }
    let form = format!("access_token={good}");
    let mut connection = Connection::open(world.proxy.web()).await;
    connection
        .send(format!(
            "POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{form}",
            form.len()
        ))
        .await;
    assert_eq!(connection.response().await.status(), 401);
    assert!(world.origin.requests().is_empty(), "{:?}", world.origin.requests());
}

/// What was verified counts as long as the token lives, also where it is remembered. What began in that time goes on:
/// no session ends, and nobody logs out.
#[tokio::test]
async fn a_token_ends_although_it_is_remembered_and_its_streams_go_on() {
    const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let world = with_machine(plan().origin(Origin::with(streaming).await)).await;
    let token = token(&world, "exp", json!(now() + 3 - SKEW));
    let mut streams = Vec::new();
    for (target, extra, status) in [("/events", "", " 200 "), ("/socket", UPGRADE, " 101 ")] {
        let mut stream = Connection::open(world.proxy.web()).await;
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n");
        stream.send(format!("{head}{extra}\r\n")).await;
        let head = soon("the head of a stream", stream.head()).await.unwrap();
        assert!(head.start.contains(status), "{head:?}");
        streams.push(stream);
    }
    assert_eq!((show(&world, &token).await.status(), show(&world, &token).await.status()), (200, 200));
    eventually("the token has expired", || async { show(&world, &token).await.status() == 401 }).await;
    is_refused(&world, &token, "an expired token").await;
    for stream in &mut streams {
        for _ in 0..3 {
            assert_eq!(soon("an event", stream.chunk()).await.unwrap().unwrap(), b"hello\n");
        }
    }
}

/// Events for as long as somebody listens, in a body or in a tunnel.
async fn streaming(seen: Seen, mut connection: Connection) -> Option<Connection> {
    let head = match seen.target.as_str() {
        "/events" => {
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        }
        "/socket" => "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        _ => {
            connection.send(ok("done")).await;
            return Some(connection);
        }
    };
    connection.send(head).await;
    while connection.stream.write_all(b"6\r\nhello\n\r\n").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}

/// One request with a bad token from an address of this machine.
async fn from(world: &World, source: &str, token: &str, field: &str) -> Message {
    let mut connection = Connection::open_from(source, world.proxy.web()).await;
    let head = format!("GET /api HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{field}");
    connection.send(format!("{head}Connection: close\r\n\r\n")).await;
    connection.response().await
}

#[tokio::test]
async fn an_address_that_sends_bad_tokens_waits_and_no_other_does() {
    let plan = Plan::new().plugin("enableBearerAuth: true").plugin(&format!("audience: {AUDIENCE}"));
    let plan = plan.plugin("bearerFailureThreshold: 3").plugin("bearerFailurePenaltySeconds: 3");
    let world = with_machine(plan.plugin("bearerFailureWindowSeconds: 60")).await;
    let (good, browser) = (good(&world), world.browser_of("alice").await);
    for n in 0..3 {
        // Who it is, is told by the connection and not by a header of the client's.
        let forwarded = format!("X-Forwarded-For: 192.0.2.{n}\r\n");
        assert_eq!(from(&world, "127.0.0.1", "junk", &forwarded).await.status(), 401);
    }
    let waits = from(&world, "127.0.0.1", &good, "").await;
    assert_eq!(waits.status(), 429, "{waits:?}");
    assert!(waits.get("retry-after").is_some_and(|seconds| ["1", "2", "3"].contains(&seconds)), "{waits:?}");
    assert_eq!(from(&world, "127.0.0.2", &good, "").await.status(), 200);
    assert_eq!(browser.fetch(&world.at("/x")).await.status, 200, "a session from that address");
    assert_eq!(world.proxy.metric("portcullis_oidc_bearer_total", &["throttled"]).await, 1.0);
    eventually("the penalty is over", || async {
        from(&world, "127.0.0.1", &good, "").await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn the_service_sees_the_token_only_where_that_is_asked_for() {
    let header = "headers: [{name: X-Token, value: \"{{`{{.AccessToken}}`}}\"}]";
    for (line, authorization) in
        [("stripAuthorizationHeader: true", false), ("stripAuthorizationHeader: false", true)]
    {
        let world = with_machine(plan().plugin(line).plugin(header)).await;
        let token = issued(&world, AUDIENCE).await;
        assert_eq!(show(&world, &token).await.status(), 200);
        let seen = world.origin.last();
        let bearer = format!("Bearer {token}");
        assert_eq!(seen.get("authorization"), authorization.then_some(bearer.as_str()), "{line}");
        assert_eq!(seen.get("x-token"), Some(token.as_str()));
    }
}

#[tokio::test]
async fn two_credentials_have_one_winner() {
    for (line, winner, junk) in [
        ("bearerOverridesCookie: false", "alice@example.test", 200),
        ("bearerOverridesCookie: true", MACHINE, 401),
    ] {
        let world = with_machine(plan().plugin(line)).await;
        let (browser, token) = (world.browser_of("alice").await, issued(&world, AUDIENCE).await);
        let url = Url::parse(&world.at("/api")).unwrap();
        let ask = |browser: &Browser, token: &str| {
            let (browser, url, value) = (browser.clone(), url.clone(), format!("Bearer {token}"));
            async move { browser.request("GET", &url, &[("authorization", &value)], None).await }
        };
        assert_eq!(ask(&browser, &token).await.status, 200, "{line}");
        assert_eq!(world.origin.last().head.all("x-forwarded-user"), [winner], "{line}");
        assert_eq!(ask(&browser, "junk").await.status, junk, "{line}");
        // A cookie that stands for nothing is no credential.
        let stale = browser.stolen();
        stale.forget("localhost");
        for name in browser.cookies("localhost").keys() {
            stale.set_cookie("localhost", name, "garbage");
        }
        assert_eq!(ask(&stale, &token).await.status, 200, "{line}");
        assert_eq!(world.origin.last().head.all("x-forwarded-user"), [MACHINE], "{line}");
    }
}
