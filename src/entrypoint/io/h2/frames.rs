//! Following frame headers (RFC 9113, section 4.1) in both directions.

use smallvec::SmallVec;

/// Streams that are followed at a time. A client that opens more is bound by the idle deadline of
/// the connection only.
const MAX_FOLLOWED: usize = 1024;
/// Flow-control window of a connection before it is raised (RFC 9113, section 6.9.2).
const INITIAL_WINDOW: i64 = 65_535;

const FRAME_HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Requests whose end the client has not sent, and how much it may send for them.
#[derive(Debug)]
pub(super) struct Windows {
    /// What a new stream may send.
    initial: i64,
    connection: i64,
    open: SmallVec<[Open; 8]>,
}

#[derive(Debug)]
struct Open {
    stream: u32,
    window: i64,
}

impl Windows {
    pub(super) fn new(initial: u32) -> Self {
        Self { initial: i64::from(initial), connection: INITIAL_WINDOW, open: SmallVec::new() }
    }

    /// Whether the client owes a body and nothing of ours keeps it from sending.
    pub(super) fn await_client(&self) -> bool {
        self.connection > 0 && self.open.iter().any(|open| open.window > 0)
    }

    fn begin(&mut self, stream: u32) {
        // A second HEADERS frame of a stream carries its trailers.
        if self.open.len() < MAX_FOLLOWED && self.open.iter().all(|open| open.stream != stream) {
            self.open.push(Open { stream, window: self.initial });
        }
    }

    fn end(&mut self, stream: u32) {
        self.open.retain(|open| open.stream != stream);
    }

    /// Changes what may be sent on `stream`, or on the connection if that is 0.
    fn change(&mut self, stream: u32, by: i64) {
        if stream == 0 {
            self.connection = self.connection.saturating_add(by);
        } else if let Some(open) = self.open.iter_mut().find(|open| open.stream == stream) {
            open.window = open.window.saturating_add(by);
        }
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy)]
struct Frame {
    length: u32,
    kind: u8,
    flags: u8,
    stream: u32,
}

/// Cuts a stream of bytes into frames, of which it keeps the header only.
#[derive(Debug, Default)]
struct Cutter {
    header: SmallVec<[u8; FRAME_HEADER]>,
    /// Bytes of the current frame's payload still to come.
    payload: usize,
}

impl Cutter {
    /// Takes bytes up to the next frame header's end, or up to the end of `bytes`. The rest of
    /// the bytes is what the payload begins with.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        let skipped = self.payload.min(bytes.len());
        self.payload -= skipped;
        *bytes = bytes.get(skipped..).unwrap_or_default();
        let wanted = FRAME_HEADER.saturating_sub(self.header.len()).min(bytes.len());
        self.header.extend_from_slice(bytes.get(..wanted).unwrap_or_default());
        *bytes = bytes.get(wanted..).unwrap_or_default();
        let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = *self.header.as_slice() else { return None };
        self.header.clear();
        let length = u32::from_be_bytes([0, l2, l1, l0]);
        self.payload = usize::try_from(length).unwrap_or(usize::MAX);
        Some(Frame { length, kind, flags, stream: u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]) })
    }
}

/// Follows the client's frames.
#[derive(Debug, Default)]
pub(super) struct Received {
    cutter: Cutter,
    /// Whether the current frame carries header fields.
    carries_header: bool,
    /// Whether more frames of the same header follow.
    continues: bool,
}

impl Received {
    /// Whether a header, or a frame's own header, is incomplete.
    pub(super) fn is_in_header(&self) -> bool {
        let cutter = &self.cutter;
        !cutter.header.is_empty() || self.continues || (self.carries_header && cutter.payload > 0)
    }

    pub(super) fn follow(&mut self, mut bytes: &[u8], windows: &mut Windows) {
        while !bytes.is_empty() {
            let Some(frame) = self.cutter.next(&mut bytes) else { continue };
            self.carries_header = matches!(frame.kind, HEADERS | CONTINUATION);
            if self.carries_header {
                self.continues = frame.flags & END_HEADERS == 0;
            }
            match frame.kind {
                HEADERS | DATA if frame.flags & END_STREAM != 0 => windows.end(frame.stream),
                HEADERS => windows.begin(frame.stream),
                DATA => windows.change(frame.stream, -i64::from(frame.length)),
                RST_STREAM => windows.end(frame.stream),
                _ => {}
            }
            if frame.kind == DATA {
                windows.change(0, -i64::from(frame.length));
            }
        }
    }
}

/// Follows our frames.
#[derive(Debug, Default)]
pub(super) struct Sent {
    cutter: Cutter,
    /// The stream of a window update, and what came of its payload.
    update: Option<(u32, SmallVec<[u8; 4]>)>,
}

impl Sent {
    pub(super) fn follow(&mut self, mut bytes: &[u8], windows: &mut Windows) {
        while !bytes.is_empty() {
            if let Some((stream, increment)) = &mut self.update {
                let wanted = 4_usize.saturating_sub(increment.len()).min(bytes.len());
                increment.extend_from_slice(bytes.get(..wanted).unwrap_or_default());
                if let [b3, b2, b1, b0] = *increment.as_slice() {
                    let by = u32::from_be_bytes([b3 & 0x7f, b2, b1, b0]);
                    windows.change(*stream, i64::from(by));
                    self.update = None;
                }
            }
            let Some(frame) = self.cutter.next(&mut bytes) else { continue };
            match frame.kind {
                WINDOW_UPDATE => self.update = Some((frame.stream, SmallVec::new())),
                RST_STREAM => windows.end(frame.stream),
                _ => {}
            }
        }
    }
}

/// Follows the frames of both sides of a connection, each in pieces: whether the client is in the
/// middle of a header, and whether it is waited for.
#[cfg(feature = "fuzzing")]
pub fn follow_frames<'a>(
    received: impl IntoIterator<Item = &'a [u8]>,
    sent: impl IntoIterator<Item = &'a [u8]>,
) -> (bool, bool) {
    let (mut theirs, mut ours, mut windows) = (Received::default(), Sent::default(), Windows::new(100));
    received.into_iter().for_each(|piece| theirs.follow(piece, &mut windows));
    sent.into_iter().for_each(|piece| ours.follow(piece, &mut windows));
    (theirs.is_in_header(), windows.await_client())
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

    fn post() -> Vec<u8> {
        frame(HEADERS, END_HEADERS, 3, b"xx")
    }

    fn after(frames: &[Vec<u8>]) -> (Received, Windows) {
        let (mut received, mut windows) = (Received::default(), Windows::new(100));
        received.follow(&frames.concat(), &mut windows);
        (received, windows)
    }

    #[test]
    fn bodies_are_open_until_the_client_ends_them() {
        let get = frame(HEADERS, END_STREAM | END_HEADERS, 1, b"xx");
        assert!(!after(std::slice::from_ref(&get)).1.await_client());
        assert!(after(&[get, post()]).1.await_client());
        assert!(after(&[post(), frame(DATA, 0, 3, b"abc")]).1.await_client());
        for end in [
            frame(DATA, END_STREAM, 3, b""),
            frame(HEADERS, END_STREAM | END_HEADERS, 3, b"t"),
            frame(RST_STREAM, 0, 3, &[0; 4]),
        ] {
            assert!(!after(&[post(), end]).1.await_client());
        }
    }

    #[test]
    fn a_client_that_may_not_send_is_not_waited_for() {
        let (_, mut windows) = after(&[post(), frame(DATA, 0, 3, &[0; 100])]);
        assert!(!windows.await_client());
        let mut sent = Sent::default();
        let update = [frame(DATA, 0, 3, b"answer"), frame(WINDOW_UPDATE, 0, 3, &[0, 0, 0, 50])].concat();
        update.iter().for_each(|byte| sent.follow(&[*byte], &mut windows));
        assert!(windows.await_client());
        sent.follow(&frame(RST_STREAM, 0, 3, &[0; 4]), &mut windows);
        assert!(!windows.await_client());

        // The connection's window counts too.
        let mut windows = Windows::new(1 << 20);
        Received::default().follow(&[post(), frame(DATA, 0, 3, &[0; 65_535])].concat(), &mut windows);
        assert!(!windows.await_client());
        Sent::default().follow(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), &mut windows);
        assert!(windows.await_client());
    }

    #[test]
    fn headers_are_incomplete_until_their_last_frame_is() {
        let first = frame(HEADERS, END_STREAM, 1, b"xx");
        let last = frame(CONTINUATION, END_HEADERS, 1, b"yy");
        assert!(after(std::slice::from_ref(&first)).0.is_in_header());
        assert!(!after(&[first, last.clone()]).0.is_in_header());
        let mut cut = last;
        cut.truncate(10);
        assert!(after(&[cut]).0.is_in_header());
        assert!(after(&[vec![0, 0]]).0.is_in_header());
        assert!(!after(&[frame(DATA, 0, 1, b"abc")]).0.is_in_header());
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            kinds in proptest::collection::vec((0_u8..10, any::<u8>(), 0_u32..8, 0_usize..40), 0..8),
            step in 1_usize..20,
        ) {
            let frames: Vec<Vec<u8>> =
                kinds.iter().map(|(k, f, s, l)| frame(*k, *f, *s, &vec![0; *l])).collect();
            let (whole, windows) = after(&frames);
            let (mut received, mut pieces) = (Received::default(), Windows::new(100));
            frames.concat().chunks(step).for_each(|piece| received.follow(piece, &mut pieces));
            prop_assert_eq!(received.cutter.payload, whole.cutter.payload);
            prop_assert_eq!(received.continues, whole.continues);
            prop_assert_eq!(format!("{pieces:?}"), format!("{windows:?}"));
        }

        #[test]
        fn any_bytes_are_followed(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut windows = Windows::new(100);
            Received::default().follow(&bytes, &mut windows);
            Sent::default().follow(&bytes, &mut windows);
        }
    }
}
