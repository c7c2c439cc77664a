//! Faults that only show once everything has been decoded.

use super::*;
use crate::config::decode::Decode;
use crate::config::source::yaml;

fn errors(text: &str) -> String {
    let node = yaml::parse("t.yml", text).unwrap();
    let mut decoder = Decoder::new();
    let config = StaticConfig::decode(&node, &mut decoder);
    if let Some(config) = &config {
        check(config, &node, &mut decoder);
    }
    decoder.finish(config).err().map(|errors| errors.to_string()).unwrap_or_default()
}

#[test]
fn references_are_checked_with_their_place() {
    let text = "entryPoints:\n  web:\n    address: ':80'\n    http:\n      redirections:\n        entryPoint:\n          to: websecur\n  websecure:\n    address: ':443'\n";
    assert_eq!(
        errors(text),
        "t.yml:7:15: entryPoints.web.http.redirections.entryPoint.to: entry point `websecur` does not exist; \
         did you mean `websecure`?"
    );
}

#[test]
fn only_one_plugin_is_native() {
    let text =
        |module: &str| format!("experimental: {{plugins: {{oidc: {{moduleName: {module}, version: v1}}}}}}");
    assert_eq!(errors(&text("github.com/someone/traefikoidc")), "");
    assert!(errors(&text("github.com/someone/geoblock")).contains("`github.com/someone/geoblock` cannot be"));
}

#[test]
fn a_missing_block_is_told_once() {
    let text = "entryPoints: {web: {adress: ':80'}}\nping: {entryPoint: web}\nlog: {level: LOUD}\n";
    assert_eq!(
        errors(text).lines().collect::<Vec<_>>(),
        [
            "t.yml:1:20: entryPoints.web: `address` is required",
            "t.yml:1:21: entryPoints.web: unknown key `adress`; did you mean `address`?",
            "t.yml:3:14: log.level: expected one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL, PANIC, found `LOUD`",
        ]
    );
}

#[test]
fn one_address_serves_one_entry_point() {
    let text =
        "entryPoints: {a: {address: '127.0.0.1:80'}, b: {address: ':80'}, c: {address: '127.0.0.2:80'}}";
    assert_eq!(
        errors(text),
        "t.yml:1:58: entryPoints.b.address: entry point `a` listens there already\n\
         t.yml:1:79: entryPoints.c.address: entry point `b` listens there already"
    );
}

#[test]
fn modes_statuses_and_buckets() {
    let text = "accessLog: {filters: {statusCodes: ['200', 5xx, 599-500]}, fields: {names: {ClientHost: hide}}}\n\
                metrics: {prometheus: {buckets: [1, 0.5]}}\nping: {terminatingStatusCode: 99}\n";
    let said = errors(text);
    for expected in [
        "accessLog.filters.statusCodes: expected a status such as 500 or a range such as 500-599, found `5xx`",
        "found `599-500`",
        "accessLog.fields.names.ClientHost: expected one of keep, drop, redact, found `hide`",
        "metrics.prometheus.buckets: expected numbers above 0 that rise",
        "ping.terminatingStatusCode: expected a status from 200 to 599",
    ] {
        assert!(said.contains(expected), "{expected:?} not in {said}");
    }
}

#[test]
fn what_would_not_start_is_told() {
    let text = "accessLog: {bufferingSize: 1000000000000, fields: {headers: {names: {'a b': keep}}}}\n\
                oidc: {audit: {bufferingSize: 1000001}}\n\
                metrics: {prometheus: {buckets: [-1, 2], headerLabels: {a-b: X, code: X, ok: 'a b', fine: X}}}\n";
    let said = errors(text);
    for expected in [
        "t.yml:1:28: accessLog.bufferingSize: expected at most 1000000 lines, found 1000000000000",
        "accessLog.fields.headers.names.a b: `a b` is not a header name",
        "oidc.audit.bufferingSize: expected at most",
        "metrics.prometheus.buckets: expected numbers above 0",
        "metrics.prometheus.headerLabels.a-b: expected a label of letters",
        "metrics.prometheus.headerLabels.code: is a label of these counters already",
        "metrics.prometheus.headerLabels.ok: `a b` is not a header name",
    ] {
        assert!(said.contains(expected), "{expected:?} not in {said}");
    }
    assert_eq!(said.lines().count(), 7, "{said}");
}

#[test]
fn addresses_collide_where_the_system_says_so() {
    let collide = |one: &str, other: &str| super::collide(one.parse().unwrap(), other.parse().unwrap());
    for (one, other) in [
        ("[::]:80", "127.0.0.1:80"),
        ("[::]:80", "0.0.0.0:80"),
        ("0.0.0.0:80", "10.0.0.1:80"),
        ("[::]:80", "[::1]:80"),
    ] {
        assert!(collide(one, other) && collide(other, one), "{one} {other}");
    }
    for (one, other) in [("0.0.0.0:80", "[::1]:80"), ("[::]:80", "[::]:81"), ("[::]:0", "[::]:0")] {
        assert!(!collide(one, other) && !collide(other, one), "{one} {other}");
    }
}

#[test]
fn aliases_of_flags_have_no_capitals() {
    let module = PluginModule { module_name: "github.com/a/traefikoidc".into(), ..PluginModule::default() };
    let mut config = StaticConfig::default();
    config.experimental.plugins.insert("myoidc".into(), module);
    assert!(is_native_plugin(&config, "myOIDC") && !is_native_plugin(&config, "other"));
}

#[test]
fn words_and_networks() {
    let text = "log: {level: LOUD}\nentryPoints: {web: {address: ':80', forwardedHeaders: {trustedIPs: [10.0.0.0/8, nonsense]}}}";
    let said = errors(text);
    assert!(said.contains("log.level: expected one of TRACE"), "{said}");
    assert!(said.contains("`nonsense` is neither"), "{said}");
}
