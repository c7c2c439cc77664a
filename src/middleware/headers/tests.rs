#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use pingora::http::ResponseHeader;

use crate::middleware::testing::{Request, chain, refused};

/// The answer to `request` when the service answers with `upstream`.
async fn answer(config: &str, mut request: Request, upstream: &[(&'static str, &str)]) -> ResponseHeader {
    let chain = chain(config);
    request.run(&chain).await;
    request.answer(&chain, upstream)
}

fn value<'a>(response: &'a ResponseHeader, name: &str) -> Option<&'a str> {
    response.headers.get(name).map(|value| value.to_str().unwrap())
}

fn preflight(origin: &str) -> Request {
    Request::new("OPTIONS", "/")
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "PUT")
        .header("Access-Control-Request-Headers", "x-a, x-b")
}

#[tokio::test]
async fn request_headers_are_set_and_removed() {
    let config =
        "headers: {customRequestHeaders: {x-new: '1', X-Old: '', X-Forwarded-For: '', Host: other:8080}}";
    let mut request = Request::get("/")
        .header("Host", "h")
        .header("X-Old", "a")
        .header("x-new", "0")
        .header("X-Forwarded-For", "a");
    request.passes(config).await;
    assert_eq!(request.headers("x-new"), ["1"]);
    assert!(request.headers("x-old").is_empty() && request.headers("x-forwarded-for").is_empty());
    assert_eq!(request.headers("host"), ["other:8080"]);
    assert!(request.state.omit_forwarded_for);
    assert!(request.wire().contains("X-New: 1\r\n"), "{}", request.wire());
}

#[tokio::test]
async fn response_headers_are_set_and_removed() {
    let config = "headers: {customResponseHeaders: {X-New: '1', Server: ''}, frameDeny: true}";
    let response =
        answer(config, Request::get("/"), &[("Server", "x"), ("X-New", "a"), ("X-Frame-Options", "b")]).await;
    assert_eq!((value(&response, "x-new"), value(&response, "server")), (Some("1"), None));
    assert_eq!(value(&response, "x-frame-options"), Some("DENY"));
}

#[tokio::test]
async fn custom_response_headers_win_over_security_headers() {
    let config = "headers: {customResponseHeaders: {X-Frame-Options: SAMEORIGIN}, frameDeny: true}";
    let response = answer(config, Request::get("/"), &[]).await;
    assert_eq!(value(&response, "x-frame-options"), Some("SAMEORIGIN"));
}

#[tokio::test]
async fn a_preflight_is_answered_here() {
    let config = "headers: {accessControlAllowMethods: [GET, PUT], accessControlAllowHeaders: [X-A], \
                  accessControlAllowOriginList: ['https://a'], accessControlMaxAge: 0, addVaryHeader: true}";
    let response = preflight("https://a").answered(config).await;
    assert_eq!((response.status.as_u16(), response.body.len()), (200, 0));
    let header = |name: &str| response.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(header("access-control-allow-methods"), Some("GET,PUT"));
    assert_eq!(header("access-control-allow-headers"), Some("X-A"));
    assert_eq!(header("access-control-allow-origin"), Some("https://a"));
    assert_eq!(header("access-control-max-age"), Some("0"));
    assert_eq!(header("access-control-allow-credentials"), None);

    let response = preflight("https://b").answered(config).await;
    assert!(!response.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_preflight_with_credentials_echoes_instead_of_wildcards() {
    let config = "headers: {accessControlAllowMethods: ['*'], accessControlAllowHeaders: ['*'], \
                  accessControlExposeHeaders: ['*'], accessControlAllowOriginList: ['*'], \
                  accessControlAllowCredentials: true}";
    let response = preflight("https://a").answered(config).await;
    assert_eq!(response.headers["access-control-allow-methods"], "PUT");
    assert_eq!(response.headers["access-control-allow-headers"], "x-a, x-b");
    assert_eq!(response.headers["access-control-allow-origin"], "https://a");
    assert_eq!(response.headers["access-control-allow-credentials"], "true");
    assert!(!response.headers.contains_key("access-control-expose-headers"));
}

#[tokio::test]
async fn what_is_no_preflight_goes_on() {
    let config = "headers: {accessControlAllowOriginList: ['*']}";
    Request::new("OPTIONS", "/").header("Origin", "https://a").passes(config).await;
    Request::get("/")
        .header("Origin", "a")
        .header("Access-Control-Request-Method", "PUT")
        .passes(config)
        .await;
    preflight("https://a").passes("headers: {frameDeny: true}").await;
}

#[tokio::test]
async fn origins() {
    let list = "headers: {accessControlAllowOriginList: ['https://a', '*']}";
    let regex = "headers: {accessControlAllowOriginListRegex: ['^https://[a-z]+\\.example$']}";
    let cases = [
        (list, "https://a", Some("https://a")),
        (list, "https://b", Some("*")),
        (regex, "https://b.example", Some("https://b.example")),
        (regex, "https://b.example.evil", None),
    ];
    for (config, origin, expected) in cases {
        let response = answer(config, Request::get("/").header("Origin", origin), &[]).await;
        assert_eq!(value(&response, "access-control-allow-origin"), expected, "{origin}");
    }
    let response = answer(list, Request::get("/"), &[]).await;
    assert_eq!(value(&response, "access-control-allow-origin"), None);
}

#[tokio::test]
async fn vary_is_appended_once() {
    let config = "headers: {addVaryHeader: true}";
    let response = answer(config, Request::get("/"), &[("Vary", "Accept")]).await;
    assert_eq!(response.headers.get_all("vary").iter().collect::<Vec<_>>(), ["Accept", "Origin"]);
    let response = answer(config, Request::get("/"), &[("Vary", "Origin")]).await;
    assert_eq!(response.headers.get_all("vary").iter().collect::<Vec<_>>(), ["Origin"]);
}

#[tokio::test]
async fn hosts() {
    let config = "headers: {allowedHosts: [A.example, 'b:8080'], hostsProxyHeaders: [X-Host]}";
    Request::get("/").header("Host", "a.EXAMPLE").passes(config).await;
    Request::get("/").header("Host", "b:8080").passes(config).await;
    Request::get("/").header("Host", "c").header("X-Host", "a.example").passes(config).await;
    let response = Request::get("/").header("Host", "c").answered(config).await;
    assert_eq!((response.status.as_u16(), &*response.body), (500, &b"Bad Host"[..]));
    let response = Request::get("/").header("Host", "a.example").header("X-Host", "c").answered(config).await;
    assert_eq!(response.status, 500);
    let development = config.replace("{allowed", "{isDevelopment: true, allowed");
    Request::get("/").header("Host", "c").passes(&development).await;
}

#[tokio::test]
async fn strict_transport_security() {
    let config = "headers: {stsSeconds: 60, stsIncludeSubdomains: true, stsPreload: true, \
                  sslProxyHeaders: {X-Forwarded-Proto: https}}";
    let full = Some("max-age=60; includeSubDomains; preload");
    let sts = async |config: &str, request: Request| {
        value(&answer(config, request, &[]).await, "strict-transport-security").map(str::to_owned)
    };
    assert_eq!(sts(config, Request::get("/").tls()).await.as_deref(), full);
    assert_eq!(sts(config, Request::get("/")).await, None);
    let said = Request::get("/").header("X-Forwarded-Proto", "https");
    assert_eq!(sts(config, said).await.as_deref(), full);
    let forced = config.replace("{stsSeconds", "{forceSTSHeader: true, stsSeconds");
    assert_eq!(sts(&forced, Request::get("/")).await.as_deref(), full);
    let development = config.replace("{stsSeconds", "{isDevelopment: true, stsSeconds");
    assert_eq!(sts(&development, Request::get("/").tls()).await, None);
}

#[tokio::test]
async fn other_security_headers() {
    let config = "headers: {customFrameOptionsValue: SAMEORIGIN, frameDeny: true, contentTypeNosniff: true, \
                  browserXssFilter: true, referrerPolicy: same-origin, permissionsPolicy: 'camera=()', \
                  publicKey: pin, contentSecurityPolicyReportOnly: \"default-src 'self'\"}";
    let response = answer(config, Request::get("/"), &[]).await;
    assert_eq!(value(&response, "x-frame-options"), Some("SAMEORIGIN"));
    assert_eq!(value(&response, "x-content-type-options"), Some("nosniff"));
    assert_eq!(value(&response, "x-xss-protection"), Some("1; mode=block"));
    assert_eq!(value(&response, "referrer-policy"), Some("same-origin"));
    assert_eq!(value(&response, "permissions-policy"), Some("camera=()"));
    assert_eq!(value(&response, "content-security-policy-report-only"), Some("default-src 'self'"));
    assert_eq!(value(&response, "public-key-pins"), None);
    assert_eq!(value(&answer(config, Request::get("/").tls(), &[]).await, "public-key-pins"), Some("pin"));
}

#[tokio::test]
async fn nonces_are_fresh() {
    let config = "headers: {contentSecurityPolicy: 'script-src $NONCE'}";
    let nonce = async || {
        value(&answer(config, Request::get("/"), &[]).await, "content-security-policy").unwrap().to_owned()
    };
    let (first, second) = (nonce().await, nonce().await);
    assert!(first.starts_with("script-src 'nonce-") && first.len() == 43, "{first}");
    assert_ne!(first, second);
}

#[test]
fn refusals() {
    assert!(refused("headers: {stsSeconds: 0}").contains("nothing"));
    assert!(refused("headers: {customRequestHeaders: {'a b': x}}").contains("not a header name"));
    assert!(refused("headers: {customRequestHeaders: {Content-Length: '5'}}").contains("frames"));
    assert!(refused("headers: {customResponseHeaders: {transfer-encoding: ''}}").contains("frames"));
    assert!(refused("headers: {customResponseHeaders: {X: \"a\\nb\"}}").contains("bad value"));
    assert!(refused("headers: {accessControlAllowOriginListRegex: ['(']}").contains("regular expression"));
}
