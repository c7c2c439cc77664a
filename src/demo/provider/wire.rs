//! Connections that can be cut from the server's side: what a crash, a fire wall or a pulled cable looks like.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Default)]
struct State {
    cut: AtomicBool,
    reader: AtomicWaker,
}

/// A handle on one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(Arc<State>);

impl Line {
    /// Closes the connection without another byte.
    pub(super) fn cut(&self) {
        self.0.cut.store(true, Ordering::Release);
        self.0.reader.wake();
    }

    fn check(&self) -> io::Result<()> {
        if self.0.cut.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl Connected<IncomingStream<'_, Wire>> for Line {
    fn connect_info(stream: IncomingStream<'_, Wire>) -> Self {
        stream.io().line.clone()
    }
}

/// All living connections of a listener.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<Weak<State>>>>);

impl Lines {
    pub(super) fn cut_all(&self) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines.drain(..).filter_map(|line| line.upgrade()) {
            Line(line).cut();
        }
    }

    fn add(&self, line: &Line) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(&line.0));
    }
}

/// A listener whose connections can be cut.
pub(super) struct Wire {
    pub(super) listener: TcpListener,
    pub(super) lines: Lines,
}

impl Listener for Wire {
    type Io = Cuttable;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Cuttable, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        // Answers are small and waited for; a refusal only costs speed.
        let _ = stream.set_nodelay(true);
        let line = Line::default();
        self.lines.add(&line);
        (Cuttable { stream, line }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection.
pub(super) struct Cuttable {
    stream: TcpStream,
    line: Line,
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // First the waker, then the flag: a cut between the two is not missed.
        self.line.0.reader.register(cx.waker());
        self.line.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.line.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
