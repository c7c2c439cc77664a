//! What the service is told about the client, and what a client cannot tell it.

use http::Request;

use crate::harness::client::{Http2, get};
use crate::harness::origin::Origin;
use crate::harness::proxy::{Setup, route};

/// Every header in which a service may be told who is there, in spellings that services take for the same.
const IDENTITY: [&str; 14] = [
    "X-Forwarded-User",
    "x-forwarded-user",
    "X_Forwarded_User",
    "x-forwarded_user",
    "X-User-Groups",
    "X_USER_GROUPS",
    "X-User-Roles",
    "X-User_Roles",
    "X-Auth-Request-User",
    "X_Auth_Request_User",
    "X-Auth-Request-Redirect",
    "X-Auth-Request-Token",
    "X-Portcullis-Jwt-Assertion",
    "X_Portcullis_Jwt_Assertion",
];

const FORWARDED: [(&str, &str); 9] = [
    ("X-Forwarded-For", "203.0.113.7"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.example.test"),
    ("X-Forwarded-Port", "4711"),
    ("X-Forwarded-Prefix", "/evil"),
    ("X-Forwarded-Uri", "/evil"),
    ("X-Forwarded-Method", "EVIL"),
    ("X-Real-Ip", "203.0.113.7"),
    ("Forwarded", "for=203.0.113.7;proto=https"),
];

#[tokio::test]
async fn an_untrusted_peer_says_nothing_about_itself() {
    let origin = Origin::start().await;
    let proxy = Setup::to(origin.address).start().await;
    let mut fields = FORWARDED.to_vec();
    fields.push(("X_Forwarded_For", "203.0.113.7"));
    fields.push(("X_Forwarded_Proto", "https"));
    get(proxy.web(), "app.example.test:81", "/", &fields).await;
    let seen = origin.last();
    assert_eq!(seen.head.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.head.all("x-real-ip"), ["127.0.0.1"]);
    assert_eq!(seen.head.all("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.head.all("x-forwarded-host"), ["app.example.test:81"]);
    assert_eq!(seen.head.all("x-forwarded-port"), ["81"]);
    assert_eq!(seen.head.all("x-forwarded-server").len(), 1);
    for gone in
        ["x-forwarded-prefix", "x-forwarded-uri", "x-forwarded-method", "forwarded", "x_forwarded_for"]
    {
        assert_eq!(seen.get(gone), None, "{gone}");
    }
    assert_eq!(seen.get("host"), Some("app.example.test:81"));
}

#[tokio::test]
async fn a_trusted_peer_is_believed_and_appended() {
    let origin = Origin::start().await;
    let options = "forwardedHeaders:\n  trustedIPs: [127.0.0.1/32]\n";
    let proxy = Setup::to(origin.address).entry_point("web", options).start().await;
    get(proxy.web(), "app.example.test", "/", &FORWARDED).await;
    let seen = origin.last();
    assert_eq!(seen.head.all("x-forwarded-for"), ["203.0.113.7, 127.0.0.1"]);
    assert_eq!(seen.get("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.get("x-forwarded-host"), Some("evil.example.test"));
    assert_eq!(seen.get("x-forwarded-port"), Some("4711"));
    assert_eq!(seen.get("x-real-ip"), Some("203.0.113.7"));
    // Nothing was said about these.
    let empty = [("X-Forwarded-Proto", ""), ("X-Forwarded-Host", "")];
    get(proxy.web(), "app.example.test", "/", &empty).await;
    let seen = origin.last();
    assert_eq!(
        (seen.head.all("x-forwarded-proto"), seen.get("x-forwarded-host")),
        (vec!["http"], Some("app.example.test"))
    );
}

#[tokio::test]
async fn another_trusted_address_is_not_this_one() {
    let origin = Origin::start().await;
    let options = "forwardedHeaders:\n  trustedIPs: [127.0.0.2, 10.0.0.0/8]\n";
    let proxy = Setup::to(origin.address).entry_point("web", options).start().await;
    get(proxy.web(), "app.example.test", "/", &FORWARDED).await;
    assert_eq!(origin.last().head.all("x-forwarded-for"), ["127.0.0.1"]);
}

#[tokio::test]
async fn identity_headers_of_a_client_never_arrive_whatever_their_spelling() {
    let origin = Origin::start().await;
    // Also from a trusted peer: trust is about addresses, never about identity.
    let options = "forwardedHeaders:\n  insecure: true\n";
    let proxy = Setup::to(origin.address).entry_point("web", options).start().await;
    for name in IDENTITY {
        get(proxy.web(), "h", "/", &[(name, "root"), ("X-Kept", "1")]).await;
        let seen = origin.last();
        assert_eq!(seen.get("x-kept"), Some("1"));
        let value = seen.head.fields.iter().find(|(_, value)| value == "root");
        assert_eq!(value, None, "{name} arrived");
    }
    let all: Vec<(&str, &str)> = IDENTITY.iter().map(|name| (*name, "root")).collect();
    get(proxy.web(), "h", "/", &all).await;
    assert!(origin.last().head.fields.iter().all(|(_, value)| value != "root"));
}

#[tokio::test]
async fn identity_headers_of_a_client_never_arrive_over_http2() {
    let origin = Origin::start().await;
    let proxy = Setup::to(origin.address).start().await;
    let client = Http2::open(proxy.web()).await;
    let mut request = Request::get("http://h/");
    for name in IDENTITY {
        request = request.header(name.to_ascii_lowercase(), "root");
    }
    let answer = client.send(request.body(()).unwrap(), &[], false).await;
    assert_eq!(answer.status, 200);
    assert!(origin.last().head.fields.iter().all(|(_, value)| value != "root"), "{:?}", origin.last());
}

#[tokio::test]
async fn hop_by_hop_fields_stay_on_their_hop() {
    let origin = Origin::start().await;
    let proxy = Setup::to(origin.address).start().await;
    let fields = [
        ("Connection", "X-Mine, keep-alive"),
        ("X-Mine", "1"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "gzip"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("X-Kept", "1"),
    ];
    get(proxy.web(), "h", "/", &fields).await;
    let seen = origin.last();
    for gone in ["x-mine", "keep-alive", "te", "proxy-authorization"] {
        assert_eq!(seen.get(gone), None, "{gone}");
    }
    assert_eq!(seen.get("x-kept"), Some("1"));
}

#[tokio::test]
async fn a_client_cannot_make_the_proxy_drop_what_it_says() {
    let origin = Origin::start().await;
    let proxy = Setup::to(origin.address).start().await;
    let fields = [("Connection", "X-Forwarded-For, X-Real-Ip, Host")];
    let answer = get(proxy.web(), "h", "/", &fields).await;
    assert_eq!(answer.status(), 400);
    assert!(origin.requests().is_empty());
    let fields = [("Connection", "X-Real-Ip, X-Forwarded-Port, x-forwarded-server, x-forwarded-PREFIX")];
    assert_eq!(get(proxy.web(), "h", "/", &fields).await.status(), 200);
    let seen = origin.last();
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-port", "80"),
        ("host", "h"),
    ] {
        assert_eq!(seen.get(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn the_host_of_the_server_is_sent_when_asked() {
    let origin = Origin::start().await;
    let text = route("PathPrefix(`/`)", origin.address) + "        passHostHeader: false\n";
    let proxy = Setup::new().dynamic(&text).start().await;
    get(proxy.web(), "outside.example.test", "/", &[]).await;
    let seen = origin.last();
    assert_eq!(seen.get("host"), Some(origin.address.to_string().as_str()));
    assert_eq!(seen.get("x-forwarded-host"), Some("outside.example.test"));
}

#[tokio::test]
async fn other_fields_and_cookies_arrive_unchanged() {
    let origin = Origin::start().await;
    let proxy = Setup::to(origin.address).start().await;
    let cookies = "a=1; b=\"x y\"; ; c=";
    let fields =
        [("Cookie", cookies), ("Accept-Language", "tlh"), ("X-Empty", ""), ("Authorization", "Basic eDp5")];
    get(proxy.web(), "h", "/", &fields).await;
    let seen = origin.last();
    for (name, value) in fields {
        assert_eq!(seen.get(name), Some(value), "{name}");
    }
}
