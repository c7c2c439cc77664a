//! Sessions in memory: for tests and the demo. They end with the process.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::id::{IndexKey, SessionKey};
use super::store::{CasOutcome, Changes, LeaseOutcome, OwnerId, SessionStore, StoreError, Stored, page};

/// A bounded map. Requests do not come here: live sessions are cached by [`Sessions`](super::Sessions),
/// so one mutex, held for a map access, is enough.
#[derive(Debug)]
pub struct MemoryStore {
    rows: Mutex<HashMap<SessionKey, Row>>,
    capacity: usize,
}

#[derive(Debug)]
struct Row {
    stored: Stored,
    lease: Option<(OwnerId, SystemTime)>,
}

impl MemoryStore {
    /// A store that holds at most `capacity` sessions and refuses more.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { rows: Mutex::default(), capacity }
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<SessionKey, Row>> {
        // No code can panic while it holds the lock and leave a row half-written.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self, matches: impl Fn(&Stored) -> bool) -> Vec<SessionKey> {
        let rows = self.rows();
        let found = rows.iter().filter(|(_, row)| matches(&row.stored));
        found.map(|(key, _)| *key).collect()
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<Stored>, StoreError> {
        Ok(self.rows().get(key).map(|row| row.stored.clone()))
    }

    async fn insert(&self, key: &SessionKey, row: Stored) -> Result<(), StoreError> {
        let mut rows = self.rows();
        if rows.len() >= self.capacity {
            return Err(StoreError::Refused("it holds as many as it may"));
        }
        match rows.entry(*key) {
            Entry::Occupied(_) => Err(StoreError::Exists),
            Entry::Vacant(free) => {
                free.insert(Row { stored: row, lease: None });
                Ok(())
            }
        }
    }

    async fn compare_and_swap(
        &self,
        key: &SessionKey,
        expected: u64,
        row: Stored,
    ) -> Result<CasOutcome, StoreError> {
        let mut rows = self.rows();
        let Some(present) = rows.get_mut(key) else {
            return Ok(CasOutcome::Gone);
        };
        if present.stored.generation != expected {
            return Ok(CasOutcome::Conflict(present.stored.generation));
        }
        *present = Row { stored: row, lease: None };
        Ok(CasOutcome::Swapped)
    }

    async fn extend(&self, key: &SessionKey, expires: SystemTime) -> Result<bool, StoreError> {
        let mut rows = self.rows();
        let Some(row) = rows.get_mut(key) else { return Ok(false) };
        row.stored.expires = row.stored.expires.max(expires);
        Ok(true)
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        Ok(self.rows().remove(key).is_some())
    }

    async fn by_sid(&self, sid: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        Ok(self.keys(|row| row.sid.as_ref() == Some(sid)))
    }

    async fn by_sub(&self, sub: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        Ok(self.keys(|row| row.sub == *sub))
    }

    async fn list(
        &self,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<(SessionKey, SystemTime)>, StoreError> {
        let all = {
            let rows = self.rows();
            let sessions = rows.iter().filter(|(key, row)| row.stored.is_session(key));
            sessions.map(|(key, row)| (*key, row.stored.expires)).collect()
        };
        Ok(page(all, after, limit))
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(u64::try_from(self.rows().len()).unwrap_or(u64::MAX))
    }

    async fn lease(
        &self,
        key: &SessionKey,
        owner: OwnerId,
        generation: u64,
        now: SystemTime,
        ttl: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        let mut rows = self.rows();
        let Some(row) = rows.get_mut(key) else {
            return Ok(LeaseOutcome::Gone);
        };
        if row.stored.generation != generation {
            return Ok(LeaseOutcome::Moved(row.stored.generation));
        }
        match row.lease {
            Some((holder, until)) if holder != owner && until > now => Ok(LeaseOutcome::Held(until)),
            _ => {
                row.lease = Some((owner, now + ttl));
                Ok(LeaseOutcome::Granted)
            }
        }
    }

    async fn release(&self, key: &SessionKey, owner: OwnerId, until: SystemTime) -> Result<(), StoreError> {
        if let Some(row) = self.rows().get_mut(key)
            && let Some((holder, end)) = &mut row.lease
            && *holder == owner
        {
            *end = until;
        }
        Ok(())
    }

    async fn purge_expired(&self, now: SystemTime) -> Result<u64, StoreError> {
        let mut rows = self.rows();
        let before = rows.len();
        rows.retain(|_, row| row.stored.expires > now);
        Ok(u64::try_from(before - rows.len()).unwrap_or(u64::MAX))
    }

    fn in_browser(&self) -> Option<&super::CookieStore> {
        None
    }

    fn outage_tolerance(&self) -> Option<Duration> {
        None
    }

    async fn changes(&self, _cursor: Option<u64>) -> Result<Changes, StoreError> {
        // One process only: there are no others.
        Ok(Changes::default())
    }

    async fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::oidc::session::contract;

    #[tokio::test]
    async fn keeps_the_contract() {
        contract::check(&MemoryStore::new(100)).await;
    }

    #[tokio::test]
    async fn is_bounded() {
        let store = MemoryStore::new(1);
        store.insert(&contract::key(1), contract::row(0)).await.unwrap();
        let full = store.insert(&contract::key(2), contract::row(0)).await;
        assert!(matches!(full, Err(StoreError::Refused(_))));
    }
}
