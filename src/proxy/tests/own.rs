//! What is ours: identity headers that no client may send, cookies that no service may see.

use std::sync::Arc;

use super::super::snapshot::Own;
use super::super::testing::{Origin, Setup};
use crate::oidc::{Cookies, OwnCookies};

/// A route without OIDC, beside others that have it.
fn beside_oidc(origin: &Origin) -> Setup {
    let cookies = OwnCookies::of([&Cookies::new("_oidc_", None, None).unwrap()]);
    let own = Own { cookies, headers: vec!["x-auth-email".parse().unwrap()] };
    Setup::to(origin.url()).entry(|entry| entry.own = Arc::new(own))
}

#[tokio::test]
async fn a_service_on_another_route_does_not_get_our_cookies() {
    let proxy = beside_oidc(&Origin::echoing().await).start().await;
    let request = |cookie: &str| format!("GET / HTTP/1.1\r\nHost: a.test\r\nCookie: {cookie}\r\n\r\n");
    let mixed = request("a=1; __Host-_oidc_session=secret; b=2; _oidc_login_x=secret; ; c=");
    let answer = proxy.connect().await.exchange(&mixed).await;
    assert_eq!(answer.seen("Cookie"), Some("a=1; b=2; ; c="));
    let answer = proxy.connect().await.exchange(&request("_oidc_session=secret")).await;
    assert_eq!(answer.seen("Cookie"), None);
    let answer = proxy.connect().await.exchange(&request("a=1; ; b")).await;
    assert_eq!(answer.seen("Cookie"), Some("a=1; ; b"));
}

#[tokio::test]
async fn identity_headers_of_templates_cannot_be_sent_on_any_route() {
    let proxy = beside_oidc(&Origin::echoing().await).start().await;
    let answer = proxy
        .connect()
        .await
        .exchange(
            "GET / HTTP/1.1\r\nHost: a.test\r\nX-Auth-Email: root\r\nx_auth_email: root\r\n\
             X.Auth.Email: root\r\nX-Forwarded-User: root\r\nX_User_Groups: root\r\nX-Other: 1\r\n\r\n",
        )
        .await;
    assert!(!answer.body.contains("root"), "{}", answer.body);
    assert_eq!(answer.seen("X-Other"), Some("1"));
}
