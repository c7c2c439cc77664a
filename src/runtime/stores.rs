//! The session stores in use. They outlive a change of the configuration: middlewares whose settings are equal share
//! one, and one that nobody uses any more is closed after a while.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::counted_store::CountedStore;
use super::sessions;
use crate::observe::metrics::OidcMetrics;
use crate::oidc::session::{Sessions, StoreId, StoreSettings};

/// How long a store stays open that no policy uses: a faulty configuration may be followed by the old one.
const UNUSED: Duration = Duration::from_secs(60);

/// An open store.
#[derive(Clone)]
pub struct OpenStore {
    /// For the operator: kind and place.
    pub name: String,
    /// Its sessions.
    pub sessions: Sessions,
    /// Whether another process can open it beside this one without a network.
    pub is_file: bool,
    unused_since: Option<Instant>,
}

impl OpenStore {
    /// Its name in the list of what is not ready.
    #[must_use]
    pub fn component(&self) -> String {
        format!("session store {}", self.name)
    }
}

/// All of them.
pub struct Stores {
    open: Mutex<HashMap<StoreId, OpenStore>>,
    default: StoreSettings,
    in_memory: bool,
    runtime: Handle,
    metrics: OidcMetrics,
}

impl Stores {
    /// None is open; the default is the file of this machine. Their upkeep runs on `runtime`.
    pub(super) fn new(runtime: Handle, metrics: OidcMetrics) -> Self {
        let default = StoreSettings::Sqlite(None);
        Self { open: Mutex::default(), default, in_memory: false, runtime, metrics }
    }

    /// Another default.
    pub(super) fn or_else(self, default: StoreSettings) -> Self {
        Self { default, ..self }
    }

    /// Nothing is written and nobody called.
    pub(super) fn in_memory(self) -> Self {
        Self { in_memory: true, ..self }
    }

    /// What a middleware has chosen: none is the default.
    pub(super) fn chosen<'a>(&'a self, settings: Option<&'a StoreSettings>) -> &'a StoreSettings {
        settings.unwrap_or(&self.default)
    }

    /// The sessions of a store, opened if it is not yet; none asks for the default.
    ///
    /// # Errors
    /// It cannot be opened at all.
    pub(super) fn get(&self, settings: Option<&StoreSettings>) -> Result<Sessions, String> {
        let settings = if self.in_memory { &StoreSettings::Memory } else { self.chosen(settings) };
        match self.open().entry(settings.id()) {
            Entry::Occupied(open) => Ok(open.get().sessions.clone()),
            Entry::Vacant(free) => {
                let _inside = self.runtime.enter();
                let store = CountedStore::new(sessions::store(settings)?, self.metrics.clone());
                let sessions = sessions::over(Arc::new(store))?;
                drop(sessions.spawn_upkeep());
                let is_file = matches!(settings, StoreSettings::Sqlite(_));
                let open = OpenStore { name: settings.name(), sessions, is_file, unused_since: None };
                Ok(free.insert(open).sessions.clone())
            }
        }
    }

    /// Those that are open.
    #[must_use]
    pub fn all(&self) -> Vec<OpenStore> {
        self.open().values().cloned().collect()
    }

    /// Takes out those that nobody has used for a while, to be closed. Call it now and then, without a handle on any.
    #[must_use]
    pub fn take_unused(&self) -> Vec<OpenStore> {
        let now = Instant::now();
        let mut open = self.open();
        for store in open.values_mut() {
            match store.sessions.is_shared() {
                true => store.unused_since = None,
                false => _ = store.unused_since.get_or_insert(now),
            }
        }
        let over = |store: &OpenStore| store.unused_since.is_some_and(|since| now - since >= UNUSED);
        open.extract_if(|_, store| over(store)).map(|(_, store)| store).collect()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<StoreId, OpenStore>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::observe::Metrics;

    #[tokio::test]
    async fn equal_settings_share_a_store_and_an_unused_one_is_closed_after_a_while() {
        let metrics = Metrics::new(None).unwrap();
        let stores = Stores::new(Handle::current(), metrics.oidc().clone()).or_else(StoreSettings::Memory);
        let folder = tempfile::tempdir().unwrap();
        let file = StoreSettings::Sqlite(Some(folder.path().join("s.sqlite")));
        let (default, again, other) = (
            stores.get(None).unwrap(),
            stores.get(Some(&StoreSettings::Memory)).unwrap(),
            stores.get(Some(&file)),
        );
        assert!(other.is_ok());
        assert_eq!(stores.all().len(), 2);
        drop((default, again));
        assert!(stores.take_unused().is_empty());
        let since = Instant::now().checked_sub(UNUSED).unwrap();
        stores.open().values_mut().for_each(|store| store.unused_since = store.unused_since.map(|_| since));
        let closed: Vec<String> = stores.take_unused().into_iter().map(|store| store.name).collect();
        assert_eq!(closed, ["memory"]);
        assert_eq!(stores.all().len(), 1);
        drop(other);
    }
}
