//! More attacks on the wire, by the numbers of `docs/attacks.md`: spellings of hosts, bodies without measure, forged addresses.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::Request;
use portcullis::demo::provider::{Answer, Endpoint, Fault};
use serde_json::Value;
use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use url::{Position, Url};

use crate::harness::client::{Browser, Http2, get, send};
use crate::harness::http1::Connection;
use crate::harness::idp::{self, CALLBACK, LOGOUT, Plan, World};
use crate::harness::{eventually, soon, within};

/// Longest time in which a body that is not wanted is refused.
const AT_ONCE: Duration = Duration::from_millis(100);

/// 10 MB.
const LARGE: usize = 10_000_000;

/// Sends a request with a large body for as long as anybody reads it; the status, and how long the answer took.
async fn flood(address: SocketAddr, path: &str, kind: &str) -> (Option<u16>, Duration) {
    let (reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {LARGE}\r\n\r\n"
    );
    let began = Instant::now();
    let sending = tokio::spawn(async move {
        let piece = vec![b'x'; 50_000];
        let mut sent = writer.write_all(head.as_bytes()).await;
        for _ in 0..LARGE / piece.len() {
            if sent.is_err() {
                break;
            }
            sent = writer.write_all(&piece).await;
        }
    });
    let mut line = String::new();
    let read = soon("an answer or an end", BufReader::new(reader).read_line(&mut line)).await;
    let took = began.elapsed();
    sending.abort();
    (read.ok().and_then(|_| line.split(' ').nth(1)?.parse().ok()), took)
}

#[tokio::test]
async fn n12_ten_megabytes_at_our_own_addresses_are_refused_at_once() {
    let plan = Plan::new().plugin("enableBackchannelLogout: true").plugin("sessionEndpoints: auto");
    let world = plan.plugin("backchannelLogoutURL: /oauth2/backchannel").start().await;
    for path in [CALLBACK, "/oauth2/backchannel", "/oauth2/refresh", "/oauth2/session", LOGOUT] {
        for kind in ["application/x-www-form-urlencoded", "application/octet-stream"] {
            within(&format!("{path} {kind}"), AT_ONCE, async || {
                let (status, took) = flood(world.proxy.web(), path, kind).await;
                // Anybody may log out who is nobody.
                let expected = if path == LOGOUT { 300..400 } else { 400..500 };
                assert!(status.is_some_and(|status| expected.contains(&status)), "{path} {kind}: {status:?}");
                took
            })
            .await;
        }
    }
    assert!(world.origin.requests().is_empty());
    assert_eq!(world.proxy.metric("portcullis_oidc_sessions", &[]).await, 0.0);
    assert!(World::is_from_service(&world.browser_of("alice").await.open(&world.at("/x")).await));
}

/// The browser leaves while the provider is slow to answer: the attempt is used up, and no session stays that nobody has.
#[tokio::test]
async fn n85_a_browser_that_leaves_during_the_exchange_leaves_no_session() {
    for over_http2 in [false, true] {
        let world = Plan::new().fixed("accessLog: {}").start().await;
        let browser = Browser::new();
        let form = browser.open(&world.at("/x")).await;
        let callback = browser.submit_step(&form, &[("user", "alice")]).await.location();
        let (slow, gate) = Fault::at(Endpoint::Token, Answer::Genuine).grant("authorization_code").gate();
        world.idp.add_fault(slow);
        let left = leave(&world, &callback, &browser.cookie_line("localhost"), over_http2).await;
        gate.open();
        soon("its end", world.idp.counted(|counters| counters.get("grant:authorization_code:ok") == 1)).await;
        let line = |log: &str| log.lines().any(|line| line.contains("GET /oauth2/callback"));
        eventually("the request is over", || async { line(&world.proxy.log()) }).await;
        eventually("its session is, too", || async {
            world.proxy.metric("portcullis_oidc_sessions", &[]).await == 0.0
        })
        .await;
        drop(left);
        soon("the refresh token is revoked", world.idp.counted(|counters| counters.get("POST /revoke") == 1))
            .await;
        assert_eq!(browser.step(&callback).await.status, 400, "the attempt is used up");
        assert_eq!(world.grants("authorization_code"), 1);
        let log = world.proxy.log();
        assert!(!log.contains("request failed"), "no failure of ours: {log}");
        world.browser_of("alice").await;
    }
}

/// Asks for the callback, and is gone when the code is being exchanged. Over HTTP/1 nobody can tell a browser that only
/// closes its side from one that waits for an answer: this one leaves with a reset.
async fn leave(world: &World, callback: &Url, cookies: &str, over_http2: bool) -> Option<Http2> {
    let asked =
        || soon("the exchange", world.idp.counted(|counters| counters.get("grant:authorization_code") == 1));
    if over_http2 {
        let request = Request::get(callback.as_str()).header("cookie", cookies).body(()).unwrap();
        let connection = Http2::open(world.proxy.web()).await;
        tokio::select! {
            answer = connection.send(request, &[], false) => panic!("{answer:?}"),
            () = asked() => {}
        }
        // The stream is reset, and the proxy has read so: what was sent later on this connection is answered.
        let later = Request::get(callback.join("/public/x").unwrap().as_str()).body(()).unwrap();
        assert_eq!(connection.send(later, &[], false).await.status, 200);
        return Some(connection);
    }
    let mut leaving = Connection::open(world.proxy.web()).await;
    let (host, target) =
        (&callback[Position::BeforeHost..Position::AfterPort], &callback[Position::BeforePath..]);
    leaving.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookies}\r\n\r\n")).await;
    asked().await;
    SockRef::from(&leaving.stream).set_linger(Some(Duration::ZERO)).unwrap();
    None
}

/// A host with a login, and another policy for every other host: none.
#[tokio::test]
async fn n13_no_spelling_of_a_host_gets_the_policy_of_another() {
    let world = World::start().await;
    let open = "    open:\n      rule: PathPrefix(`/`)\n      priority: 1\n      service: s";
    let text = idp::dynamic(&world.idp.issuer(), &world.origin, "", open);
    let rule = "rule: Host(`admin.example.test`) || Host(`xn--bcher-kva.example.test`)";
    world.proxy.change(&text.replacen("rule: PathPrefix(`/`)", rule, 1));
    let status = async |host: &str| get(world.proxy.web(), host, "/x", &[]).await.status();
    eventually("others are open", || async { status("other.example.test").await == 200 }).await;
    assert_eq!(status("admin.example.test.example").await, 200);
    let before = world.origin.requests().len();
    for host in [
        "admin.example.test",
        "ADMIN.example.TEST",
        "admin.example.test.",
        "Admin.Example.Test.:443",
        "admin.example.test:443",
        "admin.example.test:80",
        "admin.example.test:8443",
        "admin.example.test:",
        "xn--bcher-kva.example.test",
        "XN--BCHER-KVA.example.test:443",
        "Xn--Bcher-Kva.Example.Test.",
    ] {
        assert_eq!(status(host).await, 302, "{host}");
        let request = Request::get(format!("http://{host}/x")).body(()).unwrap();
        assert_eq!(
            Http2::open(world.proxy.web()).await.send(request, &[], false).await.status,
            302,
            "{host}"
        );
        // The target has the host, and the field the same in another spelling.
        let absolute = format!("http://{host}/x");
        let answer = send(world.proxy.web(), "GET", host, &absolute, &[]).await;
        assert_eq!(answer.status(), 302, "{absolute}");
    }
    // Not a host's name as it is written on the wire: no policy at all.
    for host in [
        "b\u{fc}cher.example.test",
        "admin\u{3002}example.test",
        "admin.example.test/",
        "a@admin.example.test",
    ] {
        assert_eq!(status(host).await, 400, "{host}");
    }
    assert_eq!(world.origin.requests().len(), before);
}

#[tokio::test]
async fn n21_a_forged_address_is_not_in_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let plan = Plan::new().fixed(&format!("oidc:\n  audit:\n    filePath: {}", path.display()));
    let world = plan.plugin("allowedUsers: [alice@example.test]").start().await;
    let forged = [
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Real-Ip", "203.0.113.7"),
        ("Forwarded", "for=203.0.113.7"),
        ("True-Client-Ip", "203.0.113.7"),
        ("Cf-Connecting-Ip", "203.0.113.7"),
    ];
    assert_eq!(
        get(world.proxy.web(), "localhost", &format!("{CALLBACK}?code=a&state=b"), &forged).await.status(),
        400
    );
    let bob = Browser::new();
    bob.log_in(&world.at("/"), "bob").await;
    let cookies = bob.cookies("localhost").into_iter().map(|(name, value)| format!("{name}={value}"));
    let cookie = cookies.collect::<Vec<_>>().join("; ");
    let fields = [&forged[..], &[("Cookie", cookie.as_str())]].concat();
    assert_eq!(get(world.proxy.web(), "localhost", "/x", &fields).await.status(), 403);
    assert!([302, 303].contains(&get(world.proxy.web(), "localhost", LOGOUT, &fields).await.status()));
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    eventually("the logout is told", || async { lines().iter().any(|line| line["event"] == "logout") }).await;
    for event in ["login_failed", "denied", "logout"] {
        let line = lines().into_iter().rfind(|line| line["event"] == event).unwrap_or_default();
        assert_eq!(line["client"], "127.0.0.1", "{line}");
    }
    assert!(!std::fs::read_to_string(&path).unwrap().contains("203.0.113.7"));
    assert!(!world.proxy.log().contains("client=203.0.113.7"), "{}", world.proxy.log());
}
