//! A session that is carried in cookies: `<session>_0`, `<session>_1`, … in the order of its bytes.
//!
//! ```text
//! <session>_0 = <id> "." <generation> "." <count> "." <base64url>
//! <session>_n = <generation> "." <base64url>
//! ```
//!
//! All of one generation, each once, or there is none. What they mean is sealed; this is only how they are cut. Nothing
//! is decoded before number and length are known to be within their bounds.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use memchr::memchr;
use smallvec::SmallVec;

use super::{CookieError, Cookies, byte_pairs};
use crate::oidc::session::SessionId;

/// The most chunks of a session, out and in.
pub const MOST_CHUNKS: usize = 5;

/// The longest `Set-Cookie` value, with name and attributes. Browsers keep 4,096 bytes.
pub const LONGEST_COOKIE: usize = 4_000;

/// Why a session cannot be carried.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// It takes more cookies than a browser and the servers on the way can be expected to take.
    #[error("the session has {0} bytes, more than {MOST_CHUNKS} cookies can hold")]
    TooLarge(usize),
    /// They cannot be made as configured.
    #[error(transparent)]
    Cookie(#[from] CookieError),
}

/// A session in cookies.
#[derive(Debug)]
pub struct CarriedCookies {
    /// `Set-Cookie` values.
    pub lines: Vec<HeaderValue>,
    /// The [`Presented::text`] of what comes back.
    pub text: String,
}

/// The chunks that a request has, whether they fit together or not.
#[derive(Debug, Default)]
pub struct Chunks<'a> {
    values: [Option<&'a [u8]>; MOST_CHUNKS],
    twice: bool,
}

/// Chunks that fit together.
#[derive(Debug)]
pub struct Presented<'a> {
    /// Of the session.
    pub id: SessionId,
    /// Of all the chunks.
    pub generation: u64,
    parts: SmallVec<[&'a [u8]; MOST_CHUNKS]>,
}

impl Cookies {
    /// The name of a chunk.
    #[must_use]
    pub fn chunk_name(&self, https: bool, index: usize) -> String {
        format!("{}_{index}", self.session_name(https))
    }

    /// The chunks that a request brings. One with a number that is never set is none. Allocates nothing.
    #[must_use]
    pub fn chunks<'a>(&self, headers: &'a HeaderMap, https: bool) -> Chunks<'a> {
        let mut chunks = Chunks::default();
        let session = self.session_name(https).as_bytes();
        for (name, value) in byte_pairs(headers) {
            let number = name.strip_prefix(session).and_then(|rest| rest.strip_prefix(b"_"));
            let Some(index) = number.and_then(index) else { continue };
            if let Some(slot) = chunks.values.get_mut(index) {
                chunks.twice |= slot.replace(value).is_some();
            }
        }
        chunks
    }

    /// `Set-Cookie` values that make a browser carry a session.
    ///
    /// # Errors
    /// [`ChunkError`]: all or none.
    pub fn carry(
        &self,
        id: SessionId,
        generation: u64,
        sealed: &[u8],
        age: Duration,
        https: bool,
    ) -> Result<CarriedCookies, ChunkError> {
        let text = URL_SAFE_NO_PAD.encode(sealed);
        let mut pieces = Vec::with_capacity(2);
        let mut left = text.as_str();
        while !left.is_empty() {
            let index = pieces.len();
            if index == MOST_CHUNKS {
                return Err(ChunkError::TooLarge(text.len()));
            }
            // The count has one digit whatever it is.
            let head = head(index, id, generation, MOST_CHUNKS);
            let line = self.set(&self.chunk_name(https, index), &head, Some(age), https)?;
            let room = LONGEST_COOKIE.saturating_sub(line.len()).max(1).min(left.len());
            let (piece, rest) = left.split_at_checked(room).unwrap_or((left, ""));
            pieces.push(piece);
            left = rest;
        }
        let count = pieces.len();
        let line = |(index, piece): (usize, &&str)| {
            let value = head(index, id, generation, count) + piece;
            let mut line = self.set(&self.chunk_name(https, index), &value, Some(age), https)?;
            line.set_sensitive(true);
            Ok(line)
        };
        let lines = pieces.iter().enumerate().map(line).collect::<Result<_, CookieError>>()?;
        Ok(CarriedCookies { lines, text })
    }
}

/// What stands before the bytes.
fn head(index: usize, id: SessionId, generation: u64, count: usize) -> String {
    match index {
        0 => format!("{}.{generation}.{count}.", id.to_text()),
        _ => format!("{generation}."),
    }
}

fn index(text: &[u8]) -> Option<usize> {
    let digit = |byte: &u8| char::from(*byte).to_digit(10);
    match text {
        [byte] => digit(byte).and_then(|digit| usize::try_from(digit).ok()).filter(|n| *n < MOST_CHUNKS),
        _ => None,
    }
}

impl<'a> Chunks<'a> {
    /// The numbers of those that are there.
    pub fn indexes(&self) -> impl Iterator<Item = usize> {
        self.values.iter().enumerate().filter(|(_, value)| value.is_some()).map(|(index, _)| index)
    }

    /// The session that they make: all of one generation, none twice, none missing, none too long. Chunks beyond the
    /// count are left over from a larger one, and do not matter.
    #[must_use]
    pub fn presented(&self) -> Option<Presented<'a>> {
        let long = |value: &&[u8]| value.len() > LONGEST_COOKIE;
        if self.twice || self.values.iter().flatten().any(long) {
            return None;
        }
        let [Some(first), others @ ..] = &self.values else { return None };
        let (id, rest) = cut(first)?;
        let (generation, rest) = cut(rest)?;
        let (count, part) = cut(rest)?;
        let others = others.get(..index(count).or_else(|| full(count))?.checked_sub(1)?)?;
        let mut parts = SmallVec::new();
        parts.push(part);
        for other in others {
            let (of, part) = cut((*other)?)?;
            if of != generation {
                return None;
            }
            parts.push(part);
        }
        let id = SessionId::parse(std::str::from_utf8(id).ok()?)?;
        Some(Presented { id, generation: number(generation)?, parts })
    }
}

/// What stands before the next point, and behind it.
fn cut(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, after) = value.split_at_checked(memchr(b'.', value)?)?;
    Some((before, after.get(1..)?))
}

/// The count that is no index.
fn full(count: &[u8]) -> Option<usize> {
    number(count).and_then(|full| usize::try_from(full).ok()).filter(|full| *full == MOST_CHUNKS)
}

/// As it is written, and in no other way.
fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: u64 = text.parse().ok()?;
    (itoa::Buffer::new().format(number) == text).then_some(number)
}

impl<'a> Presented<'a> {
    /// How many chunks it takes.
    #[must_use]
    pub fn count(&self) -> usize {
        self.parts.len()
    }

    /// The sealed bytes.
    #[must_use]
    pub fn sealed(&self) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(self.text()).ok()
    }

    /// The same in base64url, however it was cut.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        self.parts.concat()
    }

    /// The pieces of that, in their order.
    #[must_use]
    pub fn parts(&self) -> &[&'a [u8]] {
        &self.parts
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
