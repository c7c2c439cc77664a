//! `securityHeaders` of the plugin block: on the service's answers and our own, each header once, and CORS.

use crate::harness::client::{get, send};
use crate::harness::idp::{Plan, World};
use crate::harness::origin::Origin;

const APP: &str = "https://app.example.test";

/// A service with headers of its own, some of which belong to the proxy here.
async fn talkative() -> Origin {
    Origin::with(|_, mut connection| async move {
        let answer = "HTTP/1.1 200 OK\r\nServer: inner/1\r\nX-Powered-By: PHP\r\nX-Frame-Options: ALLOWALL\r\nX-Frame-Options: SAMEORIGIN\r\n\
         Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\nVary: Accept\r\nX-Own: 1\r\n\
         Content-Length: 2\r\n\r\nok";
        connection.send(answer).await;
        Some(connection)
    })
    .await
}

async fn world(lines: &[&str]) -> World {
    let mut plan = Plan::new();
    plan.origin = Some(talkative().await);
    for line in lines {
        plan = plan.plugin(line);
    }
    plan.start().await
}

#[tokio::test]
async fn the_plugins_headers_come_without_being_asked_for() {
    let world = world(&[]).await;
    let answer = get(world.proxy.web(), "localhost", "/public/x", &[("Origin", APP)]).await;
    assert_eq!((answer.status(), answer.get("x-own")), (200, Some("1")));
    assert_eq!(answer.head.all("x-frame-options"), ["DENY"]);
    assert_eq!(answer.get("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.get("x-xss-protection"), Some("1; mode=block"));
    assert_eq!(answer.get("referrer-policy"), Some("strict-origin-when-cross-origin"));
    assert_eq!(
        (answer.get("x-powered-by"), answer.get("strict-transport-security")),
        (None, None),
        "plain http"
    );
    assert_ne!(answer.get("server"), Some("inner/1"));
    assert_eq!(answer.get("access-control-allow-origin"), Some("*"), "CORS is off: the service's business");

    let redirect = get(world.proxy.web(), "localhost", "/private", &[]).await;
    assert_eq!(redirect.status(), 302);
    assert_eq!(redirect.head.all("x-frame-options"), ["DENY"]);
    let refused = get(world.proxy.web(), "localhost", "/private", &[("Accept", "application/json")]).await;
    assert_eq!(refused.status(), 401);
    for name in ["x-frame-options", "x-content-type-options", "referrer-policy", "content-security-policy"] {
        assert_eq!(refused.head.all(name).len(), 1, "{name}");
    }
}

#[tokio::test]
async fn each_key_has_its_meaning() {
    let world = world(&[
        "securityHeaders:",
        "  frameOptions: SAMEORIGIN",
        "  xssProtection: ''",
        "  contentSecurityPolicy: default-src 'self'",
        "  permissionsPolicy: camera=()",
        "  crossOriginEmbedderPolicy: require-corp",
        "  crossOriginOpenerPolicy: same-origin",
        "  crossOriginResourcePolicy: same-site",
        "  disableServerHeader: false",
        "  customHeaders: {X-Own: '2', X-New: '3'}",
    ])
    .await;
    let browser = world.browser_of("alice").await;
    let page = browser.open(&world.at("/private")).await;
    for (name, value) in [
        ("x-frame-options", "SAMEORIGIN"),
        ("content-security-policy", "default-src 'self'"),
        ("permissions-policy", "camera=()"),
        ("cross-origin-embedder-policy", "require-corp"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-site"),
        ("server", "inner/1"),
        ("x-own", "2"),
        ("x-new", "3"),
    ] {
        assert_eq!(page.headers.get_all(name).iter().collect::<Vec<_>>(), [value], "{name}");
    }
    assert_eq!((page.header("x-powered-by"), page.header("x-xss-protection")), (None, None));
}

#[tokio::test]
async fn switched_off_they_are_the_services() {
    let world = world(&["securityHeaders: {enabled: false}"]).await;
    let answer = get(world.proxy.web(), "localhost", "/public/x", &[]).await;
    assert_eq!(answer.head.all("x-frame-options"), ["ALLOWALL", "SAMEORIGIN"]);
    assert_eq!(answer.get("x-powered-by"), Some("PHP"));
}

#[tokio::test]
async fn cors_is_answered_here() {
    let world = world(&[
        "securityHeaders:",
        "  corsEnabled: true",
        "  corsAllowedOrigins: [https://app.example.test, 'https://*.example.org']",
        "  corsAllowCredentials: true",
        "  corsAllowedMethods: [GET, PUT]",
        "  corsMaxAge: 60",
    ])
    .await;
    let preflight = async |origin: &str, target: &str| {
        let fields =
            [("Origin", origin), ("Access-Control-Request-Method", "PUT"), ("X-Forwarded-User", "root")];
        send(world.proxy.web(), "OPTIONS", "localhost", target, &fields).await
    };
    for target in ["/private", "/public/x"] {
        let answer = preflight(APP, target).await;
        assert_eq!(answer.status(), 204, "{target}");
        assert_eq!(answer.get("access-control-allow-origin"), Some(APP));
        assert_eq!(answer.get("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.get("access-control-allow-methods"), Some("GET, PUT"));
        assert_eq!(answer.get("access-control-max-age"), Some("60"));
        assert_eq!((answer.get("vary"), answer.get("set-cookie")), (Some("Origin"), None));
    }
    for origin in ["http://app.example.test", "https://app.example.test:444", "https://example.org", "null"] {
        let answer = preflight(origin, "/private").await;
        assert_eq!((answer.status(), answer.get("access-control-allow-origin")), (204, None), "{origin}");
    }
    assert!(world.origin.requests().is_empty(), "no pre-flight reaches the service");

    let allowed =
        get(world.proxy.web(), "localhost", "/public/x", &[("Origin", "https://a.example.org")]).await;
    assert_eq!(allowed.head.all("access-control-allow-origin"), ["https://a.example.org"]);
    assert_eq!(allowed.head.all("vary"), ["Accept", "Origin"]);
    let other = get(world.proxy.web(), "localhost", "/public/x", &[("Origin", "https://evil.test")]).await;
    assert_eq!(other.get("access-control-allow-origin"), None, "not the service's `*` either");
    assert_eq!(other.get("access-control-allow-credentials"), None);
    let fields = [("Origin", APP), ("Sec-Fetch-Mode", "cors")];
    let refused = get(world.proxy.web(), "localhost", "/private", &fields).await;
    assert_eq!((refused.status(), refused.get("access-control-allow-origin")), (401, Some(APP)));
    let options = send(world.proxy.web(), "OPTIONS", "localhost", "/private", &[("Origin", APP)]).await;
    assert_eq!(options.status(), 401, "not a pre-flight");
}
