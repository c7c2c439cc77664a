//! Reading HTTP/1 requests: complete heads under a deadline, bodies under an idle deadline, and
//! nothing of a next request before its turn.
//!
//! The boundary between two requests is told by [`ConnControl::begin_request`]. If the end of a
//! request that is seen here is not where Pingora saw it, the connection ends: two parsers that
//! disagree about where a request ends are how requests are smuggled.
//!
//! [`ConnControl::begin_request`]: crate::net::ConnControl::begin_request

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Buf;
use tokio::io::{AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tracing::debug;

use super::body::Framing;
use super::head::{self, Progress, Scanner};
use super::timer::Timer;
use super::wire::Wire;
use super::{LINGER, LINGER_BYTES, Limits, RejectReason};
use crate::entrypoint::open::{Answered, ConnectionEvents};
use crate::net::cut::ResponseTooLate;

/// How long a connection that is to close still waits for a request. One that has just been answered may have
/// its next request on the way, which would be lost; it gets an answer with `Connection: close` instead.
const LAST_CALL: Duration = Duration::from_millis(500);
/// Bytes of following requests that are read while one is served.
const READ_AHEAD: usize = 16 << 10;

pub(super) struct H1 {
    limits: Limits,
    events: Arc<dyn ConnectionEvents>,
    state: State,
    /// Number of the request that is being read.
    request: u32,
    timer: Timer,
    /// When the wait for this request began; for the first one the connection's beginning.
    waiting_since: Option<Instant>,
    /// When the first byte of the head came.
    head_since: Option<Instant>,
    /// When the wait for the next piece of the body began.
    body_since: Option<Instant>,
    write_deadline: Option<Instant>,
    scanner: Scanner,
    upgrade: bool,
}

enum State {
    /// A head is awaited or incomplete.
    Head,
    /// A complete head of which `left` bytes are to be handed out.
    Release { left: usize, framing: Framing },
    /// The body; once complete, nothing more is handed out.
    Body(Framing),
    /// Bytes of another protocol.
    Tunnel,
    /// An answer of ours is on its way.
    Rejecting(Rejection),
    /// The end, whatever the client sends.
    Closed,
}

struct Rejection {
    answer: Vec<u8>,
    written: usize,
    closed: bool,
    until: Instant,
    discard: usize,
}

impl H1 {
    pub(super) fn new(opened: Instant, limits: Limits, events: Arc<dyn ConnectionEvents>) -> Self {
        Self {
            limits,
            events,
            state: State::Head,
            request: 1,
            timer: Timer::default(),
            waiting_since: Some(opened),
            head_since: None,
            body_since: None,
            write_deadline: None,
            scanner: Scanner::default(),
            upgrade: false,
        }
    }

    /// Until when the answer must be written; another protocol has no such time.
    pub(super) fn write_deadline(&self, wire: &Wire) -> Option<Instant> {
        self.write_deadline.filter(|_| !wire.conn.control.is_tunnel())
    }

    /// Whether a request has begun whose end has not been received.
    pub(super) fn is_mid_request(&self) -> bool {
        match &self.state {
            State::Release { framing, .. } | State::Body(framing) => !framing.is_complete(),
            _ => false,
        }
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let number = wire.conn.control.requests();
        if number > self.request {
            self.next_request(number);
        }
        loop {
            match &mut self.state {
                State::Head => self.state = ready!(self.poll_head(cx, wire))?,
                State::Release { left, framing } => {
                    let n = wire.hand_out(buf, *left);
                    *left = left.saturating_sub(n);
                    if *left == 0 {
                        self.state = State::Body(std::mem::replace(framing, Framing::length(0)));
                    }
                    return Poll::Ready(Ok(()));
                }
                State::Body(framing) if !framing.is_complete() => return self.poll_body(cx, wire, buf),
                State::Body(_) if self.upgrade && wire.conn.control.is_tunnel() => self.state = State::Tunnel,
                State::Body(_) => {
                    ready!(self.poll_gate(cx, wire))?;
                    if !(self.upgrade && wire.conn.control.is_tunnel()) {
                        return Poll::Ready(Ok(()));
                    }
                }
                State::Tunnel if wire.input.is_empty() => {
                    return wire.poll_direct(cx, buf).map_ok(|_| ());
                }
                State::Tunnel => {
                    wire.hand_out(buf, usize::MAX);
                    return Poll::Ready(Ok(()));
                }
                State::Rejecting(rejection) => {
                    ready!(rejection.poll(cx, wire, &mut self.timer));
                    self.state = State::Closed;
                }
                State::Closed => return Poll::Ready(Ok(())),
            }
        }
    }

    fn next_request(&mut self, number: u32) {
        self.request = number;
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::Body(framing) if framing.is_complete() => State::Head,
            State::Head | State::Tunnel => State::Head,
            State::Release { .. } | State::Body(_) => {
                debug!("the request before did not end where the next one begins: closing");
                State::Closed
            }
            end @ (State::Rejecting(_) | State::Closed) => end,
        };
        (self.waiting_since, self.head_since, self.body_since) = (None, None, None);
        self.write_deadline = None;
        self.scanner = Scanner::default();
        self.upgrade = false;
    }

    /// Waits for a complete head; says what comes next.
    fn poll_head(&mut self, cx: &mut Context<'_>, wire: &mut Wire) -> Poll<io::Result<State>> {
        loop {
            if !wire.input.is_empty() {
                match self.scanner.advance(&wire.input, self.limits.max_header_bytes) {
                    Ok(Progress::Partial) => {}
                    Ok(Progress::Complete { skip, end }) => {
                        return Poll::Ready(Ok(self.begin(wire, skip, end)));
                    }
                    Err(reason) => return Poll::Ready(Ok(self.reject(wire, reason))),
                }
            }
            match wire.poll_fill(cx)? {
                // Nobody is left to read an answer about half a head.
                Poll::Ready(0) => return Poll::Ready(Ok(State::Closed)),
                Poll::Ready(_) => {}
                Poll::Pending => return self.poll_head_wait(cx, wire),
            }
        }
    }

    /// Nothing comes at the moment: whether to wait on.
    fn poll_head_wait(&mut self, cx: &mut Context<'_>, wire: &Wire) -> Poll<io::Result<State>> {
        let timeouts = self.limits.timeouts;
        let deadline = if wire.input.is_empty() {
            // Registered before it is asked, so that no request to close is missed.
            wire.conn.control.wake_on_change(cx.waker());
            let closing = wire.conn.control.is_closing();
            let first = self.request == 1;
            let allowed = if first { Some(timeouts.head()) } else { timeouts.idle };
            let allowed = match allowed {
                Some(allowed) if closing => Some(allowed.min(LAST_CALL)),
                None if closing => Some(LAST_CALL),
                other => other,
            };
            let since = *self.waiting_since.get_or_insert_with(Instant::now);
            allowed.map(|allowed| since + allowed)
        } else {
            // A first head must come in time from the connection's beginning.
            let since = self.waiting_since.filter(|_| self.request == 1);
            let since = *self.head_since.get_or_insert_with(|| since.unwrap_or_else(Instant::now));
            Some(since + timeouts.head())
        };
        match deadline {
            Some(deadline) if self.timer.has_passed(cx, deadline) => {
                // A browser's spare connection deserves no answer to a question it did not ask.
                let silent = wire.input.is_empty();
                Poll::Ready(Ok(if silent {
                    State::Closed
                } else {
                    self.reject(wire, RejectReason::HeaderTimeout)
                }))
            }
            _ => Poll::Pending,
        }
    }

    fn begin(&mut self, wire: &mut Wire, skip: usize, end: usize) -> State {
        wire.input.advance(skip);
        let left = end.saturating_sub(skip);
        let judged = head::judge(wire.input.get(..left).unwrap_or_default());
        match judged {
            Err(reason) => self.reject(wire, reason),
            Ok(head) => {
                self.upgrade = head.upgrade;
                if self.limits.timeouts.read.is_some() {
                    self.head_since.get_or_insert_with(Instant::now);
                }
                self.write_deadline = self.limits.timeouts.write.map(|allowed| Instant::now() + allowed);
                let left = match head.reworded {
                    Some(reworded) => wire.replace(left, &reworded),
                    None => left,
                };
                State::Release { left, framing: head.framing }
            }
        }
    }

    fn reject(&self, wire: &Wire, reason: RejectReason) -> State {
        debug!(peer = %wire.conn.peer, reason = reason.name(), "request refused");
        self.events.rejected(&wire.conn.entry_point, reason);
        if let Some(status) = reason.status() {
            let line = wire.input.trim_ascii_start().split(|byte| matches!(byte, b'\r' | b'\n')).next();
            self.events.answered(&Answered {
                conn: &wire.conn,
                status,
                line: line.unwrap_or_default(),
                took: self.head_since.map_or(Duration::ZERO, |since| since.elapsed()),
            });
        }
        State::Rejecting(Rejection {
            answer: reason.answer(),
            written: 0,
            closed: false,
            until: Instant::now() + LINGER,
            discard: LINGER_BYTES,
        })
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let State::Body(framing) = &mut self.state else { return Poll::Ready(Ok(())) };
        if !wire.input.is_empty() {
            let window = wire.input.len().min(buf.remaining());
            let taken = framing.take(wire.input.get(..window).unwrap_or_default());
            if framing.is_broken() {
                return self.malformed_body(wire);
            }
            wire.hand_out(buf, taken);
            return Poll::Ready(Ok(()));
        }
        let received = match framing {
            Framing::Length(left) => {
                let max = usize::try_from(*left).unwrap_or(usize::MAX);
                wire.poll_direct_up_to(cx, buf, max)
            }
            Framing::Chunked(_) => wire.poll_direct(cx, buf),
        };
        if received.is_pending() {
            return self.poll_body_deadline(cx);
        }
        let n = ready!(received)?;
        self.body_since = None;
        let filled = buf.filled().len();
        let new = buf.filled().get(filled.saturating_sub(n)..).unwrap_or_default();
        let taken = framing.take(new);
        if framing.is_broken() {
            buf.set_filled(filled.saturating_sub(n));
            return self.malformed_body(wire);
        }
        if let Some(excess) = new.get(taken..).filter(|excess| !excess.is_empty()) {
            wire.input.extend_from_slice(excess);
            buf.set_filled(filled.saturating_sub(n).saturating_add(taken));
        }
        Poll::Ready(Ok(()))
    }

    /// Nobody knows where the body ends. The request fails, which is answered where requests are.
    fn malformed_body(&self, wire: &Wire) -> Poll<io::Result<()>> {
        debug!(peer = %wire.conn.peer, "malformed chunked body");
        self.events.rejected(&wire.conn.entry_point, RejectReason::MalformedBody);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the request body is not chunked coding")))
    }

    /// After a whole request: keeps what comes for the next one, and tells when the client goes, when the answer
    /// takes too long, and when HTTP is over: what a client sends behind its wish to leave HTTP belongs to the other
    /// protocol, but only if the service agrees.
    fn poll_gate(&mut self, cx: &mut Context<'_>, wire: &mut Wire) -> Poll<io::Result<()>> {
        if self.upgrade {
            // Registered before it is asked, so that no switch is missed.
            wire.conn.control.wake_on_change(cx.waker());
            if wire.conn.control.is_tunnel() {
                return Poll::Ready(Ok(()));
            }
        }
        if self.write_deadline.is_some_and(|deadline| self.timer.has_passed(cx, deadline)) {
            return Poll::Ready(Err(ResponseTooLate.into()));
        }
        while !wire.eof && wire.input.len() < READ_AHEAD {
            ready!(wire.poll_fill(cx))?;
        }
        // A client that has sent more requests and then closed its side still waits for the answers.
        if wire.eof && wire.input.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_body_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let since = *self.body_since.get_or_insert_with(Instant::now);
        if self.write_deadline.is_some_and(|deadline| self.timer.has_passed(cx, deadline)) {
            return Poll::Ready(Err(ResponseTooLate.into()));
        }
        let idle = since + self.limits.timeouts.body_idle;
        let total = self.head_since.zip(self.limits.timeouts.read).map(|(since, allowed)| since + allowed);
        if self.timer.has_passed(cx, total.map_or(idle, |total| total.min(idle))) {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the request body did not come",
            )));
        }
        Poll::Pending
    }
}

impl Rejection {
    fn poll(&mut self, cx: &mut Context<'_>, wire: &mut Wire, timer: &mut Timer) -> Poll<()> {
        match self.poll_steps(cx, wire) {
            Poll::Pending if timer.has_passed(cx, self.until) => Poll::Ready(()),
            other => other,
        }
    }

    /// Sends the answer, closes our side, and reads on for a moment. Errors end it early.
    fn poll_steps(&mut self, cx: &mut Context<'_>, wire: &mut Wire) -> Poll<()> {
        while let Some(rest) = self.answer.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(wire.poll_send(cx, rest)) {
                Ok(n @ 1..) => self.written = self.written.saturating_add(n),
                _ => return Poll::Ready(()),
            }
        }
        if !self.closed {
            if ready!(std::pin::Pin::new(&mut wire.transport).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.closed = true;
        }
        while self.discard > 0 {
            match ready!(wire.poll_discard(cx)) {
                Ok(n @ 1..) => self.discard = self.discard.saturating_sub(n),
                _ => break,
            }
        }
        Poll::Ready(())
    }
}
