#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use proptest::prelude::*;

use super::*;

fn parse(target: &str) -> Result<Target<'_>, TargetError> {
    Target::parse(target.as_bytes(), PathPolicy::default())
}

fn path(target: &str) -> String {
    parse(target).unwrap().path().to_owned()
}

#[test]
fn usual_targets_are_borrowed() {
    for target in ["/", "/a/b", "/a/b/", "/a.b/c..d/...", "/a?b=c&d", "/%20", "/a%2Fb", "/a?"] {
        let parsed = parse(target).unwrap();
        assert!(parsed.is_unchanged(), "{target}");
        assert_eq!(parsed.origin_form(), target);
    }
}

#[test]
fn refusals() {
    let cases = [
        ("", TargetError::NotRooted),
        ("*", TargetError::NotRooted),
        ("foo", TargetError::NotRooted),
        ("foo/bar", TargetError::NotRooted),
        ("mailto:a@b", TargetError::NotRooted),
        ("http:foo", TargetError::NotRooted),
        ("example.com:443", TargetError::NotRooted),
        ("http:///x", TargetError::BadAuthority),
        ("http://u:p@example.com/", TargetError::BadAuthority),
        ("/a#b", TargetError::Fragment),
        ("/a?b#c", TargetError::Fragment),
        ("http://h#c", TargetError::Fragment),
        ("/%", TargetError::BadEscape),
        ("/%4", TargetError::BadEscape),
        ("/%4g", TargetError::BadEscape),
        ("/%zz/x", TargetError::BadEscape),
        ("/a\0", TargetError::ControlCharacter),
        ("/a b", TargetError::ControlCharacter),
        ("/a\x7f", TargetError::ControlCharacter),
        ("/a?b\r\n", TargetError::ControlCharacter),
    ];
    for (target, error) in cases {
        assert_eq!(parse(target), Err(error), "{target:?}");
    }
}

#[test]
fn escapes_are_normalised() {
    assert_eq!(path("/%61%7e%2D"), "/a~-");
    assert_eq!(path("/%2f%3a%c3%a9"), "/%2F%3A%C3%A9");
    assert_eq!(path("/%00"), "/%00");
    assert_eq!(path("/{a}|b\\c\"<>^`"), "/%7Ba%7D%7Cb%5Cc%22%3C%3E%5E%60");
    assert_eq!(path("/é"), "/%C3%A9");
    assert_eq!(Target::parse(b"/\xff", PathPolicy::default()).unwrap().path(), "/%FF");
}

#[test]
fn paths_are_sanitised_as_go_joins_them() {
    let cases = [
        ("//", "/"),
        ("//a///b//", "/a/b/"),
        ("/a/./b", "/a/b"),
        ("/a/.", "/a"),
        ("/a/./", "/a/"),
        ("/a/b/..", "/a"),
        ("/a/b/../", "/a/"),
        ("/..", "/"),
        ("/../../x", "/x"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/%2E./b", "/b"),
        ("/a%2F..%2Fb", "/a%2F..%2Fb"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a/...", "/a/..."),
        ("/a/..b", "/a/..b"),
        ("//evil.example/x", "/evil.example/x"),
    ];
    for (target, expected) in cases {
        assert_eq!(path(target), expected, "{target}");
    }
}

#[test]
fn sanitising_can_be_switched_off() {
    let policy = PathPolicy { sanitize: false, ..PathPolicy::default() };
    assert_eq!(Target::parse(b"//a/%2e%2e/b", policy).unwrap().path(), "//a/../b");
}

#[test]
fn the_routing_path_keeps_reserved_escapes() {
    let cases = [
        ("/foo%20bar", "/foo bar"),
        ("/foo%2fbar", "/foo%2Fbar"),
        ("/%25%32", "/%252"),
        ("/%C3%A9", "/é"),
        ("/é", "/é"),
        ("/%ff", "/%FF"),
        ("/%C3%28", "/%C3%28"),
        ("/%5C%7B%22", "/\\{\""),
        (
            "/%3A%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D",
            "/%3A%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D",
        ),
        ("/:[]@!$&'()*+,;=", "/:[]@!$&'()*+,;="),
    ];
    for (target, expected) in cases {
        assert_eq!(parse(target).unwrap().routing_path(), expected, "{target}");
    }
}

#[test]
fn absolute_form_gives_authority_and_path() {
    let target = parse("HTTP://Example.com:8080/a?b").unwrap();
    assert_eq!(
        (target.authority(), target.path(), target.query()),
        (Some("Example.com:8080"), "/a", Some("b"))
    );
    assert!(!target.is_unchanged());
    assert_eq!(parse("http://h").unwrap().path(), "/");
    assert_eq!(parse("https://h?q").unwrap().origin_form(), "/?q");
}

#[test]
fn query_semicolons() {
    assert_eq!(parse("/?a=1;b=2").unwrap().query(), Some("a=1&b=2"));
    let policy = PathPolicy { encode_query_semicolons: true, ..PathPolicy::default() };
    assert_eq!(Target::parse(b"/?a=1;b=2", policy).unwrap().query(), Some("a=1%3Bb=2"));
    assert_eq!(parse("/?a=\"é%zz").unwrap().query(), Some("a=%22%C3%A9%zz"));
}

#[test]
fn encoded_characters() {
    assert!(EncodedCharacters::ALL.allow("/%2F%00"));
    assert!(EncodedCharacters::NONE.allow("/a%20%C3%A9"));
    for escape in ["%2F", "%5C", "%00", "%3B", "%25", "%3F", "%23", "%2f"] {
        assert!(!EncodedCharacters::NONE.allow(&format!("/a{escape}b")), "{escape}");
    }
    assert!(EncodedCharacters { slash: true, ..EncodedCharacters::NONE }.allow("/a%2Fb"));
}

#[test]
fn decoding_and_encoding() {
    assert_eq!(decode("/a%2Fb").as_deref(), Some(&b"/a/b"[..]));
    assert_eq!(decode("/%f"), None);
    assert_eq!(encode("/a b%2F?"), "/a%20b%252F%3F");
    assert_eq!(complete("/a b%2F?"), "/a%20b%2F%3F");
    assert_eq!(escaped_len("/a%2Fb", 3), 5);
    assert_eq!(escaped_len("/a", 9), 2);
}

/// Text rich in what matters to paths.
fn target() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"/".to_vec()),
        Just(b".".to_vec()),
        Just(b"..".to_vec()),
        Just(b"%2e".to_vec()),
        Just(b"%2F".to_vec()),
        Just(b"%25".to_vec()),
        Just(b"%c3%a9".to_vec()),
        Just(b"%ff".to_vec()),
        Just(b"%00".to_vec()),
        Just(b";".to_vec()),
        Just(b"?".to_vec()),
        Just(b"a".to_vec()),
        Just(b"{".to_vec()),
        any::<u8>().prop_map(|byte| vec![byte]),
        any::<u8>().prop_map(|byte| format!("%{byte:02x}").into_bytes()),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| {
        let mut target = b"/".to_vec();
        target.extend(pieces.concat());
        target
    })
}

proptest! {
    #[test]
    fn sanitised_paths_hold_no_dot_segments(raw in target()) {
        if let Ok(target) = Target::parse(&raw, PathPolicy::default()) {
            let path = target.path();
            prop_assert!(path.starts_with('/') && path.is_ascii());
            prop_assert!(!path.contains("//"), "{path}");
            prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{path}");
        }
    }

    #[test]
    fn normalising_twice_changes_nothing(raw in target(), sanitize: bool, encode_query_semicolons: bool) {
        let policy = PathPolicy { sanitize, encode_query_semicolons };
        if let Ok(first) = Target::parse(&raw, policy) {
            let form = first.origin_form();
            let second = Target::parse(form.as_bytes(), policy).unwrap();
            prop_assert!(second.is_unchanged());
            prop_assert_eq!(second.origin_form(), form.as_str());
            prop_assert_eq!(second.routing_path(), first.routing_path());
        }
    }

    #[test]
    fn what_is_reported_as_unchanged_is(raw in target()) {
        if let Ok(target) = Target::parse(&raw, PathPolicy::default()) {
            prop_assert_eq!(target.is_unchanged(), target.origin_form().as_bytes() == raw.as_slice());
        }
    }

    #[test]
    fn different_forwarded_paths_are_judged_differently(left in target(), right in target()) {
        let policy = PathPolicy::default();
        if let (Ok(left), Ok(right)) = (Target::parse(&left, policy), Target::parse(&right, policy)) {
            prop_assert_eq!(left.path() == right.path(), left.routing_path() == right.routing_path());
        }
    }
}
