//! The rule language: grammar, spellings, matchers, errors.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::router::{RequestView, Rule, default_priority};

/// A request in words: `GET host /path?query`, then headers.
fn holds(rule: &str, request: &str, headers: &[(&str, &str)]) -> bool {
    let rule = Rule::parse(rule).unwrap_or_else(|error| panic!("{rule}: {error}"));
    let mut words = request.split(' ');
    let method: Method = words.next().unwrap().parse().unwrap();
    let host = words.next().unwrap();
    let target = words.next().unwrap();
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
        .collect();
    let client = words.next().unwrap_or("192.0.2.1").parse().unwrap();
    rule.matches(&RequestView { method: &method, host, path, query, headers: &headers, client })
}

fn get(rule: &str, request: &str) -> bool {
    holds(rule, &format!("GET {request}"), &[])
}

#[test]
fn four_spellings() {
    for name in ["PathPrefix", "pathprefix", "PATHPREFIX", "Pathprefix"] {
        assert!(get(&format!("{name}(`/a`)"), "h /a"));
    }
    for name in ["ClientIP", "clientip", "CLIENTIP", "Clientip"] {
        assert!(get(&format!("{name}(`192.0.2.1`)"), "h /a"));
    }
    for name in ["pathPrefix", "PathPREFIX", "clientIP", "ClientIp"] {
        assert!(Rule::parse(&format!("{name}(`/a`)")).is_err(), "{name}");
    }
}

#[test]
fn precedence_and_negation() {
    let rule = "Host(`a`) || Host(`b`) && Path(`/x`)";
    assert!(get(rule, "a /y") && get(rule, "b /x") && !get(rule, "b /y"));
    let rule = "(Host(`a`) || Host(`b`)) && Path(`/x`)";
    assert!(!get(rule, "a /y") && get(rule, "a /x"));
    let rule = "!(Host(`a`) && Path(`/x`))";
    assert!(!get(rule, "a /x") && get(rule, "a /y") && get(rule, "b /x"));
    let rule = "!Host(`a`) && !!Path(`/x`)";
    assert!(get(rule, "b /x") && !get(rule, "a /x") && !get(rule, "b /y"));
    assert!(get("\n\tHost( `a` ,)\n&&\nPath(\"/x\")", "a /x"));
}

#[test]
fn string_literals() {
    assert!(get(r#"Path("/a\"\\\t\x41\102\u00e9\U0001F600")"#, "h /a\"\\\tABé😀"));
    assert!(get("Path(`/a\\n`)", "h /a\\n"));
    assert!(get("Path(`/a\r`)", "h /a"));
}

#[test]
fn comments_are_white_space() {
    for rule in [
        "Path(`/a`) // what it is for",
        "// first\nPath(`/a`) && /* all */ !Method(`PUT`)",
        "Path( // why\n`/a` /* here */ )",
    ] {
        assert!(get(rule, "h /a") && !get(rule, "h /b"), "{rule}");
    }
    assert!(get("Path(`/a//b`)", "h /a//b"), "not within a string");
    for wrong in ["// nothing else", "Path(`/a`) /* open", "Path(`/a`) / b"] {
        assert!(Rule::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn hosts() {
    assert!(get("Host(`Example.COM.`)", "example.com /"));
    assert!(!get("Host(`example.com`)", "www.example.com /"));
    assert!(get("Host(`*.example.com`)", "www.example.com /"));
    assert!(!get("Host(`*.example.com`)", "a.b.example.com /"));
    assert!(!get("Host(`*.example.com`)", "example.com /"));
    assert!(get("Host(`*`)", "x /") && get("Host(`*`)", " /"));
    assert!(get("Host(`::1`)", "::1 /"));
    assert!(!get("Host(`a`)", " /"));
}

#[test]
fn host_regexp_is_unanchored_and_an_empty_match_matches_all() {
    assert!(get("HostRegexp(`ample\\.com`)", "www.example.com.au /"));
    assert!(!get("HostRegexp(`^example\\.com$`)", "www.example.com /"));
    assert!(get("HostRegexp(`^.+$`)", "a /") && !get("HostRegexp(`^.+$`)", " /"));
    assert!(get("HostRegexp(`^(foo)?$`)", "bar /"));
    assert!(!get("!HostRegexp(`.*`)", "bar /"));
}

#[test]
fn paths() {
    assert!(get("Path(`/a`)", "h /a") && !get("Path(`/a`)", "h /a/"));
    assert!(get("PathPrefix(`/css`)", "h /cssx") && get("PathPrefix(`/`)", "h /"));
    assert!(get("PathRegexp(`\\.(jpeg|png)$`)", "h /x.png") && !get("PathRegexp(`^/a$`)", "h /ab"));
}

#[test]
fn headers() {
    let sent = [("x-a", "1"), ("x-a", "Two")];
    assert!(holds("Header(`X-A`, `Two`)", "GET h /", &sent));
    assert!(!holds("Header(`X-A`, `two`)", "GET h /", &sent));
    assert!(holds("HeaderRegexp(`x-a`, `w`)", "GET h /", &sent));
    assert!(!holds("HeaderRegexp(`x-a`, `^o`)", "GET h /", &sent));
    assert!(!holds("Header(`Host`, `h`)", "GET h /", &[("host", "h")]));
}

#[test]
fn methods_compare_as_received() {
    assert!(holds("Method(`post`)", "POST h /", &[]));
    assert!(!holds("Method(`GET`)", "get h /", &[]));
}

#[test]
fn queries() {
    assert!(get("Query(`a`)", "h /?a") && get("Query(`a`)", "h /?a=") && !get("Query(`a`)", "h /?a=1"));
    assert!(get("Query(`a`, `x y`)", "h /?b&a=x%20y"));
    assert!(get("QueryRegexp(`a`, `^[0-9]+$`)", "h /?a=x&a=12"));
    assert!(get("QueryRegexp(`a`)", "h /?a") && !get("QueryRegexp(`a`)", "h /?a=1"));
}

#[test]
fn client_addresses() {
    assert!(get("ClientIP(`10.0.0.0/8`)", "h / 10.1.2.3"));
    assert!(get("ClientIP(`10.9.9.9/8`)", "h / 10.1.2.3"));
    assert!(get("ClientIP(`10.0.0.0/8`)", "h / ::ffff:10.1.2.3"));
    assert!(get("ClientIP(`::ffff:10.0.0.0/104`)", "h / 10.1.2.3"));
    assert!(get("ClientIP(`2001:db8::/32`)", "h / 2001:db8::1"));
    assert!(!get("ClientIP(`::/0`)", "h / 10.1.2.3"));
}

#[test]
fn errors_name_the_place() {
    let cases = [
        ("", 0, "the rule ends"),
        ("Host(`a`) &", 10, "expected `&&`"),
        ("Host(`a`) && ", 13, "the rule ends"),
        ("Host(`a`))", 9, "`)` without `(`"),
        ("(Host(`a`)", 0, "never closed"),
        ("(Host(`a`) Path(`/`))", 11, "expected `&&`, `||` or `)`"),
        ("Host(`a`) && PathPrefx(`/`)", 13, "did you mean `PathPrefix`?"),
        ("Headers(`a`, `b`)", 0, "did you mean `Header`?"),
        ("HostSNI(`a`)", 0, "TCP"),
        ("Zebra(`a`)", 0, "there are Host,"),
        ("Host", 4, "expected `(`"),
        ("Host('a')", 5, "single quotes"),
        ("Host(a)", 5, "expected a string"),
        ("Host(1)", 5, "expected a string"),
        ("Host(`a`", 8, "expected `,` or `)`"),
        ("Host(`a", 5, "never closed"),
        ("Host(\"a\\q\")", 7, "unknown escape"),
        ("Host(`a` `b`)", 9, "expected `,`"),
        ("Host(`a`, `b`)", 0, "got 2, expected 1"),
        ("Host()", 0, "got 0, expected 1"),
        ("Header(`a`)", 0, "got 1, expected 2"),
        ("Host(``)", 0, "empty"),
        ("Host(`é`)", 0, "non-ASCII"),
        ("Host(`a*.b`)", 0, "first label"),
        ("Path(`a`)", 0, "does not start with a '/'"),
        ("PathRegexp(`(`)", 0, "bad regular expression"),
        ("ClientIP(`1.2.3`)", 0, "neither an IP address"),
        ("`a`", 0, "expected a matcher"),
    ];
    for (rule, offset, message) in cases {
        let error = Rule::parse(rule).unwrap_err();
        assert_eq!(error.offset, offset, "{rule}: {error}");
        assert!(error.message.contains(message), "{rule}: {error}");
    }
}

#[test]
fn nesting_and_size_are_bounded() {
    let nested = |depth: usize| format!("{}Host(`a`){}", "!(".repeat(depth), ")".repeat(depth));
    assert!(Rule::parse(&nested(100)).is_ok());
    assert!(Rule::parse(&nested(101)).unwrap_err().message.contains("deeper"));
    assert!(Rule::parse(&"!".repeat(200_000)).is_err());
    assert!(Rule::parse(&"(".repeat(200_000)).is_err());
    assert!(Rule::parse(&" ".repeat(300_000)).unwrap_err().message.contains("longer"));
}

#[test]
fn hosts_of_a_rule() {
    let rule =
        Rule::parse("(Host(`A`) || Host(`*.b`)) && !Host(`c`) && !(!Host(`d`) || Path(`/`)) && Host(`a`)")
            .unwrap();
    assert_eq!(rule.hosts(), ["a", "*.b", "d"]);
}

#[test]
fn default_priority_is_the_length_in_bytes() {
    assert_eq!(default_priority("Path(`/é`)"), 11);
}
