#![allow(clippy::unwrap_used)]

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;
use serde_json::Value;

use super::*;
use crate::config::telemetry::{self, Api, Ping, Prometheus};
use crate::config::{ConfigError, Presence};
use crate::net::internal::InternalAnswer;

fn config() -> StaticConfig {
    StaticConfig {
        ping: Presence(Some(Ping::default())),
        api: Presence(Some(Api { insecure: true, ..Api::default() })),
        metrics: Some(telemetry::Metrics {
            prometheus: Presence(Some(Prometheus::default())),
            ..telemetry::Metrics::default()
        }),
        ..StaticConfig::default()
    }
}

fn admin(config: &StaticConfig) -> Admin {
    let metrics = Arc::new(Metrics::new(Some(&Prometheus::default())).unwrap());
    let health = Arc::new(Health::new(Arc::clone(&metrics), UNIX_EPOCH + Duration::from_secs(1)));
    let log = Arc::new(Log::silent(metrics.log_lines_dropped("process")).unwrap());
    Admin::new(config, health, metrics, log)
}

fn call(service: &InternalService, method: Method, path: &str, query: Option<&str>) -> LocalResponse {
    let headers = HeaderMap::new();
    let (client, request_id) = (None, "request-1");
    match service(&InternalRequest { method: &method, path, query, headers: &headers, client, request_id }) {
        InternalAnswer::Now(answer) => answer,
        InternalAnswer::Later(answer) => {
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(answer)
        }
    }
}

fn body(response: &LocalResponse) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

#[test]
fn ping_answers_as_traefik_does_until_draining() {
    let mut config = config();
    config.ping = Presence(Some(Ping { terminating_status_code: 418, ..Ping::default() }));
    let admin = admin(&config);
    let ping = admin.service("ping@internal", &config).unwrap();
    let answer = call(&ping, Method::GET, "/ping", None);
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, &b"OK"[..]));
    admin.health.start_draining();
    assert_eq!(call(&ping, Method::GET, "/ping", None).status, StatusCode::IM_A_TEAPOT);
}

#[test]
fn ready_only_with_a_live_configuration_and_working_parts() {
    let config = config();
    let admin = admin(&config);
    let probes = admin.service("ping@internal", &config).unwrap();
    let ready = || call(&probes, Method::GET, "/readyz", None);
    let first = ready();
    assert_eq!(first.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body(&first)["problems"][0]["component"], "configuration");

    admin.health.configuration_live();
    assert_eq!((ready().status, &body(&ready())["status"]), (StatusCode::OK, &Value::from("ready")));

    admin.health.report("session store", Some("disk full".into()));
    assert_eq!(
        body(&ready())["problems"],
        serde_json::json!([{ "component": "session store", "reason": "disk full" }])
    );
    assert!(admin.metrics.encode().unwrap().contains("portcullis_ready 0"));
    admin.health.report("session store", None);
    assert_eq!(ready().status, StatusCode::OK);
    assert!(admin.metrics.encode().unwrap().contains("portcullis_ready 1"));

    admin.health.start_draining();
    assert_eq!(ready().status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(call(&probes, Method::GET, "/livez", None).status, StatusCode::OK);
    admin.health.set_alive(false);
    assert_eq!(call(&probes, Method::GET, "/livez", None).status, StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn metrics_are_served_as_text() {
    let config = config();
    let admin = admin(&config);
    let answer = call(&admin.service("prometheus@internal", &config).unwrap(), Method::GET, "/metrics", None);
    assert_eq!(answer.headers.get(header::CONTENT_TYPE).unwrap(), metrics::MEDIA_TYPE);
    assert!(answer.body.starts_with(b"# HELP "));
}

#[test]
fn the_api_tells_version_and_configuration_errors() {
    let config = config();
    let admin = admin(&config);
    let api = admin.service("api@internal", &config).unwrap();
    let version = body(&call(&api, Method::GET, "/api/version", None));
    assert_eq!(version["Version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(version["startDate"], "1970-01-01T00:00:01Z");

    admin.health.set_config_errors("file", vec![ConfigError::new("http.routers.a.rule", "unexpected `)`")]);
    let errors = body(&call(&api, Method::GET, "/api/portcullis/errors", None));
    assert_eq!(errors["configuration"]["file"][0]["path"], "http.routers.a.rule");
    assert_eq!(errors["notReady"][0]["component"], "configuration");
    assert!(admin.metrics.encode().unwrap().contains(r#"portcullis_config_errors{provider="file"} 1"#));

    assert_eq!(call(&api, Method::GET, "/api/rawdata", None).status, StatusCode::NOT_FOUND);
    let refused = call(&api, Method::POST, "/api/version", None);
    assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers.get(header::ALLOW).unwrap(), "GET");
}

#[test]
fn the_log_level_changes_only_behind_a_router_of_the_operators() {
    let config = config();
    let admin = admin(&config);
    let api = admin.service("api@internal", &config).unwrap();
    let level = |service, method, query| call(service, method, "/api/log/level", query);
    assert_eq!(body(&level(&api, Method::GET, None))["level"], "ERROR");
    assert_eq!(body(&level(&api, Method::PUT, Some("level=debug")))["level"], "DEBUG");
    assert_eq!(body(&level(&api, Method::GET, None))["level"], "DEBUG");
    assert_eq!(level(&api, Method::PUT, Some("level=loud")).status, StatusCode::BAD_REQUEST);
    assert_eq!(level(&api, Method::PUT, None).status, StatusCode::BAD_REQUEST);

    let routes = admin.routes(&config);
    let insecure = &routes.iter().find(|route| route.name == "api@internal").unwrap().service;
    assert_eq!(level(insecure, Method::PUT, Some("level=trace")).status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(body(&level(insecure, Method::GET, None))["level"], "DEBUG");
}

#[test]
fn routers_are_implied_as_in_traefik() {
    let mut config = config();
    let shown = |config: &StaticConfig| -> Vec<(String, String, i64)> {
        let routes = admin(config).routes(config).into_iter();
        routes.map(|route| (route.entry_point, route.rule, route.priority)).collect()
    };
    let on = |entry: &str, rule: &str, priority| (entry.to_owned(), rule.to_owned(), priority);
    assert_eq!(
        shown(&config),
        [
            on("traefik", "PathPrefix(`/ping`)", i64::MAX),
            on("traefik", "Path(`/readyz`) || Path(`/livez`)", i64::MAX),
            on("traefik", "PathPrefix(`/metrics`)", i64::MAX),
            on("traefik", "PathPrefix(`/api`)", i64::MAX - 1),
        ]
    );
    let (name, entry_point) = implicit_entry_point(&config).unwrap();
    assert_eq!((name, &*entry_point.address), ("traefik", ":8080"));

    config.ping = Presence(Some(Ping { manual_routing: true, ..Ping::default() }));
    config.metrics = None;
    config.api = Presence(Some(Api { insecure: true, base_path: "/base/".into() }));
    assert_eq!(shown(&config), [on("traefik", "PathPrefix(`/base/api`)", i64::MAX - 1)]);
    let based = admin(&config);
    let api = based.service("api@internal", &config).unwrap();
    assert_eq!(call(&api, Method::GET, "/base/api/version", None).status, StatusCode::OK);

    config.api = Presence(Some(Api::default()));
    assert!(shown(&config).is_empty());
    assert!(implicit_entry_point(&config).is_none());
}

#[test]
fn services_exist_only_where_their_block_does() {
    let off = StaticConfig::default();
    let admin = admin(&off);
    for name in ["ping@internal", "prometheus@internal", "api@internal", "dashboard@internal", "ping@file"] {
        assert!(admin.service(name, &off).is_none(), "{name}");
    }
    let noop = admin.service("noop@internal", &off).unwrap();
    assert_eq!(call(&noop, Method::GET, "/", None).status, StatusCode::IM_A_TEAPOT);
}
