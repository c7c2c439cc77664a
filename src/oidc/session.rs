//! Sessions: server-side records behind an opaque cookie.
//!
//! A request finds its session in memory, by its cookie, without a lock that another request holds for long, without
//! an allocation and without the store ([`Sessions::lookup_cached`]). The store is asked once for each session and
//! process, and whenever a record changes. What another process changes reaches this one by
//! [`Sessions::poll_changes`], every 250 ms.
//!
//! A store that fails never ends a session: live ones go on from memory, where they are refreshed as well, and what it
//! could not take is written later. Where other machines use the store too, that has a bound, for what they end cannot be
//! heard of meanwhile ([`SessionStore::outage_tolerance`]), and nothing is refreshed, for they might do the same.

mod cache;
mod carried;
mod client_row;
mod commit;
mod compact;
#[cfg(test)]
pub(crate) mod contract;
mod cookie;
mod dictionary;
mod entry;
mod hearing;
mod id;
mod idle;
mod keys;
mod lifetimes;
mod lookup;
mod marks;
mod memory;
mod memos;
mod name;
mod operator;
mod pieces;
mod realm;
mod record;
mod redis;
mod settings;
mod sqlite;
mod state;
mod store;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use crate::oidc::clock::Clock;
use cache::Cache;
use hearing::Hearing;
use state::Upsets;

#[cfg(test)]
pub(in crate::oidc) use carried::OPENED;
pub(in crate::oidc) use carried::{Adopted, Brought};
#[cfg(feature = "fuzzing")]
pub(in crate::oidc) use carried::{read_carried, write_carried};
pub(in crate::oidc) use commit::Committed;
pub use cookie::{CookieStore, DEFAULT_CARRIED};
pub use entry::{PolicyId, SessionEntry};
pub use id::{
    IndexKey, PARTS, Parts, RandomError, SESSION_ID_TEXT, ScopeId, SessionId, SessionKey, random_bytes,
};
pub use keys::{KeyError, MIN_SECRET, SessionKeys};
pub(in crate::oidc) use lifetimes::Lifetimes;
pub use lifetimes::SessionInUse;
pub use lookup::Lookup;
pub(in crate::oidc) use marks::Mark;
pub use memory::MemoryStore;
pub use name::Name;
pub use operator::{SessionView, Swept};
pub use record::{SessionProfile, SessionRecord, Timing};
pub use redis::RedisStore;
pub use settings::{RedisSettings, RedisTls, StoreId, StoreSettings, Topology};
pub use sqlite::SqliteStore;
pub use store::{
    CasOutcome, Changes, DEFAULT_OUTAGE_TOLERANCE, LeaseOutcome, OwnerId, SessionStore, StoreError, Stored,
};

/// How many sessions are cached unless told otherwise. The others are read from the store when they come back.
pub const DEFAULT_CACHED: usize = 200_000;

/// Ends that are remembered while the store cannot be told of them. Each takes a browser with a session of ours.
const MOST_OWED_ENDS: usize = 100_000;

/// All sessions of one store, seen with one ring of secrets. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    inner: Arc<Inner>,
    keys: Arc<SessionKeys>,
    /// The store, for the operator.
    name: Arc<str>,
    /// Counts the handles.
    used: Arc<()>,
}

struct Inner {
    store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
    cache: Cache,
    owner: OwnerId,
    /// Counts what was taken out or found changed, so that a load that ran meanwhile knows to look again.
    upsets: Upsets,
    failure: ArcSwapOption<StoreError>,
    hearing: Hearing,
    /// Whether any session has an idle lifetime.
    idles: AtomicBool,
    /// Entries of which the store has yet to be told something, by their address: in an outage they may be all there are.
    owing: Mutex<HashMap<usize, Arc<SessionEntry>>>,
    /// Sessions that are not in memory, of whose end the store has yet to be told.
    owed_ends: Mutex<HashSet<SessionKey>>,
    cursor: Mutex<Option<u64>>,
    /// Refreshes under way.
    flights: watch::Sender<usize>,
    stopping: watch::Sender<bool>,
}

impl Sessions {
    /// Sessions in `store`, at most `cached` of them in memory.
    ///
    /// # Errors
    /// [`RandomError`] if the random generator fails.
    pub fn new(
        store: Arc<dyn SessionStore>,
        keys: Arc<SessionKeys>,
        clock: Arc<dyn Clock>,
        cached: usize,
    ) -> Result<Self, RandomError> {
        let inner = Inner {
            hearing: Hearing::new(store.outage_tolerance()),
            store,
            clock,
            cache: Cache::new(cached),
            owner: OwnerId(random_bytes()?),
            upsets: Upsets::default(),
            failure: ArcSwapOption::empty(),
            idles: AtomicBool::new(false),
            owing: Mutex::default(),
            owed_ends: Mutex::default(),
            cursor: Mutex::default(),
            flights: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
        };
        Ok(Self { inner: Arc::new(inner), keys, name: "session store".into(), used: Arc::default() })
    }

    /// The same store and memory, seen with other secrets. Sessions of secrets that are not in the ring are none.
    #[must_use]
    pub fn with_keys(&self, keys: Arc<SessionKeys>) -> Self {
        Self { keys, ..self.clone() }
    }

    /// Whether anybody has a handle on these sessions beside this one.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.used) > 1
    }

    /// Whether both are sessions of one store.
    #[must_use]
    pub fn is_same_store(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Whether processes on other machines use the store, which then may refresh a session at the same time.
    pub(in crate::oidc) fn is_shared_by_machines(&self) -> bool {
        self.inner.store.outage_tolerance().is_some()
    }

    /// The clock that refreshes and upkeep go by.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// The last failure of the store, if its health has not been found good since. For readiness.
    ///
    /// # Errors
    /// That failure.
    pub fn health(&self) -> Result<(), StoreError> {
        match self.inner.failure.load().as_deref() {
            None => Ok(()),
            Some(failure) => Err(failure.clone()),
        }
    }

    /// Counts a refresh that is under way; [`Sessions::close`] waits for it. What it needs gives no way to others.
    pub(in crate::oidc) fn flight_begins(&self, entry: &SessionEntry) {
        if let Some(store) = self.inner.store.in_browser() {
            store.pin(&entry.key);
        }
        self.inner.flights.send_modify(|count| *count += 1);
    }

    pub(in crate::oidc) fn flight_ends(&self, entry: &SessionEntry) {
        if let Some(store) = self.inner.store.in_browser() {
            store.unpin(&entry.key);
        }
        self.inner.flights.send_modify(|count| *count = count.saturating_sub(1));
    }

    /// Completes when [`Sessions::close`] has given up on the refreshes under way.
    pub(in crate::oidc) async fn stopped(&self) {
        // It cannot fail: `self` holds the sender.
        let _ = self.inner.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// How many sessions are in memory.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.inner.cache.len()
    }

    /// How many sessions the store holds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count(&self) -> Result<u64, StoreError> {
        self.inner.note(self.inner.store.count().await)
    }
}

impl Inner {
    /// Remembers a failure of the store, and says so in the log. A success proves little: reads work on a full
    /// disk. Only [`Sessions::check_store`] tells that it is over.
    fn note<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let failure = result.as_ref().err().filter(|error| {
            // One that is full keeps what it has.
            error.is_failure() && !matches!(error, StoreError::Refused(_))
        });
        if let Some(error) = failure {
            let known = self.failure.swap(Some(Arc::new(error.clone())));
            if known.as_deref() != Some(error) {
                tracing::error!(%error, "the session store failed; live sessions go on from memory");
            }
        }
        result
    }

    fn owing(&self) -> MutexGuard<'_, HashMap<usize, Arc<SessionEntry>>> {
        self.owing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that the store has to be told of this entry later.
    fn owe(&self, entry: &Arc<SessionEntry>) {
        self.owing().insert(Arc::as_ptr(entry).addr(), Arc::clone(entry));
    }

    fn owed_ends(&self) -> MutexGuard<'_, HashSet<SessionKey>> {
        self.owed_ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that the store has to be told of the end of this session, which is not in memory.
    fn owe_end(&self, key: SessionKey) {
        let mut owed = self.owed_ends();
        if owed.len() < MOST_OWED_ENDS {
            owed.insert(key);
        }
    }
}
