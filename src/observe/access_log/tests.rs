#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::config::telemetry::{
    AccessLogFields, AccessLogFilters, AccessLogHeaders, AccessLogQueryParameters,
};
use crate::observe::{OriginRecord, Protocol, TlsRecord};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

fn config(format: &str) -> telemetry::AccessLog {
    telemetry::AccessLog { format: format.into(), ..telemetry::AccessLog::default() }
}

fn with_fields(format: &str, fields: AccessLogFields) -> telemetry::AccessLog {
    telemetry::AccessLog { fields, ..config(format) }
}

fn with_headers(format: &str, default_mode: &str, names: &[(&str, &str)]) -> telemetry::AccessLog {
    let headers = AccessLogHeaders { default_mode: default_mode.into(), names: map(names) };
    with_fields(format, AccessLogFields { headers, ..AccessLogFields::default() })
}

fn line(config: &telemetry::AccessLog, record: &RequestRecord<'_>) -> String {
    let log = AccessLog { clock: Clock::fixed(-9), ..open(config).unwrap() };
    let mut line = Vec::new();
    log.format(record, 7, &mut line);
    assert_eq!(line.pop(), Some(b'\n'));
    String::from_utf8(line).unwrap()
}

fn open(config: &telemetry::AccessLog) -> Result<AccessLog, AccessLogError> {
    AccessLog::open(config, IntCounter::new("dropped", "dropped").unwrap())
}

fn record(request_headers: &HeaderMap) -> RequestRecord<'_> {
    RequestRecord {
        start: UNIX_EPOCH + Duration::new(1_257_894_000, 5_000_000),
        duration: Duration::from_millis(123),
        entry_point: "websecure",
        client: "10.0.0.1:4711".parse().unwrap(),
        forwarded_for: None,
        user: None,
        method: "GET",
        authority: "example.com:8443",
        path: "/foo",
        query: Some("a=1&b=2"),
        hide_query: false,
        version: http::Version::HTTP_11,
        protocol: Protocol::Http,
        tls: None,
        request_headers,
        request_bytes: 3,
        router: None,
        service: None,
        origin: None,
        retry_attempts: 0,
        status: 404,
        response_headers: None,
        response_bytes: 19,
        grpc_status: None,
        request_id: "4f2a",
    }
}

fn proxied<'a>(request: &'a HeaderMap, response: &'a HeaderMap) -> RequestRecord<'a> {
    RequestRecord {
        user: Some("alice"),
        tls: Some(TlsRecord {
            version: "TLSv1_3",
            cipher: "TLS13_AES_128_GCM_SHA256",
            client_subject: Some("CN=a"),
        }),
        router: Some("app@file"),
        service: Some("svc@file"),
        origin: Some(OriginRecord {
            url: "http://10.0.0.2:80/toto",
            addr: "10.0.0.2:80",
            status: 200,
            duration: Duration::from_millis(100),
            headers: Some(response),
            bytes: 40,
        }),
        status: 200,
        response_headers: Some(response),
        response_bytes: 20,
        retry_attempts: 1,
        version: http::Version::HTTP_2,
        ..record(request)
    }
}

#[test]
fn common_is_traefiks_line() {
    let none = HeaderMap::new();
    assert_eq!(
        line(&config("common"), &record(&none)),
        r#"10.0.0.1 - - [10/Nov/2009:23:00:00 +0000] "GET /foo?a=1&b=2 HTTP/1.1" 404 19 "-" "-" 7 "-" "-" 123ms"#
    );
    let request = headers(&[("referer", "https://a.example/"), ("user-agent", "curl/8")]);
    assert_eq!(
        line(
            &with_headers("common", "drop", &[("User-Agent", "keep"), ("referer", "redact")]),
            &proxied(&request, &none)
        ),
        r#"10.0.0.1 - alice [10/Nov/2009:23:00:00 +0000] "GET /foo?a=1&b=2 HTTP/2.0" 200 20 "REDACTED" "curl/8" 7 "app@file" "http://10.0.0.2:80/toto" 123ms"#
    );
}

#[test]
fn agent_and_referer_are_left_out_unless_kept() {
    let request = headers(&[("referer", "https://a.example/"), ("user-agent", "curl/8")]);
    assert_eq!(
        line(&config("genericCLF"), &record(&request)),
        r#"10.0.0.1 - - [10/Nov/2009:23:00:00 +0000] "GET /foo?a=1&b=2 HTTP/1.1" 404 19 "-" "-""#
    );
}

#[test]
fn a_trusted_forwarded_for_is_the_client_host() {
    let none = HeaderMap::new();
    let request = RequestRecord { forwarded_for: Some("192.0.2.9, 10.0.0.3"), ..record(&none) };
    assert!(line(&config("common"), &request).starts_with("192.0.2.9, 10.0.0.3 - - ["));
    assert!(
        line(&config("json"), &request)
            .contains(r#""ClientAddr":"10.0.0.1:4711","ClientHost":"192.0.2.9, 10.0.0.3","#)
    );
}

#[test]
fn json_has_traefiks_keys_in_its_order() {
    let none = HeaderMap::new();
    assert_eq!(
        line(&config("json"), &record(&none)),
        concat!(
            r#"{"ClientAddr":"10.0.0.1:4711","ClientHost":"10.0.0.1","ClientPort":"4711","ClientUsername":"-","#,
            r#""DownstreamContentSize":19,"DownstreamStatus":404,"Duration":123000000,"GzipRatio":0,"#,
            r#""OriginContentSize":0,"OriginDuration":0,"OriginStatus":0,"Overhead":123000000,"#,
            r#""RequestAddr":"example.com:8443","RequestContentSize":3,"RequestCount":7,"RequestHost":"example.com","#,
            r#""RequestId":"4f2a","RequestMethod":"GET","RequestPath":"/foo?a=1\u0026b=2","RequestPort":"8443","#,
            r#""RequestProtocol":"HTTP/1.1","RequestScheme":"http","RetryAttempts":0,"#,
            r#""StartLocal":"2009-11-10T14:00:00.005-09:00","StartUTC":"2009-11-10T23:00:00.005Z","#,
            r#""entryPointName":"websecure","level":"info","msg":"","time":"2009-11-10T14:00:00-09:00"}"#,
        )
    );
}

#[test]
fn json_tells_the_service_and_tls() {
    let request = headers(&[
        ("x-b", "2"),
        ("accept", "a"),
        ("x-b", "3"),
        ("cookie", "secret"),
        ("authorization", "Bearer x"),
    ]);
    let response = headers(&[("content-type", "text/html"), ("set-cookie", "secret=1")]);
    let text = line(&with_headers("json", "keep", &[("Accept", "redact")]), &proxied(&request, &response));
    for part in [
        r#""GzipRatio":2,"OriginContentSize":40,"OriginDuration":100000000,"OriginStatus":200,"Overhead":23000000,"#,
        r#""RetryAttempts":1,"RouterName":"app@file","ServiceAddr":"10.0.0.2:80","ServiceName":"svc@file","ServiceURL":"http://10.0.0.2:80/toto","#,
        r#""TLSCipher":"TLS_AES_128_GCM_SHA256","TLSClientSubject":"CN=a","TLSVersion":"1.3","downstream_Content-Type":"text/html","downstream_Set-Cookie":"REDACTED","entryPointName""#,
        r#""msg":"","origin_Content-Type":"text/html","origin_Set-Cookie":"REDACTED","request_Accept":"REDACTED","request_Authorization":"REDACTED","request_Cookie":"REDACTED","request_X-B":"2,3","time""#,
    ] {
        assert!(text.contains(part), "missing {part}\nin {text}");
    }
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    let named = line(&with_headers("json", "drop", &[("Cookie", "keep")]), &proxied(&request, &response));
    assert!(named.contains(r#""request_Cookie":"secret""#), "an operator may ask for it by name");
}

#[test]
fn what_hands_over_a_login_is_not_written_even_when_kept_by_name() {
    let secret = |text: &'static str| {
        let mut value = HeaderValue::from_static(text);
        value.set_sensitive(true);
        value
    };
    let mut request = headers(&[("referer", "https://app.test/cb?code=secret&state=s"), ("x-mail", "a@b")]);
    request.append("x-id-token", secret("eyJ.secret"));
    request.append("x-auth-request-token", HeaderValue::from_static("eyJ.secret"));
    let mut response = headers(&[("set-cookie", "theme=dark")]);
    response.append("set-cookie", secret("session=secret"));
    response.append("location", secret("https://op.test/session/end?id_token_hint=eyJ.secret"));
    let kept = [("Set-Cookie", "keep"), ("Location", "keep"), ("X-Id-Token", "keep"), ("Referer", "keep")];
    let json = line(&with_headers("json", "keep", &kept), &proxied(&request, &response));
    for part in [
        r#""downstream_Location":"https://op.test/session/end?REDACTED""#,
        r#""downstream_Set-Cookie":"theme=dark,REDACTED""#,
        r#""origin_Location":"https://op.test/session/end?REDACTED""#,
        r#""request_Referer":"https://app.test/cb?REDACTED""#,
        r#""request_X-Auth-Request-Token":"REDACTED""#,
        r#""request_X-Id-Token":"REDACTED","request_X-Mail":"a@b""#,
    ] {
        assert!(json.contains(part), "missing {part}\nin {json}");
    }
    let common = line(&with_headers("common", "keep", &kept), &proxied(&request, &response));
    assert!(common.contains(r#""https://app.test/cb?REDACTED""#), "{common}");
    assert!(!json.contains("secret") && !common.contains("secret"), "{json}\n{common}");
}

#[test]
fn fields_are_dropped_kept_and_redacted_by_name_in_any_case() {
    let none = HeaderMap::new();
    let fields = AccessLogFields {
        default_mode: "drop".into(),
        names: map(&[("requesthost", "keep"), ("ClientHost", "redact")]),
        ..AccessLogFields::default()
    };
    assert_eq!(
        line(&with_fields("json", fields.clone()), &record(&none)),
        r#"{"ClientHost":"REDACTED","RequestHost":"example.com","level":"info","msg":"","time":"2009-11-10T14:00:00-09:00"}"#
    );
    assert_eq!(
        line(&with_fields("common", fields), &record(&none)),
        r#"REDACTED - - [-] "- - -" - - "-" "-" - "-" "-" 0ms"#
    );
}

#[test]
fn queries_are_hidden_when_asked_and_always_where_they_hold_secrets() {
    let none = HeaderMap::new();
    let callback = RequestRecord { query: Some("code=secret&state=s"), hide_query: true, ..record(&none) };
    for format in ["common", "genericCLF", "json"] {
        assert!(!line(&config(format), &callback).contains("secret"));
        let query_parameters = AccessLogQueryParameters { default_mode: "drop".into() };
        let dropped = with_fields(format, AccessLogFields { query_parameters, ..AccessLogFields::default() });
        assert!(!line(&dropped, &record(&none)).contains("a=1"));
    }
}

#[test]
fn a_client_cannot_forge_a_line() {
    let request = HeaderMap::new();
    let forged =
        RequestRecord { user: Some("x\n10.0.0.9 - - [\"GET"), path: "/\"\u{1b}[2J", ..record(&request) };
    for format in ["common", "genericCLF", "json"] {
        let text = line(&config(format), &forged);
        assert!(!text.contains(['\n', '\u{1b}']), "{text}");
    }
}

#[test]
fn any_filter_that_matches_keeps_the_line() {
    let none = HeaderMap::new();
    let keeps = |filters: AccessLogFilters, record: &RequestRecord<'_>| {
        Policy::new(&telemetry::AccessLog { filters, ..config("common") }).unwrap().keeps(record)
    };
    let by_status =
        || AccessLogFilters { status_codes: vec!["500-599".into(), "404".into()], ..Default::default() };
    let by_retry = || AccessLogFilters { retry_attempts: true, ..Default::default() };
    let by_time = || AccessLogFilters { min_duration: Duration::from_millis(123), ..Default::default() };
    let ok = RequestRecord { status: 200, ..record(&none) };
    assert!(keeps(AccessLogFilters::default(), &ok));
    assert!(keeps(by_status(), &record(&none)) && !keeps(by_status(), &ok));
    assert!(keeps(by_retry(), &RequestRecord { retry_attempts: 1, ..ok }) && !keeps(by_retry(), &ok));
    assert!(
        keeps(by_time(), &RequestRecord { duration: Duration::from_millis(124), ..ok })
            && !keeps(by_time(), &ok)
    );
    let both = AccessLogFilters { retry_attempts: true, ..by_status() };
    assert!(keeps(both, &record(&none)));
}

#[test]
fn wrong_values_are_refused_by_key() {
    let message = |config: &telemetry::AccessLog| open(config).err().unwrap().to_string();
    assert!(message(&config("xml")).contains("accessLog.format: `xml`"));
    assert!(
        message(&with_headers("json", "hide", &[])).contains("accessLog.fields.headers.defaultMode: `hide`")
    );
    let query_parameters = AccessLogQueryParameters { default_mode: "redact".into() };
    let query = with_fields("json", AccessLogFields { query_parameters, ..AccessLogFields::default() });
    assert!(message(&query).contains("accessLog.fields.queryParameters.defaultMode: `redact`"));
    let file = telemetry::AccessLog { file_path: Some("/proc/no/such/file".into()), ..config("json") };
    assert!(message(&file).contains("/proc/no/such/file"));
}

#[test]
fn written_lines_are_in_the_file_after_a_flush() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let file = telemetry::AccessLog { file_path: Some(path.display().to_string()), ..config("common") };
    let log = open(&file).unwrap();
    let none = HeaderMap::new();
    log.write(&record(&none));
    log.write(&record(&none));
    assert!(log.flush(Duration::from_secs(30)));
    let text = std::fs::read_to_string(&path).unwrap();
    let counts: Vec<_> = text.lines().map(|line| line.split(' ').nth(12).unwrap()).collect();
    assert_eq!(counts, ["1", "2"], "{text}");
}
