//! Which protocol a client wants to switch to (RFC 9110, section 7.8).

use http::header::UPGRADE;
use http::{HeaderMap, Version};

use crate::net::headers::connection_names;
use crate::service::Use;

/// What a request with these headers is for. `None`: it has an `Upgrade` header that must not be
/// passed on: in another version than HTTP/1.1, not named by `Connection`, or for HTTP itself
/// (`h2c`), which would carry requests past us.
pub(super) fn wanted(headers: &HeaderMap, version: Version) -> Option<Use> {
    let Some(value) = headers.get(UPGRADE) else { return Some(Use::Request) };
    let one_line = headers.get_all(UPGRADE).iter().nth(1).is_none();
    if version != Version::HTTP_11 || !one_line || !connection_names(headers, "upgrade") {
        return None;
    }
    let value = value.to_str().ok()?;
    if value.eq_ignore_ascii_case("websocket") {
        return Some(Use::WebSocket);
    }
    let safe = |token: &str| {
        let name = token.split('/').next().unwrap_or(token).trim_ascii();
        !["h2c", "h2", "http", "tls"].iter().any(|http| name.eq_ignore_ascii_case(http))
    };
    value.split(',').all(safe).then_some(Use::OtherUpgrade)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::header::CONNECTION;

    use super::*;

    fn judge(connection: &'static str, upgrade: &'static str, version: Version) -> Option<Use> {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, connection.parse().unwrap());
        headers.insert(UPGRADE, upgrade.parse().unwrap());
        wanted(&headers, version)
    }

    #[test]
    fn only_a_complete_handshake_switches() {
        let http11 = Version::HTTP_11;
        assert_eq!(wanted(&HeaderMap::new(), http11), Some(Use::Request));
        assert_eq!(judge("keep-alive, Upgrade", "WebSocket", http11), Some(Use::WebSocket));
        assert_eq!(judge("upgrade", "SPDY/3.1", http11), Some(Use::OtherUpgrade));
        assert_eq!(judge("keep-alive", "websocket", http11), None);
        assert_eq!(judge("upgrade", "websocket", Version::HTTP_10), None);
    }

    #[test]
    fn http_itself_is_never_an_upgrade() {
        for token in ["h2c", "H2C", "websocket, h2c", "HTTP/2.0", "TLS/1.2"] {
            assert_eq!(judge("upgrade", token, Version::HTTP_11), None, "{token}");
        }
    }
}
