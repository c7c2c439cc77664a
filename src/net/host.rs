//! The host of a request in the form that rules are judged on.

use std::borrow::Cow;

/// Host without port: lower case, one trailing dot removed, IPv6 without brackets; `""` for no host.
///
/// `authority` is a `Host` header, an `:authority` or the authority of an absolute-form target. Text that is none of
/// those is lower-cased and returned, so that it matches no rule that names a host. Borrows where nothing changes.
pub fn canonical_host(authority: &str) -> Cow<'_, str> {
    let host = without_port(authority.trim_ascii());
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    }
}

/// As Go's `net.SplitHostPort`, but what it would refuse is returned whole.
fn without_port(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((host, "")) => host,
            Some((host, port)) if port.starts_with(':') => host,
            _ => authority,
        };
    }
    match authority.split_once(':') {
        // A second colon: an IPv6 address without brackets, which has no port.
        Some((host, port)) if !port.contains(':') => host,
        _ => authority,
    }
}

/// Whether `authority` is `uri-host [ ":" port ]`, as `Host` has it (RFC 9112, section 3.2; RFC 3986, section 3.2.2).
/// There is no user information in it, and it may be empty.
pub fn is_authority(authority: &[u8]) -> bool {
    let port = match authority.strip_prefix(b"[") {
        Some(rest) => {
            let end = memchr::memchr(b']', rest).unwrap_or(rest.len());
            let (address, rest) = rest.split_at(end);
            // Without its end there is no address, whatever stands there.
            let Some(port) = rest.strip_prefix(b"]").filter(|_| is_ipv6(address)) else { return false };
            port
        }
        None => {
            let end = memchr::memchr(b':', authority).unwrap_or(authority.len());
            let (name, port) = authority.split_at(end);
            if !name.iter().all(|byte| may_be_in_name(*byte)) {
                return false;
            }
            port
        }
    };
    port.is_empty() || port.strip_prefix(b":").is_some_and(|port| port.iter().all(u8::is_ascii_digit))
}

/// An address, perhaps with a zone (RFC 6874). What RFC 3986 keeps free for future versions has none yet.
fn is_ipv6(text: &[u8]) -> bool {
    let address = text.split(|byte| *byte == b'%').next().unwrap_or_default();
    let zone = text.get(address.len()..).unwrap_or_default();
    std::str::from_utf8(address).is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
        && zone.iter().all(|byte| may_be_in_name(*byte))
}

/// Bytes of a `reg-name` (RFC 3986, section 3.2.2).
fn may_be_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

/// Whether two authorities of a URI with the default port `port` are the same host and port (RFC 9110, section 4.2.3).
pub fn same_authority(a: &[u8], b: &[u8], port: u16) -> bool {
    let port = port.to_string();
    let without_default = |authority: &[u8]| {
        let Some(at) = memchr::memrchr(b':', authority) else { return authority.to_ascii_lowercase() };
        let (host, written) = authority.split_at(at);
        match written.get(1..) {
            Some(b"") => host.to_ascii_lowercase(),
            Some(written) if written == port.as_bytes() => host.to_ascii_lowercase(),
            _ => authority.to_ascii_lowercase(),
        }
    };
    a == b || without_default(a) == without_default(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn authorities() {
        for good in [
            "",
            "a",
            "A.test.",
            "a_b:80",
            "a:",
            ":80",
            "10.0.0.1:8",
            "[::1]",
            "[fe80::1%25eth0]:80",
            "x%41!$&'()*+,;=~",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "a:xx", "a:8 0", "a:80:80", "::1", "[::1", "[::1]x", "[::1]:x", "[]", "[a]", "u@a", "a b", "a/b",
            "a\0", "a]", "é",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn authorities_that_are_the_same() {
        for (a, b, port, same) in [
            ("a", "A", 80, true),
            ("a:80", "a", 80, true),
            ("a:", "a:80", 80, true),
            ("[::A]:443", "[::a]", 443, true),
            ("a:443", "a", 80, false),
            ("a", "b", 80, false),
            ("a.", "a", 80, false),
            ("[::1]", "[::1]:1", 80, false),
        ] {
            assert_eq!(same_authority(a.as_bytes(), b.as_bytes(), port), same, "{a} {b}");
            assert_eq!(same_authority(b.as_bytes(), a.as_bytes(), port), same, "{b} {a}");
        }
    }

    #[test]
    fn canonical_forms() {
        let cases = [
            ("", ""),
            ("example.com", "example.com"),
            ("Example.COM:8443", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:80", "example.com"),
            ("example.com:", "example.com"),
            ("[::1]", "::1"),
            ("[2001:DB8::1]:80", "2001:db8::1"),
            ("::1", "::1"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("[::1", "[::1"),
            ("[::1]x", "[::1]x"),
            ("a:b:c", "a:b:c"),
            (" example.com ", "example.com"),
            (":80", ""),
        ];
        for (authority, expected) in cases {
            assert_eq!(canonical_host(authority), expected, "{authority}");
        }
    }

    #[test]
    fn usual_hosts_are_borrowed() {
        for authority in ["example.com", "example.com:8080", "[::1]:80"] {
            assert!(matches!(canonical_host(authority), Cow::Borrowed(_)), "{authority}");
        }
    }

    proptest! {
        /// For an authority that a URL may have, it is the host that a URL parser finds.
        #[test]
        fn as_a_url_parser_reads_it(host in "[a-zA-Z][a-zA-Z0-9-]{0,8}(\\.[a-zA-Z][a-zA-Z0-9]{0,8}){0,2}\\.?", port in any::<Option<u16>>()) {
            let authority = port.map_or(host.clone(), |port| format!("{host}:{port}"));
            if let Ok(url) = url::Url::parse(&format!("http://{authority}/")) {
                let found = url.host_str().unwrap_or_default();
                prop_assert_eq!(canonical_host(&authority), found.strip_suffix('.').unwrap_or(found));
            }
        }

        /// As the fuzz target `host`. (A last label that begins with a digit may be a number to a URL parser.)
        #[test]
        fn case_and_port_make_no_other_host(text in "\\PC{0,16}", name in "([a-zA-Z0-9-]{0,6}\\.){0,3}[a-zA-Z][a-zA-Z0-9-]{0,6}\\.?") {
            let (capitals, with_port) = (text.to_ascii_uppercase(), format!("{name}:443"));
            prop_assert_eq!(canonical_host(&capitals), canonical_host(&text));
            let host = canonical_host(&name);
            prop_assert_eq!(canonical_host(&with_port), host.as_ref());
            if let Ok(url) = url::Url::parse(&format!("http://{name}/")) {
                let found = url.host_str().unwrap_or_default();
                prop_assert_eq!(host, found.strip_suffix('.').unwrap_or(found));
            }
        }

        #[test]
        fn any_text_is_read(authority in "[\\[\\]:.aA1 é]{0,16}") {
            let host = canonical_host(&authority);
            prop_assert!(host.len() <= authority.len() && !host.bytes().any(|byte| byte.is_ascii_uppercase()));
        }
    }
}
