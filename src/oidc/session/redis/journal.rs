//! What this process wrote last, in case the server lost it: its replication is asynchronous.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::oidc::session::{SessionKey, Stored};

/// How long a write is remembered: longer than a failover takes until the new primary is known.
const KEPT: Duration = Duration::from_secs(30);

/// How many are remembered, of some kilobytes each.
const MOST: usize = 1024;

/// The last ends and new generations. New sessions are not in it: one that is lost is a login again, and one that was
/// ended meanwhile must not come back.
#[derive(Default)]
pub(super) struct Journal(Mutex<VecDeque<Write>>);

struct Write {
    at: Instant,
    key: SessionKey,
    /// None: it was deleted.
    row: Option<Stored>,
}

impl Journal {
    pub(super) fn swapped(&self, key: SessionKey, row: Stored) {
        self.add(key, Some(row));
    }

    pub(super) fn deleted(&self, key: SessionKey) {
        self.add(key, None);
    }

    /// The newest write of each session, oldest first.
    pub(super) fn recent(&self) -> Vec<(SessionKey, Option<Stored>)> {
        let mut writes = self.writes();
        tidy(&mut writes);
        writes.iter().map(|write| (write.key, write.row.clone())).collect()
    }

    fn add(&self, key: SessionKey, row: Option<Stored>) {
        let mut writes = self.writes();
        writes.retain(|write| write.key != key);
        tidy(&mut writes);
        writes.push_back(Write { at: Instant::now(), key, row });
    }

    fn writes(&self) -> MutexGuard<'_, VecDeque<Write>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tidy(writes: &mut VecDeque<Write>) {
    while writes.len() >= MOST || writes.front().is_some_and(|write| write.at.elapsed() > KEPT) {
        writes.pop_front();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::oidc::session::contract::{key, row};

    #[test]
    fn the_newest_write_of_each_session_counts() {
        let journal = Journal::default();
        journal.swapped(key(1), row(1));
        journal.swapped(key(2), row(1));
        journal.swapped(key(1), row(2));
        journal.deleted(key(2));
        assert_eq!(journal.recent(), [(key(1), Some(row(2))), (key(2), None)]);
    }

    #[test]
    fn it_is_bounded() {
        let journal = Journal::default();
        for n in 0..2 * MOST {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            journal.deleted(SessionKey::from_bytes(bytes));
        }
        assert!(journal.recent().len() <= MOST);
    }
}
