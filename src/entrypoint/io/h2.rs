//! Reading HTTP/2: the preface under a deadline, and request bodies that do not come.
//!
//! Pingora has no deadline for an HTTP/2 request body, and none for the preface. The client's
//! frames pass by here; their headers tell whether a request's body is outstanding.

use std::io;
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;
use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::timer::Timer;
use super::wire::Wire;
use crate::entrypoint::settings::Timeouts;

/// The client's connection preface (RFC 9113, section 3.4).
pub(in crate::entrypoint) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) struct H2 {
    opened: Instant,
    timeouts: Timeouts,
    timer: Timer,
    preface_left: usize,
    frames: Frames,
    /// When a header began that is not complete.
    header_since: Option<Instant>,
    /// Since when nothing came from the client, and nothing went to it.
    quiet_since: Option<Instant>,
    /// Bytes sent at that time.
    sent: u64,
}

impl H2 {
    pub(super) fn new(opened: Instant, timeouts: Timeouts) -> Self {
        Self {
            opened,
            timeouts,
            timer: Timer::default(),
            preface_left: PREFACE.len(),
            frames: Frames::default(),
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
        self.frames.follow(new.get(preface..).unwrap_or_default());
        self.quiet_since = None;
        if !self.frames.is_in_header() {
            self.header_since = None;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>, wire: &Wire) -> Poll<io::Result<()>> {
        let deadline = if self.preface_left > 0 {
            self.opened + self.timeouts.header
        } else if self.frames.is_in_header() {
            *self.header_since.get_or_insert_with(Instant::now) + self.timeouts.header
        } else if self.frames.has_open_body() {
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

/// Streams that are followed at a time. A client that opens more is bound by the idle deadline of
/// the connection only.
const MAX_FOLLOWED: usize = 1024;

const FRAME_HEADER: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Follows frame headers (RFC 9113, section 4.1).
#[derive(Debug, Default)]
struct Frames {
    header: SmallVec<[u8; 9]>,
    /// Bytes of the current frame's payload still to come.
    payload: usize,
    /// Whether the current frame carries header fields.
    carries_header: bool,
    /// Whether more frames of the same header follow.
    continues: bool,
    /// Streams on which the client has not ended its request.
    open: SmallVec<[u32; 8]>,
}

impl Frames {
    /// Whether a header, or a frame's own header, is incomplete.
    fn is_in_header(&self) -> bool {
        !self.header.is_empty() || self.continues || (self.carries_header && self.payload > 0)
    }

    fn has_open_body(&self) -> bool {
        !self.open.is_empty()
    }

    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.payload.min(bytes.len());
            self.payload -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let wanted = FRAME_HEADER.saturating_sub(self.header.len()).min(bytes.len());
            self.header.extend_from_slice(bytes.get(..wanted).unwrap_or_default());
            bytes = bytes.get(wanted..).unwrap_or_default();
            if let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = *self.header.as_slice() {
                self.payload = usize::from(l2) << 16 | usize::from(l1) << 8 | usize::from(l0);
                self.begin(kind, flags, u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]));
                self.header.clear();
            }
        }
    }

    fn begin(&mut self, kind: u8, flags: u8, stream: u32) {
        self.carries_header = matches!(kind, HEADERS | CONTINUATION);
        if self.carries_header {
            self.continues = flags & END_HEADERS == 0;
        }
        match kind {
            HEADERS | DATA if flags & END_STREAM != 0 => self.close(stream),
            HEADERS if !self.open.contains(&stream) && self.open.len() < MAX_FOLLOWED => {
                self.open.push(stream);
            }
            RST_STREAM => self.close(stream),
            _ => {}
        }
    }

    fn close(&mut self, stream: u32) {
        self.open.retain(|open| *open != stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
        let mut out = length.into_iter().skip(1).collect::<Vec<_>>();
        out.extend([kind, flags]);
        out.extend(stream.to_be_bytes());
        out.extend(payload);
        out
    }

    fn after(frames: &[Vec<u8>]) -> Frames {
        let mut followed = Frames::default();
        followed.follow(&frames.concat());
        followed
    }

    #[test]
    fn bodies_are_open_until_the_client_ends_them() {
        let get = frame(HEADERS, END_STREAM | END_HEADERS, 1, b"xx");
        let post = frame(HEADERS, END_HEADERS, 3, b"xx");
        assert!(!after(&[get.clone()]).has_open_body());
        assert!(after(&[get.clone(), post.clone()]).has_open_body());
        assert!(after(&[post.clone(), frame(DATA, 0, 3, b"abc")]).has_open_body());
        for end in [
            frame(DATA, END_STREAM, 3, b""),
            frame(HEADERS, END_STREAM | END_HEADERS, 3, b"t"),
            frame(RST_STREAM, 0, 3, &[0; 4]),
        ] {
            assert!(!after(&[post.clone(), end]).has_open_body());
        }
    }

    #[test]
    fn headers_are_incomplete_until_their_last_frame_is() {
        assert!(after(&[frame(HEADERS, END_STREAM, 1, b"xx")]).is_in_header());
        let last = frame(CONTINUATION, END_HEADERS, 1, b"yy");
        assert!(!after(&[frame(HEADERS, END_STREAM, 1, b"xx"), last.clone()]).is_in_header());
        let mut cut = last;
        cut.truncate(10);
        assert!(after(&[cut]).is_in_header());
        assert!(after(&[vec![0, 0]]).is_in_header());
        assert!(!after(&[frame(DATA, 0, 1, b"abc")]).is_in_header());
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            kinds in proptest::collection::vec((0_u8..10, any::<u8>(), 0_u32..8, 0_usize..40), 0..8),
            step in 1_usize..20,
        ) {
            let bytes: Vec<u8> =
                kinds.iter().flat_map(|(k, f, s, l)| frame(*k, *f, *s, &vec![0; *l])).collect();
            let mut pieces = Frames::default();
            bytes.chunks(step).for_each(|piece| pieces.follow(piece));
            let whole = after(&[bytes]);
            prop_assert_eq!(pieces.open, whole.open);
            prop_assert_eq!(pieces.payload, whole.payload);
            prop_assert_eq!(pieces.continues, whole.continues);
        }
    }
}
