//! Headers by which proxies tell services about the client, and who may send them to us.
//!
//! Follows Traefik: a peer that is not trusted loses them all, in every spelling; afterwards they
//! are set where they are missing. `Forwarded` (RFC 7239) goes the same way, because a service that
//! reads it would believe the client otherwise.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::Scheme;
use super::cidr::{CidrError, IpSet};
use super::headers::{is_alias_name, same_name};

/// `X-Forwarded-For`.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Proto`.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `X-Forwarded-Port`.
pub const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// `X-Forwarded-Host`.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `X-Real-Ip`.
pub const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Every header that only a trusted peer may send, lower case.
const FORWARDING: [&str; 14] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded-uri",
    "x-forwarded-method",
    "x-forwarded-prefix",
    "x-forwarded-tls-client-cert",
    "x-forwarded-tls-client-cert-info",
    "x-scheme",
    "x-real-ip",
    "forwarded",
];

/// What a header name is to the trust in a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarding {
    /// Nothing of ours.
    Other,
    /// A forwarding header under its own name: kept from a trusted peer.
    Named,
    /// A forwarding header in another spelling: nobody needs it, and services confuse it with the real one.
    Alias,
}

/// Classifies a header name (lower case, as `HeaderName` has it).
pub fn classify(name: &str) -> Forwarding {
    if !matches!(name.as_bytes().first(), Some(b'x' | b'f')) {
        return Forwarding::Other;
    }
    if is_alias_name(name) {
        let alias = FORWARDING.iter().any(|known| same_name(known, name));
        return if alias { Forwarding::Alias } else { Forwarding::Other };
    }
    if FORWARDING.contains(&name) { Forwarding::Named } else { Forwarding::Other }
}

/// Whose word is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    everybody: bool,
    peers: IpSet,
}

impl Trust {
    /// Trusts `peers` (addresses or CIDRs), or everybody when `insecure`.
    ///
    /// # Errors
    /// Names the first bad entry.
    pub fn new<S: AsRef<str>>(insecure: bool, peers: &[S]) -> Result<Self, CidrError> {
        Ok(Self { everybody: insecure, peers: IpSet::parse(peers)? })
    }

    /// Whether `peer` is trusted.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.everybody || self.peers.contains(peer)
    }
}

/// The outside scheme of the client's connection, as `X-Forwarded-Proto` says or, without it, the
/// connection itself. Read it only after untrusted headers are gone.
pub fn outside_scheme(headers: &HeaderMap, tls: bool) -> Scheme {
    headers
        .get(X_FORWARDED_PROTO)
        .and_then(|proto| Scheme::from_forwarded_proto(proto.as_bytes()))
        .unwrap_or_else(|| Scheme::of_connection(tls))
}

/// The address of the client: the peer's, or where that is trusted the last one that `X-Forwarded-For` tells and that is no
/// trusted proxy's. What stands left of it the client may have written itself. Read it only after untrusted headers are gone.
pub fn outside_client(headers: &HeaderMap, trust: &Trust, peer: IpAddr) -> IpAddr {
    let mut client = peer;
    for line in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        for told in line.to_str().unwrap_or_default().rsplit(',') {
            let Some(told) = forwarded_address(told.trim()).filter(|_| trust.trusts(client)) else {
                return client;
            };
            client = told;
        }
    }
    client
}

/// An address, some proxies add the port.
fn forwarded_address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// `X-Forwarded-Proto` for a client that sent none.
pub fn proto(tls: bool, websocket: bool) -> HeaderValue {
    HeaderValue::from_static(match (tls, websocket) {
        (false, false) => "http",
        (true, false) => "https",
        (false, true) => "ws",
        (true, true) => "wss",
    })
}

/// `X-Forwarded-Port` for a client that sent none: the port of `authority`, else the scheme's.
pub fn port(authority: &str, scheme: Scheme) -> HeaderValue {
    let host_end = authority.rfind(']').map_or(0, |at| at + 1);
    let written = authority.get(host_end..).and_then(|rest| rest.rsplit_once(':')).map(|(_, port)| port);
    match written.filter(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())) {
        Some("443") => HeaderValue::from_static("443"),
        Some("80") => HeaderValue::from_static("80"),
        Some(port) => HeaderValue::from_str(port).unwrap_or_else(|_| HeaderValue::from_static("80")),
        None => HeaderValue::from_static(if scheme == Scheme::Https { "443" } else { "80" }),
    }
}

/// `X-Forwarded-For` with `client` behind what is there already, all lines joined into one.
pub fn append_client(headers: &HeaderMap, client: &HeaderValue) -> HeaderValue {
    let mut lines = headers.get_all(X_FORWARDED_FOR).iter().peekable();
    if lines.peek().is_none() {
        return client.clone();
    }
    let mut joined = Vec::with_capacity(64);
    for line in lines {
        joined.extend_from_slice(line.as_bytes());
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(client.as_bytes());
    // Joined from header values, so it is one.
    HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).unwrap_or_else(|_| client.clone())
}

/// The client's address as a header value: IPv4 even inside IPv6, no zone.
pub fn address(client: IpAddr) -> HeaderValue {
    HeaderValue::try_from(client.to_canonical().to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_forwarding_header_is_known() {
        assert_eq!(classify("x-forwarded-for"), Forwarding::Named);
        assert_eq!(classify("forwarded"), Forwarding::Named);
        for name in ["x_forwarded_for", "x.forwarded.for", "x-forwarded_host", "x_real-ip"] {
            assert_eq!(classify(name), Forwarding::Alias, "{name}");
        }
        for name in ["accept", "x-forwarded-forx", "x_custom", "x-request-id", "from"] {
            assert_eq!(classify(name), Forwarding::Other, "{name}");
        }
    }

    #[test]
    fn trust_is_by_network() {
        let trust = Trust::new(false, &["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"]).unwrap();
        for peer in ["10.1.2.3", "192.0.2.1", "2001:db8::1", "::ffff:10.0.0.1"] {
            assert!(trust.trusts(peer.parse().unwrap()), "{peer}");
        }
        assert!(!trust.trusts("192.0.2.2".parse().unwrap()));
        assert!(!Trust::default().trusts("127.0.0.1".parse().unwrap()));
        assert!(Trust::new::<&str>(true, &[]).unwrap().trusts("192.0.2.2".parse().unwrap()));
        assert_eq!(Trust::new(false, &["ten"]), Err(CidrError("ten".into())));
    }

    #[test]
    fn ports_come_from_the_host_or_the_scheme() {
        for (authority, scheme, expected) in [
            ("a.test", Scheme::Https, "443"),
            ("a.test", Scheme::Http, "80"),
            ("a.test:8443", Scheme::Https, "8443"),
            ("[::1]", Scheme::Https, "443"),
            ("[::1]:81", Scheme::Http, "81"),
            ("a.test:", Scheme::Http, "80"),
            ("a.test:x", Scheme::Https, "443"),
        ] {
            assert_eq!(port(authority, scheme), expected, "{authority}");
        }
    }

    #[test]
    fn the_client_goes_to_the_end_of_the_list() {
        let client = address("::ffff:192.0.2.7".parse().unwrap());
        assert_eq!(client, "192.0.2.7");
        let mut headers = HeaderMap::new();
        assert_eq!(append_client(&headers, &client), "192.0.2.7");
        headers.append(X_FORWARDED_FOR, HeaderValue::from_static("10.0.0.1, 10.0.0.2"));
        headers.append(X_FORWARDED_FOR, HeaderValue::from_static("10.0.0.3"));
        assert_eq!(append_client(&headers, &client), "10.0.0.1, 10.0.0.2, 10.0.0.3, 192.0.2.7");
    }

    #[test]
    fn the_client_is_the_last_one_that_no_trusted_proxy_is() {
        let trust = Trust::new(false, &["10.0.0.0/8", "192.0.2.1"]).unwrap();
        let client = |peer: &str, lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_static(line));
            }
            outside_client(&headers, &trust, peer.parse().unwrap()).to_string()
        };
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("203.0.113.7", &["198.51.100.1"]), "203.0.113.7", "not trusted");
        assert_eq!(client("10.0.0.1", &["203.0.113.7"]), "203.0.113.7");
        assert_eq!(client("10.0.0.1", &["198.51.100.1, 203.0.113.7"]), "203.0.113.7", "forged");
        assert_eq!(
            client("10.0.0.1", &["198.51.100.1", "203.0.113.7,192.0.2.1"]),
            "203.0.113.7",
            "two proxies"
        );
        assert_eq!(client("10.0.0.1", &["10.0.0.9, 10.0.0.2"]), "10.0.0.9", "a client of our own");
        assert_eq!(client("10.0.0.1", &["203.0.113.7:4711"]), "203.0.113.7");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        for junk in ["", "unknown", "203.0.113.7, unknown", "203.0.113.7,"] {
            assert_eq!(client("10.0.0.1", &[junk]), "10.0.0.1", "{junk}");
        }
    }

    #[test]
    fn the_outside_scheme_is_the_header_then_the_connection() {
        let mut headers = HeaderMap::new();
        assert_eq!(outside_scheme(&headers, true), Scheme::Https);
        assert_eq!(outside_scheme(&headers, false), Scheme::Http);
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("wss"));
        assert_eq!(outside_scheme(&headers, false), Scheme::Https);
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
        assert_eq!(outside_scheme(&headers, true), Scheme::Http);
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("gopher"));
        assert_eq!(outside_scheme(&headers, true), Scheme::Https);
    }
}
