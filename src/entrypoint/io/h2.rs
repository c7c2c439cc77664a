//! Reading HTTP/2: the preface under a deadline, and request bodies that do not come.
//!
//! Pingora has no deadline for an HTTP/2 request body, and none for the preface. The frames of both
//! sides pass by here; their headers tell whether the client owes a request's body, and whether it
//! may send it. A connection on which it owes one and is quiet for too long is ended, with all its
//! streams: a single stream cannot be ended from here.
//!
//! What Pingora and its HTTP/2 library answer by themselves shows in the frames, too.

mod frames;

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::timer::Timer;
use super::wire::Wire;
use crate::entrypoint::open::{Answered, ConnectionEvents};
use crate::entrypoint::settings::Timeouts;
use crate::net::ConnInfo;
#[cfg(feature = "fuzzing")]
pub use frames::follow_frames;
use frames::{Received, Sent, Windows};

/// The client's connection preface (RFC 9113, section 3.4).
pub(in crate::entrypoint) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) struct H2 {
    opened: Instant,
    timeouts: Timeouts,
    events: Arc<dyn ConnectionEvents>,
    timer: Timer,
    preface_left: usize,
    received: Received,
    answers: Sent,
    windows: Windows,
    /// When a header began that is not complete.
    header_since: Option<Instant>,
    /// Since when nothing came from the client, and nothing went to it.
    quiet_since: Option<Instant>,
    /// Bytes sent at that time.
    sent: u64,
}

impl H2 {
    pub(super) fn new(
        opened: Instant,
        timeouts: Timeouts,
        window: u32,
        events: Arc<dyn ConnectionEvents>,
    ) -> Self {
        Self {
            opened,
            timeouts,
            events,
            timer: Timer::default(),
            preface_left: PREFACE.len(),
            received: Received::default(),
            answers: Sent::default(),
            windows: Windows::new(window),
            header_since: None,
            quiet_since: None,
            sent: 0,
        }
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if wire.input.is_empty() {
            let received = wire.poll_direct(cx, buf);
            if received.is_pending() {
                return self.poll_deadline(cx, wire);
            }
            ready!(received)?;
        } else {
            wire.hand_out(buf, usize::MAX);
        }
        let new = buf.filled().get(before..).unwrap_or_default();
        let preface = self.preface_left.min(new.len());
        self.preface_left -= preface;
        self.received.follow(new.get(preface..).unwrap_or_default(), &mut self.windows);
        self.quiet_since = None;
        if !self.received.is_in_header() {
            self.header_since = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Follows what has been sent to the client. Requests that the engine refuses, for their authority or the size of
    /// their header, are seen nowhere else.
    pub(super) fn sent(&mut self, bytes: &[u8], conn: &ConnInfo) {
        let events = &self.events;
        self.answers.follow(bytes, &mut self.windows, |reason| {
            events.rejected(&conn.entry_point, reason);
            if let Some(status) = reason.status() {
                events.answered(&Answered { conn, status, line: b"", took: Duration::ZERO });
            }
        });
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>, wire: &Wire) -> Poll<io::Result<()>> {
        let deadline = if self.preface_left > 0 {
            self.opened + self.timeouts.head()
        } else if self.received.is_in_header() {
            *self.header_since.get_or_insert_with(Instant::now) + self.timeouts.header
        } else if self.windows.await_client() {
            // A two-way stream may be quiet on one side, so what we send counts too.
            let sent = wire.conn.control.sent();
            if sent != self.sent {
                (self.sent, self.quiet_since) = (sent, None);
            }
            *self.quiet_since.get_or_insert_with(Instant::now) + self.timeouts.body_idle
        } else {
            return Poll::Pending;
        };
        if self.timer.has_passed(cx, deadline) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client went quiet")));
        }
        Poll::Pending
    }
}
