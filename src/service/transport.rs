//! `serversTransport`: how servers are reached.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::TcpKeepalive;
use pingora::upstreams::peer::{ALPN, PeerOptions};
use pingora::utils::tls::{CertKey, WrappedX509};

use super::Material;
use super::material::Found;
use super::pem::{self, PemError};
use super::presented::Presented;
use super::severable::{Severable, Timed};
use crate::config::dynamic::ServersTransport;
use crate::config::{Fault, Faults};

/// Streams that one HTTP/2 connection to a server may carry; Pingora's own default is 1.
const HTTP2_STREAMS: usize = 100;
/// What a TLS handshake may take, as in Go's transport.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Go's keep-alive probes of outgoing connections: after 15 s, every 15 s, nine times.
const PROBE: Duration = Duration::from_secs(15);

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
    outdated: Vec<Fault>,
}

impl Transport {
    /// Compiles `config`; reads the files that it names. What they held last stays in use while they cannot be used:
    /// [`Transport::outdated`] tells then.
    ///
    /// # Errors
    /// What would fail every connection.
    pub fn compile(config: &ServersTransport, material: &Material) -> Result<Self, Faults> {
        let (mut faults, mut outdated) = (Faults::default(), Vec::new());
        let server_name = config.server_name.clone().filter(|name| !name.is_empty());
        if let Some(name) = &server_name
            && rustls::pki_types::ServerName::try_from(name.as_str()).is_err()
        {
            faults.0.push(Fault::new("serverName", format!("`{name}` is not a server name")));
        }
        let authorities = authorities(&config.root_cas, material, &mut faults, &mut outdated);
        let client_certificate = client_certificate(config, material, &mut faults, &mut outdated);
        faults.or(())?;
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
            outdated,
        };
        transport.group_key = transport.fingerprint();
        Ok(transport)
    }

    /// The transport of services that name none, when the static configuration sets nothing.
    pub fn standard() -> Self {
        // Without files nothing can fail.
        Self::compile(&ServersTransport::default(), &Material::default()).unwrap_or_else(|_| Self::bare())
    }

    /// Files that cannot be used, and what of them is used all the same.
    pub fn outdated(&self) -> &[Fault] {
        &self.outdated
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
            outdated: Vec::new(),
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

/// The `rootCAs`; none when there are none, or with a fault.
fn authorities(
    sources: &[String],
    material: &Material,
    faults: &mut Faults,
    outdated: &mut Vec<Fault>,
) -> Option<Arc<[WrappedX509]>> {
    let mut all = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let key = format!("rootCAs[{index}]");
        if let Some(found) = use_of(material.authorities(source), key, faults, outdated) {
            all.extend(found.iter().map(pem::wrapped));
        }
    }
    (!sources.is_empty()).then(|| all.into())
}

fn client_certificate(
    config: &ServersTransport,
    material: &Material,
    faults: &mut Faults,
    outdated: &mut Vec<Fault>,
) -> Option<Arc<CertKey>> {
    match config.certificates.as_slice() {
        [] => None,
        [pair] => {
            let found = material.certificate(&pair.cert_file, &pair.key_file);
            use_of(found, "certificates[0]".to_owned(), faults, outdated)
        }
        _ => {
            faults.0.push(Fault::new(
                "certificates",
                "only one client certificate per serversTransport is possible",
            ));
            None
        }
    }
}

/// What can be used of a file, with its fault where that belongs.
fn use_of<T>(
    found: Result<Found<T>, PemError>,
    key: String,
    faults: &mut Faults,
    outdated: &mut Vec<Fault>,
) -> Option<T> {
    let Found { value, outdated: why } =
        faults.gather(found.map_err(|error| Fault::new(&*key, error.to_string())))?;
    outdated.extend(why.map(|error| Fault::new(key, format!("{error}; what it held last stays in use"))));
    Some(value)
}

fn nonzero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::dynamic::IdleConnections;
    use crate::config::tls::CertificatePair;

    fn compile(config: &ServersTransport) -> Result<Transport, Faults> {
        Transport::compile(config, &Material::default())
    }

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
        assert_eq!(compile(&config).unwrap().group_key, standard);
        config.server_name = Some("other.test".into());
        assert_ne!(compile(&config).unwrap().group_key, standard);
    }

    #[test]
    fn a_negative_number_of_idle_connections_keeps_none() {
        let config =
            ServersTransport { max_idle_conns_per_host: IdleConnections(-1), ..ServersTransport::default() };
        let options = compile(&config).unwrap().options(false, ALPN::H1);
        assert_eq!(options.idle_timeout, Some(Duration::ZERO));
    }

    #[test]
    fn what_would_fail_every_connection_is_refused() {
        let name = ServersTransport { server_name: Some("a b".into()), ..ServersTransport::default() };
        let pair = CertificatePair { cert_file: "/c".into(), key_file: "/k".into() };
        let root_cas = vec!["/none.pem".into(), "/nor.pem".into()];
        let bad = ServersTransport { root_cas, certificates: vec![pair], ..name };
        let said = compile(&bad).unwrap_err();
        let keys: Vec<&str> = said.0.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, ["serverName", "rootCAs[0]", "rootCAs[1]", "certificates[0]"], "{said}");
    }

    fn write(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn what_files_held_last_stays_in_use_until_they_hold_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let pair = || {
            let made = rcgen::generate_simple_self_signed(["client.test".to_owned()]).unwrap();
            (made.cert.pem(), made.signing_key.serialize_pem())
        };
        let named = |name: &str| at(name).display().to_string();
        let certificates = vec![CertificatePair { cert_file: named("crt"), key_file: named("key") }];
        let config =
            ServersTransport { root_cas: vec![named("ca")], certificates, ..ServersTransport::default() };
        let ((cert, key), (next_cert, next_key)) = (pair(), pair());
        let material = Material::default();
        write(&at("ca"), &cert);
        write(&at("crt"), &cert);
        assert!(Transport::compile(&config, &material).is_err(), "there is nothing to be kept");
        write(&at("key"), &key);
        let first = Transport::compile(&config, &material).unwrap();
        assert_eq!(first.outdated(), []);

        write(&at("crt"), &next_cert);
        write(&at("ca"), "");
        let bridged = Transport::compile(&config, &material).unwrap();
        assert_eq!(bridged.group_key, first.group_key);
        let keys: Vec<&str> = bridged.outdated().iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, ["rootCAs[0]", "certificates[0]"]);

        write(&at("key"), &next_key);
        write(&at("ca"), &next_cert);
        let renewed = Transport::compile(&config, &material).unwrap();
        assert_eq!(renewed.outdated(), []);
        assert_ne!(renewed.group_key, first.group_key);

        material.keep_for(&[]);
        write(&at("key"), "");
        assert!(Transport::compile(&config, &material).is_err(), "nobody has named it meanwhile");
    }
}
