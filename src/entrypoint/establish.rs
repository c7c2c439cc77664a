//! From an accepted socket to a stream of HTTP: PROXY header, TLS handshake, HTTP version.
//!
//! Every port takes TLS and plain HTTP; the first byte tells which, as in Traefik.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::RejectReason;
use super::arrival::Kind;
use super::io::{HttpIo, Limits, PREFACE, Prefixed, Transport};
use super::open::ConnectionEvents;
use super::settings::Settings;
use crate::net::conn_info::ClientCert;
use crate::net::proxy_protocol::{self, Origin, Parsed};
use crate::net::{ConnControl, ConnInfo, TlsInfo, Turns, forwarded};
use crate::tls::{Decision, TlsSnapshot, cipher_name, subject, version_name};

/// First byte of a TLS record that carries a handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// A socket as it was accepted.
pub(super) struct Accepted {
    pub(super) tcp: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) opened: Instant,
}

/// Why no HTTP came of a connection.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client went away, or never said a word.
    Gone,
    /// Something that is counted.
    Rejected(RejectReason),
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// A connection that is ready for HTTP.
pub(super) struct Established {
    pub(super) io: HttpIo,
    pub(super) conn: Arc<ConnInfo>,
    /// To be passed before it is served. A TLS handshake has had its turn.
    pub(super) turns: Option<&'static Turns>,
}

/// What connections of an entry point are established with.
pub(super) struct Establish<'a> {
    pub(super) entry_point: &'a Arc<str>,
    pub(super) settings: &'a Settings,
    pub(super) tls: Arc<TlsSnapshot>,
    pub(super) events: &'a Arc<dyn ConnectionEvents>,
}

impl Establish<'_> {
    /// Makes the stream. Bounded in time and memory.
    pub(super) async fn run(self, accepted: Accepted) -> Result<Established, Failure> {
        let timeouts = self.settings.timeouts;
        let socket_peer = accepted.peer;
        let deadline = accepted.opened + timeouts.handshake.min(timeouts.head());
        let mut arrival = Arrival { accepted, first: BytesMut::new(), deadline };
        self.proxy_header(&mut arrival).await?;
        if arrival.first_byte().await? == TLS_HANDSHAKE {
            let deadline = arrival.accepted.opened + timeouts.handshake;
            return timeout_at(deadline, self.tls(arrival, socket_peer))
                .await
                .unwrap_or(Err(Failure::Rejected(RejectReason::HandshakeTimeout)));
        }
        let h2 = arrival.is_h2_preface().await;
        let Arrival { accepted, first, .. } = arrival;
        let turns = Some(Kind::Head(&first).turns());
        let conn = self.conn(&accepted.peer, socket_peer, accepted.local, None, h2);
        let io = self.io(Transport::Plain(accepted.tcp), first, accepted.opened, &conn);
        Ok(Established { io, conn, turns })
    }

    /// Takes a PROXY header off the stream, and its addresses over if the peer is trusted.
    async fn proxy_header(&self, arrival: &mut Arrival) -> Result<(), Failure> {
        let Some(trust) = &self.settings.proxy_protocol else { return Ok(()) };
        let (len, origin) = loop {
            match proxy_protocol::parse(&arrival.first) {
                Ok(Parsed::Absent) => return Ok(()),
                Ok(Parsed::Header { len, origin }) => break (len, origin),
                Ok(Parsed::Incomplete) => arrival.read().await?,
                Err(error) => {
                    debug!(peer = %arrival.accepted.peer, %error, "connection closed");
                    return Err(Failure::Rejected(RejectReason::ProxyHeader));
                }
            }
        };
        arrival.first.advance(len);
        match origin {
            Origin::Client { source, destination } if trust.includes(arrival.accepted.peer.ip()) => {
                arrival.accepted.peer = source;
                arrival.accepted.local = destination;
            }
            _ => {}
        }
        Ok(())
    }

    async fn tls(&self, arrival: Arrival, socket_peer: SocketAddr) -> Result<Established, Failure> {
        let Accepted { tcp, peer, local, .. } = arrival.accepted;
        let failed = |error: io::Error| {
            debug!(%peer, %error, "TLS handshake failed");
            Failure::Rejected(RejectReason::Handshake)
        };
        let prefixed = Prefixed { tcp, prefix: arrival.first.freeze() };
        // rustls bounds the ClientHello to 64 KiB.
        let mut hello = LazyConfigAcceptor::new(Acceptor::default(), prefixed).await.map_err(failed)?;
        let (config, options_name, verified) =
            match self.tls.decide(self.entry_point, local.ip(), &hello.client_hello()) {
                Decision::Serve { config, options_name, verifies_clients } => {
                    (config, options_name, verifies_clients)
                }
                Decision::Refuse(refusal) => {
                    debug!(%peer, ?refusal, sni = hello.client_hello().server_name(), "TLS refused");
                    hello.io.tcp.write_all(refusal.alert()).await?;
                    hello.io.tcp.shutdown().await?;
                    return Err(Failure::Rejected(RejectReason::ServerName));
                }
            };
        Kind::ServerName(hello.client_hello().server_name()).turns().take().await;
        let stream = hello.into_stream(config).await.map_err(failed)?;
        let info = tls_info(&stream, options_name, verified);
        let h2 = info.alpn.as_deref() == Some("h2");
        let conn = self.conn(&peer, socket_peer, local, Some(info), h2);
        // The time of the first request begins when it can be sent.
        let io = self.io(Transport::Tls(Box::new(stream)), BytesMut::new(), Instant::now(), &conn);
        Ok(Established { io, conn, turns: None })
    }

    fn conn(
        &self,
        peer: &SocketAddr,
        socket_peer: SocketAddr,
        local: SocketAddr,
        tls: Option<TlsInfo>,
        h2: bool,
    ) -> Arc<ConnInfo> {
        Arc::new(ConnInfo {
            entry_point: self.entry_point.clone(),
            peer: *peer,
            peer_address: forwarded::address(peer.ip()),
            socket_peer,
            local,
            tls,
            h2,
            control: ConnControl::default(),
        })
    }

    fn io(&self, transport: Transport, first: BytesMut, opened: Instant, conn: &Arc<ConnInfo>) -> HttpIo {
        let limits = Limits::of(self.settings);
        HttpIo::new(transport, first, opened, conn.clone(), limits, self.events.clone())
    }
}

/// A connection whose first bytes are looked at.
struct Arrival {
    accepted: Accepted,
    first: BytesMut,
    deadline: Instant,
}

impl Arrival {
    /// Waits for more bytes.
    async fn read(&mut self) -> Result<(), Failure> {
        self.first.reserve(4096);
        match timeout_at(self.deadline, self.accepted.tcp.read_buf(&mut self.first)).await {
            Ok(Ok(1..)) => Ok(()),
            Ok(_) => Err(Failure::Gone),
            // Spare connections of browsers and probes of load balancers stay silent.
            Err(_) if self.first.is_empty() => Err(Failure::Gone),
            Err(_) => Err(Failure::Rejected(RejectReason::HandshakeTimeout)),
        }
    }

    async fn first_byte(&mut self) -> Result<u8, Failure> {
        loop {
            match self.first.first() {
                Some(byte) => return Ok(*byte),
                None => self.read().await?,
            }
        }
    }

    /// Whether the client speaks HTTP/2 with prior knowledge. Waits no longer than the bytes leave
    /// it open (Pingora's own test would wait for 24 bytes that a short HTTP/1 request never has).
    async fn is_h2_preface(&mut self) -> bool {
        while PREFACE.starts_with(&self.first) && self.first.len() < PREFACE.len() {
            if self.read().await.is_err() {
                // The HTTP/1 reader gives the right answer to half a request line.
                return false;
            }
        }
        self.first.starts_with(PREFACE)
    }
}

fn tls_info(stream: &TlsStream<Prefixed>, options_name: Arc<str>, verified: bool) -> TlsInfo {
    let (_, session) = stream.get_ref();
    let chain = session.peer_certificates().map(|chain| ClientCert {
        chain: chain.iter().map(|certificate| certificate.to_vec()).collect(),
        subject: chain.first().and_then(|own| subject(own)),
        verified,
    });
    TlsInfo {
        sni: session.server_name().map(|name| name.trim_end_matches('.').to_ascii_lowercase()),
        alpn: session.alpn_protocol().map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
        version: session.protocol_version().map_or("unknown", version_name),
        cipher: session.negotiated_cipher_suite().map_or("unknown", |suite| cipher_name(suite.suite())),
        client_cert: chain,
        options_name,
    }
}
