//! What the two redirects share.

use http::{HeaderValue, Method, StatusCode, Uri};

use super::Flow;
use super::target::plain;
use crate::net::LocalResponse;

/// Redirects to `location`. 302 or 301 for GET, 307 or 308 for every other method, HEAD included, as Traefik does.
/// A location that is no URL is answered with 502.
pub(super) fn to(location: &str, method: &Method, permanent: bool) -> Flow {
    let Some(location) = header(location) else {
        tracing::debug!(location, "a redirect leads to something that is no URL");
        return Flow::Respond(plain(StatusCode::BAD_GATEWAY));
    };
    let status = match (permanent, method == Method::GET) {
        (false, true) => StatusCode::FOUND,
        (false, false) => StatusCode::TEMPORARY_REDIRECT,
        (true, true) => StatusCode::MOVED_PERMANENTLY,
        (true, false) => StatusCode::PERMANENT_REDIRECT,
    };
    let text = status.canonical_reason().unwrap_or_default();
    let body = LocalResponse::redirect(status, location).with_body("text/plain; charset=utf-8", text);
    Flow::Respond(body)
}

/// Encodes what must not stand raw in a URL (RFC 3986, section 2).
fn header(location: &str) -> Option<HeaderValue> {
    let mut url = String::with_capacity(location.len());
    for byte in location.bytes() {
        match byte {
            0..=0x1f | 0x7f => return None,
            b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80.. => {
                url.push_str(percent_encoding::percent_encode_byte(byte));
            }
            _ => url.push(char::from(byte)),
        }
    }
    // Only a check: `Uri` would drop the fragment.
    url.parse::<Uri>().ok()?;
    url.try_into().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        assert_eq!(header("https://a/b c?d=é#/e").unwrap(), "https://a/b%20c?d=%C3%A9#/e");
        assert_eq!(header("/relative?x").unwrap(), "/relative?x");
        for bad in ["https://a/\r\nX: y", "https://[a/", "", "https://a b:c/"] {
            assert_eq!(header(bad), None, "{bad:?}");
        }
    }
}
