//! Whether an entry may serve requests, and what makes a reader look again. Every interleaving is tried in `loom/`.

use crate::oidc::sync::{AtomicU8, AtomicU64, Ordering, fence};

/// Whether an entry may serve requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// As in the store, as far as we know.
    Live = 0,
    /// Another process changed it: to be read again before use.
    Stale = 1,
    /// Logged out or revoked. Final.
    Ended = 2,
}

/// The state of one entry.
pub struct StateCell(AtomicU8);

impl Default for StateCell {
    fn default() -> Self {
        Self(AtomicU8::new(State::Live as u8))
    }
}

impl StateCell {
    pub fn get(&self) -> State {
        match self.0.load(Ordering::Acquire) {
            0 => State::Live,
            1 => State::Stale,
            _ => State::Ended,
        }
    }

    /// Ends it for good; whether this call did.
    pub fn end(&self) -> bool {
        self.0.swap(State::Ended as u8, Ordering::AcqRel) != State::Ended as u8
    }

    /// Live ↔ stale; an ended session stays ended.
    pub fn turn(&self, from: State, to: State) -> bool {
        self.0.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// What was read is in place: it counts, unless there was an upset since `before`, when the read began.
    pub fn settle(&self, upsets: &Upsets, before: u64) {
        self.turn(State::Stale, State::Live);
        self.doubt(upsets, before);
    }

    /// After an upset since `before` it is to be read again.
    pub fn doubt(&self, upsets: &Upsets, before: u64) {
        // With the one in `Upsets::add`: either we see the count, or who counted sees what we did to the entry.
        fence(Ordering::SeqCst);
        if upsets.count() != before {
            self.turn(State::Live, State::Stale);
        }
    }
}

/// Counts what was found changed or taken out, so that a read that ran meanwhile knows to look again. Count first,
/// then turn the entry: a reader that misses the turn sees the count.
pub struct Upsets(AtomicU64);

impl Default for Upsets {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Upsets {
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
