//! HTTP/2 by ALPN and by prior knowledge.

use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use super::harness::{Edge, LONG, connect, hasty};
use super::tls_client::{Tls, pair};
use crate::entrypoint::{KeepAlive, Settings};
use crate::tls::Inputs;

async fn h2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> SendRequest<Bytes> {
    let (sender, connection) = client::handshake(stream).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("https://app.test{path}")).body(()).unwrap()
}

async fn fetch(sender: &mut SendRequest<Bytes>, path: &str) -> Result<String, h2::Error> {
    let (answer, _) = sender.send_request(get(path), true)?;
    let mut body = tokio::time::timeout(LONG, answer).await.expect("an answer")?.into_body();
    let mut all = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        all.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8(all).unwrap())
}

#[tokio::test]
async fn prior_knowledge_on_a_plain_port() {
    let (_edge, address) = Edge::start(Settings::default()).await;
    let tcp = connect(address).await.0;
    let peer = tcp.local_addr().unwrap();
    let mut sender = h2(tcp).await;
    let expected = format!("entry=web peer={peer} local={address} h2=true request=");
    assert_eq!(fetch(&mut sender, "/").await.unwrap(), format!("{expected}1"));
    assert_eq!(fetch(&mut sender, "/").await.unwrap(), format!("{expected}2"));
}

#[tokio::test]
async fn alpn() {
    let (edge, address) = Edge::start(Settings::default()).await;
    let certificate = pair(&["app.test"]);
    assert!(edge.use_tls(&Inputs { certificates: vec![&certificate], ..Inputs::default() }).is_empty());
    let tls = Tls::trusting(&[&certificate]);
    let both = tls.clone().alpn(&["h2", "http/1.1"]);
    let mut sender = h2(both.connect(address, "app.test").await.unwrap().0).await;
    let facts = fetch(&mut sender, "/").await.unwrap();
    assert!(facts.contains("h2=true") && facts.contains("alpn=h2"), "{facts}");
    let mut old = tls.clone().alpn(&["http/1.1"]).connect(address, "app.test").await.unwrap();
    assert!(old.get("/").await.body.contains("alpn=http/1.1"));
    let mut none = tls.connect(address, "app.test").await.unwrap();
    assert!(none.get("/").await.body.contains("h2=false"));
}

#[tokio::test]
async fn streams_share_a_connection_and_a_panic_hurts_one() {
    let (edge, address) = Edge::start(Settings::default()).await;
    let mut sender = h2(connect(address).await.0).await;
    let (waiting, _) = sender.send_request(get("/wait"), true).unwrap();
    edge.waiting.acquire().await.unwrap().forget();
    assert!(fetch(&mut sender, "/panic").await.is_err());
    assert!(fetch(&mut sender, "/").await.is_ok());
    edge.gate.add_permits(1);
    assert_eq!(waiting.await.unwrap().status(), 200);
}

#[tokio::test]
async fn draining_sends_goaway_and_lets_streams_end() {
    let (edge, address) = Edge::start(Settings::default()).await;
    let mut sender = h2(connect(address).await.0).await;
    let (waiting, _) = sender.send_request(get("/wait"), true).unwrap();
    edge.waiting.acquire().await.unwrap().forget();
    let drain = edge.supervisor.drain(LONG);
    let client = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        edge.gate.add_permits(1);
        assert_eq!(waiting.await.unwrap().status(), 200);
    };
    let (outcome, ()) = tokio::join!(drain, client);
    assert_eq!(outcome.cut, 0);
}

#[tokio::test]
async fn a_connection_ends_after_its_requests() {
    let keep_alive = KeepAlive { max_requests: Some(2), ..KeepAlive::default() };
    let (edge, address) = Edge::start(Settings { keep_alive, ..Settings::default() }).await;
    let mut sender = h2(connect(address).await.0).await;
    assert!(fetch(&mut sender, "/").await.is_ok());
    assert!(fetch(&mut sender, "/").await.is_ok());
    let began = Instant::now();
    while edge.supervisor.open_connections() > 0 {
        assert!(began.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn pingora_563_idle_timeout() {
    let (edge, address) = Edge::start(hasty(|t| t.idle = Some(Duration::from_millis(300)))).await;
    let mut sender = h2(connect(address).await.0).await;
    assert!(fetch(&mut sender, "/").await.is_ok());
    let began = Instant::now();
    while edge.supervisor.open_connections() > 0 {
        assert!(began.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(250));
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_the_connection() {
    let idle = Duration::from_millis(300);
    let (edge, address) = Edge::start(hasty(|t| t.body_idle = idle)).await;
    let mut sender = h2(connect(address).await.0).await;
    let post = Request::post("http://app.test/body").body(()).unwrap();
    let (answer, mut body) = sender.send_request(post, false).unwrap();
    body.send_data(Bytes::from_static(b"some"), false).unwrap();
    let began = Instant::now();
    assert!(tokio::time::timeout(LONG, answer).await.unwrap().is_err());
    assert!(began.elapsed() >= idle - Duration::from_millis(20));
    drop(edge);
}

#[tokio::test]
async fn an_upload_that_may_not_go_on_is_not_a_quiet_client() {
    let mut settings = hasty(|t| t.body_idle = Duration::from_millis(200));
    settings.http2.window = 65_535;
    let (edge, address) = Edge::start(settings).await;
    let mut sender = h2(connect(address).await.0).await;
    // The application does not read this body, so the window stays shut.
    let post = Request::post("http://app.test/wait").body(()).unwrap();
    let (answer, mut body) = sender.send_request(post, false).unwrap();
    body.send_data(Bytes::from(vec![0; 100_000]), true).unwrap();
    edge.waiting.acquire().await.unwrap().forget();
    tokio::time::sleep(Duration::from_millis(700)).await;
    edge.gate.add_permits(1);
    assert_eq!(tokio::time::timeout(LONG, answer).await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_slow_answer_does_not_end_the_connection() {
    let (edge, address) = Edge::start(hasty(|t| {
        t.body_idle = Duration::from_millis(200);
        t.header = Duration::from_millis(200);
    }))
    .await;
    let mut sender = h2(connect(address).await.0).await;
    let (waiting, _) = sender.send_request(get("/wait"), true).unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    edge.gate.add_permits(1);
    assert_eq!(waiting.await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_preface_that_does_not_come_has_a_deadline() {
    let (edge, address) = Edge::start(hasty(|t| t.header = Duration::from_millis(300))).await;
    let certificate = pair(&["app.test"]);
    assert!(edge.use_tls(&Inputs { certificates: vec![&certificate], ..Inputs::default() }).is_empty());
    let tls = Tls::trusting(&[&certificate]).alpn(&["h2"]);
    let mut silent = tls.connect(address, "app.test").await.unwrap();
    // Our own preface may come first.
    silent.rest().await;
}
