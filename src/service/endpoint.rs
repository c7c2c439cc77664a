//! One server of a service.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use pingora::connectors::L4Connect;
use pingora::protocols::Digest;
use pingora::protocols::l4::socket::SocketAddr as PingoraAddress;
use pingora::upstreams::peer::{ALPN, H1UpgradePolicy, HttpPeer, Scheme};
use thiserror::Error;
use url::{Host, Url};

use super::Transport;
use super::dns::{Name, Names};
use super::presented::Presented;
use super::severable::Gated;
use crate::config::dynamic::Server;

/// Why a server's URL cannot be used.
#[derive(Debug, Error)]
pub enum ServerUrlError {
    /// Not a URL.
    #[error("`{url}` is not a URL: {source}")]
    NotAUrl {
        /// As written.
        url: String,
        /// Why.
        source: url::ParseError,
    },
    /// A scheme other than `http`, `https`, `h2c`.
    #[error("`{0}`: the scheme must be http, https or h2c")]
    Scheme(String),
    /// No host in it.
    #[error("`{0}` names no host")]
    NoHost(String),
}

/// What a connection to a server is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// An ordinary request.
    Request,
    /// A WebSocket handshake (RFC 6455): HTTP/1.1, and the tunnel may be silent.
    WebSocket,
    /// Any other HTTP/1.1 upgrade, whose headers the proxy passes on itself.
    OtherUpgrade,
}

/// Where a server's addresses come from.
#[derive(Debug)]
enum Location {
    Address(IpAddr),
    Name(Arc<Name>),
}

/// A server: its URL, its addresses and how to reach them.
#[derive(Debug)]
pub struct Endpoint {
    url: Arc<str>,
    host_and_port: Arc<str>,
    authority: HeaderValue,
    base_path: Option<Box<str>>,
    location: Location,
    port: u16,
    /// Which address is tried first: the last one that worked, not always the first of the answer.
    preferred: AtomicUsize,
    response_header_timeout: Option<Duration>,
    /// A peer but for its address.
    template: HttpPeer,
    /// Makes the connections for upgrades.
    gated: Arc<Gated>,
    /// Certificates that the engine cannot verify.
    presented: Option<Presented>,
}

impl Endpoint {
    /// Makes the server that `config` describes; its name is resolved in the background from now on.
    ///
    /// # Errors
    /// [`ServerUrlError`].
    pub fn new(config: &Server, transport: &Transport, names: &Names) -> Result<Self, ServerUrlError> {
        let parsed = parse(&config.url)?;
        let Parsed { host, authority, .. } = &parsed;
        let (sni, location) = match (parsed.url.host(), host.parse::<IpAddr>()) {
            (Some(Host::Ipv6(address)), _) => (address.to_string(), Location::Address(address.into())),
            (_, Ok(address)) => (host.clone(), Location::Address(address)),
            _ => (host.clone(), Location::Name(names.name(host))),
        };
        let template = template(transport, parsed.tls, parsed.h2c, sni);
        Ok(Self {
            url: config.url.as_str().into(),
            host_and_port: format!("{host}:{}", parsed.port).into(),
            authority: authority.clone(),
            base_path: config.preserve_path.then(|| parsed.url.path().into()),
            location,
            port: parsed.port,
            preferred: AtomicUsize::new(0),
            response_header_timeout: transport.response_header,
            presented: parsed.tls.then(|| transport.presented(&template.sni)).flatten(),
            template,
            gated: Arc::new(Gated { dial: transport.dial }),
        })
    }

    /// What is wrong with the server that `config` describes.
    pub(super) fn fault(config: &Server) -> Option<ServerUrlError> {
        parse(&config.url).err()
    }

    /// The URL as configured, which names the server in logs and metrics.
    pub fn url(&self) -> &Arc<str> {
        &self.url
    }

    /// Host and port, for the access log.
    pub fn host_and_port(&self) -> &Arc<str> {
        &self.host_and_port
    }

    /// The Host header of the server, for `passHostHeader: false`.
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// The path in front of the request's, with `preservePath`.
    pub fn base_path(&self) -> Option<&str> {
        self.base_path.as_deref()
    }

    /// How long the server may take from the end of the request to its response header.
    pub fn response_header_timeout(&self) -> Option<Duration> {
        self.response_header_timeout
    }

    /// Position of the address to try first.
    pub fn first_address(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    /// How many addresses are known now.
    pub fn address_count(&self) -> usize {
        match &self.location {
            Location::Address(_) => 1,
            Location::Name(name) => name.addresses().len(),
        }
    }

    /// Notes that the address at `position` refused a connection, so that others start with the next.
    pub fn address_failed(&self, position: usize) {
        // Somebody else may have moved it already; then it is right as it is.
        let next = position.wrapping_add(1);
        let _ = self.preferred.compare_exchange(position, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether the server at the other end of a connection that was made for `peer` has proven who it is.
    pub fn admits(&self, peer: &HttpPeer, connection: Option<&Digest>) -> bool {
        self.presented.as_ref().is_none_or(|presented| presented.admits(peer, connection))
    }

    /// Whether a handshake that failed with `peer` may succeed with another, since the server may present a certificate
    /// that is listed itself.
    pub fn may_present(&self, peer: &HttpPeer) -> bool {
        self.presented.as_ref().is_some_and(|presented| presented.expect(peer))
    }

    /// A peer for the address at `position` (modulo their number); none if the name is not resolved.
    pub fn peer(&self, position: usize, wanted: Use) -> Option<Box<HttpPeer>> {
        let address = match &self.location {
            Location::Address(address) => *address,
            Location::Name(name) => {
                let addresses = name.addresses();
                *addresses.get(position.checked_rem(addresses.len())?)?
            }
        };
        let mut peer = Box::new(self.template.clone());
        peer._address = PingoraAddress::Inet(SocketAddr::new(address, self.port));
        if let Some(presented) = &self.presented {
            presented.prepare(&mut peer);
        }
        if wanted != Use::Request {
            // An upgrade exists in HTTP/1.1 only, and a tunnel may be silent for as long as it likes.
            peer.options.alpn = ALPN::H1;
            peer.options.read_timeout = None;
            let gated: Arc<dyn L4Connect + Send + Sync> = self.gated.clone();
            peer.options.custom_l4 = Some(gated);
            // Not shared with other requests: the engine tells such connections not apart.
            peer.group_key = !peer.group_key;
            peer.options.idle_timeout = Some(Duration::ZERO);
        }
        if wanted == Use::OtherUpgrade {
            peer.options.http_upstream_request_policy.h1_upgrade = H1UpgradePolicy::Preserve;
        }
        Some(peer)
    }
}

struct Parsed {
    url: Url,
    /// As it stands in a URL: IPv6 in brackets.
    host: String,
    /// Host, and port if one is written.
    authority: HeaderValue,
    tls: bool,
    h2c: bool,
    port: u16,
}

fn parse(text: &str) -> Result<Parsed, ServerUrlError> {
    // `url` treats the hosts of unknown schemes as opaque; `h2c` is `http` with another protocol inside.
    let h2c = text.get(..6).is_some_and(|head| head.eq_ignore_ascii_case("h2c://"));
    let readable = match text.get(6..) {
        Some(rest) if h2c => format!("http://{rest}"),
        _ => text.to_owned(),
    };
    let url =
        Url::parse(&readable).map_err(|source| ServerUrlError::NotAUrl { url: text.to_owned(), source })?;
    let tls = match url.scheme() {
        "http" => false,
        "https" => true,
        _ => return Err(ServerUrlError::Scheme(text.to_owned())),
    };
    let no_host = || ServerUrlError::NoHost(text.to_owned());
    let host = url.host().ok_or_else(no_host)?.to_string();
    let authority = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    let authority = HeaderValue::try_from(authority).map_err(|_| no_host())?;
    let port = url.port().unwrap_or(if tls { 443 } else { 80 });
    Ok(Parsed { url, host, authority, tls, h2c, port })
}

fn template(transport: &Transport, tls: bool, h2c: bool, host: String) -> HttpPeer {
    let alpn = match (tls, h2c) {
        (_, true) => ALPN::H2,
        // A late response header can be told from a silent body in HTTP/1 only.
        (true, _) if !transport.http1_only && transport.response_header.is_none() => ALPN::H2H1,
        _ => ALPN::H1,
    };
    HttpPeer {
        _address: PingoraAddress::Inet(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)),
        scheme: if tls { Scheme::HTTPS } else { Scheme::HTTP },
        // Never empty with TLS: Pingora verifies nothing at all then.
        sni: match tls {
            true => transport.server_name.clone().unwrap_or(host),
            false => String::new(),
        },
        proxy: None,
        client_cert_key: transport.client_certificate.clone().filter(|_| tls),
        group_key: transport.group_key,
        options: transport.options(tls, alpn),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn server(url: &str) -> Server {
        Server { url: url.into(), weight: 1, preserve_path: true }
    }

    fn endpoint(url: &str) -> Endpoint {
        let table = [("app".to_owned(), vec!["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()])];
        Endpoint::new(&server(url), &Transport::standard(), &Names::fixed(table)).unwrap()
    }

    fn address(peer: &HttpPeer) -> String {
        peer._address.to_string()
    }

    #[tokio::test]
    async fn schemes_choose_port_and_protocol() {
        for (url, at, alpn, sni) in [
            ("http://127.0.0.1", "127.0.0.1:80", ALPN::H1, ""),
            ("https://127.0.0.1", "127.0.0.1:443", ALPN::H2H1, "127.0.0.1"),
            ("h2c://127.0.0.1:9000", "127.0.0.1:9000", ALPN::H2, ""),
            ("https://[::1]:8443", "[::1]:8443", ALPN::H2H1, "::1"),
        ] {
            let peer = endpoint(url).peer(0, Use::Request).unwrap();
            assert_eq!(
                (address(&peer).as_str(), &peer.options.alpn, peer.sni.as_str()),
                (at, &alpn, sni),
                "{url}"
            );
        }
    }

    #[tokio::test]
    async fn authority_and_path_are_the_urls() {
        let made = endpoint("https://App.test:8443/base/");
        assert_eq!(made.authority(), "app.test:8443");
        assert_eq!(made.base_path(), Some("/base/"));
        assert_eq!(&**made.host_and_port(), "app.test:8443");
        assert_eq!(endpoint("http://app.test:80").authority(), "app.test");
    }

    #[tokio::test]
    async fn an_unresolved_name_has_no_peer() {
        assert!(endpoint("http://nowhere.test").peer(0, Use::Request).is_none());
    }

    #[tokio::test]
    async fn addresses_take_turns_only_after_a_failure() {
        let made = endpoint("http://app:80");
        let Location::Name(name) = &made.location else { panic!("a name") };
        name.asked().await;
        let at = |position| address(&made.peer(position, Use::Request).unwrap());
        assert_eq!(at(made.first_address()), "192.0.2.1:80");
        assert_eq!(at(made.first_address()), "192.0.2.1:80");
        made.address_failed(made.first_address());
        assert_eq!(at(made.first_address()), "192.0.2.2:80");
        // A second report of the same failure moves nothing.
        made.address_failed(0);
        assert_eq!(at(made.first_address()), "192.0.2.2:80");
        assert_eq!(at(made.first_address() + 1), "192.0.2.1:80");
    }

    #[tokio::test]
    async fn upgrades_are_http_1_without_a_read_timeout() {
        let peer = endpoint("https://127.0.0.1").peer(0, Use::WebSocket).unwrap();
        assert_eq!(peer.options.alpn, ALPN::H1);
        assert_eq!(peer.options.read_timeout, None);
        assert!(peer.options.custom_l4.is_some(), "behind a gate");
        assert_eq!(peer.options.http_upstream_request_policy.h1_upgrade, H1UpgradePolicy::WebSocketOnly);
        let peer = endpoint("http://127.0.0.1").peer(0, Use::OtherUpgrade).unwrap();
        assert_eq!(peer.options.http_upstream_request_policy.h1_upgrade, H1UpgradePolicy::Preserve);
    }

    #[test]
    fn unusable_urls_are_refused() {
        assert!(matches!(parse("ftp://host"), Err(ServerUrlError::Scheme(_))));
        assert!(matches!(parse("host:80"), Err(ServerUrlError::Scheme(_))));
        assert!(matches!(parse("http://"), Err(ServerUrlError::NotAUrl { .. })));
        assert!(parse("h2c://host:1").unwrap().h2c);
    }
}
