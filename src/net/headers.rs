//! Header names and lists as every layer judges them.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONNECTION, HeaderName};

/// Whether two header names are one to a service that turns everything but letters and digits into
/// one character (CGI, WSGI, PHP, nginx): `X_Real.Ip` is `X-Real-Ip` there.
pub fn same_name(a: &str, b: &str) -> bool {
    let fold = |byte: u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    a.len() == b.len() && a.bytes().zip(b.bytes()).all(|(a, b)| fold(a) == fold(b))
}

/// Whether a header name holds a byte other than letter, digit and `-`, so that it may be an alias of another.
pub fn is_alias_name(name: &str) -> bool {
    name.bytes().any(|byte| !byte.is_ascii_alphanumeric() && byte != b'-')
}

/// A header name with the spelling that HTTP/1 gets, ready made: parts of the name begin with a capital, as Go and with it
/// Traefik write it. HTTP/2 has lower case only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TitledName {
    name: HeaderName,
    title: Bytes,
}

/// Spellings on nearly every request of a session. A copy of what is made at run time is counted, which cores that
/// serve requests at the same time do one after another.
const COMMON: [&str; 4] = ["X-Forwarded-User", "X-User-Groups", "X-User-Roles", "X-Auth-Request-User"];

impl TitledName {
    /// The spelling of `name`.
    pub fn new(name: HeaderName) -> Self {
        let common = COMMON.into_iter().find(|title| title.eq_ignore_ascii_case(name.as_str()));
        let title = common.map_or_else(|| titled(&name), |title| Bytes::from_static(title.as_bytes()));
        Self { title, name }
    }

    /// The name.
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// Its spelling.
    pub fn title(&self) -> Bytes {
        self.title.clone()
    }
}

fn titled(name: &HeaderName) -> Bytes {
    let mut first = true;
    let title = name.as_str().bytes().map(|byte| {
        let byte = if first { byte.to_ascii_uppercase() } else { byte };
        first = byte == b'-';
        byte
    });
    title.collect()
}

/// The members of `Connection`, over all its lines (RFC 9110, section 7.6.1).
pub fn connection_members(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// Whether `Connection` names `member`.
pub fn connection_names(headers: &HeaderMap, member: &str) -> bool {
    connection_members(headers).any(|named| named.eq_ignore_ascii_case(member))
}

/// What a member of `Connection` is to a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nomination {
    /// `close`, `keep-alive`, `upgrade`: about the connection itself. `transfer-encoding` too: the coding is the
    /// engine's, and taking it off would leave a body of which nobody knows where it ends.
    Option,
    /// A header that may be taken off.
    Header,
    /// Taking it off would change whom the request is for, whom it comes from, or where it ends.
    Protected,
}

/// Judges a member of `Connection`.
pub fn nomination(member: &str) -> Nomination {
    let is = |name: &&str| member.eq_ignore_ascii_case(name);
    if ["close", "keep-alive", "transfer-encoding", "upgrade"].iter().any(is) {
        Nomination::Option
    } else if ["content-length", "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]
        .iter()
        .any(is)
    {
        Nomination::Protected
    } else {
        Nomination::Header
    }
}

/// Whether a header belongs to one connection only and never crosses a proxy. `Connection`,
/// `Upgrade` and `Transfer-Encoding` are not in the list: the HTTP engine owns them.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "http2-settings"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn titles_are_as_go_writes_them() {
        for (name, title) in [
            ("x-auth-request-user", "X-Auth-Request-User"),
            ("x-auth-request-token", "X-Auth-Request-Token"),
            ("etag", "Etag"),
            ("x-1-b--c", "X-1-B--C"),
        ] {
            assert_eq!(TitledName::new(HeaderName::from_static(name)).title(), title);
        }
    }

    #[test]
    fn aliases_are_one_name() {
        for name in ["x-real-ip", "X_Real_Ip", "x.real-ip", "X-Real~Ip"] {
            assert!(same_name(name, "x-real-ip"), "{name}");
        }
        assert!(!same_name("x-real-ips", "x-real-ip"));
        assert!(!same_name("xxreal-ip", "x-real-ip"));
        assert!(is_alias_name("x_real-ip") && !is_alias_name("x-real-ip1"));
    }

    #[test]
    fn what_frames_the_request_is_not_taken_off() {
        assert_eq!(nomination("Transfer-Encoding"), Nomination::Option);
        assert_eq!(nomination("Content-Length"), Nomination::Protected);
        assert_eq!(nomination("X-Mine"), Nomination::Header);
    }

    #[test]
    fn connection_is_read_over_all_lines() {
        let mut headers = HeaderMap::new();
        headers.append(CONNECTION, HeaderValue::from_static("keep-alive,, Foo"));
        headers.append(CONNECTION, HeaderValue::from_static("Upgrade"));
        assert_eq!(connection_members(&headers).collect::<Vec<_>>(), ["keep-alive", "Foo", "Upgrade"]);
        assert!(connection_names(&headers, "upgrade"));
        assert!(!connection_names(&headers, "close"));
    }
}
