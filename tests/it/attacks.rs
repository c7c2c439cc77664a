//! Attacks on the wire, by the numbers of `docs/attacks.md`, and the proof that each number there has its test.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use http::Request;
use url::Url;

use crate::harness::client::{Browser, Http2, get, send};
use crate::harness::http1::Connection;
use crate::harness::idp::{CALLBACK, LOGOUT, Plan, World};
use crate::harness::origin::Origin;
use crate::harness::proxy::{Setup, route};

const IDENTITY: [&str; 9] = [
    "X-Forwarded-User",
    "x_forwarded_user",
    "X-Forwarded_User",
    "X-User-Groups",
    "X_User_Groups",
    "X-User-Roles",
    "X-Auth-Request-User",
    "X-Auth-Request-Token",
    "X_Auth_Request_Redirect",
];

/// Of a template, of a claim that nobody has, of one that not everybody has, of the assertion.
const CONFIGURED: [&str; 8] = [
    "X-Auth-Email",
    "x_auth_email",
    "X-Team",
    "X_Team",
    "X-Mail",
    "x_mail",
    "X-Portcullis-Jwt-Assertion",
    "X_Portcullis-Jwt_Assertion",
];

/// Whether `text` has a test function `name`.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let of_function =
        |line: &&str| ["fn ", "async fn "].iter().any(|kind| line.starts_with(&format!("{kind}{name}(")));
    lines.iter().position(of_function).is_some_and(|at| {
        lines[at.saturating_sub(6)..at].iter().any(|line| line.starts_with("#[") && line.contains("test"))
    })
}

#[test]
fn every_attack_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("docs/attacks.md")).unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| N"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let numbers: Vec<String> = rows.iter().map(|row| row[0].to_owned()).collect();
    assert_eq!(numbers, (1..=93).map(|number| format!("N{number}")).collect::<Vec<_>>());
    let mut faults = String::new();
    for row in &rows {
        let [number, what, proof] = row[..] else { panic!("{row:?}: not three columns") };
        assert!(!what.is_empty(), "{number}");
        let tests: Vec<&str> = proof.split('`').skip(1).step_by(2).filter(|t| t.contains("::")).collect();
        if tests.is_empty() && !proof.starts_with("Cannot apply: ") {
            let _ = writeln!(faults, "{number}: neither a test nor a reason");
        }
        for test in tests {
            let (file, name) = test.rsplit_once("::").unwrap();
            let text = fs::read_to_string(root.join(file)).unwrap_or_default();
            if !has_test(&text, name) {
                let _ = writeln!(faults, "{number}: no test {name} in {file}");
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

/// One request as it is written; none if the connection is closed without an answer.
async fn raw(world: &World, text: &str) -> Option<u16> {
    let mut connection = Connection::open(world.proxy.web()).await;
    connection.send(text).await;
    crate::harness::soon("an answer", connection.response_to(false)).await.map(|answer| answer.status())
}

fn cookie(browser: &Browser) -> String {
    let cookies = browser.cookies("localhost").into_iter();
    cookies.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn n04_fragments_in_a_target_open_nothing() {
    let world = World::start().await;
    for target in [
        "/private#/public",
        "/private%23/public",
        "/private#/../public/x",
        "/public%23/../private",
        "/public#/../private",
        "/public#/..%2fprivate",
        "#/public",
    ] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let status = raw(&world, &text).await;
        assert!(matches!(status, None | Some(302 | 400 | 401)), "{target}: {status:?}");
    }
    assert!(world.origin.requests().is_empty(), "{:?}", world.origin.requests());
}

/// What a router opens for one method it opens for no other, however that is spelled; and names of fields mean the same in
/// every case.
#[tokio::test]
async fn n07_a_rule_about_the_method_means_that_method() {
    let mut plan = Plan::new();
    plan.routers =
        "    open: {rule: \"Method(`GET`) && PathPrefix(`/open`)\", service: s, priority: 99}".to_owned();
    let world = plan.start().await;
    assert_eq!(get(world.proxy.web(), "localhost", "/open", &[]).await.status(), 200);
    for method in ["POST", "get", "Get", "GETT", "HEAD"] {
        let fields =
            "Host: localhost\r\nX-HTTP-Method-Override: GET\r\nContent-Length: 0\r\nConnection: close";
        let mut connection = Connection::open(world.proxy.web()).await;
        connection.send(format!("{method} /open HTTP/1.1\r\n{fields}\r\n\r\n")).await;
        let answer = crate::harness::soon("an answer", connection.response_to(method == "HEAD")).await;
        let status = answer.map(|answer| answer.status());
        assert!(matches!(status, None | Some(302 | 400 | 401 | 405 | 501)), "{method}: {status:?}");
    }
    let request = Request::post("http://localhost/open").header("x-http-method-override", "GET");
    let answer = Http2::open(world.proxy.web()).await.send(request.body(()).unwrap(), &[], false).await;
    assert_eq!((answer.status, world.origin.requests().len()), (401, 1), "over HTTP/2");

    let session = cookie(&world.browser_of("alice").await);
    for (fields, status) in [
        ([("sec-fetch-mode", "cors"), ("accept", "text/html")], 401),
        ([("x-requested-with", "XMLHttpRequest"), ("accept", "text/html")], 401),
        ([("accept", "text/html"), ("x-other", "1")], 302),
        ([("cookie", &*session), ("accept", "text/html")], 200),
        ([("authorization", "Bearer junk"), ("accept", "application/json")], 401),
    ] {
        for spell in [str::to_ascii_uppercase as fn(&str) -> String, str::to_ascii_lowercase, capitals] {
            let names = fields.map(|(name, _)| spell(name));
            let spelled: Vec<_> =
                names.iter().zip(fields).map(|(name, (_, value))| (&**name, value)).collect();
            let answer = get(world.proxy.web(), "localhost", "/private", &spelled).await;
            assert_eq!(answer.status(), status, "{spelled:?}");
        }
        let mut request = Request::get("http://localhost/private");
        for (name, value) in fields {
            request = request.header(name, value);
        }
        let answer = Http2::open(world.proxy.web()).await.send(request.body(()).unwrap(), &[], false).await;
        assert_eq!(answer.status, status, "{fields:?} over HTTP/2");
    }
}

/// `aCcEpT`
fn capitals(name: &str) -> String {
    let spell = |(at, c): (usize, char)| if at % 2 == 0 { c } else { c.to_ascii_uppercase() };
    name.chars().enumerate().map(spell).collect()
}

#[tokio::test]
async fn n07_the_case_of_methods_and_fields_opens_nothing() {
    let world = World::start().await;
    for method in ["get", "GeT", "HEAD", "POST", "TRACE", "PROPFIND", "FOO", "OPTIONS"] {
        let head = "Host: localhost\r\nx-http-method-override: GET\r\nX-METHOD-OVERRIDE: OPTIONS\r\n";
        let text =
            format!("{method} /private HTTP/1.1\r\n{head}Content-Length: 0\r\nConnection: close\r\n\r\n");
        let mut connection = Connection::open(world.proxy.web()).await;
        connection.send(text).await;
        let answer = crate::harness::soon("an answer", connection.response_to(method == "HEAD")).await;
        let status = answer.map(|answer| answer.status());
        assert!(matches!(status, None | Some(302 | 400 | 401 | 405 | 501)), "{method}: {status:?}");
    }
    for method in ["GET", "POST", "PROPFIND"] {
        let request = Request::builder().method(method).uri("http://localhost/private");
        let request = request.header("x-http-method-override", "GET").body(()).unwrap();
        let answer = Http2::open(world.proxy.web()).await.send(request, &[], false).await;
        assert!([302, 401].contains(&answer.status), "{method}: {}", answer.status);
    }
    assert!(world.origin.requests().is_empty(), "{:?}", world.origin.requests());
}

#[tokio::test]
async fn n12_odd_bodies_at_our_own_addresses_are_refused() {
    let plan = Plan::new().plugin("enableBackchannelLogout: true").plugin("sessionEndpoints: auto");
    let world = plan.plugin("backchannelLogoutURL: /oauth2/backchannel").start().await;
    let large = "x".repeat(100_000);
    for path in [CALLBACK, "/oauth2/backchannel", "/oauth2/refresh", "/oauth2/session", LOGOUT] {
        for (kind, body) in [
            ("", ""),
            ("application/x-www-form-urlencoded", ""),
            ("application/json", "{\"logout_token\":1}"),
            ("application/x-www-form-urlencoded", "logout_token=a&logout_token=b"),
            ("application/x-www-form-urlencoded", "logout_token=%00%ff"),
            ("application/x-www-form-urlencoded", large.as_str()),
        ] {
            let text = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{body}",
                body.len()
            );
            let status = raw(&world, &text).await.unwrap_or_else(|| panic!("{path} {kind}: no answer"));
            // Anybody may log out who is nobody.
            let expected = if path == LOGOUT { 300..400 } else { 400..500 };
            assert!(expected.contains(&status), "{path} {kind} {:.20}: {status}", body);
            if path == "/oauth2/backchannel" && body.len() > 64 * 1024 {
                assert_eq!(status, 413);
            }
        }
    }
    assert!(world.origin.requests().is_empty());
    assert_eq!(world.proxy.metric("portcullis_oidc_sessions", &[]).await, 0.0);
    assert!(World::is_from_service(&world.browser_of("alice").await.open(&world.at("/x")).await));
}

#[tokio::test]
async fn n16_identity_that_a_client_sends_beside_a_session_does_not_arrive() {
    let line = "headers: [{name: X-Auth-Email, value: \"{{`{{.Claims.email}}`}}\"}]";
    let plan = Plan::new().plugin(line).plugin("forwardHeaders: {X-Team: team, X-Mail: email}");
    let world = plan
        .plugin("identityAssertion: {issuer: https://edge.test, audience: [https://app.test]}")
        .start()
        .await;
    for (user, name) in [("alice", "alice@example.test"), ("nomail", "nomail")] {
        let browser = world.browser_of(user).await;
        let cookie = cookie(&browser);
        let mut fields: Vec<(&str, &str)> = IDENTITY.iter().map(|name| (*name, "root")).collect();
        fields.extend(CONFIGURED.map(|name| (name, "root")));
        fields.push(("Cookie", &cookie));
        assert_eq!(get(world.proxy.web(), "localhost", "/x", &fields).await.status(), 200);
        let seen = world.origin.last();
        assert_eq!(seen.head.all("x-forwarded-user"), [name]);
        assert!(seen.head.fields.iter().all(|(_, value)| value != "root"), "{seen:?}");

        let mut request = Request::get("http://localhost/x");
        for (name, value) in &fields {
            request = request.header(name.to_ascii_lowercase(), *value);
        }
        let http2 = Http2::open(world.proxy.web()).await;
        assert_eq!(http2.send(request.body(()).unwrap(), &[], false).await.status, 200);
        let seen = world.origin.last();
        assert_eq!(seen.head.all("x-forwarded-user"), [name]);
        assert!(seen.head.fields.iter().all(|(_, value)| value != "root"), "{seen:?}");
    }
}

#[tokio::test]
async fn n17_folded_and_spaced_fields_carry_no_identity() {
    let world = World::start().await;
    for field in [
        "X-Kept: 1\r\n X-Forwarded-User: root",
        "X-Kept: 1\r\n\tX-Forwarded-User: root",
        "X-Forwarded-User : root",
        "X-Forwarded-User\t: root",
        " X-Forwarded-User: root",
        "X-Forwarded-User:\r\n root",
        "X-Forwarded-User\0: root",
        "X-Kept: 1\rX-Forwarded-User: root",
        "X-Kept: 1\nX-Forwarded-User: root",
    ] {
        let text =
            format!("GET /public/x HTTP/1.1\r\nHost: localhost\r\n{field}\r\nConnection: close\r\n\r\n");
        let before = world.origin.requests().len();
        let status = raw(&world, &text).await;
        assert!(matches!(status, None | Some(200 | 400)), "{field:?}: {status:?}");
        for seen in world.origin.requests().iter().skip(before) {
            let told = seen.head.fields.iter().any(|(name, value)| {
                let name = name.to_ascii_lowercase().replace('_', "-");
                name.trim() == "x-forwarded-user" || value.contains('\r') || value.contains('\n')
            });
            assert!(!told, "{field:?}: {seen:?}");
        }
    }
}

/// Whatever the list names, in whatever case: what we say arrives, and what the client says under those names does not.
#[tokio::test]
async fn n19_the_list_of_the_connection_removes_none_of_our_fields() {
    let world = World::start().await;
    let cookie = cookie(&world.browser_of("alice").await);
    for list in [
        "close, X-FORWARDED-USER, x-user-groups, X-User-Roles, x-auth-request-user, Authorization, X-Mine",
        "X-Forwarded-Port, x-real-ip, X-Forwarded-Server, x-mine, close",
        "x_forwarded_user, X-Auth-Request-Redirect, keep-alive, X-MINE",
    ] {
        let fields = [
            ("Connection", list),
            ("X-Mine", "1"),
            ("X-Forwarded-User", "root"),
            ("Authorization", "Basic cm9vdDpyb290"),
            ("Cookie", &*cookie),
        ];
        let answer = get(world.proxy.web(), "localhost", "/x", &fields).await;
        assert_eq!(answer.status(), 200, "{list}: {answer:?}");
        let seen = world.origin.last();
        for (name, value) in [
            ("x-forwarded-user", "alice@example.test"),
            ("x-auth-request-user", "alice@example.test"),
            ("x-user-groups", "dev/backend,ops"),
            ("x-user-roles", "admin,user"),
            ("x-auth-request-redirect", "/x"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "localhost"),
            ("host", "localhost"),
        ] {
            assert_eq!(seen.head.all(name), [value], "{list}: {name}");
        }
        assert_eq!((seen.get("x-mine"), seen.get("authorization")), (None, None), "{list}");
    }
    // What routes a request is not even asked for; a list that names the cookie takes it away, and then nobody is
    // logged in.
    let before = world.origin.requests().len();
    for (list, status) in [
        ("Cookie", 302),
        ("X-Forwarded-For", 400),
        ("close, x-forwarded-PROTO", 400),
        ("X-FORWARDED-HOST, close", 400),
        ("Host", 400),
    ] {
        let fields = [("Connection", list), ("Cookie", &*cookie)];
        let answer = get(world.proxy.web(), "localhost", "/x", &fields).await;
        assert_eq!((answer.status(), world.origin.requests().len()), (status, before), "{list}: {answer:?}");
    }
}

#[tokio::test]
async fn n20_a_logout_leads_to_the_real_host() {
    let world = World::start().await;
    let cookie = cookie(&world.browser_of("alice").await);
    let host = format!("localhost:{}", world.proxy.web().port());
    let fields = [
        ("X-Forwarded-Host", "evil.example.test"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X-Forwarded-Port", "444"),
        ("Forwarded", "host=evil.example.test;proto=https"),
        ("Cookie", &*cookie),
    ];
    let answer = send(world.proxy.web(), "GET", &host, LOGOUT, &fields).await;
    let location = Url::parse(answer.get("location").unwrap()).unwrap();
    let landing = location.query_pairs().find(|(name, _)| name == "post_logout_redirect_uri").unwrap().1;
    assert_eq!(landing, world.at("/public/bye"));
    for line in answer.head.all("set-cookie") {
        assert!(!line.to_ascii_lowercase().contains("domain=") && !line.contains("__Host-"), "{line}");
    }
}

#[tokio::test]
async fn n27_odd_requests_at_the_callback_end_no_process() {
    let world = World::start().await;
    // As Go answers: nothing is tunnelled, and `*` asks about the server as a whole.
    for (line, expected) in [
        ("CONNECT localhost:443", &[501][..]),
        ("CONNECT /oauth2/callback", &[400, 501]),
        ("OPTIONS *", &[200]),
        ("OPTIONS /oauth2/callback", &[405]),
        ("POST /oauth2/callback", &[405]),
    ] {
        let fields = "Host: localhost\r\nContent-Length: 0\r\nConnection: close";
        let status = raw(&world, &format!("{line} HTTP/1.1\r\n{fields}\r\n\r\n")).await;
        assert!(status.is_some_and(|status| expected.contains(&status)), "{line}: {status:?}");
    }
    for query in ["", "?", "?code", "?code=x", "?state=", "?state", "?&&&", "?=%", "?code=%ff&state=%00"] {
        let answer = get(world.proxy.web(), "localhost", &format!("{CALLBACK}{query}"), &[]).await;
        assert_eq!(answer.status(), 400, "{query}");
    }
    assert_eq!((world.grants("authorization_code"), world.origin.requests().len()), (0, 0));
    world.browser_of("alice").await;
}

/// No address takes a target from a parameter; what is sent as one stays in the deep link and leads nowhere.
#[tokio::test]
async fn n43_no_parameter_redirects() {
    let world = World::start().await;
    let host = format!("localhost:{}", world.proxy.web().port());
    let names = ["rd", "next", "redirect", "redirect_uri", "redirect_url", "post_logout_redirect_uri", "url"];
    for evil in [
        "https%3A%2F%2Fevil.test",
        "//evil.test",
        "%2F%2Fevil.test",
        "/%5Cevil.test",
        "%5C%5Cevil.test",
        "/%09/evil.test",
        "%0d%0aLocation:%20https:%2F%2Fevil.test",
        "https:evil.test",
        "HTTPS:%2F%2F%2Fevil.test",
        "javascript:alert(1)",
        "data:text%2Fhtml,x",
        "https%3A%2F%2Flocalhost%40evil.test",
        "https%3A%2F%2Flocalhost.evil.test",
        "https%3A%2F%2Fevil%E3%80%82test",
        "http:%2F%2F0x7f000001",
        "%252F%252Fevil.test",
    ] {
        let pairs: Vec<String> = names.iter().map(|name| format!("{name}={evil}")).collect();
        let deep = world.at(&format!("/private?{}", pairs.join("&")));
        let browser = Browser::new();
        let form = browser.open(&deep).await;
        let callback = browser.submit_step(&form, &[("user", "alice")]).await.location();
        let landed = browser.step(&callback).await.location();
        assert!(landed.as_str().starts_with(&world.at("/")), "after the login to {deep}: {landed}");
        for path in ["/private", LOGOUT, CALLBACK, "/public/bye"] {
            let target = format!("{path}?{}&state=x", pairs.join("&"));
            let answer = get(world.proxy.web(), &host, &target, &[]).await;
            let Some(location) = answer.get("location") else { continue };
            let location = Url::parse(&world.at("/")).unwrap().join(location).unwrap();
            let allowed = location.as_str().starts_with(&world.idp.issuer())
                || location.as_str().starts_with(&world.at("/"));
            assert!(allowed, "{target}: {location}");
            for (name, value) in location.query_pairs().filter(|(name, _)| name.ends_with("redirect_uri")) {
                assert!(
                    [world.at(CALLBACK), world.at("/public/bye")].contains(&value.into_owned()),
                    "{name}"
                );
            }
        }
    }
}

#[tokio::test]
async fn n90_nothing_of_ours_is_on_a_public_entry_point() {
    let origin = Origin::start().await;
    let text = route("Host(`app.example.test`)", origin.address);
    let proxy = Setup::new().dynamic(&text).fixed("api:\n  insecure: true").start().await;
    for path in [
        "/metrics",
        "/api/version",
        "/api/rawdata",
        "/api/portcullis/sessions",
        "/api/portcullis/log-level",
        "/dashboard/",
        "/debug/pprof/",
        "/debug/vars",
        "/ping",
        "/readyz",
        "/livez",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let answer = send(proxy.web(), method, "localhost", path, &[("Content-Length", "0")]).await;
            assert_eq!(answer.status(), 404, "{method} {path}");
        }
    }
}

/// What a client sends as a credential is not in the log, however it fails, and cannot write a line of its own.
#[tokio::test]
async fn n91_failed_credentials_are_not_in_the_log() {
    let world = Plan::new().fixed("accessLog: {}").start().await;
    let cookie = format!(
        "{}=FIRSTSECRET",
        world.browser_of("alice").await.cookies("localhost").keys().next().unwrap()
    );
    let fields = [("Authorization", "Bearer SECONDSECRET"), ("Cookie", &*cookie)];
    get(world.proxy.web(), "localhost", "/private", &fields).await;
    let target = format!("{CALLBACK}?code=THIRDSECRET&state=FOURTHSECRET&error_description=a%0d%0aFORGED");
    get(world.proxy.web(), "localhost", &target, &fields).await;
    get(world.proxy.web(), "localhost", "/last", &[]).await;
    crate::harness::eventually("the access log", || async { world.proxy.log().contains("/last") }).await;
    let log = world.proxy.log();
    assert_eq!(log.lines().find(|line| line.contains("SECRET") || line.starts_with("FORGED")), None);
}

#[tokio::test]
async fn n92_answers_of_many_at_once_do_not_mix() {
    let world = World::start().await;
    let mut tasks = tokio::task::JoinSet::new();
    let first = Browser::new();
    for number in 0..1_000 {
        let browser = first.stranger();
        let (private, callback, issuer) = (world.at("/private"), world.at(CALLBACK), world.idp.issuer());
        tasks.spawn(async move {
            let page = browser.step(&Url::parse(&private).unwrap()).await;
            let state =
                page.location().query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
            let mark = format!("mark-{number}-end");
            let pairs = [
                ("error", "access_denied"),
                ("error_description", &mark),
                ("state", &state),
                ("iss", &issuer),
            ];
            let page = browser.step(&Url::parse_with_params(&callback, pairs).unwrap()).await;
            assert_eq!(page.status, 400, "{page:?}");
            assert!(page.text.contains(&mark), "{}", page.text);
            assert_eq!(page.text.matches("mark-").count(), page.text.matches(&mark).count(), "{}", page.text);
            assert!(!format!("{:?}", page.headers).contains("mark-"));
            state
        });
    }
    let states: std::collections::BTreeSet<String> = tasks.join_all().await.into_iter().collect();
    assert_eq!(states.len(), 1_000);
}
