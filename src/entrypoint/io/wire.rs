//! The transport with the bytes that were read ahead of whoever wants them.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::Transport;
use crate::net::ConnInfo;

/// What a read asks for at least.
const READ: usize = 4096;

pub(super) struct Wire {
    pub(super) transport: Transport,
    /// Received and not handed out yet.
    pub(super) input: BytesMut,
    /// Whether the client has closed its side.
    pub(super) eof: bool,
    pub(super) conn: Arc<ConnInfo>,
}

impl Wire {
    pub(super) fn new(transport: Transport, input: BytesMut, conn: Arc<ConnInfo>) -> Self {
        Self { transport, input, eof: false, conn }
    }

    /// Reads into `input`; 0 at the end of the stream.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(READ);
        // The future holds nothing but the two borrows, so it may be made anew for each poll.
        let n = ready!(pin!(self.transport.read_buf(&mut self.input)).poll(cx))?;
        self.conn.control.add_received(n);
        self.eof |= n == 0;
        Poll::Ready(Ok(n))
    }

    /// Reads and forgets; 0 at the end of the stream.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.clear();
        self.poll_fill(cx)
    }

    /// Reads past `input`, straight into `buf`.
    pub(super) fn poll_direct(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.transport).poll_read(cx, buf))?;
        let n = buf.filled().len().saturating_sub(before);
        self.conn.control.add_received(n);
        Poll::Ready(Ok(n))
    }

    /// As [`poll_direct`](Self::poll_direct), at most `max` bytes.
    pub(super) fn poll_direct_up_to(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        max: usize,
    ) -> Poll<io::Result<usize>> {
        if max >= buf.remaining() {
            return self.poll_direct(cx, buf);
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(max));
        let n = ready!(self.poll_direct(cx, &mut part))?;
        buf.advance(n);
        Poll::Ready(Ok(n))
    }

    /// Moves up to `max` bytes of `input` to `buf`.
    pub(super) fn hand_out(&mut self, buf: &mut ReadBuf<'_>, max: usize) -> usize {
        let n = self.input.len().min(buf.remaining()).min(max);
        buf.put_slice(self.input.get(..n).unwrap_or_default());
        self.input.advance(n);
        n
    }

    /// Puts `new` in the place of the first `length` bytes of `input`; returns how many these are now.
    pub(super) fn replace(&mut self, length: usize, new: &[u8]) -> usize {
        let rest = self.input.split_off(length.min(self.input.len()));
        self.input.clear();
        self.input.extend_from_slice(new);
        self.input.unsplit(rest);
        new.len()
    }

    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.transport).poll_write(cx, data))?;
        self.conn.control.add_sent(n);
        Poll::Ready(Ok(n))
    }
}
