//! The session stores in use. They outlive a change of the configuration: middlewares whose settings are equal share
//! one, and one that nobody uses any more is closed after a while.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
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
    /// Who can see its sessions.
    pub sight: Sight,
    /// How long it may take until it is reached for the first time.
    pub patience: Duration,
    unused_since: Option<Instant>,
}

impl OpenStore {
    /// Its name in the list of what is not ready.
    #[must_use]
    pub fn component(&self) -> String {
        component(&self.name)
    }
}

fn component(store: &str) -> String {
    format!("session store {store}")
}

/// Who can see the sessions of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Every process that opens the file or asks the server.
    Shared,
    /// Nobody but the process that has them, in its memory or from its browsers.
    Own,
    /// There is no such file, and none is made.
    Missing(PathBuf),
}

/// All of them.
pub struct Stores {
    open: Mutex<HashMap<StoreId, OpenStore>>,
    default: StoreSettings,
    in_memory: bool,
    /// Another process is at work, and its files are its own to make.
    beside: bool,
    runtime: Handle,
    metrics: OidcMetrics,
}

impl Stores {
    /// None is open; the default is the file of this machine. Their upkeep runs on `runtime`.
    pub(super) fn new(runtime: Handle, metrics: OidcMetrics) -> Self {
        let default = StoreSettings::Sqlite(None);
        Self { open: Mutex::default(), default, in_memory: false, beside: false, runtime, metrics }
    }

    /// Another default.
    pub(super) fn or_else(self, default: StoreSettings) -> Self {
        Self { default, ..self }
    }

    /// Nothing is written and nobody called.
    pub(super) fn in_memory(self) -> Self {
        Self { in_memory: true, ..self }
    }

    /// For a look at the sessions of another process: no file is made. Connections live on `runtime`.
    pub(super) fn beside(self, runtime: Handle) -> Self {
        Self { beside: true, runtime, ..self }
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
                let sight = self.sight(settings)?;
                let opened =
                    if matches!(sight, Sight::Missing(_)) { &StoreSettings::Memory } else { settings };
                let store = CountedStore::new(sessions::store(opened)?, self.metrics.clone());
                let (name, patience) = (settings.name(), settings.patience());
                let sessions = sessions::over(Arc::new(store))?.named(&component(&name));
                drop(sessions.spawn_upkeep());
                let open = OpenStore { name, sessions, sight, patience, unused_since: None };
                Ok(free.insert(open).sessions.clone())
            }
        }
    }

    fn sight(&self, settings: &StoreSettings) -> Result<Sight, String> {
        Ok(match settings {
            StoreSettings::Memory | StoreSettings::Cookie => Sight::Own,
            StoreSettings::Redis(_) => Sight::Shared,
            StoreSettings::Sqlite(path) => match sessions::path(path.as_deref())? {
                missing if self.beside && !missing.exists() => Sight::Missing(missing),
                _ => Sight::Shared,
            },
        })
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
