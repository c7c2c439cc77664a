//! Logouts that the provider starts, and what a session's end does to answers that go on.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use url::Url;

use crate::harness::client::{Browser, Http2};
use crate::harness::http1::Connection;
use crate::harness::idp::{CLIENT, LOGOUT, Plan, World};
use crate::harness::origin::{Origin, Seen, ok};
use crate::harness::{eventually, soon};

const BACK: &str = "/oauth2/backchannel";

/// How long a stream may outlive its session; a loaded machine is slow.
const PROMPT: Duration = Duration::from_secs(3);

fn plan() -> Plan {
    Plan::new().plugin("enableBackchannelLogout: true").plugin(&format!("backchannelLogoutURL: {BACK}"))
}

fn form(world: &World, user: &str) -> String {
    let target = json!({ "sub": user });
    let token = world.idp.logout_token(CLIENT, target.as_object().unwrap().clone()).unwrap();
    format!("logout_token={token}")
}

/// A logout of the provider's, over HTTP/1.
async fn back_channel(world: &World, user: &str, extra: &str) -> u16 {
    let form = form(world, user);
    let mut connection = Connection::open(world.proxy.web()).await;
    connection
        .send(format!(
            "POST {BACK} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n{extra}\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            form.len()
        ))
        .await;
    if !extra.is_empty() {
        assert_eq!(connection.response().await.status(), 100);
    }
    connection.send(form).await;
    let answer = connection.response().await;
    assert_eq!(answer.get("cache-control"), Some("no-store"));
    answer.status()
}

async fn is_in(world: &World, browser: &Browser) -> bool {
    browser.fetch(&world.at("/x")).await.status == 200
}

#[tokio::test]
async fn the_provider_logs_out_over_every_protocol() {
    let world = plan().start().await;
    for round in 0..4 {
        let browser = world.browser_of("alice").await;
        let bob = world.browser_of("bob").await;
        let status = match round {
            0 => back_channel(&world, "alice", "").await,
            1 => back_channel(&world, "alice", "Expect: 100-continue\r\n").await,
            _ => {
                let form = form(&world, "alice");
                let request = Request::post(format!("http://localhost{BACK}"))
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(())
                    .unwrap();
                let http2 = Http2::open(world.proxy.web()).await;
                let (head, tail) = form.as_bytes().split_at(100);
                http2.send(request, &[head, tail], round == 3).await.status
            }
        };
        assert_eq!(status, 200, "round {round}");
        assert!(!is_in(&world, &browser).await && is_in(&world, &bob).await, "round {round}");
    }
    assert!(!world.proxy.log().contains("eyJ"), "a token in the log");
    assert_eq!(world.proxy.metric("portcullis_oidc_logouts_total", &["back_channel"]).await, 4.0);
}

#[tokio::test]
async fn a_body_without_end_is_refused() {
    let world = plan().start().await;
    let kind = "Host: localhost\r\nContent-Type: application/x-www-form-urlencoded";
    let length = format!("Content-Length: 1000000\r\n\r\n{}", "x".repeat(100_000));
    let chunks = format!(
        "Transfer-Encoding: chunked\r\n\r\n{}",
        format!("3e8\r\n{}\r\n", "x".repeat(1_000)).repeat(100)
    );
    for body in [length, chunks] {
        let mut connection = Connection::open(world.proxy.web()).await;
        connection.send(format!("POST {BACK} HTTP/1.1\r\n{kind}\r\n{body}")).await;
        assert_eq!(connection.response().await.status(), 413);
    }
}

/// A service whose answers go on for as long as somebody listens.
async fn streaming(seen: Seen, mut connection: Connection) -> Option<Connection> {
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n\r\n6\r\nhello\n\r\n";
    if seen.get("upgrade").is_some() {
        let head =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello\n";
        connection.send(head).await;
        connection.rest().await;
        return None;
    }
    match seen.target.as_str() {
        "/events" => {
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{CHUNKED}")).await;
            connection.rest().await;
            None
        }
        "/download" => {
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n{CHUNKED}")).await;
            while connection.stream.write_all(b"6\r\nhello\n\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            None
        }
        _ => {
            connection.send(ok("done")).await;
            Some(connection)
        }
    }
}

fn cookie(browser: &Browser) -> String {
    let cookies = browser.cookies("localhost");
    cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
}

/// Asks for `target` and returns when its first bytes have come.
async fn open(world: &World, browser: &Browser, target: &str, extra: &str) -> Connection {
    let mut connection = Connection::open(world.proxy.web()).await;
    let cookie = cookie(browser);
    connection
        .send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n{extra}\r\n"))
        .await;
    let head = soon("the head of a stream", connection.head()).await.unwrap();
    assert!(head.start.contains(" 200 ") || head.start.contains(" 101 "), "{head:?}");
    connection
}

const UPGRADE: &str =
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n";

#[tokio::test]
async fn streams_of_a_session_end_with_it_and_others_go_on() {
    let world = plan().origin(Origin::with(streaming).await).start().await;
    for (target, extra) in [("/ws", UPGRADE), ("/events", ""), ("/download", "")] {
        let alice = world.browser_of("alice").await;
        let bob = world.browser_of("bob").await;
        let mut ends = open(&world, &alice, target, extra).await;
        let mut lives = open(&world, &bob, target, extra).await;
        let started = Instant::now();
        assert_eq!(back_channel(&world, "alice", "").await, 200);
        let text = soon("the end of the stream", ends.rest()).await;
        assert!(started.elapsed() < PROMPT, "{target}: {:?}", started.elapsed());
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(
            text.contains("hello") && !text.ends_with("0\r\n\r\n"),
            "{target}: cut, not ended: {text:.80}"
        );
        if target == "/download" {
            assert!(lives.chunk().await.unwrap().is_some(), "another's goes on");
        }
        assert!(is_in(&world, &bob).await);
        lives.send("x").await;
    }
    eventually("log lines", || async {
        world.proxy.log().matches("a stream ends with its session").count() == 3
    })
    .await;
}

#[tokio::test]
async fn an_upload_is_not_completed_after_the_end() {
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let origin = Origin::before_body(move |seen, mut connection| {
        let sender = sender.clone();
        async move {
            if seen.method != "POST" {
                connection.send(ok("done")).await;
                return Some(connection);
            }
            let _ = sender.send((String::new(), true));
            let (body, whole) = connection.request_body(&seen.head).await;
            let _ = sender.send((String::from_utf8_lossy(&body).into_owned(), whole));
            None
        }
    });
    let world = plan().origin(origin.await).start().await;
    let browser = world.browser_of("alice").await;
    let mut upload = Connection::open(world.proxy.web()).await;
    let head = "Host: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    upload.send(format!("POST /upload HTTP/1.1\r\nCookie: {}\r\n{head}", cookie(&browser))).await;
    soon("the beginning of the upload", received.recv()).await;
    assert_eq!(back_channel(&world, "alice", "").await, 200);
    upload.send("6\r\nsecond\r\n0\r\n\r\n").await;
    let (body, whole) = soon("the end of the upload", received.recv()).await.unwrap();
    assert!("first".starts_with(body.as_str()) && !whole, "{body}: taken for a whole one");
    assert_eq!(upload.response().await.status(), 401);
}

#[tokio::test]
async fn a_logout_in_the_browser_ends_its_streams() {
    let world = plan().origin(Origin::with(streaming).await).start().await;
    let browser = world.browser_of("alice").await;
    let mut socket = open(&world, &browser, "/ws", UPGRADE).await;
    let started = Instant::now();
    browser.step(&Url::parse(&world.at(LOGOUT)).unwrap()).await;
    soon("the end of the tunnel", socket.rest()).await;
    assert!(started.elapsed() < PROMPT, "{:?}", started.elapsed());
}

#[tokio::test]
async fn over_http2_only_the_stream_ends() {
    let world = plan().origin(Origin::with(streaming).await).start().await;
    let browser = world.browser_of("alice").await;
    let stream = tokio::net::TcpStream::connect(world.proxy.web()).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = |target: &str| {
        let request = Request::get(format!("http://localhost{target}"));
        request.header("cookie", cookie(&browser)).body(()).unwrap()
    };
    let mut sender = soon("a stream", sender.ready()).await.unwrap();
    let (events, _) = sender.send_request(request("/events"), true).unwrap();
    let mut events = soon("the head", events).await.unwrap().into_body();
    assert_eq!(
        soon("the first event", events.data()).await.unwrap().unwrap(),
        Bytes::from_static(b"hello\n")
    );
    let started = Instant::now();
    assert_eq!(back_channel(&world, "alice", "").await, 200);
    let error = soon("the reset", events.data()).await.expect("an end without a reset").unwrap_err();
    assert!(started.elapsed() < PROMPT && error.is_reset(), "{error} {:?}", started.elapsed());
    let (public, _) = sender.send_request(request("/public"), true).unwrap();
    assert_eq!(soon("an answer on the same connection", public).await.unwrap().status(), 200);
}
