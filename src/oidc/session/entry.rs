//! A live session in memory: what the hot path touches.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use super::id::{ScopeId, SessionId, SessionKey};
use super::idle::Idle;
use super::keys::RingKey;
use super::lookup::{open, seal};
use super::memos::{Memo, Memos};
use super::realm::Realm;
use super::record::{SessionProfile, SessionRecord};
pub(super) use super::state::State;
use super::state::{StateCell, Upsets};
use super::store::{StoreError, Stored};
use super::stream::Streams;
use crate::oidc::clock::from_unix_millis;
use crate::oidc::refresh::RefreshSeat;

/// A policy as memos know it. A policy that is compiled anew is another one, so that its new rules count at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct PolicyId(u32);

impl PolicyId {
    /// An id that no other policy of this process has or had, until four thousand million have been made.
    #[must_use]
    pub fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// One live session. Shared by all requests that carry its cookie; there is one for each session and process.
///
/// Reading takes no lock. What it takes: `benches/README.md`.
pub struct SessionEntry {
    pub(super) id: SessionId,
    pub(super) key: SessionKey,
    /// Of the secret that it was made with, and the scope.
    realm: Arc<Realm>,
    state: StateCell,
    /// Second of the last request, to evict the idle first. In four bytes, which last until 2106: an entry is as large as the
    /// allocator's next smaller piece.
    seen: AtomicU32,
    profile: ArcSwap<SessionProfile>,
    memos: ArcSwapOption<Memos>,
    /// The newest record while the store could not take it: sealed, which takes half the memory of a parsed one.
    unsaved: ArcSwapOption<Stored>,
    pub(in crate::oidc) refresh: RefreshSeat,
    pub(super) streams: Streams,
    pub(super) idle: Idle,
}

impl SessionEntry {
    pub(super) fn new(id: SessionId, key: SessionKey, ring: &Arc<RingKey>, record: &SessionRecord) -> Self {
        let realm = ring.realm(record.scope);
        let profile = SessionProfile::of(record, realm.dictionaries.get(record));
        Self {
            id,
            key,
            realm,
            state: StateCell::default(),
            seen: AtomicU32::new(0),
            profile: ArcSwap::from_pointee(profile),
            memos: ArcSwapOption::empty(),
            unsaved: ArcSwapOption::empty(),
            refresh: RefreshSeat::default(),
            streams: Streams::default(),
            idle: Idle::of(record),
        }
    }

    /// The present generation of the session: user, claims, times. Hold it for a request, not longer.
    pub fn profile(&self) -> Guard<Arc<SessionProfile>> {
        self.profile.load()
    }

    /// Names the session in logs; no secret.
    pub fn key(&self) -> &SessionKey {
        &self.key
    }

    /// The provider and client that it belongs to.
    pub fn scope(&self) -> &ScopeId {
        &self.realm.scope
    }

    pub(super) fn ring(&self) -> &Arc<RingKey> {
        &self.realm.ring
    }

    /// Whether a kept reference may still be used: not ended, not changed elsewhere, not expired.
    pub fn is_live(&self, now_millis: u64) -> bool {
        self.state() == State::Live
            && now_millis < self.profile().timing.absolute
            && !self.idle.is_over(now_millis)
    }

    /// Whether the session was logged out or revoked.
    pub fn is_ended(&self) -> bool {
        self.state() == State::Ended
    }

    /// When a request last brought it here.
    pub fn last_seen(&self) -> Option<SystemTime> {
        Some(self.seen())
            .filter(|second| *second > 0)
            .map(|second| from_unix_millis(second.saturating_mul(1000)))
    }

    /// What [`SessionEntry::set_memo`] kept for this policy and generation. No allocation.
    pub fn memo<T: Any + Send + Sync>(&self, policy: PolicyId, generation: u64) -> Option<Arc<T>> {
        self.memos.load().as_ref()?.find(policy, generation)
    }

    /// Keeps what a policy made of one generation: its verdict and the ready identity headers. Until the session is idle
    /// for a while ([`SessionEntry::rest`]): then it is made again of the claims.
    pub fn set_memo<T: Any + Send + Sync>(&self, policy: PolicyId, generation: u64, value: Arc<T>) {
        self.keep(Memo { policy, generation, lasting: false, value });
    }

    /// As [`SessionEntry::set_memo`], but for as long as the generation lasts: what only the store could make again.
    pub fn set_lasting_memo<T: Any + Send + Sync>(&self, policy: PolicyId, generation: u64, value: Arc<T>) {
        self.keep(Memo { policy, generation, lasting: true, value });
    }

    fn keep(&self, memo: Memo) {
        self.memos.rcu(|memos| Some(Arc::new(Memos::with(memos.as_deref(), &memo))));
    }

    /// Drops what can be made again without the store, so that an idle session takes little memory.
    pub(super) fn rest(&self) {
        self.memos.rcu(|memos| memos.as_deref().and_then(Memos::lasting).map(Arc::new));
    }

    /// Whether [`SessionEntry::rest`] would free anything.
    pub(super) fn can_rest(&self) -> bool {
        self.memos.load().as_ref().is_some_and(|memos| memos.can_rest())
    }

    pub(super) fn state(&self) -> State {
        self.state.get()
    }

    /// Ends it for good; whether this call did.
    pub(super) fn end(&self) -> bool {
        let ended = self.state.end();
        self.set_unsaved(None);
        self.streams.end();
        ended
    }

    /// Live ↔ stale; an ended session stays ended.
    pub(super) fn turn(&self, from: State, to: State) -> bool {
        self.state.turn(from, to)
    }

    /// What was read is in place; see [`StateCell::settle`].
    pub(super) fn settle(&self, upsets: &Upsets, before: u64) {
        self.state.settle(upsets, before);
    }

    /// See [`StateCell::doubt`].
    pub(super) fn doubt(&self, upsets: &Upsets, before: u64) {
        self.state.doubt(upsets, before);
    }

    /// Takes over a newer generation; older ones are ignored.
    pub(super) fn install(&self, record: &SessionRecord) {
        let new = Arc::new(SessionProfile::of(record, self.realm.dictionaries.get(record)));
        let before = self.profile.rcu(|old| {
            let newer = new.generation > old.generation;
            Arc::clone(if newer { &new } else { old })
        });
        if before.generation < new.generation {
            self.memos.store(None);
        }
    }

    /// A record of this session as a row.
    pub(super) fn seal(&self, record: &SessionRecord) -> Result<Stored, StoreError> {
        seal(self.ring(), &self.id, &self.key, record, self.row_end(record))
    }

    pub(super) fn unsaved_generation(&self) -> Option<u64> {
        self.unsaved.load().as_ref().map(|row| row.generation)
    }

    pub(super) fn unsaved_record(&self) -> Option<SessionRecord> {
        let row = self.unsaved.load_full()?;
        open(self.ring(), &self.id, self.scope(), &self.key, &row)
    }

    pub(super) fn set_unsaved(&self, row: Option<Stored>) {
        self.unsaved.store(row.map(Arc::new));
    }

    /// As after a commit that the store could not take.
    #[cfg(test)]
    pub(crate) fn keep_unsaved(&self, record: SessionRecord) {
        self.install(&record);
        self.set_unsaved(self.seal(&record).ok());
    }

    pub(super) fn touch(&self, second: u64) {
        // A plain load first: a hot session must not bounce this line between cores more than once a second.
        let second = u32::try_from(second).unwrap_or(u32::MAX);
        if self.seen.load(Ordering::Relaxed) != second {
            self.seen.store(second, Ordering::Relaxed);
        }
    }

    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed).into()
    }

    /// Whether memory is the only place for something of it: an end that the store has not heard of, tokens that
    /// it could not take, a refresh under way. Or a stream waits for news of it.
    pub(super) fn is_pinned(&self) -> bool {
        self.is_ended() || self.refresh.is_busy() || self.streams.any() || self.unsaved.load().is_some()
    }
}

impl std::fmt::Debug for SessionEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionEntry")
            .field("key", &self.key)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::oidc::session::testing::record;

    fn entry() -> SessionEntry {
        let (keys, mut record) = (crate::oidc::session::testing::keys(), record());
        record.generation = 3;
        let ring = keys.newest().unwrap();
        let id = SessionId::random().unwrap();
        SessionEntry::new(id, ring.session_key(&record.scope, &id), ring, &record)
    }

    /// There are a hundred thousand of them. What goes beyond an allocator's size takes the next one: 224, 128.
    #[test]
    fn an_entry_fills_what_it_takes() {
        let counts = 2 * size_of::<usize>();
        assert!(size_of::<SessionEntry>() + counts <= 192);
        assert!(size_of::<SessionProfile>() + counts <= 112);
    }

    #[test]
    fn a_new_generation_drops_the_memos_and_an_old_one_is_ignored() {
        let (entry, policy, mut record) = (entry(), PolicyId::next(), record());
        entry.set_memo(policy, 3, Arc::new(1_u8));
        record.generation = 2;
        record.identifier = "old".into();
        entry.install(&record);
        assert!(entry.memo::<u8>(policy, 3).is_some());
        record.generation = 4;
        record.identifier = "new".into();
        entry.install(&record);
        assert_eq!(&*entry.profile().identifier(), "new");
        assert!(entry.memos.load().is_none());
    }

    #[test]
    fn an_idle_session_keeps_only_what_memory_cannot_make_again() {
        let (entry, a, b) = (entry(), PolicyId::next(), PolicyId::next());
        entry.set_memo(a, 3, Arc::new(1_u8));
        assert!(entry.can_rest());
        entry.rest();
        assert!(entry.memos.load().is_none());
        entry.set_memo(a, 3, Arc::new(1_u8));
        entry.set_lasting_memo(b, 3, Arc::new(2_u8));
        entry.rest();
        assert!(!entry.can_rest());
        assert!(entry.memo::<u8>(a, 3).is_none());
        assert_eq!(entry.memo::<u8>(b, 3).as_deref(), Some(&2));
    }

    #[test]
    fn an_end_is_final() {
        let entry = entry();
        assert!(entry.turn(State::Live, State::Stale));
        assert!(entry.end());
        assert!(!entry.end());
        assert!(!entry.turn(State::Stale, State::Live));
        assert!(entry.is_ended() && !entry.is_live(0));
    }
}
