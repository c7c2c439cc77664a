//! What of a header's value is written where the header is kept.
//!
//! The configuration decides about headers by name. What hands over a login (a token, a code, a session cookie of ours)
//! is never written, whatever the name: whoever reads the log could use it.

use http::header::{CONTENT_LOCATION, LOCATION, REFERER};
use http::{HeaderName, HeaderValue};

/// Headers whose values are addresses.
const ADDRESSES: [HeaderName; 4] =
    [LOCATION, CONTENT_LOCATION, REFERER, HeaderName::from_static("x-auth-request-redirect")];

/// Parameters by which OpenID providers and clients hand over credentials.
const CREDENTIALS: [&[u8]; 7] =
    [b"code", b"id_token", b"access_token", b"refresh_token", b"id_token_hint", b"logout_token", b"response"];

/// What stands for what is not written.
pub(super) const REDACTED: &[u8] = b"REDACTED";

/// Whether a query or fragment has a parameter by which credentials are handed over.
pub fn holds_credentials(query: &[u8]) -> bool {
    query
        .split(|byte| matches!(byte, b'&' | b'?' | b'#'))
        .any(|pair| CREDENTIALS.contains(&pair.split(|byte| *byte == b'=').next().unwrap_or(pair)))
}

/// The part of a value that is written; with true, [`REDACTED`] follows it.
///
/// Values that were marked as sensitive are not written. Of an address only the query and the fragment are left out.
pub(super) fn visible<'v>(name: &HeaderName, value: &'v HeaderValue) -> (&'v [u8], bool) {
    let bytes = value.as_bytes();
    let secret = value.is_sensitive();
    if !ADDRESSES.contains(name) {
        return if secret { (&[], true) } else { (bytes, false) };
    }
    let path = bytes.iter().position(|byte| matches!(byte, b'?' | b'#')).map(|end| bytes.split_at(end + 1));
    match path {
        Some((path, query)) if secret || holds_credentials(query) => (path, true),
        _ => (bytes, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_a_login_are_recognised() {
        for query in ["code=x&state=y", "state=y&code=x", "id_token_hint=z", "a=b#access_token=z"] {
            assert!(holds_credentials(query.as_bytes()), "{query}");
        }
        for query in ["", "state=y", "barcode=1", "q=code"] {
            assert!(!holds_credentials(query.as_bytes()), "{query}");
        }
    }

    fn shown(name: HeaderName, value: &'static str, sensitive: bool) -> String {
        let mut value = HeaderValue::from_static(value);
        value.set_sensitive(sensitive);
        let (visible, cut) = visible(&name, &value);
        format!("{}{}", String::from_utf8_lossy(visible), if cut { "REDACTED" } else { "" })
    }

    #[test]
    fn of_an_address_the_query_is_left_out() {
        let ours = "https://op.test/authorize?state=s&nonce=n";
        assert_eq!(shown(LOCATION, ours, true), "https://op.test/authorize?REDACTED");
        assert_eq!(shown(LOCATION, "/deep#id_token=x", false), "/deep#REDACTED");
        assert_eq!(shown(REFERER, "https://app.test/cb?code=c", false), "https://app.test/cb?REDACTED");
        assert_eq!(shown(LOCATION, "/next?page=2", false), "/next?page=2");
        assert_eq!(shown(LOCATION, "/next", true), "/next");
    }

    #[test]
    fn of_any_other_value_all_or_nothing_is_written() {
        assert_eq!(shown(http::header::SET_COOKIE, "session=secret", true), "REDACTED");
        assert_eq!(shown(http::header::SET_COOKIE, "theme=dark", false), "theme=dark");
        assert_eq!(shown(http::header::HOST, "a?code=c", false), "a?code=c");
    }
}
