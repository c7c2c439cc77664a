//! How an entry point treats its connections.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::entry_point::EntryPoint;
use crate::net::IpSet;
use crate::net::cidr::CidrError;

/// How an entry point treats its connections. A change applies to connections accepted after it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may say by PROXY protocol where a connection comes from; `None` = the protocol is off.
    pub proxy_protocol: Option<ProxyTrust>,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Largest HTTP/1 request head in bytes, over which 431 is answered. The request line alone
    /// is also bound by the 65,534 bytes that a URI can have here, over which 414 is answered.
    pub max_header_bytes: usize,
    /// Connections open at a time; more wait to be accepted. `None` = no limit.
    pub max_connections: Option<usize>,
    /// When connections are ended for their age.
    pub keep_alive: KeepAlive,
    /// HTTP/2 limits.
    pub http2: Http2,
}

/// Who is believed.
#[derive(Debug, Clone)]
pub enum ProxyTrust {
    /// Every peer.
    Everyone,
    /// These. From others a PROXY header is taken off the stream and not believed.
    Only(IpSet),
}

/// Deadlines of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// PROXY header and TLS handshake together.
    pub handshake: Duration,
    /// A whole request head, from its first byte; on a new connection from its beginning.
    pub header: Duration,
    /// A pause within a request body, and the time that a client takes no byte of an answer.
    pub body_idle: Duration,
    /// A connection between requests; `None` = no limit.
    pub idle: Option<Duration>,
    /// `readTimeout`: the whole request including the body. `None` unless configured. HTTP/1 only.
    pub read: Option<Duration>,
    /// `writeTimeout`: from the end of the request head to the end of the response, after which the connection is
    /// closed or the HTTP/2 stream reset. Not of what follows an upgrade.
    pub write: Option<Duration>,
}

/// When connections are ended for their age; the answer to the request at that time says so.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeepAlive {
    /// `keepAliveMaxTime`.
    pub max_time: Option<Duration>,
    /// `keepAliveMaxRequests`.
    pub max_requests: Option<u32>,
}

/// HTTP/2 limits.
#[derive(Debug, Clone, Copy)]
pub struct Http2 {
    /// Streams of one connection at a time.
    pub max_concurrent_streams: u32,
    /// Bytes that a client may send ahead, for each stream and for the connection.
    pub window: u32,
    /// Decoded size of one request's headers; over it 431.
    pub max_header_list: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            proxy_protocol: None,
            timeouts: Timeouts::default(),
            max_header_bytes: 1 << 20,
            max_connections: None,
            keep_alive: KeepAlive::default(),
            http2: Http2::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            body_idle: Duration::from_secs(60),
            idle: Some(Duration::from_secs(180)),
            read: None,
            write: None,
        }
    }
}

impl Timeouts {
    /// What a request head may take, and the wait for the first one.
    pub fn head(&self) -> Duration {
        self.read.map_or(self.header, |read| read.min(self.header))
    }
}

impl Default for Http2 {
    fn default() -> Self {
        // Each stream may hold this much decoded header: 64 KiB times 250 streams is the memory
        // that one connection can tie up, so Traefik's 1 MiB for HTTP/1 is not used here.
        Self { max_concurrent_streams: 250, window: 1 << 20, max_header_list: 64 << 10 }
    }
}

impl ProxyTrust {
    /// Whether `peer` is believed.
    pub fn includes(&self, peer: IpAddr) -> bool {
        match self {
            Self::Everyone => true,
            Self::Only(set) => set.contains(peer),
        }
    }
}

impl Settings {
    /// The settings that an entry point's configuration asks for.
    ///
    /// # Errors
    /// An entry of `proxyProtocol.trustedIPs` that is no address.
    pub fn from_config(config: &EntryPoint) -> Result<Self, CidrError> {
        let proxy_protocol = match &config.proxy_protocol.0 {
            Some(proxy) if proxy.insecure => Some(ProxyTrust::Everyone),
            Some(proxy) => Some(ProxyTrust::Only(IpSet::parse(&proxy.trusted_ips)?)),
            None => None,
        };
        let wanted = &config.transport.responding_timeouts;
        let header_bytes = config.http.max_header_bytes;
        let http2 = Http2::default();
        Ok(Self {
            proxy_protocol,
            timeouts: Timeouts {
                idle: limit(wanted.idle_timeout),
                read: wanted.read_timeout.and_then(limit),
                write: limit(wanted.write_timeout),
                ..Timeouts::default()
            },
            max_header_bytes: usize::try_from(header_bytes).unwrap_or(usize::MAX),
            max_connections: Some(config.transport.max_connections)
                .filter(|max| *max > 0)
                .and_then(|max| usize::try_from(max).ok()),
            keep_alive: KeepAlive {
                max_time: limit(config.transport.keep_alive_max_time),
                max_requests: Some(config.transport.keep_alive_max_requests).filter(|max| *max > 0),
            },
            http2: Http2 {
                max_concurrent_streams: config.http2.max_concurrent_streams,
                max_header_list: http2.max_header_list.min(header_bytes),
                ..http2
            },
        })
    }
}

/// Zero means no limit in Traefik's configuration.
fn limit(duration: Duration) -> Option<Duration> {
    Some(duration).filter(|d| !d.is_zero())
}
