//! The strict grammar of redirect targets.
//!
//! A target that came from outside (a deep link that is remembered, a parameter, a state restored
//! after login) is used only if it is a path on this origin in its plainest spelling. It is judged
//! once and never repaired: prefix and regular-expression checks are how gateways became open
//! redirectors (RFC 9700, section 4.11).

/// Longest target that is remembered over a login, in bytes.
pub const MAX_TARGET: usize = 1_500;

/// Whether `value` is a relative reference that stays on this origin: one leading `/`, no `//`,
/// no `.` or `..` segment however it is encoded, no backslash, no byte outside printable ASCII,
/// no fragment.
///
/// For values that came from a parameter or a header; the rule against `//` holds for the query
/// too.
pub fn is_strict(value: &str) -> bool {
    !value.contains("//") && is_request_target(value)
}

/// As [`is_strict`], but `//` may occur in the query: for the target of the request itself, whose
/// query is the application's own business.
pub fn is_request_target(value: &str) -> bool {
    if !value.bytes().all(is_plain) || value.len() > MAX_TARGET {
        return false;
    }
    let path = value.split_once('?').map_or(value, |(path, _)| path);
    path.starts_with('/') && !path.contains("//") && !path.split('/').any(is_dot_segment)
}

/// The target to remember for a request, or `/` if it is not one to return to.
pub fn remember(path: &str, query: Option<&str>) -> String {
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    if is_request_target(&target) { target } else { "/".to_owned() }
}

/// Whether no reader, however lax, can take `path` for one in another folder: it has no `.` or `..`
/// segment however it is encoded, and no backslash.
pub fn is_plain_path(path: &str) -> bool {
    !path.contains('\\') && !path.split('/').any(is_dot_segment)
}

/// Printable ASCII without space, backslash and the fragment mark.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'\\' && byte != b'#'
}

/// `.` and `..`, also percent-encoded (once or more), and with a matrix parameter behind.
fn is_dot_segment(segment: &str) -> bool {
    let decoded = single_escapes(&segment.to_ascii_lowercase()).replace("%2e", ".").replace("%3b", ";");
    // An encoded separator would make new segments for a lax reader.
    if decoded.contains("%2f") || decoded.contains("%5c") {
        return decoded.replace("%5c", "/").replace("%2f", "/").split('/').any(is_dots);
    }
    is_dots(&decoded)
}

/// `%252e`, `%25252e` and so on as `%2e`. One pass: the path of a request may be long.
fn single_escapes(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    let mut rest = segment;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        out.push('%');
        rest = after;
        while let Some(deeper) = rest.strip_prefix("25") {
            rest = deeper;
        }
    }
    out.push_str(rest);
    out
}

fn is_dots(segment: &str) -> bool {
    let name = segment.split_once(';').map_or(segment, |(name, _)| name);
    name == "." || name == ".."
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_targets_pass() {
        for target in ["/", "/a", "/a/b?x=1&y=%20", "/a.b/..c/...", "/a?next=/b", "/%E2%82%AC", "/a;v=1"] {
            assert!(is_strict(target), "{target}");
        }
        assert!(is_request_target("/a?u=https://b.example/"));
    }

    #[test]
    fn attacks_are_refused() {
        let refused = [
            "",
            "a",
            "//evil.example",
            "///evil",
            "/\\evil",
            "\\/evil",
            "/a//b",
            "/./",
            "/../",
            "/%2e%2e/",
            "/%2E./",
            "/.%2e",
            "/%252e%252e/x",
            "/..;/x",
            "/%2e%2e%3b/x",
            "/a/..%2fb",
            "/a%5c..%5cb",
            "/\tevil",
            "/ evil",
            "/a\nb",
            "/a\r\nLocation: x",
            "/a\0",
            "/\u{7f}",
            "/\u{85}",
            "/\u{2028}",
            "/€",
            "javascript:alert(1)",
            "http:evil",
            "https:/evil",
            "http:///evil",
            " /a",
            "/a#b",
            "?a",
            "https://app.example.com@evil",
        ];
        for target in refused {
            assert!(!is_strict(target), "{target:?}");
            assert!(!is_request_target(target), "{target:?}");
        }
        assert!(!is_strict("/a?u=https://b.example/"));
        assert!(!is_request_target(&format!("/{}", "a".repeat(MAX_TARGET))));
    }

    /// Slashes, backslashes, blanks, controls and what shows as nothing, in every order, before a host in any form; and
    /// every scheme.
    #[test]
    fn n43_no_beginning_leads_to_a_host() {
        const ODD: &str =
            "/\\\t\n\r\u{b}\u{c} \0\u{1f}\u{7f}\u{85}\u{a0}\u{200b}\u{2028}\u{2029}\u{3000}\u{feff}\u{ff0f}";
        const HOSTS: [&str; 6] = [
            "evil.example",
            "user@evil.example",
            "app.example.com@evil.example:443/x",
            "evil\u{3002}example",
            "[::1%25eth0]",
            "0x7f000001",
        ];
        for (first, second) in ODD.chars().flat_map(|first| ODD.chars().map(move |second| (first, second))) {
            for third in ODD.chars().map(String::from).chain([String::new()]) {
                for host in HOSTS {
                    let target = format!("{first}{second}{third}{host}");
                    assert!(!is_strict(&target) && !is_request_target(&target), "{target:?}");
                }
            }
        }
        for scheme in [
            "http",
            "HTTPS",
            "jAvAsCrIpT",
            "vbscript",
            "data",
            "file",
            "blob",
            " https",
            "\thttp",
            "\u{1}http",
        ] {
            for between in [":", ":/", "://", ":///", ":\\", ":/\\", "%3a//", ":&#47;/"] {
                let target = format!("{scheme}{between}evil.example");
                assert!(!is_strict(&target) && !is_request_target(&target), "{target:?}");
            }
        }
    }

    #[test]
    fn escapes_of_escapes_are_read_in_one_pass() {
        for (written, single) in
            [("%252e", "%2e"), ("%25252e", "%2e"), ("%25", "%"), ("%2%255", "%2%5"), ("a%25%2525b", "a%%b")]
        {
            assert_eq!(single_escapes(written), single, "{written}");
        }
        let deep = format!("/public/%{}2e./x", "25".repeat(30_000));
        assert!(!is_plain_path(&deep));
        assert!(is_plain_path(&format!("/public/%{}", "25".repeat(30_000))));
    }

    #[test]
    fn remember_falls_back() {
        assert_eq!(remember("/a", Some("b=1")), "/a?b=1");
        assert_eq!(remember("//evil.example", None), "/");
    }

    proptest! {
        /// Whatever passes resolves, for a WHATWG parser, to the same origin and keeps its path.
        #[test]
        fn never_leaves_the_origin(target in "[/\\\\a.:@%2eE5cCfF?#;\\t\\n é-]{0,24}") {
            if is_request_target(&target) {
                let base = url::Url::parse("https://app.example.com/x/y").unwrap();
                let joined = base.join(&target).unwrap();
                prop_assert_eq!(joined.origin(), base.origin());
                prop_assert_eq!(joined.path(), target.split('?').next().unwrap());
            }
        }

        #[test]
        fn strict_implies_request_target(target in "\\PC{0,32}") {
            prop_assert!(!is_strict(&target) || is_request_target(&target));
        }
    }
}
