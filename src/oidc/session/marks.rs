//! Marks: rows of the store that are no sessions. They tell every process what must not happen again.
//!
//! A mark is named by a keyed hash, as a session is, holds nothing but a time (as its generation), and goes when it
//! expires. So every store can keep them, and one transaction makes each durable.

use std::time::SystemTime;

use super::Sessions;
use super::id::{IndexKey, ScopeId, SessionKey};
use super::store::{StoreError, Stored};
use crate::oidc::clock::unix_millis;

/// What a mark stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::oidc) enum Mark {
    /// The logout token of this `jti` was carried out.
    Token,
    /// The provider has ended this session (`sid`).
    Session,
    /// The provider has ended all sessions of this subject.
    Subject,
}

impl Mark {
    fn purpose(self) -> &'static [u8; 4] {
        match self {
            Self::Token => b"jti\0",
            Self::Session => b"-sid",
            Self::Subject => b"-sub",
        }
    }
}

impl Sessions {
    /// Sets a mark that says `time`, until `expires`; a later time replaces an earlier one.
    ///
    /// # Errors
    /// [`StoreError`]: it is not set.
    pub(in crate::oidc) async fn set_mark(
        &self,
        mark: Mark,
        scope: &ScopeId,
        name: &str,
        time: SystemTime,
        expires: SystemTime,
    ) -> Result<(), StoreError> {
        let key = self.mark_key(mark, scope, name)?;
        let row = Stored {
            generation: unix_millis(time),
            expires,
            sid: None,
            // Its own: it is no session.
            sub: IndexKey::from_bytes(*key.bytes()),
            sealed: Vec::new(),
        };
        match self.inner.note(self.inner.store.insert(&key, row.clone()).await) {
            Err(StoreError::Exists) => self.replace_mark(&key, row).await,
            result => result,
        }
    }

    async fn replace_mark(&self, key: &SessionKey, row: Stored) -> Result<(), StoreError> {
        let store = &self.inner.store;
        match self.inner.note(store.load(key).await)? {
            Some(present) if present.generation >= row.generation => Ok(()),
            // Whoever is faster with another swap says as much.
            Some(present) => {
                self.inner.note(store.compare_and_swap(key, present.generation, row).await).map(drop)
            }
            None => self.inner.note(store.insert(key, row).await),
        }
    }

    /// The time that a mark says, in milliseconds since 1970; none if there is no such mark.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(in crate::oidc) async fn mark(
        &self,
        mark: Mark,
        scope: &ScopeId,
        name: &str,
    ) -> Result<Option<u64>, StoreError> {
        let mut latest = None;
        for ring in self.keys.iter() {
            let key = ring.mark_key(mark.purpose(), scope, name);
            let row = self.inner.note(self.inner.store.load(&key).await)?;
            latest = latest.max(row.map(|row| row.generation));
        }
        Ok(latest)
    }

    fn mark_key(&self, mark: Mark, scope: &ScopeId, name: &str) -> Result<SessionKey, StoreError> {
        let ring = self.keys.newest().ok_or(StoreError::Crypto)?;
        Ok(ring.mark_key(mark.purpose(), scope, name))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::oidc::clock::unix_millis;
    use crate::oidc::session::MemoryStore;
    use crate::oidc::session::contract::at;
    use crate::oidc::session::testing::{process, scope};

    #[tokio::test]
    async fn a_mark_keeps_its_latest_time_and_is_no_session() {
        let (sessions, _) = process(Arc::new(MemoryStore::new(10)));
        let set = async |second| {
            sessions.set_mark(Mark::Session, &scope(), "s", at(second), at(1000)).await.unwrap();
            sessions.mark(Mark::Session, &scope(), "s").await.unwrap()
        };
        assert_eq!(set(5).await, Some(unix_millis(at(5))));
        assert_eq!(set(4).await, Some(unix_millis(at(5))));
        assert_eq!(set(6).await, Some(unix_millis(at(6))));
        assert_eq!(sessions.mark(Mark::Subject, &scope(), "s").await.unwrap(), None);
        assert_eq!(sessions.mark(Mark::Token, &scope(), "t").await.unwrap(), None);
        assert_eq!(sessions.end_by_sid(&scope(), "s").await.unwrap(), 0);
        sessions.purge(at(1000)).await;
        assert_eq!(sessions.mark(Mark::Session, &scope(), "s").await.unwrap(), None);
    }
}
