//! Writing: small pieces are gathered, a client that takes nothing is given up.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::timer::Timer;
use super::wire::Wire;
use crate::net::cut::ResponseTooLate;

/// Pieces up to this size are gathered, so that an answer's head and a small body leave in one
/// system call and one TLS record. Pingora flushes whenever something must be seen.
const GATHER: usize = 4096;

pub(super) struct Writer {
    gathers: bool,
    pending: BytesMut,
    timer: Timer,
    /// Longest time in which the client takes no byte.
    stall: Duration,
    blocked_since: Option<Instant>,
}

impl Writer {
    pub(super) fn new(gathers: bool, stall: Duration) -> Self {
        Self { gathers, pending: BytesMut::new(), timer: Timer::default(), stall, blocked_since: None }
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire,
        data: &[u8],
        deadline: Option<Instant>,
    ) -> Poll<io::Result<usize>> {
        in_time(deadline)?;
        if self.gathers && self.pending.len().saturating_add(data.len()) <= GATHER {
            self.pending.reserve(GATHER.saturating_sub(self.pending.len()));
            self.pending.extend_from_slice(data);
            return Poll::Ready(Ok(data.len()));
        }
        ready!(self.poll_pending(cx, wire, deadline))?;
        if self.gathers && data.len() <= GATHER {
            self.pending.extend_from_slice(data);
            return Poll::Ready(Ok(data.len()));
        }
        let sent = wire.poll_send(cx, data);
        self.watch(cx, sent, deadline)
    }

    pub(super) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire,
        bufs: &[io::IoSlice<'_>],
        deadline: Option<Instant>,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_pending(cx, wire, deadline))?;
        let sent = Pin::new(&mut wire.transport).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(n)) = &sent {
            wire.conn.control.add_sent(*n);
        }
        self.watch(cx, sent, deadline)
    }

    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire,
        deadline: Option<Instant>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx, wire, deadline))?;
        let flushed = Pin::new(&mut wire.transport).poll_flush(cx);
        self.watch(cx, flushed, deadline)
    }

    fn poll_pending(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire,
        deadline: Option<Instant>,
    ) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            in_time(deadline)?;
            let sent = wire.poll_send(cx, &self.pending);
            let n = ready!(self.watch(cx, sent, deadline))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.advance(n);
        }
        Poll::Ready(Ok(()))
    }

    /// Turns waiting that has lasted too long into an error.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
        deadline: Option<Instant>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.blocked_since = None;
            return outcome;
        }
        let since = *self.blocked_since.get_or_insert_with(Instant::now);
        let stalled = since + self.stall;
        let until = deadline.map_or(stalled, |deadline| deadline.min(stalled));
        if self.timer.has_passed(cx, until) {
            in_time(deadline)?;
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes no data")));
        }
        Poll::Pending
    }
}

/// An error once `deadline` has passed.
fn in_time(deadline: Option<Instant>) -> io::Result<()> {
    match deadline {
        Some(deadline) if Instant::now() >= deadline => Err(ResponseTooLate.into()),
        _ => Ok(()),
    }
}
