//! The middleware chain around requests and every kind of answer.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::super::testing::{Origin, Setup};
use crate::config::middleware::{AddPrefix, Headers, Middleware, RedirectScheme};

fn headers(response: &[(&str, &str)], request: &[(&str, &str)]) -> Middleware {
    let map =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let headers = Headers {
        custom_response_headers: map(response),
        custom_request_headers: map(request),
        ..Headers::default()
    };
    Middleware { headers: Some(headers), ..Middleware::default() }
}

fn marked() -> Middleware {
    headers(&[("X-Frame-Options", "DENY")], &[])
}

#[tokio::test]
async fn the_service_sees_what_the_chain_made() {
    let origin = Origin::echoing().await;
    let prefix = AddPrefix { prefix: "/api".into() };
    let chain = [
        headers(&[("X-Frame-Options", "DENY")], &[("X-Added", "1"), ("X-Gone", "")]),
        Middleware { add_prefix: Some(prefix), ..Middleware::default() },
    ];
    let proxy = Setup::to(origin.url()).middlewares(&chain).start().await;
    let answer =
        proxy.connect().await.exchange("GET /x?y HTTP/1.1\r\nHost: a.test\r\nX-Gone: 1\r\n\r\n").await;
    assert!(answer.body.starts_with("GET /api/x?y HTTP/1.1"), "{}", answer.body);
    assert_eq!((answer.seen("X-Added"), answer.seen("X-Gone")), (Some("1"), None));
    assert_eq!(answer.header("X-Frame-Options"), Some("DENY"));
}

#[tokio::test]
async fn answers_of_ours_pass_the_chain_too() {
    let closed: SocketAddr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let failing = Setup::to(format!("http://{closed}")).middlewares(&[marked()]).start().await.get("/").await;
    assert_eq!((failing.status(), failing.header("X-Frame-Options")), (502, Some("DENY")));
    let nobody = Setup::without_servers().middlewares(&[marked()]).start().await.get("/").await;
    assert_eq!((nobody.status(), nobody.header("X-Frame-Options")), (503, Some("DENY")));
    let redirect = RedirectScheme { scheme: "https".into(), ..RedirectScheme::default() };
    let redirect = Middleware { redirect_scheme: Some(redirect), ..Middleware::default() };
    let proxy = Setup::without_servers().middlewares(&[marked(), redirect]).start().await;
    let moved = proxy.get("/x").await;
    assert_eq!((moved.status(), moved.header("X-Frame-Options")), (302, Some("DENY")));
    assert_eq!(moved.header("location"), Some("https://a.test/x"));
}

#[tokio::test]
async fn answers_before_the_chain_do_not_pass_it() {
    let proxy = Setup::without_servers().middlewares(&[marked()]).start().await;
    assert_eq!(proxy.get("/nowhere").await.header("X-Frame-Options"), None);
}

#[tokio::test]
async fn a_middleware_can_keep_the_client_out_of_forwarded_for() {
    let origin = Origin::echoing().await;
    let chain = [headers(&[], &[("X-Forwarded-For", "")])];
    let answer = Setup::to(origin.url()).middlewares(&chain).start().await.get("/").await;
    assert_eq!(answer.seen("X-Forwarded-For"), None);
}

#[tokio::test]
async fn a_middleware_can_rename_the_host() {
    let origin = Origin::echoing().await;
    let chain = [headers(&[], &[("Host", "inner.test")])];
    let answer = Setup::to(origin.url()).middlewares(&chain).start().await.get("/").await;
    assert_eq!((answer.seen("Host"), answer.seen("X-Forwarded-Host")), (Some("inner.test"), Some("a.test")));
}
