//! The harness against itself, with no proxy between: what it says about the proxy is only as good as this.

use http::Request;

use crate::harness::certificates::{Authority, Knock};
use crate::harness::client::{Browser, Http2, get};
use crate::harness::http1::Connection;
use crate::harness::idp::CALLBACK;
use crate::harness::origin::{Http2Origin, Origin, WebSocketOrigin};
use crate::harness::{ports, soon};
use futures_util::{SinkExt, StreamExt};
use portcullis::demo::provider::{Client, Provider, ProviderOptions};

#[tokio::test]
async fn an_origin_sees_requests_as_they_were_sent() {
    let origin = Origin::start().await;
    let mut connection = Connection::open(origin.address).await;
    connection
        .send("POST /a%2f?x HTTP/1.1\r\nHoSt: h\r\nX_y: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        .await;
    assert_eq!(connection.response().await.text(), "POST /a%2f?x\n");
    let seen = origin.last();
    assert_eq!(
        (seen.body.as_slice(), seen.head.fields[0].0.as_str(), seen.get("x_y")),
        (&b"abc"[..], "HoSt", Some("1"))
    );
}

#[tokio::test]
async fn a_cut_body_is_told_from_a_whole_one() {
    let origin = Origin::with(|_, mut connection| async move {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
        None
    })
    .await;
    let answer = get(origin.address, "h", "/", &[]).await;
    assert!(answer.truncated);
    assert_eq!(answer.text(), "half");
}

#[tokio::test]
async fn http2_with_trailers_and_websockets_work() {
    let origin = Http2Origin::start().await;
    let client = Http2::open(origin.address).await;
    let answer = client.send(Request::post("http://h/p").body(()).unwrap(), &[b"a", b"bc"], true).await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"abc"[..]));
    assert_eq!(answer.trailers.unwrap()["x-body-bytes"], "3");

    let origin = WebSocketOrigin::start(Some("hello")).await;
    let url = format!("ws://{}/", origin.address);
    let (mut socket, _) = soon("a WebSocket", tokio_tungstenite::connect_async(url)).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), "hello");
    socket.send("x".into()).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), "x");
}

#[tokio::test]
async fn the_browser_logs_in_and_remembers() {
    // A relying party of one line: whatever arrives is a page.
    let site = Origin::start().await;
    let callback = format!("http://localhost:{}{CALLBACK}", site.address.port());
    let client = Client {
        id: "c".to_owned(),
        secret: "s".to_owned(),
        redirect_uris: vec![callback.clone()],
        post_logout_redirect_uris: Vec::new(),
    };
    let provider = Provider::start(ProviderOptions { clients: vec![client], ..ProviderOptions::default() })
        .await
        .unwrap();
    let query = [
        ("client_id", "c"),
        ("response_type", "code"),
        ("scope", "openid"),
        ("redirect_uri", &callback),
        ("state", "a&b"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    let url = url::Url::parse_with_params(&format!("{}/authorize", provider.issuer()), query).unwrap();
    let browser = Browser::new();
    let page = browser.log_in(url.as_str(), "alice").await;
    assert_eq!((page.status, page.url.path()), (200, CALLBACK));
    assert!(page.url.query_pairs().any(|(name, value)| name == "state" && value == "a&b"));
    assert_eq!(browser.cookies("127.0.0.1").len(), 1, "the provider's cookie");
    assert!(browser.cookies("localhost").is_empty());
    assert_eq!(site.last().get("sec-fetch-mode"), Some("navigate"));
    // Logged in at the provider: nothing is asked.
    assert_eq!(browser.clone().open(url.as_str()).await.url.path(), CALLBACK);
    browser.forget("127.0.0.1");
    assert!(browser.open(url.as_str()).await.text.contains("name=\"user\""));
}

#[tokio::test]
async fn certificates_are_usable_and_ports_differ() {
    let pair = Authority::new().issue(&["x.test"]);
    assert!(pair.certificate.contains("BEGIN CERTIFICATE"));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let closes = async { drop(listener.accept().await) };
    let knock = Knock::on("x.test");
    let (knock, ()) = tokio::join!(knock.connect(address), closes);
    assert!(knock.is_err(), "no TLS there");
    assert_ne!(ports::free(), ports::free());
}
