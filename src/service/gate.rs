//! Connections whose answer can be held back.
//!
//! The engine pumps a request and its answer at once and takes whichever is ready, in no order. When
//! it reads a 101 before it has noted that the request, which has no body, is over, it takes that
//! end for the end of the tunnel (pingora#946). Connections for upgrades therefore have a gate in
//! front of what they receive: closed when the request begins, opened by the flush that follows its
//! end. An answer that is there already waits that long, which is no time at all.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use pingora::protocols::TcpKeepalive;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What the connection receives is read.
const OPEN: u8 = 0;
/// Nothing is read: the request is on its way.
const HELD: u8 = 1;
/// Nothing is read: the request is over, but for its last flush.
const ENDING: u8 = 2;
/// The connection is over.
const CUT: u8 = 3;

/// Holds back what one connection receives.
#[derive(Debug, Default)]
pub struct Gate {
    state: AtomicU8,
    reader: AtomicWaker,
}

impl Gate {
    /// A request without a body is about to be sent: its answer waits for [`Gate::request_ends`].
    pub fn hold(&self) {
        self.change(OPEN, HELD);
    }

    /// The engine is about to note the request's end; the flush of that lets the answer through.
    pub fn request_ends(&self) {
        self.change(HELD, ENDING);
    }

    /// Ends the connection for whoever reads from it.
    pub(super) fn cut(&self) {
        self.state.store(CUT, Ordering::Release);
        self.reader.wake();
    }

    fn flushed(&self) {
        if self.change(ENDING, OPEN) {
            self.reader.wake();
        }
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Ready when there may be something to read: true, or false at the connection's end.
    fn poll_pass(&self, cx: &Context<'_>) -> Poll<bool> {
        // Registered first, so that no change is missed.
        self.reader.register(cx.waker());
        match self.state.load(Ordering::Acquire) {
            OPEN => Poll::Ready(true),
            CUT => Poll::Ready(false),
            _ => Poll::Pending,
        }
    }
}

/// A TCP connection behind a [`Gate`].
#[derive(Debug)]
pub(super) struct GatedSocket {
    tcp: TcpStream,
    gate: Arc<Gate>,
}

impl GatedSocket {
    pub(super) fn new(tcp: TcpStream, gate: Arc<Gate>) -> Self {
        Self { tcp, gate }
    }
}

impl AsyncRead for GatedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if ready!(self.gate.poll_pass(cx)) {
            return Pin::new(&mut self.tcp).poll_read(cx, buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for GatedSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.tcp).poll_flush(cx));
        self.gate.flushed();
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl VirtualSocket for GatedSocket {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.tcp.set_nodelay(true),
            VirtualSockOpt::KeepAlive(probes) => keep_alive(&self.tcp, &probes),
            _ => Ok(()),
        }
    }
}

fn keep_alive(tcp: &TcpStream, probes: &TcpKeepalive) -> io::Result<()> {
    let count = u32::try_from(probes.count).unwrap_or(u32::MAX);
    let wanted = socket2::TcpKeepalive::new()
        .with_time(probes.idle)
        .with_interval(probes.interval)
        .with_retries(count);
    SockRef::from(tcp).set_tcp_keepalive(&wanted)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (GatedSocket, Arc<Gate>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let gate = Arc::<Gate>::default();
        (GatedSocket::new(tcp, Arc::clone(&gate)), gate, server)
    }

    fn reads_nothing(socket: &mut GatedSocket) -> bool {
        let mut byte = [0];
        let mut read = std::pin::pin!(socket.read(&mut byte));
        read.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending()
    }

    #[tokio::test]
    async fn an_early_answer_waits_for_the_flush_of_the_requests_end() {
        let (mut socket, gate, mut server) = pair().await;
        gate.hold();
        server.write_all(b"answer").await.unwrap();
        socket.tcp.readable().await.unwrap();
        socket.write_all(b"head").await.unwrap();
        socket.flush().await.unwrap();
        assert!(reads_nothing(&mut socket), "the flush of the head is not the end");
        gate.request_ends();
        assert!(reads_nothing(&mut socket));
        socket.flush().await.unwrap();
        let mut answer = [0; 6];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let (socket, gate, mut server) = pair().await;
        gate.hold();
        server.write_all(b"x").await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(socket);
        let reading = tokio::spawn(async move { reader.read_u8().await });
        tokio::task::yield_now().await;
        gate.request_ends();
        writer.flush().await.unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), b'x');
    }

    #[tokio::test]
    async fn a_connection_that_is_cut_ends_for_its_reader() {
        let (mut socket, gate, _server) = pair().await;
        gate.hold();
        gate.cut();
        assert_eq!(socket.read(&mut [0; 8]).await.unwrap(), 0);
        // Nothing opens it again.
        gate.hold();
        gate.request_ends();
        socket.flush().await.unwrap();
        assert_eq!(socket.read(&mut [0; 8]).await.unwrap(), 0);
    }
}
