//! A session store whose failures are counted.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::observe::metrics::OidcMetrics;
use crate::oidc::session::{
    CasOutcome, Changes, CookieStore, IndexKey, LeaseOutcome, OwnerId, SessionKey, SessionStore, StoreError,
    Stored,
};

/// Passes everything on.
pub struct CountedStore {
    store: Arc<dyn SessionStore>,
    metrics: OidcMetrics,
}

impl CountedStore {
    /// Counts the failures of `store`.
    pub fn new(store: Arc<dyn SessionStore>, metrics: OidcMetrics) -> Self {
        Self { store, metrics }
    }

    fn told<T>(&self, operation: &'static str, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if result.as_ref().is_err_and(StoreError::is_failure) {
            self.metrics.store_failed(operation);
        }
        result
    }
}

#[async_trait]
impl SessionStore for CountedStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<Stored>, StoreError> {
        self.told("load", self.store.load(key).await)
    }

    async fn insert(&self, key: &SessionKey, row: Stored) -> Result<(), StoreError> {
        self.told("insert", self.store.insert(key, row).await)
    }

    async fn compare_and_swap(
        &self,
        key: &SessionKey,
        expected: u64,
        row: Stored,
    ) -> Result<CasOutcome, StoreError> {
        self.told("compare_and_swap", self.store.compare_and_swap(key, expected, row).await)
    }

    async fn extend(&self, key: &SessionKey, expires: SystemTime) -> Result<bool, StoreError> {
        self.told("extend", self.store.extend(key, expires).await)
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.told("delete", self.store.delete(key).await)
    }

    async fn by_sid(&self, sid: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        self.told("by_sid", self.store.by_sid(sid).await)
    }

    async fn by_sub(&self, sub: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        self.told("by_sub", self.store.by_sub(sub).await)
    }

    async fn list(
        &self,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<(SessionKey, SystemTime)>, StoreError> {
        self.told("list", self.store.list(after, limit).await)
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.told("count", self.store.count().await)
    }

    async fn lease(
        &self,
        key: &SessionKey,
        owner: OwnerId,
        generation: u64,
        now: SystemTime,
        ttl: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        self.told("lease", self.store.lease(key, owner, generation, now, ttl).await)
    }

    async fn release(&self, key: &SessionKey, owner: OwnerId, until: SystemTime) -> Result<(), StoreError> {
        self.told("release", self.store.release(key, owner, until).await)
    }

    async fn purge_expired(&self, now: SystemTime) -> Result<u64, StoreError> {
        self.told("purge_expired", self.store.purge_expired(now).await)
    }

    fn outage_tolerance(&self) -> Option<Duration> {
        self.store.outage_tolerance()
    }

    fn in_browser(&self) -> Option<&CookieStore> {
        self.store.in_browser()
    }

    async fn changes(&self, cursor: Option<u64>) -> Result<Changes, StoreError> {
        self.told("changes", self.store.changes(cursor).await)
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.told("health", self.store.health().await)
    }
}

#[cfg(test)]
mod tests;
