//! Percent escapes in paths (RFC 3986, section 2).

use std::borrow::Cow;

/// What a raw byte means in the path of a request target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Letters, digits, `-`, `_`, `~`: never needs an escape (RFC 3986, section 2.3).
    Unreserved,
    /// `.`, unreserved too, but it can form a dot segment.
    Dot,
    /// May stand raw in a path but keeps its escape: sub-delimiters, `:`, `@`, `/`, `[`, `]`.
    PathOnly,
    /// Must not stand raw in a path; is encoded.
    Encode,
    /// Starts an escape.
    Percent,
    /// Starts a fragment.
    Hash,
    /// Control character or space.
    Refuse,
}

pub(super) const fn class(byte: u8) -> Class {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => Class::Unreserved,
        b'.' => Class::Dot,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' | b'/'
        | b'[' | b']' => Class::PathOnly,
        b'%' => Class::Percent,
        b'#' => Class::Hash,
        0..=b' ' | 0x7f => Class::Refuse,
        _ => Class::Encode,
    }
}

/// Reserved characters (RFC 3986, section 2.2) and `%`: decoding them would change what a path means.
const fn is_reserved(byte: u8) -> bool {
    matches!(class(byte), Class::PathOnly | Class::Percent | Class::Hash) || byte == b'?'
}

pub(super) const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Appends `%XX` with upper-case digits.
pub(super) fn push_escape(out: &mut String, byte: u8) {
    out.push('%');
    for nibble in [byte >> 4, byte & 15] {
        out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase());
    }
}

/// One piece of a percent-encoded path.
enum Piece {
    /// A byte that stood for itself.
    Raw(u8),
    /// A byte that was escaped.
    Escaped(u8),
}

/// Splits a path into pieces; a `%` without two digits counts as itself.
fn pieces(path: &[u8]) -> impl Iterator<Item = Piece> + '_ {
    let mut rest = path;
    std::iter::from_fn(move || {
        let (&first, tail) = rest.split_first()?;
        if let (b'%', [high, low, behind @ ..]) = (first, tail)
            && let (Some(high), Some(low)) = (hex_value(*high), hex_value(*low))
        {
            rest = behind;
            return Some(Piece::Escaped(high << 4 | low));
        }
        rest = tail;
        Some(Piece::Raw(first))
    })
}

/// Decodes every escape. `None` when an escape is broken.
pub fn decode(path: &str) -> Option<Cow<'_, [u8]>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path.as_bytes()));
    }
    pieces(path.as_bytes())
        .map(|piece| match piece {
            Piece::Raw(b'%') => None,
            Piece::Raw(byte) | Piece::Escaped(byte) => Some(byte),
        })
        .collect::<Option<Vec<u8>>>()
        .map(Cow::Owned)
}

/// Encodes text as a path: everything that must not stand raw in one, `%` and `?` included.
pub fn encode(text: &str) -> Cow<'_, str> {
    encode_unless(text, |byte| matches!(class(byte), Class::Unreserved | Class::Dot | Class::PathOnly))
}

/// Encodes what must not stand raw in a path that is escaped already: escapes stay as they are.
pub fn complete(path: &str) -> Cow<'_, str> {
    encode_unless(path, |byte| {
        matches!(class(byte), Class::Unreserved | Class::Dot | Class::PathOnly | Class::Percent)
    })
}

fn encode_unless(text: &str, raw: impl Fn(u8) -> bool) -> Cow<'_, str> {
    if text.bytes().all(&raw) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        match raw(byte) {
            true => out.push(char::from(byte)),
            false => push_escape(&mut out, byte),
        }
    }
    Cow::Owned(out)
}

/// How many bytes of an escaped path make up its first `decoded` bytes when decoded.
pub fn escaped_len(path: &str, decoded: usize) -> usize {
    pieces(path.as_bytes())
        .take(decoded)
        .map(|piece| if matches!(piece, Piece::Raw(_)) { 1 } else { 3 })
        .sum()
}

/// The path that rules are judged on: every escape decoded but those of reserved characters and `%`, so
/// `/foo%20bar` is judged as `/foo bar` and `/foo%2Fbar` as itself.
///
/// Bytes that do not form UTF-8 stay escaped; a rule, being text, could not name them anyway.
pub fn routing_path(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len());
    let mut decoded = Vec::new();
    for piece in pieces(path.as_bytes()) {
        match piece {
            Piece::Escaped(byte) if !is_reserved(byte) => decoded.push(byte),
            Piece::Escaped(byte) => {
                flush(&mut decoded, &mut out);
                push_escape(&mut out, byte);
            }
            // Every raw byte of a normalised path is ASCII; others are carried through as text.
            Piece::Raw(byte) if byte.is_ascii() => {
                flush(&mut decoded, &mut out);
                out.push(char::from(byte));
            }
            Piece::Raw(byte) => decoded.push(byte),
        }
    }
    flush(&mut decoded, &mut out);
    match out == path {
        true => Cow::Borrowed(path),
        false => Cow::Owned(out),
    }
}

/// Moves collected bytes to `out`: as text where they are UTF-8, escaped where not.
fn flush(decoded: &mut Vec<u8>, out: &mut String) {
    for chunk in decoded.utf8_chunks() {
        out.push_str(chunk.valid());
        for &byte in chunk.invalid() {
            push_escape(out, byte);
        }
    }
    decoded.clear();
}
