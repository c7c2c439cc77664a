//! A request on its way through the engine, and what was found of it so far.

use std::ops::Deref;
use std::sync::OnceLock;

use super::RequestParts;
use super::cookie::Chunks;
use super::fingerprint::Fingerprint;
use super::session::{Adopted, SessionId};

/// A request. What its browser carries is looked through, and opened, at most once.
pub(super) struct Asked<'a> {
    parts: &'a RequestParts<'a>,
    seen: OnceLock<Seen>,
}

/// What a request brings of a session that its browser carries.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// Which chunks there are: a bit for each.
    chunks: u8,
    /// What they make.
    pub(super) session: Option<SeenSession>,
}

/// Chunks that fit together.
#[derive(Clone, Copy)]
pub(super) struct SeenSession {
    pub(super) id: SessionId,
    /// Of the sealed text and its generation; none only if the crypto library refuses.
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) count: usize,
    /// What it was found to be by its fingerprint.
    pub(super) known: Option<Adopted>,
    /// Whether it was sealed here, whatever became of its session.
    pub(super) genuine: bool,
}

impl<'a> Asked<'a> {
    pub(super) fn new(parts: &'a RequestParts<'a>) -> Self {
        Self { parts, seen: OnceLock::new() }
    }

    /// What was found; none if nobody has looked.
    pub(super) fn seen(&self) -> Option<Seen> {
        self.seen.get().copied()
    }

    /// Remembers what was found. The first look counts: a request does not change.
    pub(super) fn saw(&self, seen: Seen) {
        let _ = self.seen.set(seen);
    }
}

impl<'a> Deref for Asked<'a> {
    type Target = RequestParts<'a>;

    fn deref(&self) -> &RequestParts<'a> {
        self.parts
    }
}

impl Seen {
    pub(super) fn of(chunks: &Chunks<'_>, session: Option<SeenSession>) -> Self {
        Self { chunks: chunks.indexes().fold(0, |bits, index| bits | 1 << index), session }
    }

    /// The numbers of the chunks.
    pub(super) fn indexes(self) -> impl Iterator<Item = usize> {
        (0..8).filter(move |index| self.chunks & 1 << index != 0)
    }
}
