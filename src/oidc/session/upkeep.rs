//! What runs beside the requests: news from other processes, writing what the store could not take, purging.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;

use super::entry::{SessionEntry, State};
use super::id::SessionKey;
use super::store::{Changes, StoreError};
use super::{Inner, Sessions};
use crate::oidc::clock::unix_millis;

/// How often other processes' changes are looked for: a logout there ends the session here within this time.
pub const POLL: Duration = Duration::from_millis(250);

/// Polls between two tries of the store, the same while it fails, and between two purges.
const HEALTH_EVERY: u32 = 20;
const HEALTH_EVERY_FAILING: u32 = 4;
const PURGE_EVERY: u32 = 240;

/// Sessions that the store is told of at the same time.
const TOLD_AT_ONCE: usize = 32;

/// Of a session that nobody asked for in this time only the record stays in memory, not what policies made of it.
const RESTING: Duration = Duration::from_secs(60);

/// Sessions that are put to rest before other tasks have a turn.
const RESTING_AT_ONCE: usize = 500;

/// A session that nobody asked for in this time leaves the memory.
const IDLE: Duration = Duration::from_secs(30 * 60);

impl Sessions {
    /// Starts the upkeep. It ends by itself when the last handle on these sessions is gone.
    pub fn spawn_upkeep(&self) -> tokio::task::JoinHandle<()> {
        let (keys, name) = (Arc::clone(&self.keys), Arc::clone(&self.name));
        // Upkeep is no use of the sessions.
        let used = Arc::default();
        let inner = Arc::downgrade(&self.inner);
        let clock = Arc::clone(&self.inner.clock);
        tokio::spawn(async move {
            for round in 0_u32.. {
                clock.sleep(POLL).await;
                let Some(inner) = inner.upgrade() else { break };
                let (keys, name) = (Arc::clone(&keys), Arc::clone(&name));
                let sessions = Self { inner, keys, name, used: Arc::clone(&used) };
                sessions.upkeep(round).await;
            }
        })
    }

    async fn upkeep(&self, round: u32) {
        self.poll_changes().await;
        self.save_within(Some(POLL)).await;
        let every = if self.health().is_ok() { HEALTH_EVERY } else { HEALTH_EVERY_FAILING };
        if round.is_multiple_of(every) {
            self.check_store().await;
            self.use_by_streams(self.inner.clock.now());
        }
        if round % PURGE_EVERY == PURGE_EVERY - 1 {
            self.purge(self.inner.clock.now()).await;
        }
    }

    /// Reads and writes something, and so learns whether a failure is over.
    pub(in crate::oidc::session) async fn check_store(&self) {
        let healthy = self.inner.note(self.inner.store.health().await).is_ok();
        if healthy && self.inner.failure.swap(None).is_some() {
            tracing::info!("the session store works again");
        }
    }

    /// Learns what other processes wrote or ended. One short query; nothing is read again before it is needed.
    pub async fn poll_changes(&self) {
        let cursor = *self.inner.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = unix_millis(self.inner.clock.now());
        let Ok(mut changes) = self.inner.note(self.inner.store.changes(cursor).await) else {
            self.inner.hearing.failed(asked);
            return;
        };
        // What happened before the first look is not known.
        changes.lost |= cursor.is_none();
        self.inner.apply(&changes);
        if changes.lost {
            // No request will ask on behalf of a stream.
            for entry in self.inner.cache.select(|entry| entry.streams.any()) {
                let _ = self.recheck(entry).await;
            }
        }
        *self.inner.cursor.lock().unwrap_or_else(PoisonError::into_inner) = Some(changes.cursor);
        // Last: what was missed counts before anybody goes on.
        self.inner.hearing.heard(asked, changes.silent);
    }

    /// Tells the store what it could not take before: new tokens, ends. What it refuses again stays owed.
    pub async fn save_unsaved(&self) {
        self.save_within(None).await;
    }

    /// The same for about as long as `limit`. After an outage there may be something of every session, and changes of
    /// others must be heard of meanwhile.
    async fn save_within(&self, limit: Option<Duration>) {
        let begun = Instant::now();
        while limit.is_none_or(|limit| begun.elapsed() < limit) && self.save_some().await {}
    }

    /// Tells the store of some sessions; whether there are more of them, and it works.
    async fn save_some(&self) -> bool {
        let ends: Vec<SessionKey> = self.inner.owed_ends().extract_if(|_| true).take(TOLD_AT_ONCE).collect();
        let told = join_all(ends.iter().map(async |key| self.end_all(vec![*key]).await.is_ok())).await;
        let mut works = told.iter().all(|told| *told);
        let failed = ends.iter().zip(told).filter(|(_, told)| !told).map(|(key, _)| *key);
        self.inner.owed_ends().extend(failed);

        let owing: Vec<_> = self.inner.owing().extract_if(|_, _| works).take(TOLD_AT_ONCE).collect();
        let told = join_all(owing.iter().map(async |(_, entry)| self.pay(entry).await.is_ok())).await;
        works &= told.iter().all(|told| *told);
        let more = !(ends.is_empty() && owing.is_empty());
        let failed = owing.into_iter().zip(told).filter(|(_, told)| !told).map(|(owed, _)| owed);
        self.inner.owing().extend(failed);
        works && more
    }

    async fn pay(&self, entry: &Arc<SessionEntry>) -> Result<(), StoreError> {
        if entry.is_ended() { self.end(entry).await } else { self.save(entry).await }
    }

    /// Deletes expired sessions from the store, and from memory those that are idle for long; others that are idle
    /// rest.
    pub async fn purge(&self, now: SystemTime) {
        let now_millis = unix_millis(now);
        let before = |idle: Duration| (now_millis / 1000).saturating_sub(idle.as_secs());
        self.inner.cache.sweep(now_millis, before(IDLE));
        self.rest(before(RESTING)).await;
        let _ = self.inner.note(self.inner.store.purge_expired(now).await);
    }

    async fn rest(&self, idle_before: u64) {
        let idle = self.inner.cache.select(|entry| entry.seen() < idle_before && entry.can_rest());
        for entries in idle.chunks(RESTING_AT_ONCE) {
            entries.iter().for_each(|entry| entry.rest());
            tokio::task::yield_now().await;
        }
    }

    /// Before the process ends: waits at most `limit` for refreshes under way, so that no rotated token is lost, and
    /// writes what is unsaved. Then every waiter is answered. Call it when no new requests are accepted.
    pub async fn close(&self, limit: Duration) {
        let mut flights = self.inner.flights.subscribe();
        tokio::select! {
            _ = flights.wait_for(|count| *count == 0) => {}
            () = self.inner.clock.sleep(limit) => {}
        }
        self.inner.stopping.send_replace(true);
        self.save_unsaved().await;
    }
}

impl Inner {
    fn apply(&self, changes: &Changes) {
        if changes.lost {
            self.upsets.add();
            for entry in self.cache.select(|_| true) {
                entry.turn(State::Live, State::Stale);
            }
        }
        for (key, generation) in &changes.rows {
            self.upsets.add();
            let Some(entry) = self.cache.get_by_key(key) else {
                continue;
            };
            match generation {
                None => {
                    entry.end();
                    self.cache.remove(&entry);
                }
                Some(new) if *new > entry.profile().generation => {
                    entry.turn(State::Live, State::Stale);
                }
                Some(_) => {}
            }
        }
    }
}
