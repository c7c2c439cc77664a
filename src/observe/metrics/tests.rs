#![allow(clippy::unwrap_used)]

use std::time::Duration;

use http::HeaderMap;

use super::*;
use crate::observe::{OriginRecord, Protocol, RequestRecord, TlsRecord};

fn all_levels() -> Metrics {
    Metrics::new(Some(&Prometheus { add_routers_labels: true, ..Prometheus::default() })).unwrap()
}

fn record(headers: &HeaderMap) -> RequestRecord<'_> {
    RequestRecord {
        start: UNIX_EPOCH,
        duration: Duration::from_millis(250),
        entry_point: "websecure",
        client: "192.0.2.1:4711".parse().unwrap(),
        forwarded_for: None,
        user: None,
        method: "GET",
        authority: "example.com",
        path: "/",
        query: None,
        hide_query: false,
        version: http::Version::HTTP_2,
        protocol: Protocol::Http,
        tls: Some(TlsRecord { version: "TLSv1_3", cipher: "TLS13_AES_128_GCM_SHA256", client_subject: None }),
        request_headers: headers,
        request_bytes: 10,
        router: Some("app@file"),
        service: Some("app@file"),
        origin: Some(OriginRecord {
            url: "http://127.0.0.1:1",
            addr: "127.0.0.1:1",
            status: 200,
            duration: Duration::from_millis(50),
            headers: None,
            bytes: 90,
        }),
        retry_attempts: 0,
        status: 200,
        response_headers: None,
        response_bytes: 100,
        grpc_status: None,
        request_id: "r1",
    }
}

#[test]
fn a_request_counts_on_each_level_under_traefiks_names() {
    let metrics = all_levels();
    let headers = HeaderMap::new();
    let request = record(&headers);
    for level in [
        metrics.entry_point("websecure"),
        metrics.router("app@file", "app@file"),
        metrics.service("app@file"),
    ] {
        level.unwrap().record(&request);
    }
    let text = metrics.encode().unwrap();
    for line in [
        r#"traefik_entrypoint_requests_total{code="200",entrypoint="websecure",method="GET",protocol="http"} 1"#,
        r#"traefik_entrypoint_requests_tls_total{entrypoint="websecure",tls_cipher="TLS_AES_128_GCM_SHA256",tls_version="1.3"} 1"#,
        r#"traefik_entrypoint_request_duration_seconds_bucket{code="200",entrypoint="websecure",method="GET",protocol="http",le="0.1"} 0"#,
        r#"traefik_entrypoint_request_duration_seconds_bucket{code="200",entrypoint="websecure",method="GET",protocol="http",le="0.3"} 1"#,
        r#"traefik_entrypoint_request_duration_seconds_bucket{code="200",entrypoint="websecure",method="GET",protocol="http",le="5"} 1"#,
        r#"traefik_entrypoint_request_duration_seconds_bucket{code="200",entrypoint="websecure",method="GET",protocol="http",le="+Inf"} 1"#,
        r#"traefik_entrypoint_request_duration_seconds_sum{code="200",entrypoint="websecure",method="GET",protocol="http"} 0.25"#,
        r#"traefik_entrypoint_request_duration_seconds_count{code="200",entrypoint="websecure",method="GET",protocol="http"} 1"#,
        r#"traefik_entrypoint_requests_bytes_total{code="200",entrypoint="websecure",method="GET",protocol="http"} 10"#,
        r#"traefik_entrypoint_responses_bytes_total{code="200",entrypoint="websecure",method="GET",protocol="http"} 100"#,
        r#"traefik_router_requests_total{code="200",method="GET",protocol="http",router="app@file",service="app@file"} 1"#,
        r#"traefik_router_requests_tls_total{router="app@file",service="app@file",tls_cipher="TLS_AES_128_GCM_SHA256",tls_version="1.3"} 1"#,
        r#"traefik_service_requests_total{code="200",method="GET",protocol="http",service="app@file"} 1"#,
        r#"traefik_service_request_duration_seconds_sum{code="200",method="GET",protocol="http",service="app@file"} 0.05"#,
        r#"traefik_service_responses_bytes_total{code="200",method="GET",protocol="http",service="app@file"} 90"#,
    ] {
        assert!(text.lines().any(|shown| shown == line), "missing {line}\nin\n{text}");
    }
}

#[test]
fn headers_become_labels_of_the_counters_of_requests() {
    let labels = [("agent".to_owned(), "User-Agent".to_owned())].into();
    let config = Prometheus { header_labels: labels, ..Prometheus::default() };
    let metrics = Metrics::new(Some(&config)).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", http::HeaderValue::from_static("curl/8 \"x\""));
    let service = metrics.service("app@file").unwrap();
    service.record(&record(&headers));
    service.record(&record(&HeaderMap::new()));
    let text = metrics.encode().unwrap();
    let counter = "traefik_service_requests_total{agent=";
    for line in [
        format!(r#"{counter}"curl/8 \"x\"",code="200",method="GET",protocol="http",service="app@file"}} 1"#),
        format!(r#"{counter}"",code="200",method="GET",protocol="http",service="app@file"}} 1"#),
    ] {
        assert!(text.lines().any(|shown| shown == line), "missing {line}\nin\n{text}");
    }
    let bytes = r#"traefik_service_requests_bytes_total{code="200",method="GET",protocol="http",service="app@file"} 20"#;
    assert!(text.contains(bytes), "only the counters of requests have them\n{text}");
}

#[test]
fn levels_follow_the_configuration() {
    let metrics = Metrics::new(Some(&Prometheus::default())).unwrap();
    assert!(metrics.entry_point("web").is_some());
    assert!(metrics.router("app@file", "app@file").is_none());
    assert!(metrics.service("app@file").is_some());
    let off = Metrics::new(None).unwrap();
    assert!(off.entry_point("web").is_none() && off.service("app@file").is_none());
    let wrong = Prometheus { buckets: vec![1.0, 0.1], ..Prometheus::default() };
    assert!(matches!(Metrics::new(Some(&wrong)), Err(MetricsError::Buckets)));
}

#[test]
fn a_service_counts_only_what_reached_it() {
    let metrics = all_levels();
    let headers = HeaderMap::new();
    let service = metrics.service("app@file").unwrap();
    service.record(&RequestRecord { origin: None, status: 302, ..record(&headers) });
    assert!(!metrics.encode().unwrap().contains("traefik_service_requests_total{"));
    service.record(&RequestRecord { retry_attempts: 2, ..record(&headers) });
    let text = metrics.encode().unwrap();
    assert!(text.contains(r#"traefik_service_retries_total{service="app@file"} 2"#), "{text}");
}

#[test]
fn grpc_counts_by_its_own_status() {
    let metrics = all_levels();
    let headers = HeaderMap::new();
    let entry = metrics.entry_point("web").unwrap();
    entry.record(&RequestRecord { protocol: Protocol::Grpc, grpc_status: Some(14), ..record(&headers) });
    entry.record(&RequestRecord { protocol: Protocol::Grpc, grpc_status: None, ..record(&headers) });
    let text = metrics.encode().unwrap();
    for code in [14, 2] {
        let line =
            format!(r#"requests_total{{code="{code}",entrypoint="web",method="GET",protocol="grpc"}} 1"#);
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn series_outlive_a_reload_and_go_one_scrape_after_their_last_handle() {
    let metrics = all_levels();
    let headers = HeaderMap::new();
    let old = metrics.service("app@file").unwrap();
    old.record(&record(&headers));
    let new = metrics.service("app@file").unwrap();
    drop(old);
    new.record(&record(&headers));
    let line =
        r#"traefik_service_requests_total{code="200",method="GET",protocol="http",service="app@file"} 2"#;
    assert!(metrics.encode().unwrap().contains(line));
    drop(new);
    assert!(metrics.encode().unwrap().contains(line));
    assert!(!metrics.encode().unwrap().contains("app@file"));
}

#[test]
fn servers_and_certificates_follow_their_items() {
    let metrics = all_levels();
    let server = metrics.server("app@file", "http://127.0.0.1:1").unwrap();
    metrics.set_certificates(vec![CertificateExpiry {
        cn: "example.com".into(),
        serial: "17".into(),
        sans: "example.com,www.example.com".into(),
        not_after: UNIX_EPOCH + Duration::from_secs(1_900_000_000),
    }]);
    let up = r#"traefik_service_server_up{service="app@file",url="http://127.0.0.1:1"}"#;
    assert!(metrics.encode().unwrap().contains(&format!("{up} 1")));
    server.set(false);
    let text = metrics.encode().unwrap();
    assert!(text.contains(&format!("{up} 0")));
    assert!(text.contains(
        r#"traefik_tls_certs_not_after{cn="example.com",sans="example.com,www.example.com",serial="17"} 1900000000"#
    ));
    metrics.set_certificates(Vec::new());
    assert!(!metrics.encode().unwrap().contains("traefik_tls_certs_not_after"));
}

#[test]
fn connections_are_counted_while_they_are_open() {
    let metrics = all_levels();
    let gauge = metrics.open_connections("web");
    gauge.opened();
    gauge.opened();
    gauge.closed();
    let text = metrics.encode().unwrap();
    assert!(text.contains(r#"traefik_open_connections{entrypoint="web",protocol="TCP"} 1"#), "{text}");
    gauge.closed();
    assert_eq!(gauge.current(), 0);
}

#[test]
fn only_names_of_the_table_are_exported() {
    let metrics = all_levels();
    metrics.config_applied(UNIX_EPOCH + Duration::from_secs(5));
    metrics.set_config_errors("file", 3);
    metrics.oidc().provider_up("https://id.example", true);
    metrics.oidc().login("login@file", LoginOutcome::Success);
    metrics.oidc().refresh("https://id.example", RefreshOutcome::Rejected);
    metrics.oidc().introspected("https://id.example", "active");
    metrics.oidc().client_registered("https://id.example", "registered");
    metrics.oidc().bearer("login@file", "accepted")();
    let text = metrics.encode().unwrap();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(names::ALL.iter().any(|family| family.name == name), "{name}");
    }
    for line in [
        "traefik_config_reloads_total 1",
        "traefik_config_last_reload_success 5",
        r#"portcullis_config_errors{provider="file"} 3"#,
        r#"portcullis_oidc_logins_total{middleware="login@file",outcome="success"} 1"#,
        r#"portcullis_oidc_refreshes_total{issuer="https://id.example",outcome="rejected"} 1"#,
        r#"portcullis_oidc_introspections_total{issuer="https://id.example",outcome="active"} 1"#,
        r#"portcullis_oidc_client_registrations_total{issuer="https://id.example",outcome="registered"} 1"#,
        r#"portcullis_oidc_bearer_total{middleware="login@file",outcome="accepted"} 1"#,
        r#"portcullis_oidc_refreshes_total{issuer="https://id.example",outcome="renewed"} 0"#,
    ] {
        assert!(text.lines().any(|shown| shown == line), "missing {line}");
    }
}

#[test]
fn threads_share_a_handle_without_losing_counts() {
    let metrics = all_levels();
    let entry = metrics.entry_point("web").unwrap();
    std::thread::scope(|scope| {
        for worker in 0..8_u16 {
            let (entry, metrics) = (&entry, &metrics);
            scope.spawn(move || {
                let headers = HeaderMap::new();
                for round in 0..500_u16 {
                    let status = 200 + (round * 3 + worker) % 40;
                    entry.record(&RequestRecord { status, ..record(&headers) });
                    if round % 100 == 0 {
                        metrics.encode().unwrap();
                    }
                }
            });
        }
    });
    let text = metrics.encode().unwrap();
    let total: u64 = text
        .lines()
        .filter(|line| line.starts_with("traefik_entrypoint_requests_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(total, 4_000);
}
