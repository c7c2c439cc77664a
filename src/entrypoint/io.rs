//! The stream on which Pingora speaks HTTP: deadlines, limits, buffering and counters.
//!
//! Pingora bounds single reads, not heads and bodies as a whole (pingora#447), knows no idle
//! timeout between HTTP/1 requests by itself, and closes without an answer where HTTP has a status.
//! On HTTP/1 this stream hands a head over only when it is complete and acceptable ([`h1`]); on
//! HTTP/2 it watches the client's frames from outside ([`h2`]).

mod body;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod h1;
mod h2;
mod head;
mod reject;
mod timer;
mod transport;
mod wire;
mod writer;

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::BytesMut;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use super::open::ConnectionEvents;
use super::settings::{Settings, Timeouts};
use crate::net::ConnInfo;
use h1::H1;
use h2::H2;
pub(super) use h2::PREFACE;
pub use reject::RejectReason;
pub(super) use transport::{Prefixed, Transport};
use wire::Wire;
use writer::Writer;

/// How long a closed connection still listens, so that the client reads the answer before it
/// learns that nobody reads its body (RFC 9112, section 9.6).
const LINGER: Duration = Duration::from_secs(2);
/// Most bytes that are thrown away meanwhile.
const LINGER_BYTES: usize = 256 << 10;

/// Limits that a stream enforces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) timeouts: Timeouts,
    pub(super) max_header_bytes: usize,
    pub(super) h2_window: u32,
}

impl Limits {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            timeouts: settings.timeouts,
            max_header_bytes: settings.max_header_bytes,
            h2_window: settings.http2.window,
        }
    }
}

/// A client's connection, ready for HTTP.
pub(super) struct HttpIo {
    wire: Wire,
    reader: Reader,
    writer: Writer,
    socket: Arc<SocketDigest>,
    ssl: Option<Arc<SslDigest>>,
    established: SystemTime,
}

enum Reader {
    H1(H1),
    H2(H2),
}

impl HttpIo {
    /// A stream over `transport`, of which `first` has been read already. The connection was
    /// accepted at `opened`.
    pub(super) fn new(
        transport: Transport,
        first: BytesMut,
        opened: Instant,
        conn: Arc<ConnInfo>,
        limits: Limits,
        events: Arc<dyn ConnectionEvents>,
    ) -> Self {
        let socket = SocketDigest::from_raw_fd(transport.tcp().as_raw_fd());
        // What PROXY protocol said, in place of what the socket would say. The cell is new.
        let _ = socket.peer_addr.set(Some(conn.peer.into()));
        let _ = socket.local_addr.set(Some(conn.local.into()));
        let ssl = conn
            .tls
            .as_ref()
            .map(|tls| Arc::new(SslDigest::new(tls.cipher, tls.version, None, None, Vec::new())));
        conn.control.add_received(first.len());
        let reader = if conn.h2 {
            Reader::H2(H2::new(opened, limits.timeouts, limits.h2_window, events))
        } else {
            Reader::H1(H1::new(opened, limits, events))
        };
        Self {
            writer: Writer::new(!conn.h2, limits.timeouts.body_idle),
            wire: Wire::new(transport, first, conn),
            reader,
            socket: Arc::new(socket),
            ssl,
            established: SystemTime::now(),
        }
    }

    /// Throws away what the client still sends, for a moment.
    async fn linger(&mut self) {
        let discard = async {
            let mut left = LINGER_BYTES;
            while let Ok(n @ 1..) = std::future::poll_fn(|cx| self.wire.poll_discard(cx)).await {
                left = left.saturating_sub(n);
                if left == 0 {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(LINGER, discard).await;
    }
}

impl AsyncRead for HttpIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match &mut this.reader {
            Reader::H1(reader) => reader.poll_read(cx, &mut this.wire, buf),
            Reader::H2(reader) => reader.poll_read(cx, &mut this.wire, buf),
        }
    }
}

impl AsyncWrite for HttpIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let deadline = this.reader.write_deadline(&this.wire);
        let written = this.writer.poll_write(cx, &mut this.wire, buf, deadline);
        if let (Reader::H2(h2), Poll::Ready(Ok(n))) = (&mut this.reader, &written) {
            h2.sent(buf.get(..*n).unwrap_or_default(), &this.wire.conn);
        }
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let deadline = this.reader.write_deadline(&this.wire);
        let written = this.writer.poll_write_vectored(cx, &mut this.wire, bufs, deadline);
        if let (Reader::H2(h2), Poll::Ready(Ok(n))) = (&mut this.reader, &written) {
            let mut left = *n;
            for buf in bufs {
                let n = left.min(buf.len());
                h2.sent(buf.get(..n).unwrap_or_default(), &this.wire.conn);
                left -= n;
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        // The HTTP/1 side gathers small writes by itself.
        matches!(self.reader, Reader::H2(_)) && self.wire.transport.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let deadline = this.reader.write_deadline(&this.wire);
        this.writer.poll_flush(cx, &mut this.wire, deadline)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let deadline = this.reader.write_deadline(&this.wire);
        std::task::ready!(this.writer.poll_flush(cx, &mut this.wire, deadline))?;
        Pin::new(&mut this.wire.transport).poll_shutdown(cx)
    }
}

impl Reader {
    fn write_deadline(&self, wire: &Wire) -> Option<Instant> {
        match self {
            Self::H1(h1) => h1.write_deadline(wire),
            // There it is that of a stream, which the application ends.
            Self::H2(_) => None,
        }
    }
}

impl Drop for HttpIo {
    /// Pingora drops a stream without flushing it when a request fails; what it has written then
    /// should still go out if the socket takes it.
    fn drop(&mut self) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let _ = self.writer.poll_flush(&mut cx, &mut self.wire, None);
    }
}

#[async_trait]
impl Shutdown for HttpIo {
    async fn shutdown(&mut self) {
        let closed = AsyncWriteExt::shutdown(self).await;
        let unread = matches!(&self.reader, Reader::H1(h1) if h1.is_mid_request());
        if closed.is_ok() && unread {
            self.linger().await;
        }
    }
}

impl UniqueID for HttpIo {
    fn id(&self) -> UniqueIDType {
        self.wire.transport.tcp().as_raw_fd()
    }
}

impl Ssl for HttpIo {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.ssl.clone()
    }

    /// Also on plain connections: the choice between HTTP/1 and h2c has been made before.
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match self.reader {
            Reader::H1(_) => Some(ALPN::H1),
            Reader::H2(_) => Some(ALPN::H2),
        }
    }
}

impl GetTimingDigest for HttpIo {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(TimingDigest { established_ts: self.established, ..TimingDigest::default() })]
    }
}

impl GetProxyDigest for HttpIo {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for HttpIo {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.socket.clone())
    }
}

impl Peek for HttpIo {}

impl fmt::Debug for HttpIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpIo").field("conn", &self.wire.conn).finish_non_exhaustive()
    }
}
