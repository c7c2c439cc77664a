//! What is known about a client's connection, shared by everything that serves it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use http::HeaderValue;

/// The facts of one connection. Made once, when the connection is ready for HTTP.
#[derive(Debug)]
pub struct ConnInfo {
    /// Name of the entry point that accepted it.
    pub entry_point: Arc<str>,
    /// Who the client is: the TCP peer, or what a trusted peer said by PROXY protocol. IPv4
    /// addresses are never in their IPv6-mapped form.
    pub peer: SocketAddr,
    /// The address of `peer`, as it is told in `X-Real-Ip` and appended to `X-Forwarded-For`.
    pub peer_address: HeaderValue,
    /// The TCP peer itself.
    pub socket_peer: SocketAddr,
    /// The address that the client connected to, as PROXY protocol tells it or else our own.
    pub local: SocketAddr,
    /// Present on TLS connections.
    pub tls: Option<TlsInfo>,
    /// Whether HTTP/2 is spoken.
    pub h2: bool,
    /// What changes while the connection lives.
    pub control: ConnControl,
}

/// The outcome of a TLS handshake.
#[derive(Debug, Clone)]
pub struct TlsInfo {
    /// Server name that the client asked for, in lower case and without trailing dot.
    pub sni: Option<String>,
    /// Application protocol agreed on.
    pub alpn: Option<String>,
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// Name of the cipher suite in the IANA registry.
    pub cipher: &'static str,
    /// Certificates that the client sent, its own first.
    pub client_cert: Option<ClientCert>,
    /// The TLS options that the handshake was made under.
    pub options_name: Arc<str>,
}

/// Certificates of a client.
#[derive(Debug, Clone)]
pub struct ClientCert {
    /// DER, the client's own certificate first, then what it sent with it.
    pub chain: Arc<[Vec<u8>]>,
    /// Subject of the client's own certificate, as Go prints it; none if it cannot be read.
    pub subject: Option<String>,
    /// Whether the chain leads to one of the configured CAs. False where the options ask for any
    /// certificate: then only possession of its key is proved.
    pub verified: bool,
}

/// What changes while a connection lives, and the handle to end it.
#[derive(Debug, Default)]
pub struct ConnControl {
    closing: AtomicBool,
    tunnel: AtomicBool,
    requests: AtomicU32,
    received: AtomicU64,
    sent: AtomicU64,
    reader: AtomicWaker,
}

impl ConnControl {
    /// Ends the connection at its next pause: at once when it is idle, else after the requests in
    /// flight.
    pub fn close_when_idle(&self) {
        self.closing.store(true, Ordering::Release);
        self.reader.wake();
    }

    /// Whether the connection is about to end, so that an HTTP/1 answer must say
    /// `Connection: close`.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Tells that the connection leaves HTTP: the answer that says so (101) is about to be written.
    pub fn begin_tunnel(&self) {
        self.tunnel.store(true, Ordering::Release);
        self.reader.wake();
    }

    /// Whether another protocol than HTTP is spoken, for the rest of the connection's life.
    pub fn is_tunnel(&self) -> bool {
        self.tunnel.load(Ordering::Acquire)
    }

    /// Counts a request and returns its number, from 1. On HTTP/1 this is called before the
    /// request's head is read; the reader takes it as the boundary between two requests.
    pub fn begin_request(&self) -> u32 {
        self.requests.fetch_add(1, Ordering::AcqRel).wrapping_add(1)
    }

    /// Requests begun so far.
    pub fn requests(&self) -> u32 {
        self.requests.load(Ordering::Acquire)
    }

    /// Bytes of HTTP received, heads and framing included, TLS not.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes of HTTP sent, heads and framing included, TLS not.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Counts bytes received.
    pub fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes sent.
    pub fn add_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Has `waker` called by [`close_when_idle`](Self::close_when_idle) and [`begin_tunnel`](Self::begin_tunnel).
    pub fn wake_on_change(&self, waker: &Waker) {
        self.reader.register(waker);
    }
}
