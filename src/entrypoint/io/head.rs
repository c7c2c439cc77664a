//! The head of an HTTP/1 request before Pingora sees it: where it ends, and what it must not hold.
//!
//! Only what Pingora lets through or answers wrongly is judged here; it parses the head again and
//! is the authority for everything else. A head that the two understand differently ends the
//! connection (see [`super::h1`]).

use super::RejectReason;
use super::body::Framing;

/// Header lines that Pingora accepts.
const MAX_LINES: usize = 256;
/// Longest request line: the method, and the longest URI that the `http` crate can hold.
const MAX_REQUEST_LINE: usize = 65_534;

/// Finds the end of a head that arrives in pieces, looking at each byte once.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// Bytes looked at.
    seen: usize,
    /// Where the current line begins.
    line: usize,
    /// Empty lines before the request line, which are skipped (RFC 9112, section 2.2).
    skip: usize,
    /// Complete lines, the request line included.
    lines: usize,
}

/// How far a head is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Partial,
    /// The head is `input[skip..end]`.
    Complete {
        skip: usize,
        end: usize,
    },
}

impl Scanner {
    /// Looks at what `input` has gained since the last call.
    pub(super) fn advance(&mut self, input: &[u8], max: usize) -> Result<Progress, RejectReason> {
        while let Some(offset) = input.get(self.seen..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let end = self.seen + offset;
            let line = input.get(self.line..end).unwrap_or_default();
            let is_empty = matches!(line, [] | [b'\r']);
            self.seen = end + 1;
            self.line = self.seen;
            if !is_empty {
                self.lines += 1;
            } else if self.lines == 0 {
                self.skip = self.seen;
            } else {
                self.within(self.seen, max)?;
                return Ok(Progress::Complete { skip: self.skip, end: self.seen });
            }
        }
        self.seen = input.len();
        self.within(self.seen, max)?;
        Ok(Progress::Partial)
    }

    fn within(&self, length: usize, max: usize) -> Result<(), RejectReason> {
        let in_request_line = self.lines == 0;
        if in_request_line && length - self.skip > MAX_REQUEST_LINE.min(max) {
            return Err(RejectReason::TargetTooLong);
        }
        if length > max || self.lines > MAX_LINES {
            return Err(RejectReason::HeaderTooLarge);
        }
        Ok(())
    }
}

/// What the connection needs to know of a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) framing: Framing,
    /// Whether the client asks to leave HTTP after this request.
    pub(super) upgrade: bool,
}

/// Judges a complete head.
pub(super) fn judge(head: &[u8]) -> Result<Head, RejectReason> {
    let mut start = 0;
    let mut lines = memchr::memchr_iter(b'\n', head).map(|end| {
        let line = head.get(start..end).unwrap_or_default();
        start = end + 1;
        line.strip_suffix(b"\r").unwrap_or(line)
    });
    request_line(lines.next().unwrap_or_default())?;
    let mut fields = Fields::default();
    for line in lines.take_while(|line| !line.is_empty()) {
        fields.add(line)?;
    }
    fields.judge()
}

fn request_line(line: &[u8]) -> Result<(), RejectReason> {
    if line.len() > MAX_REQUEST_LINE {
        return Err(RejectReason::TargetTooLong);
    }
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        // Pingora would escape a space in the target and go on.
        return Err(RejectReason::Malformed);
    };
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" => {}
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(RejectReason::Version);
        }
        _ => return Err(RejectReason::Malformed),
    }
    if method.is_empty() || target.is_empty() || target.iter().any(|b| *b <= b' ' || *b == 0x7f) {
        return Err(RejectReason::Malformed);
    }
    // As Traefik answers it; tunnels are not served.
    if method == b"CONNECT" { Err(RejectReason::NotImplemented) } else { Ok(()) }
}

/// The header fields that decide about framing.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    transfer_encodings: usize,
    upgrade: bool,
    connection_upgrade: bool,
    host: bool,
}

impl Fields {
    fn add(&mut self, line: &[u8]) -> Result<(), RejectReason> {
        let colon = memchr::memchr(b':', line).ok_or(RejectReason::Malformed)?;
        let (name, value) = line.split_at(colon);
        // Also a folded line (RFC 9112, section 5.2), and a space before the colon.
        if name.is_empty() || name.iter().any(|b| *b <= b' ' || *b == 0x7f) {
            return Err(RejectReason::Malformed);
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        match name.len() {
            // Pingora refuses a second one too, but in its own name.
            4 if name.eq_ignore_ascii_case(b"host") && std::mem::replace(&mut self.host, true) => {
                return Err(RejectReason::Malformed);
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection_upgrade |= tokens(value).any(|t| t.eq_ignore_ascii_case(b"upgrade"));
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.add_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.transfer_encodings += 1;
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(RejectReason::NotImplemented);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Lengths may be repeated when they are the same (RFC 9110, section 8.6).
    fn add_length(&mut self, value: &[u8]) -> Result<(), RejectReason> {
        for digits in tokens(value) {
            let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(digits).ok().filter(|_| is_number).and_then(|d| d.parse().ok());
            let length: u64 = length.ok_or(RejectReason::Malformed)?;
            if self.length.is_some_and(|other| other != length) {
                return Err(RejectReason::Malformed);
            }
            self.length = Some(length);
        }
        Ok(())
    }

    fn judge(self) -> Result<Head, RejectReason> {
        let framing = match (self.transfer_encodings, self.length) {
            (0, length) => Framing::length(length.unwrap_or(0)),
            (1, None) => Framing::chunked(),
            // Two framings in one message are the stuff of request smuggling; RFC 9112, section
            // 6.1, lets a server refuse. Pingora drops the length and goes on (pingora#945).
            (1, Some(_)) => return Err(RejectReason::Malformed),
            _ => return Err(RejectReason::NotImplemented),
        };
        Ok(Head { framing, upgrade: self.upgrade && self.connection_upgrade })
    }
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(input: &[u8]) -> Result<Progress, RejectReason> {
        Scanner::default().advance(input, 4096)
    }

    fn lines(lines: &str) -> Result<Head, RejectReason> {
        judge(format!("POST /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes())
    }

    #[test]
    fn ends_of_heads() {
        assert_eq!(
            all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody"),
            Ok(Progress::Complete { skip: 0, end: 27 })
        );
        assert_eq!(all(b"GET / HTTP/1.1\nHost: a\n\nbody"), Ok(Progress::Complete { skip: 0, end: 24 }));
        assert_eq!(all(b"\r\n\nGET / HTTP/1.1\r\n\r\n"), Ok(Progress::Complete { skip: 3, end: 21 }));
        for partial in [&b""[..], b"\r\n", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r"] {
            assert_eq!(all(partial), Ok(Progress::Partial));
        }
    }

    #[test]
    fn limits() {
        let mut long = b"GET /".to_vec();
        long.resize(5000, b'a');
        assert_eq!(all(&long), Err(RejectReason::TargetTooLong));
        let mut large = b"GET / HTTP/1.1\r\nX: ".to_vec();
        large.resize(5000, b'a');
        assert_eq!(all(&large), Err(RejectReason::HeaderTooLarge));
        large.extend(b"\r\n\r\n");
        assert_eq!(all(&large), Err(RejectReason::HeaderTooLarge));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(256));
        assert_eq!(all(many.as_bytes()), Err(RejectReason::HeaderTooLarge));
        assert_eq!(all(&b"\r\n".repeat(3000)), Err(RejectReason::HeaderTooLarge));
    }

    #[test]
    fn request_lines() {
        let line = |line: &str| judge(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()).map(|_| ());
        assert_eq!(line("GET /?q=%20 HTTP/1.1"), Ok(()));
        assert_eq!(line("PURGE http://a/ HTTP/1.0"), Ok(()));
        assert_eq!(line("GET / HTTP/2.0"), Err(RejectReason::Version));
        assert_eq!(line("PRI * HTTP/2.0"), Err(RejectReason::Version));
        assert_eq!(line("CONNECT a:443 HTTP/1.1"), Err(RejectReason::NotImplemented));
        for bad in ["GET /", "GET /a b HTTP/1.1", "GET  / HTTP/1.1", "GET / http/1.1", "", "GET /\t HTTP/1.1"]
        {
            assert_eq!(line(bad), Err(RejectReason::Malformed), "{bad}");
        }
    }

    #[test]
    fn framing() {
        assert_eq!(lines("").unwrap().framing, Framing::length(0));
        assert_eq!(lines("Content-Length: 5\r\n").unwrap().framing, Framing::length(5));
        assert_eq!(
            lines("content-length: 5, 5\r\nContent-Length:5\r\n").unwrap().framing,
            Framing::length(5)
        );
        assert_eq!(lines("Transfer-Encoding: Chunked\r\n").unwrap().framing, Framing::chunked());
        for malformed in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: \r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length : 5\r\n",
            " folded\r\n",
            "nothing\r\n",
            "host: a\r\n",
            ": empty\r\n",
        ] {
            assert_eq!(lines(malformed), Err(RejectReason::Malformed), "{malformed:?}");
        }
        for unknown in [
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert_eq!(lines(unknown), Err(RejectReason::NotImplemented), "{unknown:?}");
        }
    }

    #[test]
    fn upgrades_need_both_fields() {
        assert!(lines("Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n").unwrap().upgrade);
        assert!(!lines("Upgrade: websocket\r\n").unwrap().upgrade);
        assert!(!lines("Connection: upgrade\r\n").unwrap().upgrade);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            input in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'a'), Just(b':'), Just(b' ')], 0..200),
            cut in 0_usize..200,
        ) {
            let cut = cut.min(input.len());
            let mut scanner = Scanner::default();
            let first = scanner.advance(&input[..cut], 4096).unwrap();
            let whole = all(&input).unwrap();
            if first == Progress::Partial {
                prop_assert_eq!(scanner.advance(&input, 4096).unwrap(), whole);
            } else {
                prop_assert_eq!(first, whole);
            }
        }

        #[test]
        fn any_head_is_judged(input in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = judge(&input);
        }
    }
}
