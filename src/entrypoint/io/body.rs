//! Where the body of an HTTP/1 request ends (RFC 9112, sections 6 and 7.1).
//!
//! Pingora decides what the body is; this only follows, so that no byte of a next request gets
//! into the hands of the one before it, and so that a missing body can be told from a slow answer.
//! It is the stricter of the two: what it cannot follow never reaches Pingora, which takes an empty
//! chunk size for the last chunk's.

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
        Self::Chunked(Chunks { state: ChunkState::BEGIN })
    }

    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.state == ChunkState::Complete,
        }
    }

    /// Whether what came is not chunked coding, so that nobody knows where the body ends.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self, Self::Chunked(chunks) if chunks.state == ChunkState::Broken)
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
    /// Behind the CR of a chunk-size line.
    SizeEnd { size: u64 },
    /// In a chunk's data.
    Data(u64),
    /// Behind a chunk's data.
    DataEnd,
    /// Behind the CR that follows a chunk's data.
    DataLineEnd,
    /// In the trailer section; `line` bytes of a line so far.
    Trailer { line: usize },
    /// Behind the CR of a trailer line of `line` bytes.
    TrailerEnd { line: usize },
    /// Behind the last byte of the body.
    Complete,
    /// Not chunked coding.
    Broken,
}

impl Chunks {
    fn take(&mut self, input: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(rest) = input.get(taken..).filter(|rest| !rest.is_empty()) {
            match self.state {
                ChunkState::Complete | ChunkState::Broken => break,
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
    const BEGIN: Self = Self::Size { size: 0, line: 0, digits: 0, extension: false };

    /// Lines end with CR LF and nothing else: who takes a lone LF for a line end sees other chunks
    /// than who does not.
    fn next(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Size { size, line, digits, extension }, byte) => {
                Self::in_size_line(byte, size, line, digits, extension)
            }
            (Self::SizeEnd { size: 0 }, b'\n') => Self::Trailer { line: 0 },
            (Self::SizeEnd { size }, b'\n') => Self::Data(size),
            (Self::DataEnd, b'\r') => Self::DataLineEnd,
            (Self::DataLineEnd, b'\n') => Self::BEGIN,
            (Self::Trailer { line }, b'\r') => Self::TrailerEnd { line },
            (Self::Trailer { line }, byte) if byte != b'\n' && line < MAX_LINE => {
                Self::Trailer { line: line + 1 }
            }
            (Self::TrailerEnd { line: 0 }, b'\n') => Self::Complete,
            (Self::TrailerEnd { .. }, b'\n') => Self::Trailer { line: 0 },
            (same @ (Self::Data(_) | Self::Complete), _) => same,
            _ => Self::Broken,
        }
    }

    fn in_size_line(byte: u8, size: u64, line: usize, digits: usize, extension: bool) -> Self {
        let digit = char::from(byte).to_digit(16).filter(|_| !extension);
        match (byte, digit) {
            (_, Some(digit)) if digits < 16 => {
                let size = size << 4 | u64::from(digit);
                Self::Size { size, line: line + 1, digits: digits + 1, extension: false }
            }
            // Without a digit there is no size to end or to extend.
            _ if digit.is_some() || digits == 0 || line >= MAX_LINE => Self::Broken,
            (b'\r', _) => Self::SizeEnd { size },
            (b';' | b' ' | b'\t', _) => Self::Size { size, line: line + 1, digits, extension: true },
            (b'\n', _) => Self::Broken,
            _ if extension => Self::Size { size, line: line + 1, digits, extension: true },
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
    fn what_is_not_chunked_is_broken() {
        for bad in [
            &b"\r\n"[..],
            b";a=b\r\n",
            b" 1\r\n",
            b"-1\r\n",
            b"0x1\r\n",
            b"1,1\r\n",
            b"xyz\r\n",
            b"11111111111111111\r\n",
            b"1\na\r\n",
            b"1\ra\r\n",
            b"1;\na\r\n",
            b"1\r\naX\r\n",
            b"1\r\na\n",
            b"1\r\na\r\r\n",
            b"0\r\nX: 1\n\r\n",
            b"0\r\n\n",
            b"0\r\n\rX\r\n",
        ] {
            let input = [bad, b"0\r\n\r\nGET /"].concat();
            let mut whole = Framing::chunked();
            whole.take(&input);
            assert!(whole.is_broken(), "{}", bad.escape_ascii());
            let mut bytewise = Framing::chunked();
            for byte in &input {
                bytewise.take(&[*byte]);
            }
            assert_eq!(bytewise, whole, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_size_may_be_followed_by_space_and_extensions() {
        for size in ["3 ", "03\t", "3;a", "3 ; a=\"b;c\"", "0000000000000003"] {
            let body = format!("{size}\r\nabc\r\n0\r\n\r\n");
            assert_eq!(chunked(body.as_bytes()), (body.len(), true), "{body:?}");
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
