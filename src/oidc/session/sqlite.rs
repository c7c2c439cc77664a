//! Sessions in an SQLite file: they survive a restart, and a second process on the same file shares them.
//!
//! SQLite blocks, so two threads of the store's own do its work, fed by bounded queues: one writes, one reads.
//! Write-ahead logging lets them, and other processes, go on beside each other.

mod rows;
mod schema;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::id::{IndexKey, SessionKey, random_bytes};
use super::store::{CasOutcome, Changes, LeaseOutcome, OwnerId, SessionStore, StoreError, Stored};
use worker::{Role, Worker};

/// Queued calls beyond this wait for room; see [`worker::Worker::call`].
const QUEUE: usize = 1024;

/// The default store. One handle is one process's view: it does not report its own changes to itself.
pub struct SqliteStore {
    path: PathBuf,
    writer: Worker,
    reader: Worker,
    /// Marks our own changes.
    origin: OwnerId,
}

impl SqliteStore {
    /// Opens or creates the database file, mode 0600.
    ///
    /// A file that cannot be opened is no error here: every call, and [`SessionStore::health`], reports it, and
    /// opening is tried again, so that the process can start and the operator can repair.
    ///
    /// # Errors
    /// [`StoreError`] if the threads cannot be started or there are no random numbers.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let (path, faults) = (path.into(), Arc::default());
        Ok(Self {
            writer: Worker::start(&path, Role::Writer, QUEUE, &faults)?,
            reader: Worker::start(&path, Role::Reader, QUEUE, &faults)?,
            path,
            origin: OwnerId(random_bytes().map_err(|_| StoreError::Crypto)?),
        })
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[async_trait]
impl SessionStore for SqliteStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<Stored>, StoreError> {
        let key = *key;
        self.reader.call(move |db| rows::load(db, &key)).await
    }

    async fn insert(&self, key: &SessionKey, row: Stored) -> Result<(), StoreError> {
        let key = *key;
        let inserted = self.writer.call(move |db| rows::insert(db, &key, &row)).await?;
        if inserted { Ok(()) } else { Err(StoreError::Exists) }
    }

    async fn compare_and_swap(
        &self,
        key: &SessionKey,
        expected: u64,
        row: Stored,
    ) -> Result<CasOutcome, StoreError> {
        let (key, origin) = (*key, self.origin);
        self.writer.call(move |db| rows::swap(db, &key, expected, &row, origin)).await
    }

    async fn extend(&self, key: &SessionKey, expires: SystemTime) -> Result<bool, StoreError> {
        let key = *key;
        self.writer.call(move |db| rows::extend(db, &key, expires)).await
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        let (key, origin) = (*key, self.origin);
        self.writer.call(move |db| rows::delete(db, &key, origin)).await
    }

    async fn by_sid(&self, sid: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        let sid = *sid;
        self.reader.call(move |db| rows::by_sid(db, &sid)).await
    }

    async fn by_sub(&self, sub: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        let sub = *sub;
        self.reader.call(move |db| rows::by_sub(db, &sub)).await
    }

    async fn list(
        &self,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<(SessionKey, SystemTime)>, StoreError> {
        let after = after.copied();
        self.reader.call(move |db| rows::list(db, after.as_ref(), limit)).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.reader.call(rows::count).await
    }

    async fn lease(
        &self,
        key: &SessionKey,
        owner: OwnerId,
        generation: u64,
        now: SystemTime,
        ttl: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        let key = *key;
        let lease = rows::Lease { owner, generation, now, until: now + ttl };
        self.writer.call(move |db| rows::lease(db, &key, &lease)).await
    }

    async fn release(&self, key: &SessionKey, owner: OwnerId, until: SystemTime) -> Result<(), StoreError> {
        let key = *key;
        self.writer.call(move |db| rows::release(db, &key, owner, until)).await
    }

    async fn purge_expired(&self, now: SystemTime) -> Result<u64, StoreError> {
        self.writer.call(move |db| rows::purge(db, now)).await
    }

    fn in_browser(&self) -> Option<&super::CookieStore> {
        None
    }

    fn outage_tolerance(&self) -> Option<Duration> {
        None
    }

    async fn changes(&self, cursor: Option<u64>) -> Result<Changes, StoreError> {
        let origin = self.origin;
        self.reader.call(move |db| rows::changes(db, cursor, origin)).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.reader.call(rows::probe).await?;
        self.writer.call(rows::probe_write).await
    }
}

#[cfg(test)]
mod tests;
