//! `serversTransport`: how servers are reached.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::TcpKeepalive;
use pingora::upstreams::peer::{ALPN, PeerOptions};
use pingora::utils::tls::{CertKey, WrappedX509};
use thiserror::Error;

use super::pem::{self, PemError};
use super::presented::Presented;
use super::severable::{Severable, Timed};
use crate::config::dynamic::ServersTransport;

/// Streams that one HTTP/2 connection to a server may carry; Pingora's own default is 1.
const HTTP2_STREAMS: usize = 100;
/// What a TLS handshake may take, as in Go's transport.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Go's keep-alive probes of outgoing connections: after 15 s, every 15 s, nine times.
const PROBE: Duration = Duration::from_secs(15);

/// Why a transport cannot work. It disables the services that name it.
#[derive(Debug, Error)]
pub enum TransportError {
    /// `rootCAs` or `certificates`.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// More than one client certificate: the engine presents one.
    #[error("only one client certificate per serversTransport is possible")]
    ManyCertificates,
    /// `serverName` is neither a DNS name nor an IP address.
    #[error("`{0}` is not a server name")]
    ServerName(String),
}

/// A compiled `serversTransport`.
#[derive(Debug)]
pub struct Transport {
    pub(super) server_name: Option<String>,
    pub(super) insecure: bool,
    pub(super) http1_only: bool,
    pub(super) dial: Option<Duration>,
    /// From the end of the request to the response header.
    pub(super) response_header: Option<Duration>,
    pub(super) client_certificate: Option<Arc<CertKey>>,
    /// Connections are shared only between peers of the same key: two transports that differ in
    /// anything never share one, and a reload that changes nothing keeps the pool.
    pub(super) group_key: u64,
    authorities: Option<Arc<[WrappedX509]>>,
    idle: Option<Duration>,
    ping: Option<Duration>,
}

impl Transport {
    /// Compiles `config`; reads the files that it names.
    ///
    /// # Errors
    /// [`TransportError`] for what would fail every connection.
    pub fn compile(config: &ServersTransport) -> Result<Self, TransportError> {
        let server_name = config.server_name.clone().filter(|name| !name.is_empty());
        if let Some(name) = &server_name {
            rustls::pki_types::ServerName::try_from(name.as_str())
                .map_err(|_| TransportError::ServerName(name.clone()))?;
        }
        let authorities = match config.root_cas.as_slice() {
            [] => None,
            sources => Some(pem::authorities(sources)?),
        };
        let client_certificate = match config.certificates.as_slice() {
            [] => None,
            [pair] => Some(pem::client_certificate(&pair.cert_file, &pair.key_file)?),
            _ => return Err(TransportError::ManyCertificates),
        };
        let timeouts = &config.forwarding_timeouts;
        let mut transport = Self {
            server_name,
            insecure: config.insecure_skip_verify,
            http1_only: config.disable_http2,
            dial: nonzero(timeouts.dial_timeout),
            response_header: nonzero(timeouts.response_header_timeout),
            client_certificate,
            group_key: 0,
            authorities,
            // A negative number means that nothing is kept.
            idle: match config.max_idle_conns_per_host.0 {
                ..0 => Some(Duration::ZERO),
                _ => nonzero(timeouts.idle_conn_timeout),
            },
            ping: nonzero(timeouts.read_idle_timeout),
        };
        transport.group_key = transport.fingerprint();
        Ok(transport)
    }

    /// The transport of services that name none, when the static configuration sets nothing.
    pub fn standard() -> Self {
        // Without files nothing can fail.
        Self::compile(&ServersTransport::default()).unwrap_or_else(|_| Self::bare())
    }

    fn bare() -> Self {
        Self {
            server_name: None,
            insecure: false,
            http1_only: false,
            dial: Some(Duration::from_secs(30)),
            response_header: None,
            client_certificate: None,
            group_key: 0,
            authorities: None,
            idle: Some(Duration::from_secs(90)),
            ping: None,
        }
    }

    /// Everything that a connection depends on, as one number.
    fn fingerprint(&self) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        self.server_name.hash(&mut hasher);
        (self.insecure, self.http1_only, self.ping).hash(&mut hasher);
        // Connections of such a transport are made in another way.
        self.response_header.is_some().hash(&mut hasher);
        for authority in self.authorities.iter().flat_map(|list| list.iter()) {
            authority.borrow_raw_cert().hash(&mut hasher);
        }
        if let Some(certificate) = &self.client_certificate {
            certificate.leaf().borrow_raw_cert().hash(&mut hasher);
            certificate.key().hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The listed certificates that a server called `name` may present as its own.
    pub(super) fn presented(&self, name: &str) -> Option<Presented> {
        let authorities = self.authorities.as_deref().filter(|_| !self.insecure)?;
        Presented::new(authorities.iter().map(|authority| authority.borrow_raw_cert().as_slice()), name)
    }

    /// Options of every peer that is reached this way.
    pub(super) fn options(&self, tls: bool, alpn: ALPN) -> PeerOptions {
        let mut options = PeerOptions::new();
        // The engine has one time for connecting and for the handshake. With TLS it is the handshake's, and the time
        // for connecting is kept where the connection is made.
        options.connection_timeout = if tls { Some(HANDSHAKE) } else { self.dial };
        options.total_connection_timeout = self.dial.map(|dial| if tls { dial + HANDSHAKE } else { dial });
        if tls {
            options.custom_l4 = Some(Arc::new(Timed { dial: self.dial }));
        }
        if self.response_header.is_some() && alpn == ALPN::H1 {
            options.custom_l4 = Some(Arc::new(Severable { dial: self.dial }));
        } else {
            // A connection of HTTP/2 is shared, so it cannot be cut for one request. There the
            // timeout also bounds each pause within a response.
            options.read_timeout = self.response_header;
        }
        options.alpn = alpn;
        options.idle_timeout = self.idle;
        options.verify_cert = !self.insecure;
        options.verify_hostname = !self.insecure;
        options.ca = self.authorities.clone();
        options.h2_ping_interval = self.ping;
        options.max_h2_streams = HTTP2_STREAMS;
        options.tcp_keepalive = Some(TcpKeepalive {
            idle: PROBE,
            interval: PROBE,
            count: 9,
            #[cfg(target_os = "linux")]
            user_timeout: Duration::ZERO,
        });
        options
    }
}

fn nonzero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use crate::config::dynamic::IdleConnections;

    #[test]
    fn defaults_are_traefiks() {
        let plain = Transport::standard().options(false, ALPN::H1);
        assert_eq!(plain.connection_timeout, Some(Duration::from_secs(30)));
        let options = Transport::standard().options(true, ALPN::H2H1);
        assert_eq!(options.connection_timeout, Some(Duration::from_secs(10)), "for the handshake alone");
        assert!(options.custom_l4.is_some(), "which has its own time");
        assert_eq!(options.total_connection_timeout, Some(Duration::from_secs(40)));
        assert_eq!(options.idle_timeout, Some(Duration::from_secs(90)));
        assert_eq!(options.read_timeout, None);
        assert!(options.verify_cert && options.verify_hostname);
        assert!(options.max_h2_streams >= 100);
    }

    #[test]
    fn only_what_changes_a_connection_changes_the_pool() {
        let standard = Transport::standard().group_key;
        let mut config = ServersTransport::default();
        config.forwarding_timeouts.response_header_timeout = Duration::from_secs(5);
        config.forwarding_timeouts.response_header_timeout = Duration::ZERO;
        config.forwarding_timeouts.idle_conn_timeout = Duration::from_secs(5);
        assert_eq!(Transport::compile(&config).unwrap().group_key, standard);
        config.server_name = Some("other.test".into());
        assert_ne!(Transport::compile(&config).unwrap().group_key, standard);
    }

    #[test]
    fn a_negative_number_of_idle_connections_keeps_none() {
        let config =
            ServersTransport { max_idle_conns_per_host: IdleConnections(-1), ..ServersTransport::default() };
        let options = Transport::compile(&config).unwrap().options(false, ALPN::H1);
        assert_eq!(options.idle_timeout, Some(Duration::ZERO));
    }

    #[test]
    fn what_would_fail_every_connection_is_refused() {
        let name = ServersTransport { server_name: Some("a b".into()), ..ServersTransport::default() };
        assert!(matches!(Transport::compile(&name), Err(TransportError::ServerName(_))));
        let cas = ServersTransport { root_cas: vec!["/none.pem".into()], ..ServersTransport::default() };
        assert!(matches!(Transport::compile(&cas), Err(TransportError::Pem(_))));
    }
}
