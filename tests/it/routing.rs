//! Which router answers, and what the service then receives.

use crate::harness::client::{get, send};
use crate::harness::eventually;
use crate::harness::http1::Connection;
use crate::harness::origin::Origin;
use crate::harness::proxy::{Proxy, Setup};

/// Routers `name: rule` with a service of that name each, which answers with its name.
async fn rules(rules: &[(&'static str, &str)]) -> (Proxy, Vec<Origin>) {
    let (mut routers, mut services, mut origins) = (String::new(), String::new(), Vec::new());
    for (name, rule) in rules {
        let origin = Origin::named(name).await;
        routers += &format!("    {name}:\n      service: {name}\n      rule: {rule}\n");
        services += &format!("    {name}: {{loadBalancer: {{servers: [{{url: \"{}\"}}]}}}}\n", origin.url());
        origins.push(origin);
    }
    let text = format!("http:\n  routers:\n{routers}  services:\n{services}");
    (Setup::new().dynamic(&text).start().await, origins)
}

async fn who(proxy: &Proxy, host: &str, target: &str, fields: &[(&str, &str)]) -> String {
    let answer = get(proxy.web(), host, target, fields).await;
    if answer.status() == 200 { answer.text() } else { answer.status().to_string() }
}

#[tokio::test]
async fn nothing_that_fits_is_a_404_as_in_traefik() {
    let (proxy, _origins) = rules(&[("a", "Host(`a.example.test`)")]).await;
    let answer = get(proxy.web(), "b.example.test", "/", &[]).await;
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.text(), "404 page not found\n");
    assert_eq!(answer.get("x-content-type-options"), Some("nosniff"));
    assert!(answer.get("content-type").unwrap().starts_with("text/plain"));
}

#[tokio::test]
async fn hosts_are_compared_in_their_canonical_form() {
    let (proxy, _origins) = rules(&[("a", "Host(`App.Example.test`)"), ("six", "Host(`::1`)")]).await;
    for host in ["app.example.test", "APP.example.TEST", "app.example.test.", "app.example.test:8080"] {
        assert_eq!(who(&proxy, host, "/", &[]).await, "a", "{host}");
    }
    assert_eq!(who(&proxy, "[::1]:80", "/", &[]).await, "six");
    assert_eq!(who(&proxy, "xapp.example.test", "/", &[]).await, "404");
}

#[tokio::test]
async fn the_longer_rule_wins_and_an_explicit_priority_beats_it() {
    let (proxy, _origins) = rules(&[
        ("short", "PathPrefix(`/`)"),
        ("long", "PathPrefix(`/api`) && Method(`GET`)"),
        ("loud", "Path(`/api/loud`)\n      priority: 1000"),
    ])
    .await;
    assert_eq!(who(&proxy, "h", "/x", &[]).await, "short");
    assert_eq!(who(&proxy, "h", "/api/x", &[]).await, "long");
    assert_eq!(who(&proxy, "h", "/api/loud", &[]).await, "loud");
}

#[tokio::test]
async fn every_matcher_and_operator_decides() {
    let (proxy, _origins) = rules(&[
        ("prefix", "PathPrefix(`/css`)"),
        ("regexp", "PathRegexp(`^/n/[0-9]+$`)"),
        ("header", "Path(`/h`) && Header(`X-Kind`, `tea`)"),
        ("hregexp", "Path(`/h`) && HeaderRegexp(`X-Kind`, `^co`)"),
        ("query", "Path(`/q`) && Query(`a`, `b c`)"),
        ("not", "Path(`/n`) && !Header(`X-Kind`, `tea`) && !(Method(`PUT`) || Method(`POST`))"),
        ("client", "Path(`/c`) && ClientIP(`127.0.0.0/8`)"),
        ("hostre", "HostRegexp(`^[a-z]+[.]re[.]test$`)"),
        ("spaced", "Path(`/foo bar`)"),
    ])
    .await;
    assert_eq!(who(&proxy, "h", "/cssx", &[]).await, "prefix");
    assert_eq!(who(&proxy, "h", "/n/12", &[]).await, "regexp");
    assert_eq!(who(&proxy, "h", "/n/12x", &[]).await, "404");
    assert_eq!(who(&proxy, "h", "/h", &[("x-kind", "tea")]).await, "header");
    assert_eq!(who(&proxy, "h", "/h", &[("X-KIND", "coffee")]).await, "hregexp");
    assert_eq!(who(&proxy, "h", "/q?x=1&a=b%20c", &[]).await, "query");
    assert_eq!(who(&proxy, "h", "/n", &[]).await, "not");
    assert_eq!(who(&proxy, "h", "/n", &[("x-kind", "tea")]).await, "404");
    assert_eq!(send(proxy.web(), "PUT", "h", "/n", &[]).await.status(), 404);
    assert_eq!(who(&proxy, "abc.re.test", "/", &[]).await, "hostre");
    assert_eq!(who(&proxy, "h", "/foo%20bar", &[]).await, "spaced");
}

#[tokio::test]
async fn client_ip_is_the_peer_whatever_headers_say() {
    let (proxy, _origins) =
        rules(&[("far", "ClientIP(`203.0.113.7`)"), ("near", "ClientIP(`127.0.0.1`)")]).await;
    let fields = [("X-Forwarded-For", "203.0.113.7"), ("X-Real-Ip", "203.0.113.7")];
    assert_eq!(who(&proxy, "h", "/", &fields).await, "near");
}

#[tokio::test]
async fn the_service_gets_the_path_that_was_judged() {
    let (proxy, origins) = rules(&[("all", "PathPrefix(`/`)")]).await;
    for (sent, received) in [
        ("/a//b/../c/", "/a/c/"),
        ("/./a", "/a"),
        ("/%7euser/%41", "/~user/A"),
        ("/a%2fb", "/a%2Fb"),
        ("/x?q=%2f//../&a=%zz", "/x?q=%2f//../&a=%zz"),
        ("/x?a=1;b=2", "/x?a=1&b=2"),
        ("/%E4%BD%A0", "/%E4%BD%A0"),
    ] {
        assert_eq!(get(proxy.web(), "h", sent, &[]).await.status(), 200, "{sent}");
        assert_eq!(origins[0].last().target, received, "sent {sent}");
    }
}

#[tokio::test]
async fn a_path_cannot_climb_into_another_router() {
    let (proxy, _origins) =
        rules(&[("public", "PathPrefix(`/public`)"), ("private", "PathPrefix(`/private`)")]).await;
    for target in ["/public/../private", "/public/%2e%2e/private", "/public/%2E./private", "//private"] {
        assert_eq!(who(&proxy, "h", target, &[]).await, "private", "{target}");
    }
    for target in ["/public/..%2fprivate", "/public%2f..%2fprivate"] {
        let answer = who(&proxy, "h", target, &[]).await;
        assert!(["public", "400"].contains(&answer.as_str()), "{target}: {answer}");
    }
}

#[tokio::test]
async fn targets_that_cannot_be_judged_are_refused() {
    let (proxy, origins) = rules(&[("all", "PathPrefix(`/`)")]).await;
    for target in ["/a#b", "/a%", "/a%g0", "a", "*"] {
        assert_eq!(get(proxy.web(), "h", target, &[]).await.status(), 400, "{target}");
    }
    assert!(origins[0].requests().is_empty());
}

#[tokio::test]
async fn absolute_form_is_routed_by_its_own_host() {
    let (proxy, origins) = rules(&[("a", "Host(`a.example.test`) && Path(`/x`)")]).await;
    let answer = get(proxy.web(), "a.example.test", "http://a.example.test/x?y", &[]).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(origins[0].last().target, "/x?y");
}

#[tokio::test]
async fn servers_share_by_weight() {
    let (light, heavy) = (Origin::named("light").await, Origin::named("heavy").await);
    let text = format!(
        "http:\n  routers:\n    r: {{rule: PathPrefix(`/`), service: s}}\n  services:\n    s:\n      loadBalancer:\n        \
         servers:\n          - {{url: \"{}\", weight: 1}}\n          - {{url: \"{}\", weight: 3}}\n",
        light.url(),
        heavy.url()
    );
    let proxy = Setup::new().dynamic(&text).start().await;
    for _ in 0..40 {
        assert_eq!(get(proxy.web(), "h", "/", &[]).await.status(), 200);
    }
    assert_eq!((light.requests().len(), heavy.requests().len()), (10, 30));
}

#[tokio::test]
async fn a_service_without_servers_is_unavailable() {
    let text = "http:\n  routers:\n    r: {rule: PathPrefix(`/`), service: s}\n  services:\n    s:\n      \
                loadBalancer:\n        passHostHeader: true\n";
    let proxy = Setup::new().dynamic(text).start().await;
    let answer = get(proxy.web(), "h", "/", &[]).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.text().trim(), "no available server");
}

#[tokio::test]
async fn a_bad_item_disables_only_itself_and_never_opens_a_route() {
    let origin = Origin::start().await;
    let text = format!(
        r#"http:
  routers:
    good: {{rule: Path(`/good`), service: s}}
    badrule: {{rule: "Path(`/bad`", service: s}}
    noservice: {{rule: Path(`/noservice`), service: missing}}
    nomiddleware: {{rule: PathPrefix(`/secret`), service: s, middlewares: [missing], priority: 50}}
    general: {{rule: PathPrefix(`/secret`), service: s, priority: 1}}
  services:
    s: {{loadBalancer: {{servers: [{{url: "{}"}}]}}}}
"#,
        origin.url()
    );
    let proxy = Setup::new().dynamic(&text).start().await;
    assert_eq!(who(&proxy, "h", "/good", &[]).await, "GET /good\n");
    assert_eq!(who(&proxy, "h", "/bad", &[]).await, "404");
    assert_eq!(who(&proxy, "h", "/noservice", &[]).await, "404");
    // The more general router must not step in for the one whose protection is broken.
    assert_eq!(who(&proxy, "h", "/secret/x", &[]).await, "404");
    let log = proxy.log();
    for name in ["badrule", "noservice", "nomiddleware"] {
        assert!(log.contains(name), "{name} is not in the log");
    }
    eventually("the metric counts three", || async {
        proxy.metric("portcullis_config_errors", &[]).await >= 3.0
    })
    .await;
}

#[tokio::test]
async fn routers_listen_where_they_say() {
    let origin = Origin::start().await;
    let text = format!(
        "http:\n  routers:\n    everywhere: {{rule: Path(`/e`), service: s}}\n    other: {{rule: Path(`/o`), service: s, \
         entryPoints: [other]}}\n  services:\n    s: {{loadBalancer: {{servers: [{{url: \"{}\"}}]}}}}\n",
        origin.url()
    );
    let proxy = Setup::new().entry_point("other", "").dynamic(&text).start().await;
    let status = |entry_point, target| {
        let address = proxy.address(entry_point);
        async move { get(address, "h", target, &[]).await.status() }
    };
    assert_eq!(status("web", "/e").await, 200);
    assert_eq!(status("other", "/e").await, 200);
    assert_eq!(status("web", "/o").await, 404);
    assert_eq!(status("other", "/o").await, 200);
    // The entry point of ping and metrics is not a default one.
    assert_eq!(status("traefik", "/e").await, 404);
}

#[tokio::test]
async fn middlewares_run_in_order_and_tell_the_service_what_they_did() {
    let origin = Origin::start().await;
    let text = format!(
        r#"http:
  routers:
    r: {{rule: PathPrefix(`/app`), service: s, middlewares: [strip, add, mark]}}
    basic: {{rule: Path(`/basic`), service: s, middlewares: [users]}}
    moved: {{rule: Host(`old.example.test`), service: s, middlewares: [move]}}
  middlewares:
    strip: {{stripPrefix: {{prefixes: [/app]}}}}
    add: {{addPrefix: {{prefix: /v1}}}}
    mark: {{headers: {{customRequestHeaders: {{X-Marked: "yes", X-Drop: ""}}, customResponseHeaders: {{X-Out: done}}}}}}
    users: {{basicAuth: {{users: ["test:{{SHA}}qUqP5cyxm6YcTAhz05Hph5gvu9M="], removeHeader: true}}}}
    move: {{redirectScheme: {{scheme: https, permanent: true}}}}
  services:
    s: {{loadBalancer: {{servers: [{{url: "{}"}}]}}}}
"#,
        origin.url()
    );
    let proxy = Setup::new().dynamic(&text).start().await;
    let answer = get(proxy.web(), "h", "/app/x?q", &[("X-Drop", "1")]).await;
    assert_eq!(answer.get("x-out"), Some("done"));
    let seen = origin.last();
    assert_eq!(seen.target, "/v1/x?q");
    assert_eq!(seen.get("x-forwarded-prefix"), Some("/app"));
    assert_eq!((seen.get("x-marked"), seen.get("x-drop")), (Some("yes"), None));

    let refused = get(proxy.web(), "h", "/basic", &[]).await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.get("www-authenticate"), Some("Basic realm=\"traefik\""));
    let allowed = get(proxy.web(), "h", "/basic", &[("Authorization", "Basic dGVzdDp0ZXN0")]).await;
    assert_eq!(allowed.status(), 200);
    assert_eq!(origin.last().get("authorization"), None);

    let moved = get(proxy.web(), "old.example.test", "/a?b", &[]).await;
    assert_eq!((moved.status(), moved.get("location")), (301, Some("https://old.example.test/a?b")));
    assert_eq!(send(proxy.web(), "POST", "old.example.test", "/a", &[]).await.status(), 308);
}

#[tokio::test]
async fn a_connection_is_routed_request_by_request() {
    let (proxy, _origins) = rules(&[("a", "Host(`a.test`)"), ("b", "Host(`b.test`)")]).await;
    let mut connection = Connection::open(proxy.web()).await;
    for host in ["a", "b", "a", "b"] {
        connection.send(format!("GET / HTTP/1.1\r\nHost: {host}.test\r\n\r\n")).await;
        assert_eq!(connection.response().await.text(), host);
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_a_router_its_rule_holds_its_place() {
    let origin = Origin::start().await;
    let broken = [
        ("priority", "service: s, priority: 9223372036854775807"),
        ("middleware", "service: s, middlewares: [nobody]"),
        ("member", "service: s, middlewares: [half]"),
        ("cycle", "service: s, middlewares: [cycle]"),
        ("service", "service: nobody"),
        ("internal", "service: nobody@internal"),
        ("server", "service: bad"),
        ("entry", "service: s, entryPoints: [wbe]"),
    ];
    let routers: String = broken
        .iter()
        .map(|(name, with)| format!("    {name}: {{rule: \"PathPrefix(`/{name}`)\", {with}}}\n"))
        .collect();
    let text = format!(
        r#"http:
  routers:
    all: {{rule: PathPrefix(`/`), service: s}}
    half-there: {{rule: PathPrefix(`/half`), service: s, entryPoints: [web, wbe]}}
    a-twin: {{rule: PathPrefix(`/twin`), service: s, entryPoints: [wbe]}}
    b-twin: {{rule: PathPrefix(`/twin`), service: s}}
{routers}  middlewares:
    half: {{chain: {{middlewares: [add, nobody]}}}}
    cycle: {{chain: {{middlewares: [cycle]}}}}
    add: {{addPrefix: {{prefix: /x}}}}
  services:
    s: {{loadBalancer: {{servers: [{{url: "{}"}}]}}}}
    bad: {{loadBalancer: {{servers: [{{url: "ftp://h"}}]}}}}
"#,
        origin.url()
    );
    let proxy = Setup::new().entry_point("other", "").dynamic(&text).start().await;
    for entry_point in ["web", "other"] {
        let status = async |path: &str| get(proxy.address(entry_point), "h", path, &[]).await.status();
        for (name, _) in broken {
            assert_eq!(status(&format!("/{name}/x")).await, 404, "{name} on {entry_point}");
        }
        assert_eq!(status("/else").await, 200, "{entry_point}");
        // One that works goes before one that only holds the place.
        assert_eq!(status("/twin").await, 200, "{entry_point}");
    }
    assert_eq!(get(proxy.web(), "h", "/half", &[]).await.status(), 200);
    assert_eq!(get(proxy.address("other"), "h", "/half", &[]).await.status(), 404);
}
