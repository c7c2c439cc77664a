//! The access log, and what is left out of it and of the metrics.

use serde_json::Value;

use crate::harness::client::{Browser, get};
use crate::harness::idp::{LOGOUT, Plan};
use crate::harness::origin::Origin;
use crate::harness::proxy::{Proxy, Setup, route};
use crate::harness::{eventually, soon};

/// Lines of the access log, of requests to `web`.
fn lines(proxy: &Proxy) -> Vec<Value> {
    let log = proxy.log();
    let objects = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    objects.filter(|line| line["entryPointName"] == "web").collect()
}

/// The line about `path`.
async fn line(proxy: &Proxy, path: &str) -> Value {
    let found = || lines(proxy).into_iter().find(|line| line["RequestPath"] == path);
    eventually("the line is written", || async { found().is_some() }).await;
    found().unwrap()
}

#[tokio::test]
async fn headers_of_all_three_parties_are_logged_as_configured() {
    let origin = Origin::with(|_, mut connection| async move {
        let head = "HTTP/1.1 200 OK\r\nX-Origin: inner\r\nX-Origin: twice\r\nSet-Cookie: secret=1\r\nKeep-Alive: 5\r\n";
        connection.send(format!("{head}X-Edge: old\r\nContent-Length: 2\r\n\r\nok")).await;
        Some(connection)
    })
    .await;
    let text = route("PathPrefix(`/`)", origin.address)
        .replace("service: s\n", "service: s\n      middlewares: [m]\n")
        + "  middlewares:\n    m:\n      headers:\n        customResponseHeaders: {X-Edge: new}\n";
    let fixed = "accessLog:\n  format: json\n  fields:\n    headers:\n      defaultMode: keep\n";
    let proxy = Setup::new().dynamic(&text).fixed(fixed).start().await;
    get(proxy.web(), "app.test", "/one", &[("X-Asked", "yes"), ("Authorization", "Bearer x")]).await;
    let line = line(&proxy, "/one").await;
    assert_eq!(line["request_X-Asked"], "yes");
    assert_eq!(line["request_Authorization"], "REDACTED");
    // The service's own headers, before any middleware, without those of the connection.
    assert_eq!(line["origin_X-Origin"], "inner,twice");
    assert_eq!(line["origin_X-Edge"], "old");
    assert_eq!(line["origin_Set-Cookie"], "REDACTED");
    assert_eq!(line["origin_Keep-Alive"], Value::Null);
    assert_eq!(line["downstream_X-Edge"], "new");
    assert_eq!(line["OriginStatus"], 200);
    assert_eq!(line["OriginContentSize"], 2);
}

#[tokio::test]
async fn routers_and_entry_points_say_what_is_recorded() {
    let origin = Origin::start().await;
    let text = format!(
        "http:\n  routers:\n    quiet: {{rule: PathPrefix(`/quiet`), service: s}}\n    loud: {{rule: PathPrefix(`/loud`), \
         service: s, observability: {{accessLogs: true, metrics: true}}}}\n    ping: {{rule: PathPrefix(`/ping`), service: \
         ping@internal}}\n  services:\n    s: {{loadBalancer: {{servers: [{{url: \"http://{}\"}}]}}}}\n",
        origin.address
    );
    let observability = "observability: {accessLogs: false, metrics: false}\n";
    let proxy = Setup::new()
        .dynamic(&text)
        .fixed("accessLog: {format: json, addInternals: true}")
        .entry_point("web", observability)
        .start()
        .await;
    for path in ["/quiet", "/nowhere", "/ping", "/loud"] {
        soon(path, get(proxy.web(), "app.test", path, &[])).await;
    }
    line(&proxy, "/loud").await;
    assert_eq!(lines(&proxy).len(), 1, "{:?}", lines(&proxy));
    let web = ["entrypoint=\"web\""];
    assert_eq!(proxy.metric("traefik_entrypoint_requests_total", &web).await, 1.0);
    assert_eq!(proxy.metric("traefik_service_requests_total", &["service=\"s@file\""]).await, 1.0);
}

#[tokio::test]
async fn internal_services_are_recorded_when_asked_for() {
    for internals in [false, true] {
        let text = "http:\n  routers:\n    ping: {rule: PathPrefix(`/ping`), service: ping@internal}\n";
        let metrics = format!("accessLog: {{format: json, addInternals: {internals}}}");
        let proxy = Setup::new().dynamic(text).fixed(&metrics).start().await;
        assert_eq!(get(proxy.web(), "app.test", "/ping", &[]).await.status(), 200);
        get(proxy.web(), "app.test", "/nowhere", &[]).await;
        line(&proxy, "/nowhere").await;
        let wanted = if internals { 2 } else { 1 };
        eventually("the lines", || async { lines(&proxy).len() == wanted }).await;
        // `metrics.addInternals` is off in both.
        let web = ["entrypoint=\"web\""];
        eventually("one request is counted", || async {
            proxy.metric("traefik_entrypoint_requests_total", &web).await == 1.0
        })
        .await;
    }
}

/// Whoever reads a log must not be able to take a login over with it.
#[tokio::test]
async fn no_login_can_be_taken_from_a_log_that_keeps_every_header() {
    let names =
        "{Cookie: keep, Set-Cookie: keep, Authorization: keep, X-Token: keep, X-Auth-Request-Token: keep}";
    let fixed =
        format!("accessLog: {{format: json, fields: {{headers: {{defaultMode: keep, names: {names}}}}}}}\n");
    let template = "headers: [{name: X-Token, value: '{{`{{.AccessToken}}`}}'}]";
    let world = Plan::new().fixed(&fixed).plugin(template).start().await;
    let browser = Browser::new();
    browser.log_in(&world.at("/page?x=1"), "alice").await;
    assert_eq!(browser.fetch(&world.at("/again")).await.status, 200);
    let again = line(&world.proxy, "/again").await;
    assert_eq!(
        again["request_X-Forwarded-User"], "alice@example.test",
        "what the service was told is logged"
    );
    let secrets: Vec<String> = browser.cookies("localhost").into_values().collect();
    assert!(!secrets.is_empty());
    let left = browser.step(&world.at(LOGOUT).parse().unwrap()).await;
    let hint = left.location();
    let (_, token) = hint.query_pairs().find(|(name, _)| name == "id_token_hint").expect("a hint");
    browser.follow(left).await;
    let line = line(&world.proxy, LOGOUT).await;
    let end = hint.as_str().split('?').next().unwrap();
    assert_eq!(line["downstream_Location"], format!("{end}?REDACTED"));
    let log = world.proxy.log();
    for secret in
        secrets.iter().map(String::as_str).chain([&*token, "eyJ", "nonce=", "code=", "id_token_hint="])
    {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
    assert!(log.contains("\"request_X-Token\":\"REDACTED\"") && log.contains("authorize?REDACTED"), "{log}");
}
