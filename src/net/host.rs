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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
