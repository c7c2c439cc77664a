//! The `Authorization` header (RFC 6750, section 2.1). Tokens in queries and forms are not looked for.

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Longest token, in bytes.
const MAX_TOKEN: usize = 32 * 1024;

/// What a client shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credential<'a> {
    /// A token.
    Token(&'a str),
    /// A bearer token that cannot be one, or several credentials at once.
    Malformed,
}

impl<'a> Credential<'a> {
    /// The bearer token of a request; `None` if there is no such header or it is of another scheme.
    pub(super) fn of(headers: &'a HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let first = values.next()?;
        if values.next().is_some() {
            let any =
                headers.get_all(AUTHORIZATION).iter().any(|value| after_scheme(value.as_bytes()).is_some());
            return any.then_some(Self::Malformed);
        }
        let token = after_scheme(first.as_bytes())?;
        let token = std::str::from_utf8(token).unwrap_or_default().trim_start_matches(' ');
        Some(if is_token(token) { Self::Token(token) } else { Self::Malformed })
    }
}

/// What follows `Bearer `; schemes have no case (RFC 9110, section 11.1).
fn after_scheme(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(6)?;
    let ends = rest.first().is_none_or(|next| *next == b' ');
    (scheme.eq_ignore_ascii_case(b"bearer") && ends).then(|| rest.get(1..).unwrap_or_default())
}

/// `b64token`: letters, digits, `-._~+/`, and `=` at the end.
fn is_token(token: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    let body = token.trim_end_matches('=');
    !body.is_empty() && token.len() <= MAX_TOKEN && body.bytes().all(legal)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        Credential::of(&headers).map(|credential| match credential {
            Credential::Token(token) => token.to_owned(),
            Credential::Malformed => "malformed".to_owned(),
        })
    }

    #[test]
    fn one_token() {
        for value in ["Bearer a.b-c_d~e+f/g==", "bearer a.b-c_d~e+f/g==", "BEARER  a.b-c_d~e+f/g=="] {
            assert_eq!(of(&[value]).as_deref(), Some("a.b-c_d~e+f/g=="), "{value}");
        }
        for other in ["Basic YTpi", "Bear a", "Bearerx a", "", "Digest x"] {
            assert_eq!(of(&[other]), None, "{other}");
        }
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn what_cannot_be_one() {
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN + 1));
        for value in [
            "Bearer",
            "Bearer ",
            "Bearer =",
            "Bearer a b",
            "Bearer a,b",
            "Bearer \"a\"",
            "Bearer a\u{e9}",
            &long,
        ] {
            assert_eq!(of(&[value]).as_deref(), Some("malformed"), "{value}");
        }
        for values in [["Bearer a", "Bearer b"], ["Basic a", "Bearer b"]] {
            assert_eq!(of(&values).as_deref(), Some("malformed"), "{values:?}");
        }
        assert_eq!(of(&["Basic a", "Basic b"]), None);
    }
}
