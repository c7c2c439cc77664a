//! Query parameters, read as Go's `url.ParseQuery` reads them.
//!
//! A pair that holds `;` or a broken escape in key or value is skipped; `+` is a space.

use std::borrow::Cow;

/// Whether `key` occurs with exactly `value`. Allocates nothing.
pub(super) fn has(query: Option<&str>, key: &str, value: &str) -> bool {
    pairs(query).any(|(raw_key, raw_value)| {
        equals(raw_key, key.as_bytes()) == Some(true) && equals(raw_value, value.as_bytes()) == Some(true)
    })
}

/// Whether a value of `key` satisfies `test`. Allocates only for values that are encoded.
pub(super) fn any(query: Option<&str>, key: &str, test: impl Fn(&[u8]) -> bool) -> bool {
    pairs(query)
        .filter(|(raw_key, _)| equals(raw_key, key.as_bytes()) == Some(true))
        .any(|(_, raw_value)| unescape(raw_value).is_some_and(|value| test(&value)))
}

fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.contains(';'))
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Decodes byte by byte; an item is `None` where an escape is broken.
fn decoded(raw: &str) -> impl Iterator<Item = Option<u8>> + '_ {
    let mut bytes = raw.bytes();
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    std::iter::from_fn(move || {
        Some(match bytes.next()? {
            b'+' => Some(b' '),
            b'%' => match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => Some(high << 4 | low),
                _ => None,
            },
            byte => Some(byte),
        })
    })
}

/// Whether `raw` decodes to `expected`; `None` when it cannot be decoded.
fn equals(raw: &str, expected: &[u8]) -> Option<bool> {
    let mut expected = expected.iter();
    let mut equal = true;
    for byte in decoded(raw) {
        let byte = byte?;
        equal = equal && expected.next() == Some(&byte);
    }
    Some(equal && expected.next().is_none())
}

fn unescape(raw: &str) -> Option<Cow<'_, [u8]>> {
    if !raw.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(raw.as_bytes()));
    }
    decoded(raw).collect::<Option<Vec<u8>>>().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{prop_assert_eq, proptest};

    #[test]
    fn as_go_parses() {
        assert!(has(Some("a=1&b=2"), "b", "2"));
        assert!(has(Some("a"), "a", ""));
        assert!(has(Some("a="), "a", ""));
        assert!(has(Some("a=1&a=2"), "a", "2"));
        assert!(has(Some("%61=x%20y"), "a", "x y"));
        assert!(has(Some("a=x+y"), "a", "x y"));
        assert!(has(Some("a=b=c"), "a", "b=c"));
        assert!(has(Some("&&a=1"), "a", "1"));
        assert!(!has(Some("a=1"), "a", ""));
        assert!(!has(Some("a=1"), "A", "1"));
        assert!(!has(Some("a=1;b=2"), "b", "2"));
        assert!(!has(None, "a", ""));
    }

    #[test]
    fn broken_pairs_are_skipped() {
        assert!(!has(Some("a=%zz"), "a", "%zz"));
        assert!(!has(Some("a=%zz"), "a", ""));
        assert!(!has(Some("%z=1"), "%z", "1"));
        assert!(has(Some("a=%zz&a=1"), "a", "1"));
        assert!(!any(Some("a=%4"), "a", |_| true));
        assert!(any(Some("a=%41"), "a", |value| value == b"A"));
    }

    proptest! {
        /// Where no pair is skipped, it is what a form parser finds.
        #[test]
        fn as_a_form_parser_reads_it(query in "([ab=&+]|%6[1-3]|%3d|%26){0,24}", key in "[ab]{0,2}", value in "[ab=& ]{0,3}") {
            let found = url::form_urlencoded::parse(query.as_bytes()).any(|pair| pair == (key.as_str().into(), value.as_str().into()));
            prop_assert_eq!(has(Some(&query), &key, &value), found);
            prop_assert_eq!(any(Some(&query), &key, |text| text == value.as_bytes()), found);
        }

        #[test]
        fn any_query_is_read(query in "[%a-g0-9=&;+é]{0,24}", key in "[a-g%]{0,2}") {
            let _ = any(Some(&query), &key, |_| false);
        }
    }
}
