//! The head of an HTTP/1 request before Pingora sees it: where it ends, and what it must not hold.
//!
//! What Pingora lets through or answers in its own name is judged here; it parses the head again and
//! is the authority for everything else. A head that the two understand differently ends the
//! connection (see [`super::h1`]).

use pingora::http::authority::{RawTargetAuthority, raw_target_authority};

use super::RejectReason;
use super::body::Framing;
use crate::net::{is_authority, same_authority};

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
    /// The head in other words of the same meaning, where those of the client must not go on.
    pub(super) reworded: Option<Vec<u8>>,
}

/// Judges a complete head.
pub(super) fn judge(head: &[u8]) -> Result<Head, RejectReason> {
    let mut lines = lines(head);
    let line = RequestLine::parse(lines.next().unwrap_or_default())?;
    let mut fields = Fields::default();
    for line in lines.take_while(|line| !line.is_empty()) {
        fields.add(line)?;
    }
    let framing = fields.framing(&line)?;
    let rewording = Rewording::of(&line, &fields, &framing)?;
    let reworded = rewording.is_needed().then(|| rewording.apply(head, &line));
    Ok(Head { framing, upgrade: fields.upgrade && fields.connection_upgrade, reworded })
}

/// Lines without their ends.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr::memchr_iter(b'\n', head).map(move |end| {
        let line = head.get(start..end).unwrap_or_default();
        start = end + 1;
        line.strip_suffix(b"\r").unwrap_or(line)
    })
}

struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    /// The digit behind `HTTP/1.`.
    minor: u8,
}

impl<'a> RequestLine<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, RejectReason> {
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
        let minor = match version {
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                if *major != b'1' {
                    return Err(RejectReason::Version);
                }
                *minor
            }
            _ => return Err(RejectReason::Malformed),
        };
        let unprintable = |byte: &u8| *byte <= b' ' || *byte == 0x7f;
        if !is_token(method)
            || target.is_empty()
            || target.iter().any(unprintable)
            || std::str::from_utf8(target).is_err()
        {
            return Err(RejectReason::Malformed);
        }
        // As Traefik answers it; tunnels are not served.
        if method == b"CONNECT" {
            Err(RejectReason::NotImplemented)
        } else {
            Ok(Self { method, target, minor })
        }
    }

    /// The authority of a target in absolute form and the default port of its scheme, as the engine will find it.
    fn authority(&self) -> Result<Option<(&'a [u8], u16)>, RejectReason> {
        match raw_target_authority(self.target) {
            RawTargetAuthority::None => Ok(None),
            RawTargetAuthority::Absolute { scheme, authority, .. } if is_authority(authority) => {
                let port = if scheme.eq_ignore_ascii_case(b"https") { 443 } else { 80 };
                Ok(Some((authority, port)))
            }
            _ => Err(RejectReason::Malformed),
        }
    }
}

/// The header fields that decide about framing, and whom the request is for.
#[derive(Default)]
struct Fields<'a> {
    length: Option<&'a [u8]>,
    lengths: usize,
    transfer_encodings: usize,
    upgrade: bool,
    connection_upgrade: bool,
    host: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn add(&mut self, line: &'a [u8]) -> Result<(), RejectReason> {
        let (name, value) = field(line).ok_or(RejectReason::Malformed)?;
        // A folded line (RFC 9112, section 5.2) and a space before the colon are no names. All bytes are looked at,
        // which takes less time than to stop at the first bad one.
        let control = |bad: bool, byte: &u8| bad | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f);
        if !is_token(name) || value.iter().fold(false, control) {
            return Err(RejectReason::Malformed);
        }
        let value = value.trim_ascii();
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.add_host(value)?,
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection_upgrade |= tokens(value).any(|t| t.eq_ignore_ascii_case(b"upgrade"));
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                // Lines may be repeated when they are the same (RFC 9110, section 8.6), as in Go.
                if self.length.is_some_and(|other| other != value) {
                    return Err(RejectReason::Malformed);
                }
                self.length = Some(value);
                self.lengths += 1;
            }
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

    fn add_host(&mut self, value: &'a [u8]) -> Result<(), RejectReason> {
        let is_second = self.host.replace(value).is_some();
        if is_second || !is_authority(value) { Err(RejectReason::Malformed) } else { Ok(()) }
    }

    fn framing(&self, line: &RequestLine<'_>) -> Result<Framing, RejectReason> {
        match (self.transfer_encodings, self.length) {
            (0, None) => Ok(Framing::length(0)),
            (0, Some(length)) => content_length(length).map(Framing::length).ok_or(RejectReason::Malformed),
            // Two framings in one message are the stuff of request smuggling; RFC 9112, section
            // 6.1, lets a server refuse. Pingora drops the length and goes on (pingora#945).
            (1, Some(_)) => Err(RejectReason::Malformed),
            // HTTP/1.0 knows no chunks (RFC 9112, section 6.1).
            (1, None) if line.minor == b'0' => Err(RejectReason::Malformed),
            (1, None) => Ok(Framing::chunked()),
            _ => Err(RejectReason::NotImplemented),
        }
    }
}

/// Name and value of a header line, the value with the white space around it.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
    Some((name, value.get(1..)?))
}

/// One number, and no list of them; not more than Go reads.
fn content_length(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let length: i64 = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    u64::try_from(length).ok()
}

/// What goes on in other words than the client's.
struct Rewording<'a> {
    /// For a target with bytes that need an escape: the engine's URIs have no place for them, and Go takes them.
    target: Option<Vec<u8>>,
    /// HTTP/1.1 for what is newer: it is to be understood as that (RFC 9110, section 2.5).
    version: bool,
    /// For the lines of `Content-Length`, of which each hop might believe another (RFC 9110, section 8.6).
    length: Option<u64>,
    /// For the value of `Host`: that of the target, with which it agrees (RFC 9112, section 3.2.2).
    host: Option<&'a [u8]>,
}

impl<'a> Rewording<'a> {
    fn of(line: &RequestLine<'a>, fields: &Fields<'_>, framing: &Framing) -> Result<Self, RejectReason> {
        let length = match (fields.length, framing) {
            (Some(written), Framing::Length(length)) => {
                let usual = fields.lengths == 1 && (written == b"0" || written.first() != Some(&b'0'));
                Some(*length).filter(|_| !usual)
            }
            _ => None,
        };
        let host = match (line.authority()?, fields.host) {
            (Some((authority, port)), Some(host)) if host != authority => {
                if !same_authority(authority, host, port) {
                    return Err(RejectReason::Malformed);
                }
                Some(authority)
            }
            _ => None,
        };
        Ok(Self { target: escaped(line.target), version: line.minor > b'1', length, host })
    }

    fn is_needed(&self) -> bool {
        self.target.is_some() || self.version || self.length.is_some() || self.host.is_some()
    }

    fn apply(&self, head: &[u8], line: &RequestLine<'_>) -> Vec<u8> {
        let version = if line.minor == b'0' { b"HTTP/1.0" } else { b"HTTP/1.1" };
        let target = self.target.as_deref().unwrap_or(line.target);
        let mut reworded = [line.method, target, version].join(&b' ');
        let mut length = self.length;
        for line in lines(head).skip(1) {
            reworded.extend_from_slice(b"\r\n");
            let name = field(line).map_or(&b""[..], |(name, _)| name);
            match (name.len(), self.host) {
                (14, _) if self.length.is_some() && name.eq_ignore_ascii_case(b"content-length") => {
                    match length.take() {
                        Some(length) => reworded.extend(format!("Content-Length: {length}").bytes()),
                        // The end of the line before is written already, and an empty line would end the head.
                        None => reworded.truncate(reworded.len().saturating_sub(2)),
                    }
                }
                (4, Some(host)) if name.eq_ignore_ascii_case(b"host") => {
                    reworded.extend_from_slice(b"Host: ");
                    reworded.extend_from_slice(host);
                }
                _ => reworded.extend_from_slice(line),
            }
        }
        reworded.extend_from_slice(b"\r\n");
        reworded
    }
}

/// `target` with escapes for what must not stand in a URI and yet does, in queries that programs write above all:
/// quotes and angle brackets (RFC 3986, section 2), and in the path the grave accent.
fn escaped(target: &[u8]) -> Option<Vec<u8>> {
    let suspicious = memchr::memchr3(b'"', b'<', b'>', target).or_else(|| memchr::memchr(b'`', target));
    suspicious?;
    let query = memchr::memchr(b'?', target).unwrap_or(target.len());
    let needs =
        |(at, byte): (usize, &u8)| matches!(byte, b'"' | b'<' | b'>') || (*byte == b'`' && at < query);
    if !target.iter().enumerate().any(needs) {
        return None;
    }
    let mut escaped = Vec::with_capacity(target.len() + 16);
    for (at, byte) in target.iter().enumerate() {
        match needs((at, byte)) {
            true => escaped.extend(percent_encoding::percent_encode_byte(*byte).bytes()),
            false => escaped.push(*byte),
        }
    }
    Some(escaped)
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// A token, which methods and header names are (RFC 9110, section 5.6.2).
fn is_token(text: &[u8]) -> bool {
    let may_be_in_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(may_be_in_token)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
