//! Following frame headers (RFC 9113, section 4.1) in both directions.

use smallvec::SmallVec;

use crate::entrypoint::io::RejectReason;

/// Streams that are followed at a time. A client that opens more is bound by the idle deadline of
/// the connection only.
const MAX_FOLLOWED: usize = 1024;
/// Flow-control window of a connection before it is raised (RFC 9113, section 6.9.2).
const INITIAL_WINDOW: i64 = 65_535;

const FRAME_HEADER: usize = 9;
/// Longest payload that is looked at.
const LONGEST_TOLD: usize = 8;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Requests whose end the client has not sent, and how much it may send for them; answers of which we have not sent
/// the end.
#[derive(Debug)]
pub(super) struct Windows {
    /// What a new stream may send.
    initial: i64,
    connection: i64,
    open: SmallVec<[Open; 6]>,
    answers: SmallVec<[u32; 4]>,
}

#[derive(Debug)]
struct Open {
    stream: u32,
    window: i64,
}

impl Windows {
    pub(super) fn new(initial: u32) -> Self {
        Self {
            initial: i64::from(initial),
            connection: INITIAL_WINDOW,
            open: SmallVec::new(),
            answers: SmallVec::new(),
        }
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

    fn reset(&mut self, stream: u32) {
        self.end(stream);
        self.end_answer(stream);
    }

    /// Whether an answer has begun on `stream`, so that a header there is a trailer.
    fn is_answering(&self, stream: u32) -> bool {
        self.answers.contains(&stream)
    }

    fn begin_answer(&mut self, stream: u32) {
        if self.answers.len() < MAX_FOLLOWED && !self.is_answering(stream) {
            self.answers.push(stream);
        }
    }

    fn end_answer(&mut self, stream: u32) {
        self.answers.retain(|answer| *answer != stream);
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
                RST_STREAM => windows.reset(frame.stream),
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
    /// A frame whose payload tells something, and what came of it.
    told: Option<(Told, SmallVec<[u8; LONGEST_TOLD]>)>,
}

/// A frame whose payload is looked at.
#[derive(Debug, Clone, Copy)]
enum Told {
    /// A window update of this stream.
    Update(u32),
    /// A header of this length that is an answer's only frame.
    Header(usize),
}

impl Told {
    fn in_frame(frame: Frame, windows: &Windows) -> Option<Self> {
        let length = usize::try_from(frame.length).unwrap_or(usize::MAX);
        let whole = frame.flags & (END_STREAM | END_HEADERS) == END_STREAM | END_HEADERS;
        match frame.kind {
            WINDOW_UPDATE => Some(Self::Update(frame.stream)),
            HEADERS if whole && (1..=LONGEST_TOLD).contains(&length) => {
                (!windows.is_answering(frame.stream)).then_some(Self::Header(length))
            }
            _ => None,
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Update(_) => 4,
            Self::Header(length) => length,
        }
    }
}

impl Sent {
    /// Tells `refused` of each request that the engine has answered by itself.
    pub(super) fn follow(
        &mut self,
        mut bytes: &[u8],
        windows: &mut Windows,
        mut refused: impl FnMut(RejectReason),
    ) {
        while !bytes.is_empty() {
            if let Some((told, payload)) = &mut self.told {
                let wanted = told.length().saturating_sub(payload.len()).min(bytes.len());
                payload.extend_from_slice(bytes.get(..wanted).unwrap_or_default());
                match (*told, payload.as_slice()) {
                    (Told::Update(stream), [b3, b2, b1, b0]) => {
                        let by = u32::from_be_bytes([b3 & 0x7f, *b2, *b1, *b0]);
                        windows.change(stream, i64::from(by));
                        self.told = None;
                    }
                    (Told::Header(length), block) if block.len() == length => {
                        lone_status(block).into_iter().for_each(&mut refused);
                        self.told = None;
                    }
                    _ => {}
                }
            }
            let Some(frame) = self.cutter.next(&mut bytes) else { continue };
            self.told = Told::in_frame(frame, windows).map(|told| (told, SmallVec::new()));
            match frame.kind {
                RST_STREAM => windows.reset(frame.stream),
                HEADERS | DATA if frame.flags & END_STREAM != 0 => windows.end_answer(frame.stream),
                HEADERS => windows.begin_answer(frame.stream),
                _ => {}
            }
        }
    }
}

/// What a header that holds a status and nothing else says (RFC 7541, section 6 and appendix A). Only the engine's own
/// refusals have none: every other answer has a date. It knows two, 400 and 431.
fn lone_status(block: &[u8]) -> Option<RejectReason> {
    match block {
        [0x8c] => Some(RejectReason::Malformed),
        // Literally the first time, by its place in the table afterwards.
        [0x48, length, value @ ..] if usize::from(length & 0x7f) == value.len() => {
            Some(RejectReason::HeaderTooLarge)
        }
        [place] if *place >= 0xbe => Some(RejectReason::HeaderTooLarge),
        _ => None,
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
    sent.into_iter().for_each(|piece| ours.follow(piece, &mut windows, drop));
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
        update.iter().for_each(|byte| sent.follow(&[*byte], &mut windows, drop));
        assert!(windows.await_client());
        sent.follow(&frame(RST_STREAM, 0, 3, &[0; 4]), &mut windows, drop);
        assert!(!windows.await_client());

        // The connection's window counts too.
        let mut windows = Windows::new(1 << 20);
        Received::default().follow(&[post(), frame(DATA, 0, 3, &[0; 65_535])].concat(), &mut windows);
        assert!(!windows.await_client());
        Sent::default().follow(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), &mut windows, drop);
        assert!(windows.await_client());
    }

    #[test]
    fn the_engines_own_refusals_are_seen() {
        let whole = END_STREAM | END_HEADERS;
        let refusals = |bytes: &[u8], step: usize| {
            let (mut sent, mut windows, mut seen) = (Sent::default(), Windows::new(100), Vec::new());
            bytes.chunks(step).for_each(|piece| sent.follow(piece, &mut windows, |reason| seen.push(reason)));
            seen
        };
        let frames = [
            frame(HEADERS, whole, 1, b"\x8c"),
            frame(HEADERS, whole, 3, b"\x48\x03\x65\x90\x07"),
            frame(DATA, END_STREAM, 5, b"\x8c"),
            frame(HEADERS, whole, 7, b"\xbe"),
            // With a date, a trailer, 304, and a literal value that is followed by more: answers of ours.
            frame(HEADERS, whole, 9, b"\x8c\xbf"),
            frame(HEADERS, END_HEADERS, 11, b"\x88\xbe"),
            frame(HEADERS, whole, 11, b"\xbe"),
            frame(HEADERS, whole, 13, b"\x8b"),
            frame(HEADERS, whole, 15, b"\x48\x03\x65\x90\x07\xbf"),
            frame(HEADERS, whole, 17, b"\x8c\x61\x96\xdf\x69\x7e\x94\x0b\xaa"),
        ]
        .concat();
        for step in [1, 2, 7, frames.len()] {
            assert_eq!(
                refusals(&frames, step),
                [RejectReason::Malformed, RejectReason::HeaderTooLarge, RejectReason::HeaderTooLarge],
                "{step}"
            );
        }
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
            Sent::default().follow(&bytes, &mut windows, drop);
        }
    }
}
