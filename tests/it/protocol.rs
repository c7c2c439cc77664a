//! HTTP between well-behaved parties: streaming, upgrades, trailers, interim responses, old versions.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{SinkExt, StreamExt};
use http::Request;
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::client::Http2;
use crate::harness::http1::Connection;
use crate::harness::origin::{Http2Origin, Origin, WebSocketOrigin, ask, ok};
use crate::harness::proxy::{Proxy, Setup};
use crate::harness::soon;

async fn in_front_of(origin: &Origin) -> Proxy {
    Setup::to(origin.address).start().await
}

/// Lets an origin wait until the test says go.
fn gate() -> (Arc<Semaphore>, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    (Arc::clone(&gate), gate)
}

#[tokio::test]
async fn websockets_carry_messages_both_ways() {
    let origin = WebSocketOrigin::start(None).await;
    let proxy = Setup::to(origin.address).start().await;
    let url = format!("ws://{}/chat?room=1", proxy.web());
    let (mut socket, response) = soon("a WebSocket", tokio_tungstenite::connect_async(url)).await.unwrap();
    assert_eq!(response.status(), 101);
    for text in ["one", "two", &"x".repeat(100_000)] {
        socket.send(text.to_owned().into()).await.unwrap();
        let echo = soon("the echo", socket.next()).await.unwrap().unwrap();
        assert_eq!(echo.into_text().unwrap().as_str(), text);
    }
    socket.close(None).await.unwrap();
}

/// The tunnel must live although the 101 and the first message arrive while the request is still being finished.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pingora_946_an_eager_websocket_server_keeps_its_tunnel() {
    const CLIENTS: usize = 8;
    const ROUNDS: usize = 100;
    let origin = WebSocketOrigin::start(Some("hello")).await;
    let proxy = Setup::to(origin.address).start().await;
    let clients = (0..CLIENTS).map(|client| {
        let url = format!("ws://{}/", proxy.web());
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                eager_exchange(&url).await.unwrap_or_else(|error| panic!("{client}, round {round}: {error}"));
            }
        })
    });
    for client in futures_util::future::join_all(clients).await {
        client.unwrap();
    }
    assert_eq!(origin.connections.load(Ordering::SeqCst), CLIENTS * ROUNDS);
}

/// A server that greets at once, and one message there and back.
async fn eager_exchange(url: &str) -> Result<(), String> {
    let request = url.into_client_request().unwrap();
    let opened = soon("a WebSocket", tokio_tungstenite::connect_async(request)).await;
    let (mut socket, _) = opened.map_err(|error| error.to_string())?;
    for expected in ["hello", "back"] {
        let message = soon(expected, socket.next()).await.ok_or("the tunnel died")?;
        let text =
            message.map_err(|error| error.to_string())?.into_text().map_err(|error| error.to_string())?;
        if text.as_str() != expected {
            return Err(format!("{text} in place of {expected}"));
        }
        socket.send("back".into()).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let (ours, theirs) = gate();
    let origin = Origin::with(move |_, mut connection| {
        let gate = Arc::clone(&theirs);
        async move {
            connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n").await;
            connection.send("Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n").await;
            let _ = gate.acquire().await.map(tokio::sync::SemaphorePermit::forget);
            connection.send("9\r\ndata: 2\n\n\r\n0\r\n\r\n").await;
            Some(connection)
        }
    })
    .await;
    let proxy = in_front_of(&origin).await;
    let mut client = Connection::open(proxy.web()).await;
    client.send("GET /events HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n").await;
    let head = soon("the head", client.head()).await.unwrap();
    assert_eq!(head.get("content-type"), Some("text/event-stream"));
    let first = soon("the first event", client.chunk()).await.unwrap().unwrap();
    assert_eq!(first, b"data: 1\n\n");
    ours.add_permits(1);
    let second = soon("the second event", client.chunk()).await.unwrap().unwrap();
    assert_eq!(second, b"data: 2\n\n");
    assert_eq!(soon("the end", client.chunk()).await.unwrap(), None);
}

#[tokio::test]
async fn an_upload_reaches_the_service_while_it_is_sent() {
    let (half_way, reached) = gate();
    let origin = Origin::before_body(move |_, mut connection| {
        let half_way = Arc::clone(&half_way);
        async move {
            let first = connection.chunk().await.unwrap().unwrap();
            assert_eq!(first, b"first");
            half_way.add_permits(1);
            while connection.chunk().await.unwrap().is_some() {}
            connection.send(ok("stored")).await;
            Some(connection)
        }
    })
    .await;
    let proxy = in_front_of(&origin).await;
    let mut client = Connection::open(proxy.web()).await;
    client.send("POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
    soon("the first half at the service", reached.acquire()).await.unwrap().forget();
    client.send("6\r\nsecond\r\n0\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "stored");
}

#[tokio::test]
async fn large_bodies_pass_whole_in_both_directions() {
    let origin = Origin::with(|seen, mut connection| async move {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", seen.body.len());
        connection.send(head).await;
        connection.send(&seen.body).await;
        Some(connection)
    })
    .await;
    let proxy = in_front_of(&origin).await;
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let mut client = Connection::open(proxy.web()).await;
    client.send(format!("PUT /big HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len())).await;
    client.send(&body).await;
    let answer = client.response().await;
    assert_eq!(answer.status(), 200);
    assert!(answer.body == body, "{} bytes came back", answer.body.len());
}

#[tokio::test]
async fn trailers_of_an_http2_service_arrive() {
    let origin = Http2Origin::start().await;
    let text = format!(
        "http:\n  routers:\n    r: {{rule: PathPrefix(`/`), service: s}}\n  services:\n    s: {{loadBalancer: {{servers: \
         [{{url: \"h2c://{}\"}}]}}}}\n",
        origin.address
    );
    let proxy = Setup::new().dynamic(&text).start().await;
    let client = Http2::open(proxy.web()).await;
    let request = Request::post("http://h/pkg.Service/Method")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let answer = client.send(request, &[b"hello ", b"there"], false).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, b"hello there");
    assert_eq!(answer.headers["x-te"], "trailers");
    let trailers = answer.trailers.expect("no trailers");
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["x-body-bytes"], "11");
}

/// A body that ends by an empty DATA frame must not leave a second terminator on the service's connection.
#[tokio::test]
async fn pingora_935_an_empty_last_frame_does_not_poison_the_connection() {
    let origin = Origin::start().await;
    let proxy = in_front_of(&origin).await;
    let client = Http2::open(proxy.web()).await;
    for round in 0..5 {
        let request = Request::post(format!("http://h/{round}")).body(()).unwrap();
        let answer = client.send(request, &[b"data"], true).await;
        assert_eq!(answer.status, 200, "round {round}");
        assert_eq!(String::from_utf8(answer.body).unwrap(), format!("POST /{round}\n"));
    }
    let seen = origin.requests();
    assert_eq!(seen.len(), 5, "the service saw {seen:?}");
    assert!(seen.iter().all(|seen| seen.body == b"data" && seen.method == "POST"));
}

#[tokio::test]
async fn a_client_that_waits_for_100_is_told_to_go_on() {
    let origin = Origin::before_body(|seen, mut connection| async move {
        if seen.get("expect").is_some() {
            connection.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        let (body, whole) = connection.request_body(&seen.head).await;
        assert!(whole);
        connection.send(ok(&String::from_utf8(body).unwrap())).await;
        Some(connection)
    })
    .await;
    let proxy = in_front_of(&origin).await;
    let mut client = Connection::open(proxy.web()).await;
    client.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").await;
    assert_eq!(client.response().await.status(), 100);
    client.send("body").await;
    let answer = client.response().await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "body"));
}

#[tokio::test]
async fn early_hints_come_before_the_answer() {
    let origin = Origin::with(|_, mut connection| async move {
        connection.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n").await;
        connection.send(ok("page")).await;
        Some(connection)
    })
    .await;
    let proxy = in_front_of(&origin).await;
    let mut client = Connection::open(proxy.web()).await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let hints = client.response().await;
    assert_eq!((hints.status(), hints.get("link")), (103, Some("</style.css>; rel=preload")));
    assert_eq!(client.response().await.text(), "page");
}

#[tokio::test]
async fn head_has_the_length_but_no_body_and_the_connection_goes_on() {
    let origin = Origin::with(|seen, mut connection| async move {
        let body = if seen.method == "HEAD" { "" } else { "12345" };
        connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{body}")).await;
        Some(connection)
    })
    .await;
    let proxy = in_front_of(&origin).await;
    let mut client = Connection::open(proxy.web()).await;
    client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let answer = soon("an answer", client.response_to(true)).await.unwrap();
    assert_eq!((answer.status(), answer.get("content-length")), (200, Some("5")));
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "12345");
}

#[tokio::test]
async fn statuses_without_body_keep_the_connection_in_step() {
    let origin = Origin::with(|seen, mut connection| async move {
        let answer = match seen.target.as_str() {
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n".to_owned(),
            _ => ok("next"),
        };
        connection.send(answer).await;
        Some(connection)
    })
    .await;
    let proxy = in_front_of(&origin).await;
    let mut client = Connection::open(proxy.web()).await;
    for (target, status) in [("/204", 204), ("/304", 304), ("/", 200)] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        assert_eq!(client.response().await.status(), status);
    }
}

#[tokio::test]
async fn an_http10_client_gets_no_chunks_and_a_closed_connection() {
    let origin = Origin::with(|_, mut connection| async move {
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
        Some(connection)
    })
    .await;
    let proxy = in_front_of(&origin).await;
    let mut client = Connection::open(proxy.web()).await;
    client.send("GET / HTTP/1.0\r\nHost: h\r\n\r\n").await;
    let head = soon("the head", client.head()).await.unwrap();
    assert_eq!(head.get("transfer-encoding"), None, "{head:?}");
    assert_eq!(soon("the end", client.rest()).await, b"hello");
}

#[tokio::test]
async fn idle_client_connections_are_kept_and_reused() {
    let origin = Origin::start().await;
    let proxy = in_front_of(&origin).await;
    let mut client = Connection::open(proxy.web()).await;
    for _ in 0..10 {
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(client.response().await.status(), 200);
    }
    let connections: std::collections::BTreeSet<usize> =
        origin.requests().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections.len(), 1, "the service's connection is reused");
}

#[tokio::test]
async fn a_connection_closes_when_any_of_its_lines_says_so() {
    let origin = Origin::start().await;
    let proxy = in_front_of(&origin).await;
    for lines in ["Connection: close", "Connection: X-Hop, close", "Connection: X-Hop\r\nConnection: close"] {
        let mut client = Connection::open(proxy.web()).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\nX-Hop: 1\r\n\r\n")).await;
        assert_eq!(client.response().await.status(), 200);
        assert!(client.is_over().await, "{lines}");
    }
}

#[tokio::test]
async fn http2_without_tls_serves_many_streams_at_once() {
    let origin = Origin::start().await;
    let proxy = in_front_of(&origin).await;
    let client = Http2::open(proxy.web()).await;
    let requests = (0..50).map(|n| {
        let request = Request::get(format!("http://h/{n}")).body(()).unwrap();
        client.send(request, &[], false)
    });
    let answers = futures_util::future::join_all(requests).await;
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(String::from_utf8_lossy(&answer.body), format!("GET /{n}\n"));
    }
}

#[tokio::test]
async fn ping_answers_on_its_own_entry_point_only() {
    let origin = Origin::start().await;
    let proxy = in_front_of(&origin).await;
    assert_eq!(proxy.admin("/ping").await.unwrap(), (200, "OK".to_owned()));
    assert_eq!(proxy.admin("/livez").await.unwrap().0, 200);
    let answer = ask(proxy.web(), "GET /ping HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(answer.text(), "GET /ping\n", "it belongs to the service here");
}
