//! Who is sent to log in, who is told 401, and who passes without.

use std::time::{Duration, Instant};

use url::Url;

use crate::harness::client::{get, send};
use crate::harness::idp::{CALLBACK, Plan, SECRET, World, dynamic};
use crate::harness::{eventually, within};

async fn ask(
    world: &World,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
) -> (u16, Vec<String>, String) {
    let answer = send(world.proxy.web(), method, "localhost", target, fields).await;
    let cookies = answer.head.all("set-cookie").into_iter().map(str::to_owned).collect();
    (answer.status(), cookies, answer.text())
}

#[tokio::test]
async fn navigations_are_sent_to_the_provider() {
    let world = World::start().await;
    let navigate =
        [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Accept", "application/json")];
    for fields in [&navigate[..], &navigate[..1], &[("Accept", "text/html")], &[("Accept", "*/*")], &[]] {
        let answer = get(world.proxy.web(), "localhost", "/private", fields).await;
        assert_eq!(answer.status(), 302, "{fields:?}");
        assert!(answer.get("location").unwrap().starts_with(&world.idp.issuer()), "{answer:?}");
        assert_eq!(answer.get("cache-control"), Some("no-store"));
    }
    assert!(world.origin.requests().is_empty());
}

/// Each of these once opened, or would open, a door somewhere: the verdict may not hang on any of them.
#[tokio::test]
async fn what_is_no_navigation_gets_401_json_and_no_login_state() {
    let world = World::start().await;
    for (method, fields) in [
        ("GET", &[("Sec-Fetch-Mode", "cors"), ("Accept", "text/html")][..]),
        ("GET", &[("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")]),
        ("GET", &[("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")]),
        ("GET", &[("X-Requested-With", "XMLHttpRequest")]),
        ("GET", &[("Accept", "application/json")]),
        ("GET", &[("Accept", "image/avif,image/webp,*/*;q=0.8"), ("Sec-Fetch-Mode", "no-cors")]),
        ("GET", &[("Accept", "text/event-stream")]),
        ("GET", &[("Accept", "text/event-stream, text/html")]),
        ("GET", &[("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-Fetch-Mode", "websocket")]),
        ("GET", &[("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]),
        ("POST", &[("Content-Length", "0")]),
        ("POST", &[("Accept", "*/*"), ("Content-Length", "0")]),
        ("PUT", &[("Content-Length", "0")]),
        ("DELETE", &[]),
        ("OPTIONS", &[("Origin", "https://evil.test"), ("Access-Control-Request-Method", "GET")]),
        ("OPTIONS", &[]),
    ] {
        let (status, cookies, text) = ask(&world, method, "/private", fields).await;
        assert_eq!(status, 401, "{method} {fields:?}");
        assert!(cookies.is_empty(), "{method} {fields:?} {cookies:?}");
        let json: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{fields:?}: {text}"));
        assert_eq!(json["status_code"], 401, "{json}");
        assert!(json["error"].is_string() && json["error_description"].is_string(), "{json}");
    }
    let form: &[(&str, &str)] = &[("Sec-Fetch-Mode", "navigate"), ("Content-Length", "0")];
    let (status, cookies, text) = ask(&world, "POST", "/private", form).await;
    assert!(status == 401 && cookies.is_empty() && text.contains("was not taken"), "{status} {text}");
    // The parts of one page.
    let image = [("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")];
    for part in 0..100 {
        let (status, cookies, _) = ask(&world, "GET", &format!("/img/{part}.png"), &image).await;
        assert_eq!((status, cookies.len()), (401, 0), "{part}: {cookies:?}");
    }
    assert!(world.origin.requests().is_empty(), "{:?}", world.origin.requests());
}

/// `Upgrade` is about one connection, and counts only where `Connection` says that it is about this one (RFC 9110,
/// section 7.8). What is ignored and not passed on does not make another request of it.
#[tokio::test]
async fn an_upgrade_that_is_ignored_is_no_reason_to_refuse() {
    let world = World::start().await;
    for fields in [&[("Upgrade", "websocket")][..], &[("Connection", "Upgrade"), ("Upgrade", "h2c")]] {
        let navigates = [&[("Accept", "text/html")], fields].concat();
        assert_eq!(ask(&world, "GET", "/private", &navigates).await.0, 302, "{fields:?}");
        let calls = [&[("Sec-Fetch-Mode", "cors")], fields].concat();
        assert_eq!(ask(&world, "GET", "/private", &calls).await.0, 401, "{fields:?}");
        assert_eq!(ask(&world, "GET", "/public", fields).await.0, 200, "{fields:?}");
        assert_eq!(world.origin.last().get("upgrade"), None, "{fields:?}");
    }
}

#[tokio::test]
async fn headers_and_queries_of_a_client_open_nothing() {
    let world = World::start().await;
    // What load balancers and monitors call themselves.
    for agent in [
        "kube-probe/1.30",
        "GoogleHC/1.0",
        "ELB-HealthChecker/2.0",
        "Amazon-Route53-Health-Check-Service",
        "Consul Health Check",
        "HAProxy",
        "Prometheus/3.5.0",
        "UptimeRobot/2.0",
        "Edge Health Probe",
    ] {
        for (accept, status) in [("text/html", 302), ("application/json", 401)] {
            let fields = [("User-Agent", agent), ("Accept", accept)];
            let answer = get(world.proxy.web(), "localhost", "/private", &fields).await;
            assert_eq!(answer.status(), status, "{agent}");
        }
    }
    for fields in [
        ("X-Forwarded-Uri", "/public"),
        ("X-Original-URI", "/public"),
        ("X-Original-URL", "/public"),
        ("X-Rewrite-URL", "/public"),
        ("X-HTTP-Method-Override", "GET"),
        ("Authorization", "Bearer junk"),
        ("Authorization", "Basic junk"),
        ("X-Forwarded-User", "alice@example.test"),
    ] {
        let answer = get(world.proxy.web(), "localhost", "/private", &[fields]).await;
        assert!([302, 401].contains(&answer.status()), "{fields:?}: {}", answer.status());
    }
    for target in [
        "/private?x=/public",
        "/private?/public",
        "/private?access_token=junk",
        "/publicsecret",
        "/public.css",
        "/public/../private",
        "/public/%2e%2e/private",
        "/public/..%2fprivate",
        "/public%2f..%2fprivate",
        "/public/%2e%2e%2Fprivate",
        "/public/..;/private",
        "/public/..%5cprivate",
        "/public\\..\\private",
        "/public/..\\private",
        "/public/%252e%252e/private",
        "//private",
    ] {
        let answer = get(world.proxy.web(), "localhost", target, &[]).await;
        assert!([302, 400, 401].contains(&answer.status()), "{target}: {}", answer.status());
    }
    assert!(world.origin.requests().is_empty(), "{:?}", world.origin.requests());
}

#[tokio::test]
async fn excluded_paths_pass_without_identity() {
    let world = World::start().await;
    for target in ["/public", "/public/", "/public/a?b=c"] {
        let (status, cookies, _) = ask(&world, "GET", target, &[("X-Forwarded-User", "root")]).await;
        assert_eq!((status, cookies.len()), (200, 0), "{target}");
        assert_eq!(world.origin.last().target, target);
        assert_eq!(world.origin.last().get("x-forwarded-user"), None);
    }
    let browser = world.browser_of("alice").await;
    browser.open(&world.at("/public/x")).await;
    assert_eq!(world.origin.last().get("x-forwarded-user"), None);
    assert_eq!(world.origin.last().get("cookie"), None, "our cookies stay here");
}

/// A service may be behind a router with OIDC and one without: on the second nobody may say who the user is, and
/// the session is none of the service's business.
#[tokio::test]
async fn a_route_without_oidc_takes_no_identity_and_gives_no_session() {
    let mut plan = Plan::new().plugin("headers: [{name: X-Auth-Email, value: \"{{`{{.Claims.email}}`}}\"}]");
    plan.routers = "    open: {rule: PathPrefix(`/open`), service: s, priority: 99}".to_owned();
    let world = plan.start().await;
    let browser = world.browser_of("alice").await;
    browser.open(&world.at("/private")).await;
    assert!(world.origin.last().get("x-auth-email").is_some_and(|email| email.contains("alice")));
    browser.open(&world.at("/open")).await;
    assert_eq!((world.origin.last().get("cookie"), world.origin.last().get("x-auth-email")), (None, None));
    let forged = [("X-Auth-Email", "root"), ("x_auth_email", "root"), ("X-User-Groups", "root")];
    assert_eq!(get(world.proxy.web(), "localhost", "/open", &forged).await.status(), 200);
    for name in ["x-auth-email", "x_auth_email", "x-user-groups"] {
        assert_eq!(world.origin.last().get(name), None, "{name}");
    }
}

/// Neither does one that lasts while the proxy starts.
#[tokio::test]
async fn an_outage_after_the_login_disturbs_no_session() {
    let mut world = World::start().await;
    let browser = world.browser_of("alice").await;
    world.idp.go_offline().await;
    assert!(World::is_from_service(&browser.open(&world.at("/private")).await));
    world.proxy.kill_and_restart().await;
    assert!(World::is_from_service(&browser.open(&world.at("/private")).await));
    assert_eq!(get(world.proxy.web(), "localhost", "/public", &[]).await.status(), 200);
    eventually("a login is told to wait", || async {
        let answer = get(world.proxy.web(), "localhost", "/private", &[]).await;
        (answer.status(), answer.get("retry-after").is_some()) == (503, true)
    })
    .await;
    within("503 is said at once", Duration::from_secs(1), async || {
        let start = Instant::now();
        assert_eq!(get(world.proxy.web(), "localhost", "/private", &[]).await.status(), 503);
        start.elapsed()
    })
    .await;
    world.idp.go_online().await.unwrap();
    world.login_works().await;
    assert!(World::is_from_service(&world.browser_of("bob").await.open(&world.at("/x")).await));
}

#[tokio::test]
async fn a_host_spelling_changes_nothing() {
    let world = World::start().await;
    for host in ["LOCALHOST", "localhost.", "127.0.0.1"] {
        let answer = get(world.proxy.web(), host, "/private", &[]).await;
        assert_eq!(answer.status(), 302, "{host}");
    }
    assert!(world.origin.requests().is_empty());
}

/// The redirect target of the login must not be made of what an untrusted client says about the outside.
#[tokio::test]
async fn the_callback_address_is_the_real_one() {
    let world = World::start().await;
    let fields = [
        ("X-Forwarded-Host", "evil.example.test"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Port", "444"),
        ("X-Forwarded-Prefix", "/evil"),
        ("Forwarded", "host=evil.example.test;proto=https"),
    ];
    let host = format!("localhost:{}", world.proxy.web().port());
    let answer = get(world.proxy.web(), &host, "/private", &fields).await;
    let [attempt] = answer.head.all("set-cookie").try_into().unwrap();
    let attempt = attempt.to_ascii_lowercase();
    for word in ["__host-", "__secure-", "secure", "domain", "evil"] {
        assert!(!attempt.contains(word), "{word}: {attempt}");
    }
    assert!(attempt.contains("; path=/;"), "{attempt}");
    let location = Url::parse(answer.get("location").unwrap()).unwrap();
    let redirect_uri = location.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1;
    assert_eq!(redirect_uri, world.at(CALLBACK));
}

/// An unreadable authority: nobody may pass, and nothing else is disturbed.
#[tokio::test]
async fn a_broken_policy_closes_its_routes() {
    let world = World::start().await;
    let text = dynamic(&world.idp.issuer(), &world.origin, "caCertPath: /no/such/file.pem", OPEN);
    world.proxy.change(&text);
    eventually("the open route appears", || async {
        get(world.proxy.web(), "localhost", "/open", &[]).await.status() == 200
    })
    .await;
    let answer = get(world.proxy.web(), "localhost", "/private", &[]).await;
    assert_eq!(answer.status(), 404);
    assert!(world.origin.requests().iter().all(|seen| seen.target == "/open"));
    assert!(world.proxy.log().contains("/no/such/file.pem"), "the file is not named in the log");
}

const OPEN: &str = "    open: {rule: PathPrefix(`/open`), service: s, priority: 99}";

/// Whatever is broken in it, the change is refused and what was there before stays, or the route is closed.
#[tokio::test]
async fn n14_no_broken_configuration_opens_a_route() {
    let world = World::start().await;
    let good = dynamic(&world.idp.issuer(), &world.origin, "", OPEN);
    let secret = format!("          clientSecret: \"{SECRET}\"\n");
    let guard = "middlewares: [login]";
    let line = |line: &str| format!("{good}          {line}\n");
    for (what, text, says) in [
        ("no secret", good.replace(&secret, ""), "clientSecret"),
        (
            "an empty key",
            good.replace("only-for-tests-0123456789abcdef-0123456789", ""),
            "sessionEncryptionKey",
        ),
        ("an operator that does not exist", line("claims: Almost(`groups`, `ops`)"), "Almost"),
        ("half an expression", line("claims: Equals(`groups`, `ops`"), "claims"),
        ("an authority that is none", line("caCertPEM: nonsense"), "caCertPEM"),
        (
            "a bad regular expression",
            good.replace(guard, "middlewares: [again, login]")
                + "    again: {redirectRegex: {regex: \"(\", replacement: x}}\n",
            "unclosed group",
        ),
        ("a middleware that does not exist", good.replace(guard, "middlewares: [logim]"), "logim"),
        (
            "a rule that does not end",
            good.replace("rule: PathPrefix(`/`)", "rule: PathPrefix(`/`"),
            "routers.private.rule",
        ),
    ] {
        assert_ne!(text, good, "{what}");
        let before = world.proxy.log().len();
        world.proxy.change(&text);
        let told = || world.proxy.log().get(before..).is_some_and(|log| log.contains(says));
        eventually(&format!("{what} is told"), || async { told() }).await;
        for (accept, statuses) in [("text/html", [302, 404, 503]), ("application/json", [401, 404, 503])] {
            let answer = get(world.proxy.web(), "localhost", "/private", &[("Accept", accept)]).await;
            assert!(statuses.contains(&answer.status()), "{what}: {}", answer.status());
        }
        world.proxy.change(&good);
        eventually("it is mended", || async {
            get(world.proxy.web(), "localhost", "/private", &[]).await.status() == 302
        })
        .await;
    }
    assert!(world.origin.requests().is_empty(), "{:?}", world.origin.requests());
}

#[tokio::test]
async fn options_that_would_be_forgotten_are_refused() {
    let world = World::start().await;
    for (line, says) in
        [("alowedUsers: [bob]", "allowedUsers"), ("sessionEncryptionKey2: x", "sessionEncryptionKey")]
    {
        let before = world.proxy.metric("traefik_config_reloads_total", &[]).await;
        world.proxy.change(&dynamic(&world.idp.issuer(), &world.origin, line, ""));
        eventually("the change is seen", || async {
            world.proxy.metric("traefik_config_reloads_total", &[]).await > before
        })
        .await;
        assert!(world.proxy.log().contains(says), "{line}");
    }
    assert!(World::is_from_service(&world.browser_of("alice").await.open(&world.at("/x")).await));
}
