//! HTTP/2 on either side.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};

use super::super::testing::{Origin, PATIENCE, Proxy, Setup};

type Incoming = Request<RecvStream>;

/// A server that speaks HTTP/2 with prior knowledge and runs `script` for each stream.
pub(super) async fn http2_origin<F, Fut>(script: F) -> SocketAddr
where
    F: Fn(Incoming, SendResponse<Bytes>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let script = Arc::new(script);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let script = Arc::clone(&script);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(script(request, respond));
                }
            });
        }
    });
    addr
}

async fn client(proxy: &Proxy) -> h2::client::SendRequest<Bytes> {
    let stream = TcpStream::connect(proxy.addr).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

async fn body(stream: &mut RecvStream) -> Result<String, h2::Error> {
    let mut text = String::new();
    while let Some(chunk) = tokio::time::timeout(PATIENCE, stream.data()).await.unwrap() {
        let chunk = chunk?;
        let _ = stream.flow_control().release_capacity(chunk.len());
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    Ok(text)
}

fn post(path: &str) -> Request<()> {
    Request::post(format!("http://a.test{path}")).body(()).unwrap()
}

/// Its client would take it for a fault of the connection (RFC 9113, section 8.1.1).
#[tokio::test]
async fn a_body_where_none_can_be_goes_nowhere() {
    let addr = http2_origin(|request, mut respond| async move {
        let status = if request.uri().path() == "/none" { 204 } else { 304 };
        let mut body =
            respond.send_response(Response::builder().status(status).body(()).unwrap(), false).unwrap();
        body.send_data("poison".into(), true).unwrap();
    })
    .await;
    let proxy = Setup::to(format!("h2c://{addr}")).start().await;
    let mut client = client(&proxy).await;
    for path in ["/none", "/unmodified"] {
        let request = Request::get(format!("http://a.test{path}")).body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        let mut response = response.await.unwrap().into_body();
        assert_eq!(body(&mut response).await.unwrap(), "", "{path}");
    }
}

#[tokio::test]
async fn an_http_2_client_reaches_an_http_1_service() {
    let origin = Origin::echoing().await;
    let proxy = Setup::to(origin.url()).start().await;
    let mut sender = client(&proxy).await;
    let request = Request::get("http://a.test/x").header("x_forwarded_user", "root").body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    let mut response = response.await.unwrap();
    let echoed = body(response.body_mut()).await.unwrap();
    assert!(echoed.starts_with("GET /x HTTP/1.1"), "{echoed}");
    assert!(echoed.to_lowercase().contains("host: a.test\r\n"), "{echoed}");
    assert!(!echoed.contains("root"));
}

#[tokio::test]
async fn an_http_2_client_gets_the_servers_own_host_where_configured() {
    let origin = Origin::echoing().await;
    let proxy = Setup::to(origin.url()).own_host().start().await;
    let mut sender = client(&proxy).await;
    let request = Request::get("http://a.test/x/../y").header("cookie", "a=1").header("cookie", "b=2");
    let (response, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
    let echoed = body(response.await.unwrap().body_mut()).await.unwrap().to_lowercase();
    assert!(echoed.starts_with("get /y http/1.1\r\n"), "{echoed}");
    assert!(echoed.contains(&format!("host: {}\r\n", origin.addr)), "{echoed}");
    assert!(
        echoed.contains("x-forwarded-host: a.test\r\n") && echoed.contains("cookie: a=1; b=2\r\n"),
        "{echoed}"
    );
}

#[tokio::test]
async fn pingora_935_an_empty_last_frame_ends_the_body_once() {
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let origin = Origin::start(move |mut conn, _| {
        let sender = sender.clone();
        async move {
            // Two requests on one connection: were the first ended twice, the second would begin with rubbish.
            for _ in 0..2 {
                let head = conn.read_head().await.unwrap();
                let body = conn.read_until(b"0\r\n\r\n").await.unwrap();
                sender.send((head, body)).unwrap();
                conn.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    let proxy = Setup::to(origin.url()).start().await;
    for number in 0..2 {
        let mut sender = client(&proxy).await;
        let (response, mut stream) = sender.send_request(post(&format!("/{number}")), false).unwrap();
        stream.send_data("hello".into(), false).unwrap();
        stream.send_data(Bytes::new(), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
        let (head, body) = received.recv().await.unwrap();
        assert!(head.starts_with(&format!("POST /{number} HTTP/1.1\r\n")), "{head:?}");
        assert_eq!(body, "5\r\nhello\r\n0\r\n\r\n");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn trailers_pass_and_grpc_servers_are_told_that_they_are_wanted() {
    let addr = http2_origin(|request, mut respond| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        body.send_data("msg".into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        body.send_trailers(trailers).unwrap();
    })
    .await;
    let proxy = Setup::to(format!("h2c://{addr}")).start().await;
    let mut sender = client(&proxy).await;
    let request = Request::post("http://a.test/pkg.Svc/Call")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    let mut response = response.await.unwrap();
    assert_eq!(body(response.body_mut()).await.unwrap(), "msg");
    assert_eq!(response.body_mut().trailers().await.unwrap().unwrap()["grpc-status"], "0");

    // A gRPC client over HTTP/1.1: the engine strips its TE as a header of one connection.
    let answer = proxy
        .connect()
        .await
        .exchange(
            "POST /pkg.Svc/Call HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/grpc\r\n\
             Connection: TE\r\nTE: trailers\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn an_http_2_service_gets_leave_for_the_body_from_us() {
    let addr = http2_origin(|mut request, mut respond| async move {
        assert!(!request.headers().contains_key("expect"));
        let text = body(request.body_mut()).await.unwrap();
        let mut answer = respond.send_response(Response::new(()), false).unwrap();
        answer.send_data(text.into(), true).unwrap();
    })
    .await;
    let proxy = Setup::to(format!("h2c://{addr}")).start().await;
    let mut client = proxy.connect().await;
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 100"));
    client.write("hello").await;
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 200"));
    assert!(client.read_until(b"hello").await.is_some());
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_even_for_post() {
    let tries = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&tries);
    let addr = http2_origin(move |_, mut respond| {
        let first = seen.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            } else {
                respond.send_response(Response::new(()), true).unwrap();
            }
        }
    })
    .await;
    let proxy = Setup::to(format!("h2c://{addr}")).start().await;
    let mut client = proxy.connect().await;
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(tries.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_reset_stream_is_502_and_is_not_sent_again() {
    let tries = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&tries);
    let addr = http2_origin(move |_, mut respond| {
        seen.fetch_add(1, Ordering::SeqCst);
        async move { respond.send_reset(h2::Reason::INTERNAL_ERROR) }
    })
    .await;
    let proxy = Setup::to(format!("h2c://{addr}")).start().await;
    assert_eq!(proxy.get("/").await.status(), 502);
    assert_eq!(tries.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_service_that_dies_in_mid_response_resets_the_stream_and_no_other() {
    let origin = Origin::start(|mut conn, _| async move {
        let head = conn.read_head().await.unwrap();
        if head.starts_with("GET /half") {
            conn.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
        } else {
            conn.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let proxy = Setup::to(origin.url()).start().await;
    let mut sender = client(&proxy).await;
    let half = Request::get("http://a.test/half").body(()).unwrap();
    let (response, _) = sender.send_request(half, true).unwrap();
    let mut response = response.await.unwrap();
    assert!(body(response.body_mut()).await.is_err(), "a response cut short must not look complete");
    let whole = Request::get("http://a.test/whole").body(()).unwrap();
    let (response, _) = sender.send_request(whole, true).unwrap();
    assert_eq!(body(response.await.unwrap().body_mut()).await.unwrap(), "ok");
}

#[tokio::test]
async fn a_client_that_resets_its_stream_is_counted_as_499() {
    let origin = Origin::start(|mut conn, _| async move {
        conn.read_head().await;
        conn.read_rest().await;
    })
    .await;
    let proxy = Setup::to(origin.url()).start().await;
    let mut sender = client(&proxy).await;
    let (_response, mut stream) = sender.send_request(post("/"), false).unwrap();
    while origin.connections() == 0 {
        tokio::task::yield_now().await;
    }
    stream.send_reset(h2::Reason::CANCEL);
    proxy.wait_counted(499).await;
}
