//! The sessions of this process, found by cookie and by store key. Bounded: the longest idle ones go first.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::entry::SessionEntry;
use super::id::{SessionId, SessionKey};

/// Two indexes of the same entries. The first goes by the cookie value itself, so that a request costs one short hash and
/// no keyed digest; it is never written anywhere. The second finds what another process changed.
///
/// The keys stay in the entries: an index costs a pointer for each session.
pub(super) struct Cache {
    by_id: DashMap<ById, ()>,
    by_key: DashMap<ByKey, ()>,
    capacity: usize,
    shrinking: AtomicBool,
}

/// An entry as its id finds it.
struct ById(Arc<SessionEntry>);

/// An entry as its store key finds it.
struct ByKey(Arc<SessionEntry>);

impl Borrow<SessionId> for ById {
    fn borrow(&self) -> &SessionId {
        &self.0.id
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl Borrow<SessionKey> for ByKey {
    fn borrow(&self) -> &SessionKey {
        &self.0.key
    }
}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            by_id: DashMap::new(),
            by_key: DashMap::new(),
            capacity: capacity.max(16),
            shrinking: AtomicBool::new(false),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: &SessionId) -> Option<Arc<SessionEntry>> {
        self.by_id.get(id).map(|found| Arc::clone(&found.key().0))
    }

    pub(super) fn get_by_key(&self, key: &SessionKey) -> Option<Arc<SessionEntry>> {
        // By way of the id: what is not found by its cookie any more counts no more.
        let id = self.by_key.get(key)?.key().0.id;
        self.get(&id)
    }

    /// Adds an entry, or gives the one that is there: there is never a second one for a session.
    pub(super) fn insert(&self, entry: SessionEntry) -> Arc<SessionEntry> {
        if self.by_id.len() >= self.capacity {
            self.shrink();
        }
        let new = Arc::new(entry);
        let entry = match self.by_id.entry(ById(Arc::clone(&new))) {
            Entry::Occupied(there) => Arc::clone(&there.key().0),
            Entry::Vacant(free) => {
                free.insert(());
                new
            }
        };
        self.by_key.entry(ByKey(Arc::clone(&entry))).or_insert(());
        entry
    }

    pub(super) fn remove(&self, entry: &SessionEntry) {
        self.by_key.remove(&entry.key);
        self.by_id.remove(&entry.id);
    }

    /// Every entry, copied out shard by shard, so that no lock is held while the caller works.
    pub(super) fn select(&self, wanted: impl Fn(&SessionEntry) -> bool) -> Vec<Arc<SessionEntry>> {
        let all = self.by_id.iter();
        all.filter(|found| wanted(&found.key().0)).map(|found| Arc::clone(&found.key().0)).collect()
    }

    /// Drops what expired or was not asked for since `idle_before` (seconds); the store still has the living.
    pub(super) fn sweep(&self, now_millis: u64, idle_before: u64) {
        self.retain(|entry| {
            let over = now_millis >= entry.profile().timing.absolute || entry.idle.is_over(now_millis);
            entry.seen() >= idle_before && !over
        });
    }

    /// Drops the eighth that is idle longest, so that the cost of looking at all is paid once in many inserts.
    fn shrink(&self) {
        if self.shrinking.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut seen: Vec<u64> = self.by_id.iter().map(|found| found.key().0.seen()).collect();
        let at = seen.len() / 8;
        if at < seen.len() {
            let (_, limit, _) = seen.select_nth_unstable(at);
            let limit = *limit;
            // All of one second: of those any may go, else nothing would.
            let mut spare = at.max(1);
            self.retain(|entry| {
                let drop = entry.seen() < limit || (entry.seen() == limit && spare > 0);
                spare = spare.saturating_sub(usize::from(drop));
                !drop
            });
        }
        self.shrinking.store(false, Ordering::Release);
    }

    fn retain(&self, mut keep: impl FnMut(&SessionEntry) -> bool) {
        self.by_id.retain(|ById(entry), ()| {
            let keep = entry.is_pinned() || keep(entry);
            if !keep {
                self.by_key.remove(&entry.key);
            }
            keep
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::oidc::session::testing;

    fn entry() -> SessionEntry {
        let (keys, record) = (testing::keys(), testing::record());
        let (ring, id) = (keys.newest().unwrap(), SessionId::random().unwrap());
        SessionEntry::new(id, ring.session_key(&record.scope, &id), ring, &record)
    }

    #[test]
    fn stays_bounded_and_keeps_the_recently_used_and_the_pinned() {
        let cache = Cache::new(64);
        let hot = cache.insert(entry());
        hot.touch(1000);
        let pinned = cache.insert(entry());
        pinned.end();
        for n in 0..1000 {
            cache.insert(entry()).touch(n % 7);
            assert!(cache.len() <= 64 + 1);
        }
        assert!(cache.get(&hot.id).is_some());
        assert!(cache.get_by_key(&hot.key).is_some());
        assert!(cache.get(&pinned.id).is_some());
        assert_eq!(cache.by_key.len(), cache.by_id.len());
    }

    #[test]
    fn sweeps_idle_and_expired() {
        let cache = Cache::new(64);
        let (idle, busy) = (cache.insert(entry()), cache.insert(entry()));
        busy.touch(100);
        idle.touch(10);
        cache.sweep(0, 50);
        assert!(cache.get(&idle.id).is_none() && cache.get(&busy.id).is_some());
        cache.sweep(u64::MAX, 50);
        assert_eq!(cache.len(), 0);
        assert_eq!(cache.by_key.len(), 0);
    }
}
