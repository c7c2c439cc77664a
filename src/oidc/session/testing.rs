//! Makings for tests of sessions.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::json;

use super::contract::at;
use super::{
    CasOutcome, Changes, IndexKey, LeaseOutcome, MemoryStore, OwnerId, Parts, ScopeId, SessionKey,
    SessionKeys, SessionRecord, SessionStore, Sessions, StoreError, Stored,
};
use crate::oidc::clock::ManualClock;

pub(crate) fn keys() -> Arc<SessionKeys> {
    let secret = SecretString::from("an example secret of 32 bytes, T");
    Arc::new(SessionKeys::new(&[secret]).unwrap())
}

pub(crate) fn scope() -> ScopeId {
    ScopeId::new("https://op.example", "client")
}

/// A session that began at `at(0)`, with tokens until `at(300)` and an end at `at(3600)`.
pub(crate) fn record() -> SessionRecord {
    let claims = json!({"email": "alice@example.com", "groups": ["a", "b"]});
    SessionRecord {
        scope: scope(),
        subject: "alice".into(),
        identifier: "alice@example.com".into(),
        claims: claims.as_object().unwrap().clone(),
        id_token: "an.id.token".into(),
        access_token: "access-0".into(),
        refresh_token: Some("refresh-0".into()),
        id_expiry: Some(at(300)),
        access_expiry: Some(at(300)),
        created: at(0),
        refreshed_at: None,
        refresh_token_issued: Some(at(0)),
        absolute_expiry: at(3600),
        idle_lifetime: None,
        sid: Some("op-session-1".into()),
        generation: 0,
    }
}

/// Sessions as one process has them, and the clock they go by, which shows `at(0)`.
pub(crate) fn process(store: Arc<dyn SessionStore>) -> (Sessions, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(at(0)));
    let sessions = Sessions::new(store, keys(), Arc::clone(&clock) as _, 1000).unwrap();
    (sessions, clock)
}

/// Whether the store has yet to be told something.
pub(crate) fn owes(sessions: &Sessions) -> bool {
    !sessions.inner.owing().is_empty() || !sessions.inner.owed_ends().is_empty()
}

/// Lets other tasks and the store's thread go on.
pub(crate) async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// A store that fails as long as it is told to.
pub(crate) struct Faulty {
    store: MemoryStore,
    failure: Mutex<Option<StoreError>>,
    silent: Mutex<Parts>,
    tolerance: Option<Duration>,
}

impl Faulty {
    /// With the bound of a store that machines share, or without.
    pub(crate) fn new(tolerance: Option<Duration>) -> Arc<Self> {
        Arc::new(Self {
            store: MemoryStore::new(100),
            failure: Mutex::default(),
            silent: Mutex::default(),
            tolerance,
        })
    }

    pub(crate) fn fails(&self, failure: Option<StoreError>) {
        *self.failure.lock().unwrap() = failure;
    }

    /// It tells no changes of that part any more.
    pub(crate) fn is_silent_in(&self, part: usize) {
        self.silent.lock().unwrap().add(part);
    }

    fn up(&self) -> Result<&MemoryStore, StoreError> {
        match self.failure.lock().unwrap().clone() {
            None => Ok(&self.store),
            Some(failure) => Err(failure),
        }
    }
}

#[async_trait]
impl SessionStore for Faulty {
    async fn load(&self, key: &SessionKey) -> Result<Option<Stored>, StoreError> {
        self.up()?.load(key).await
    }
    async fn insert(&self, key: &SessionKey, row: Stored) -> Result<(), StoreError> {
        self.up()?.insert(key, row).await
    }
    async fn compare_and_swap(
        &self,
        key: &SessionKey,
        expected: u64,
        row: Stored,
    ) -> Result<CasOutcome, StoreError> {
        self.up()?.compare_and_swap(key, expected, row).await
    }
    async fn extend(&self, key: &SessionKey, expires: SystemTime) -> Result<bool, StoreError> {
        self.up()?.extend(key, expires).await
    }
    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.up()?.delete(key).await
    }
    async fn by_sid(&self, sid: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        self.up()?.by_sid(sid).await
    }
    async fn by_sub(&self, sub: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        self.up()?.by_sub(sub).await
    }
    async fn list(
        &self,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<(SessionKey, SystemTime)>, StoreError> {
        self.up()?.list(after, limit).await
    }
    async fn count(&self) -> Result<u64, StoreError> {
        self.up()?.count().await
    }
    async fn lease(
        &self,
        key: &SessionKey,
        owner: OwnerId,
        generation: u64,
        now: SystemTime,
        ttl: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        self.up()?.lease(key, owner, generation, now, ttl).await
    }
    async fn release(&self, key: &SessionKey, owner: OwnerId, until: SystemTime) -> Result<(), StoreError> {
        self.up()?.release(key, owner, until).await
    }
    async fn purge_expired(&self, now: SystemTime) -> Result<u64, StoreError> {
        self.up()?.purge_expired(now).await
    }
    fn in_browser(&self) -> Option<&super::CookieStore> {
        None
    }

    fn outage_tolerance(&self) -> Option<Duration> {
        self.tolerance
    }
    async fn changes(&self, cursor: Option<u64>) -> Result<Changes, StoreError> {
        let changes = self.up()?.changes(cursor).await?;
        Ok(Changes { silent: *self.silent.lock().unwrap(), ..changes })
    }
    async fn health(&self) -> Result<(), StoreError> {
        self.up()?.health().await
    }
}
