//! The row of a client that has registered itself: sealed as a session is, shared by all processes, and no session.
//!
//! Nobody's cookie holds its key, so that is derived from the secret of the deployment: a copy of the store alone
//! reveals nothing.

use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use super::Sessions;
use super::id::{IndexKey, ScopeId, SessionId, SessionKey};
use super::keys::{Place, RingKey};
use super::store::{CasOutcome, LeaseOutcome, StoreError, Stored};

/// How long the empty row stays that a lease needs.
const CLAIM: Duration = Duration::from_secs(24 * 3600);

/// What the store holds of a client.
pub(in crate::oidc) struct ClientRow {
    /// Counts the changes; none: there is no row.
    pub(in crate::oidc) generation: Option<u64>,
    /// What was kept, if it can be opened and has not expired.
    pub(in crate::oidc) kept: Option<Zeroizing<Vec<u8>>>,
    expires: SystemTime,
}

impl Sessions {
    /// Reads the client of `scope`. One that was sealed with an older secret of the ring is sealed anew with the first.
    ///
    /// # Errors
    /// [`StoreError`], here and in all others.
    pub(in crate::oidc) async fn client_row(&self, scope: &ScopeId) -> Result<ClientRow, StoreError> {
        let row = self.read_client(self.newest()?, scope).await?;
        if row.kept.is_some() {
            return Ok(row);
        }
        for older in self.keys.iter().skip(1) {
            let ClientRow { kept: Some(kept), expires, .. } = self.read_client(older, scope).await? else {
                continue;
            };
            // Whoever is faster with it says the same.
            self.write_client(scope, row.generation, &kept, expires).await?;
            return self.read_client(self.newest()?, scope).await;
        }
        Ok(row)
    }

    /// Asks for the right to register the client while its row has this generation.
    pub(in crate::oidc) async fn claim_client(
        &self,
        scope: &ScopeId,
        generation: Option<u64>,
        ttl: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        let (store, now) = (&self.inner.store, self.inner.clock.now());
        let key = self.newest()?.client_key(scope);
        if generation.is_none() {
            match self.inner.note(store.insert(&key, row(&key, 0, now + CLAIM, Vec::new())).await) {
                Ok(()) | Err(StoreError::Exists) => {}
                Err(error) => return Err(error),
            }
        }
        let lease = store.lease(&key, self.inner.owner, generation.unwrap_or(0), now, ttl).await;
        self.inner.note(lease)
    }

    /// Gives that right back: nobody may have it before `until`.
    pub(in crate::oidc) async fn release_client(&self, scope: &ScopeId, until: SystemTime) {
        let Ok(ring) = self.newest() else { return };
        let released = self.inner.store.release(&ring.client_key(scope), self.inner.owner, until).await;
        // A lease that is not given back ends by itself.
        let _ = self.inner.note(released);
    }

    /// Keeps the client until `expires`, in place of `generation`; whether nobody else was faster.
    pub(in crate::oidc) async fn keep_client(
        &self,
        scope: &ScopeId,
        generation: u64,
        kept: &[u8],
        expires: SystemTime,
    ) -> Result<bool, StoreError> {
        self.write_client(scope, Some(generation), kept, expires).await
    }

    async fn write_client(
        &self,
        scope: &ScopeId,
        replaced: Option<u64>,
        kept: &[u8],
        expires: SystemTime,
    ) -> Result<bool, StoreError> {
        let (ring, store) = (self.newest()?, &self.inner.store);
        let (key, id) = (ring.client_key(scope), ring.client_id(scope));
        let generation = replaced.map_or(1, |generation| generation.saturating_add(1));
        let place = Place { scope, id: &id, key: &key, generation, name: "" };
        let sealed = ring.seal(&place, kept).map_err(|_| StoreError::Crypto)?;
        let row = row(&key, generation, expires, sealed);
        match replaced {
            None => match self.inner.note(store.insert(&key, row).await) {
                Err(StoreError::Exists) => Ok(false),
                result => result.map(|()| true),
            },
            Some(expected) => {
                let outcome = self.inner.note(store.compare_and_swap(&key, expected, row).await)?;
                Ok(outcome == CasOutcome::Swapped)
            }
        }
    }

    async fn read_client(&self, ring: &RingKey, scope: &ScopeId) -> Result<ClientRow, StoreError> {
        let (key, id) = (ring.client_key(scope), ring.client_id(scope));
        let now = self.inner.clock.now();
        let Some(row) = self.inner.note(self.inner.store.load(&key).await)? else {
            return Ok(ClientRow { generation: None, kept: None, expires: now });
        };
        let place = Place { scope, id: &id, key: &key, generation: row.generation, name: "" };
        let kept = ring.open(&place, &row.sealed).filter(|_| row.expires > now);
        Ok(ClientRow { generation: Some(row.generation), kept, expires: row.expires })
    }

    fn newest(&self) -> Result<&RingKey, StoreError> {
        self.keys.newest().map(|ring| &**ring).ok_or(StoreError::Crypto)
    }
}

impl RingKey {
    fn client_key(&self, scope: &ScopeId) -> SessionKey {
        self.mark_key(b"reg\0", scope, "")
    }

    /// What the sealing key is made of, as the id in the cookie is for a session.
    fn client_id(&self, scope: &ScopeId) -> SessionId {
        SessionId::from_bytes(*self.mark_key(b"regi", scope, "").bytes())
    }
}

/// A row that is its own subject, and so no session.
fn row(key: &SessionKey, generation: u64, expires: SystemTime, sealed: Vec<u8>) -> Stored {
    Stored { generation, expires, sid: None, sub: IndexKey::from_bytes(*key.bytes()), sealed }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::oidc::session::contract::at;
    use crate::oidc::session::testing::{process, scope};
    use crate::oidc::session::{MemoryStore, SessionKeys};

    const TTL: Duration = Duration::from_secs(30);

    fn kept(row: &ClientRow) -> Option<&[u8]> {
        row.kept.as_ref().map(|kept| kept.as_slice())
    }

    #[tokio::test]
    async fn one_process_registers_and_all_see_it() {
        let store: Arc<MemoryStore> = Arc::new(MemoryStore::new(10));
        let (here, _) = process(Arc::clone(&store) as _);
        let (there, clock) = process(Arc::clone(&store) as _);
        assert_eq!(here.client_row(&scope()).await.unwrap().generation, None);
        let claim = async |sessions: &Sessions, generation| {
            sessions.claim_client(&scope(), generation, TTL).await.unwrap()
        };
        assert_eq!(claim(&here, None).await, LeaseOutcome::Granted);
        assert_eq!(claim(&there, None).await, LeaseOutcome::Held(at(30)));
        assert!(here.keep_client(&scope(), 0, b"client", at(500)).await.unwrap());
        assert_eq!(claim(&there, Some(0)).await, LeaseOutcome::Moved(1));
        assert!(!there.keep_client(&scope(), 0, b"other", at(500)).await.unwrap());
        let row = there.client_row(&scope()).await.unwrap();
        assert_eq!((row.generation, kept(&row)), (Some(1), Some(b"client".as_slice())));
        assert!(there.list(None, 10).await.unwrap().is_empty(), "it is no session");
        assert_eq!(there.revoke_all().await.ended, 0);
        clock.set(at(500));
        assert_eq!(kept(&there.client_row(&scope()).await.unwrap()), None, "expired");
    }

    #[tokio::test]
    async fn a_new_secret_takes_the_client_over_and_a_foreign_one_does_not_open_it() {
        let (sessions, _) = process(Arc::new(MemoryStore::new(10)));
        sessions.claim_client(&scope(), None, TTL).await.unwrap();
        sessions.keep_client(&scope(), 0, b"client", at(500)).await.unwrap();
        let ring = |secrets: &[&str]| {
            let secrets: Vec<_> = secrets.iter().map(|secret| (*secret).into()).collect();
            sessions.with_keys(Arc::new(SessionKeys::new(&secrets).unwrap()))
        };
        const NEW: &str = "an example secret of 32 bytes, N";
        let stranger = ring(&[NEW]).client_row(&scope()).await.unwrap();
        assert_eq!((stranger.generation, kept(&stranger)), (None, None));
        let rotated = ring(&[NEW, "an example secret of 32 bytes, T"]).client_row(&scope()).await.unwrap();
        assert_eq!(kept(&rotated), Some(b"client".as_slice()));
        let alone = ring(&[NEW]).client_row(&scope()).await.unwrap();
        assert_eq!(kept(&alone), Some(b"client".as_slice()), "the old secret is not needed any more");
    }
}
