//! Where the body of an HTTP/1 request ends (RFC 9112, sections 6 and 7.1).
//!
//! Pingora decides what the body is; this only follows, so that no byte of a next request gets
//! into the hands of the one before it, and so that a missing body can be told from a slow answer.

/// Longest chunk-size line and longest trailer line that are followed.
const MAX_LINE: usize = 16 << 10;

/// How much of a body is still to come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes; 0 = complete.
    Length(u64),
    Chunked(Chunks),
}

impl Framing {
    pub(super) fn length(bytes: u64) -> Self {
        Self::Length(bytes)
    }

    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunks { state: ChunkState::Size { size: 0, line: 0, digits: 0, extension: false } })
    }

    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.state == ChunkState::Complete,
        }
    }

    /// How many of the bytes of `input` belong to the body; they are then accounted for.
    pub(super) fn take(&mut self, input: &[u8]) -> usize {
        match self {
            Self::Length(left) => {
                let taken = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left = left.saturating_sub(taken as u64);
                taken
            }
            Self::Chunked(chunks) => chunks.take(input),
        }
    }
}

/// Follows the chunked coding.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunks {
    state: ChunkState,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum ChunkState {
    /// In a chunk-size line.
    Size { size: u64, line: usize, digits: usize, extension: bool },
    /// In a chunk's data.
    Data(u64),
    /// In the line end after a chunk's data.
    DataEnd,
    /// In the trailer section; `line` bytes of a line so far.
    Trailer { line: usize },
    /// Behind the last byte of the body.
    Complete,
    /// Not chunked coding. Everything is passed on, for Pingora to refuse.
    Broken,
}

impl Chunks {
    fn take(&mut self, input: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(rest) = input.get(taken..).filter(|rest| !rest.is_empty()) {
            match self.state {
                ChunkState::Complete => break,
                ChunkState::Broken => return input.len(),
                ChunkState::Data(left) => {
                    let n = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    taken += n;
                    self.state = match left.saturating_sub(n as u64) {
                        0 => ChunkState::DataEnd,
                        left => ChunkState::Data(left),
                    };
                }
                _ => {
                    let Some(byte) = rest.first() else { break };
                    self.state = self.state.next(*byte);
                    taken += 1;
                }
            }
        }
        taken
    }
}

impl ChunkState {
    fn next(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Size { digits: 0, .. }, b'\n' | b'\r' | b';') => Self::Broken,
            (Self::Size { size: 0, .. }, b'\n') => Self::Trailer { line: 0 },
            (Self::Size { size, .. }, b'\n') => Self::Data(size),
            (Self::Size { line, .. }, _) if line >= MAX_LINE => Self::Broken,
            (Self::Size { size, line, digits, extension: false }, byte) => {
                match char::from(byte).to_digit(16) {
                    Some(digit) if digits < 16 => {
                        let size = size << 4 | u64::from(digit);
                        Self::Size { size, line: line + 1, digits: digits + 1, extension: false }
                    }
                    Some(_) => Self::Broken,
                    None => Self::Size { size, line: line + 1, digits, extension: true },
                }
            }
            (Self::Size { size, line, digits, extension: true }, _) => {
                Self::Size { size, line: line + 1, digits, extension: true }
            }
            (Self::DataEnd, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::Size { size: 0, line: 0, digits: 0, extension: false },
            (Self::Trailer { line: 0 }, b'\n') => Self::Complete,
            (Self::Trailer { .. }, b'\n') => Self::Trailer { line: 0 },
            // A lone CR does not make a line.
            (Self::Trailer { line: 0 }, b'\r') => Self::Trailer { line: 0 },
            (Self::Trailer { line }, _) if line < MAX_LINE => Self::Trailer { line: line + 1 },
            (same @ (Self::Data(_) | Self::Complete), _) => same,
            _ => Self::Broken,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunked(input: &[u8]) -> (usize, bool) {
        let mut framing = Framing::chunked();
        (framing.take(input), framing.is_complete())
    }

    #[test]
    fn lengths() {
        let mut framing = Framing::length(5);
        assert_eq!(framing.take(b"abc"), 3);
        assert!(!framing.is_complete());
        assert_eq!(framing.take(b"deGET /"), 2);
        assert!(framing.is_complete());
        assert_eq!(framing.take(b"GET /"), 0);
    }

    #[test]
    fn chunks_end_where_the_last_one_says() {
        assert_eq!(chunked(b"3\r\nabc\r\n0\r\n\r\nGET /"), (13, true));
        assert_eq!(chunked(b"0\r\nX-Trailer: 1\r\n\r\nGET /"), (19, true));
        assert_eq!(chunked(b"A;ext=\"1\"\r\n0123456789\r\n0\r\n\r\n"), (28, true));
        assert_eq!(chunked(b"3\r\nabc\r\n0\r\n"), (11, false));
    }

    #[test]
    fn what_is_not_chunked_is_passed_on() {
        for bad in [&b"\r\n"[..], b"xyz\r\n", b"11111111111111111\r\n", b"1\r\naX\r\n"] {
            let (_, complete) = chunked(&[bad, b"0\r\n\r\nGET /"].concat());
            assert!(!complete, "{}", bad.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn a_chunked_body_ends_however_it_arrives(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            cut in 0_usize..300,
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend(format!("{:x}\r\n", chunk.len()).bytes());
                body.extend(chunk);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            let length = body.len();
            body.extend(b"GET / HTTP/1.1\r\n");
            let cut = cut.min(length);
            let mut framing = Framing::chunked();
            let first = framing.take(&body[..cut]);
            prop_assert_eq!(first, cut);
            prop_assert_eq!(first + framing.take(&body[cut..]), length);
            prop_assert!(framing.is_complete());
        }

        #[test]
        fn any_bytes_are_followed(input in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (taken, _) = chunked(&input);
            prop_assert!(taken <= input.len());
        }
    }
}
