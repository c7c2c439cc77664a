use http::Method;
use http::header::{ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN};

use super::*;

fn value(text: &str) -> HeaderValue {
    text.parse().unwrap()
}

fn cors(origins: &[&str], credentials: bool) -> SecurityHeaders {
    let mut headers = SecurityHeaders::new();
    headers.set_cors(Cors::new(CorsOptions {
        origins: origins.iter().map(|origin| OriginPattern::parse(origin).unwrap()).collect(),
        methods: value("GET, POST"),
        headers: value("Authorization"),
        credentials,
        max_age: 60,
    }));
    headers
}

fn request(origin: &str) -> HeaderMap {
    HeaderMap::from_iter([(ORIGIN, value(origin))])
}

fn of(headers: &SecurityHeaders, request: &HeaderMap, scheme: Scheme) -> HeaderMap {
    headers.of(request, scheme).map(|(name, value)| (name.name().clone(), value)).collect()
}

#[test]
fn transport_security_only_over_https() {
    let mut headers = SecurityHeaders::new();
    headers.set_transport_security(value("max-age=5"));
    assert!(of(&headers, &HeaderMap::new(), Scheme::Http).is_empty());
    let https = of(&headers, &HeaderMap::new(), Scheme::Https);
    assert_eq!(https[STRICT_TRANSPORT_SECURITY], "max-age=5");
}

#[test]
fn the_last_value_of_a_name_counts_once() {
    let mut headers = SecurityHeaders::new();
    headers.set(X_FRAME_OPTIONS, value("DENY"));
    headers.set(X_FRAME_OPTIONS, value("SAMEORIGIN"));
    let all: Vec<_> = headers.of(&HeaderMap::new(), Scheme::Http).collect();
    assert_eq!(all, [(TitledName::new(X_FRAME_OPTIONS), value("SAMEORIGIN"))]);
}

#[test]
fn any_origin_never_gets_credentials() {
    let headers = cors(&["*", "https://app.example.com"], true);
    let named = of(&headers, &request("https://app.example.com"), Scheme::Http);
    assert_eq!(named[ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example.com");
    assert_eq!(named[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
    let other = of(&headers, &request("https://other.example"), Scheme::Http);
    assert_eq!(other[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    assert!(!other.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
    assert!(of(&cors(&["https://a"], true), &request("https://b"), Scheme::Http).is_empty());
}

#[test]
fn pre_flights_are_told_from_other_options() {
    let headers = cors(&["https://app.example.com"], false);
    let mut asked = request("https://app.example.com");
    assert!(headers.preflight(&Method::OPTIONS, &asked).is_none(), "no method asked for");
    asked.insert("access-control-request-method", value("PUT"));
    assert!(headers.preflight(&Method::GET, &asked).is_none());
    let answer = headers.preflight(&Method::OPTIONS, &asked).unwrap();
    assert_eq!(answer.status, 204);
    assert_eq!(answer.headers["access-control-allow-methods"], "GET, POST");
    assert_eq!(answer.headers["access-control-max-age"], "60");
    asked.insert(ORIGIN, value("https://evil.example"));
    let refused = headers.preflight(&Method::OPTIONS, &asked).unwrap();
    assert!(refused.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
}

#[test]
fn our_own_answers_keep_what_they_say() {
    let mut headers = cors(&["https://app.example.com"], false);
    headers.set(X_FRAME_OPTIONS, value("SAMEORIGIN"));
    headers.set(CONTENT_SECURITY_POLICY, value("default-src 'self'"));
    let mut page = LocalResponse::new(http::StatusCode::OK)
        .with_header(CONTENT_SECURITY_POLICY, value("frame-ancestors https://id.example"));
    headers.complete(&mut page, &request("https://app.example.com"), Scheme::Http);
    assert_eq!(page.headers[CONTENT_SECURITY_POLICY], "frame-ancestors https://id.example");
    assert!(!page.headers.contains_key(X_FRAME_OPTIONS), "the provider may frame it");
    assert_eq!(page.headers[VARY], "Origin");
    let mut redirect = LocalResponse::new(http::StatusCode::FOUND);
    headers.complete(&mut redirect, &HeaderMap::new(), Scheme::Http);
    assert_eq!(redirect.headers[X_FRAME_OPTIONS], "SAMEORIGIN");
    assert!(!headers.lacks_vary(&redirect.headers));
}
