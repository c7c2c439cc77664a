//! Headers that tell a service who the user is.
//!
//! Their names belong to the proxy: whatever a client sends under them, in any spelling, is
//! removed from every request on every route. Their values come from claims, which the provider's
//! users may choose, so a value can neither split a header nor a list.

use http::HeaderValue;

/// Names of the identity headers, lower case.
pub const IDENTITY_HEADERS: &[&str] = &[
    "x-forwarded-user",
    "x-user-groups",
    "x-user-roles",
    "x-auth-request-user",
    "x-auth-request-redirect",
    "x-auth-request-token",
    super::identity_assertion::DEFAULT_HEADER,
];

/// Longest value of a list header, in bytes.
pub(super) const MAX_LIST: usize = 8_192;

/// Whether `name` is an identity header in any spelling: case, and `_` for `-`, which CGI-like
/// services cannot tell apart.
pub fn is_identity_header(name: &str) -> bool {
    IDENTITY_HEADERS.iter().any(|header| same_header(header, name))
}

/// Whether two header names are one to a service that folds case and `_` into `-`.
pub fn same_header(a: &str, b: &str) -> bool {
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    a.len() == b.len() && a.bytes().zip(b.bytes()).all(|(a, b)| fold(a) == fold(b))
}

/// One value: non-ASCII, `%`, and spaces at either end percent-encoded; `None` if it holds a control
/// character. Spaces at the ends of a header value get lost on the way (RFC 9110, section 5.5), and
/// with them the difference between `admin` and a user who calls himself `admin` with a space.
pub fn single(value: &str) -> Option<HeaderValue> {
    encode(value, false).and_then(|text| HeaderValue::try_from(text).ok())
}

/// A comma-joined list in which every value can be told from its neighbours; values with control
/// characters are dropped, and the list ends before the value that would make it too long. `None`
/// if nothing is left.
pub fn list<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<HeaderValue> {
    let mut joined = String::new();
    for value in values {
        let Some(encoded) = encode(value, true).filter(|v| !v.is_empty()) else { continue };
        if joined.len() + encoded.len() + 1 > MAX_LIST {
            break;
        }
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(&encoded);
    }
    if joined.is_empty() { None } else { HeaderValue::try_from(joined).ok() }
}

/// The text that a template made: non-ASCII percent-encoded, the rest as it is; `None` if it is
/// empty, too long or holds a control character.
pub fn rendered(text: &str) -> Option<HeaderValue> {
    if text.is_empty() || text.len() > MAX_LIST || text.chars().any(is_unsafe) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    push_all(&mut out, text, |_| false);
    HeaderValue::try_from(out).ok()
}

fn encode(value: &str, in_list: bool) -> Option<String> {
    if value.chars().any(is_unsafe) {
        return None;
    }
    let mut out = String::with_capacity(value.len());
    push_all(&mut out, value, |c| c == '%' || in_list && c == ',');
    Some(out)
}

/// Appends `text`; what is `always` encoded, is so beside non-ASCII and the spaces at the ends.
fn push_all(out: &mut String, text: &str, always: impl Fn(char) -> bool) {
    let start = text.len() - text.trim_start_matches(' ').len();
    let end = text.trim_end_matches(' ').len();
    for (at, c) in text.char_indices() {
        push(out, c, at < start || at >= end || always(c));
    }
}

/// Controls, and the marks that reorder text on screen.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn push(out: &mut String, c: char, always: bool) {
    use std::fmt::Write;
    if c.is_ascii() && !always {
        out.push(c);
        return;
    }
    let mut buffer = [0; 4];
    for byte in c.encode_utf8(&mut buffer).bytes() {
        // Writing to a String cannot fail.
        let _ = write!(out, "%{byte:02X}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_spelling() {
        for name in ["X-Forwarded-User", "x_forwarded_user", "X-USER_groups", "x-auth_request-Token"] {
            assert!(is_identity_header(name), "{name}");
        }
        for name in ["X-Forwarded-Users", "X-Forwarded-For", "User"] {
            assert!(!is_identity_header(name), "{name}");
        }
    }

    #[test]
    fn values_cannot_split() {
        assert_eq!(single("a\r\nX-Admin: 1"), None);
        assert_eq!(single("a\0"), None);
        assert_eq!(single("zoë").unwrap(), "zo%C3%AB");
        assert_eq!(list(["a,b", "c", "bad\n", "100%"]).unwrap(), "a%2Cb,c,100%25");
        assert_eq!(list(["", "\u{1}"]), None);
        assert_eq!(rendered("100% ok"), Some(HeaderValue::from_static("100% ok")));
        assert_eq!(rendered(""), None);
    }

    #[test]
    fn spaces_at_the_ends_do_not_make_another_user() {
        assert_eq!(single("admin ").unwrap(), "admin%20");
        assert_eq!(single(" admin").unwrap(), "%20admin");
        assert_eq!(single("a b").unwrap(), "a b");
        assert_eq!(single("admin\u{a0}").unwrap(), "admin%C2%A0");
        assert_eq!(list(["users", "admin "]).unwrap(), "users,admin%20");
        assert_eq!(rendered("admin ").unwrap(), "admin%20");
        assert_eq!(rendered("  ").unwrap(), "%20%20");
    }

    #[test]
    fn long_lists_are_cut_between_values() {
        let groups: Vec<String> = (0..1000).map(|n| format!("group-number-{n}")).collect();
        let value = list(groups.iter().map(String::as_str)).unwrap();
        let text = value.to_str().unwrap();
        assert!(text.len() <= MAX_LIST);
        assert!(text.split(',').all(|group| groups.iter().any(|g| g == group)));
    }

    proptest! {
        #[test]
        fn lists_restore(values in proptest::collection::vec("[a-z,%é ]{1,8}", 1..6)) {
            let restored: Vec<String> = list(values.iter().map(String::as_str)).map(|header| {
                header.to_str().unwrap().split(',')
                    .map(|v| percent_encoding::percent_decode_str(v).decode_utf8().unwrap().into_owned()).collect()
            }).unwrap_or_default();
            prop_assert_eq!(restored, values);
        }
    }
}
