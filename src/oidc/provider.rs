//! One OpenID provider: its metadata and keys, kept fresh in the background.
//!
//! Requests only read. A task of its own fetches both at start and again every hour, tries on
//! until it succeeds, and keeps the old ones while the provider is away.

mod in_use;
mod keys;
mod registry;
mod task;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::events::Events;
use super::fetch::{Fetch, FetchError};
use super::introspection::Introspections;
use super::jwks::{KeySet, KeySetError};
use super::limits::Exchanges;
use super::metadata::{Metadata, MetadataError, discovery_url};
use super::registration::Registrations;
use super::settings::ProviderSettings;
use super::throttle::Throttle;
use super::turns::take_turn;

use in_use::InUse;
use keys::Lookups;
pub use keys::{NoKeys, Published, Source};
pub use registry::{ProviderKey, Providers};

/// Refresh grants at the same time; more of them queue.
const MOST_GRANTS: usize = 64;

/// Requests pushed at the same time; more of them queue. Anybody can start a login, so these must
/// not take the seats of refreshes.
const MOST_PUSHES: usize = 32;

/// A provider in use. Dropping the last handle ends its background task.
pub struct Provider {
    inner: Arc<Inner>,
    task: AbortHandle,
    grants: Arc<Semaphore>,
    exchanges: Exchanges,
    pushes: Semaphore,
    introspections: Introspections,
    registrations: Registrations,
    incomplete: Throttle,
}

struct Inner {
    issuer: String,
    settings: ProviderSettings,
    fetch: Fetch,
    metadata: ArcSwapOption<Metadata>,
    keys: ArcSwapOption<Published>,
    state: watch::Sender<State>,
    lookups: Lookups,
    events: Arc<dyn Events>,
    runtime: tokio::runtime::Handle,
    /// Until the background task has ended too.
    _in_use: InUse,
}

/// Whether a provider can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first attempt is under way.
    Starting,
    /// Attempts have failed so far.
    Failed,
    /// There is metadata and a key set, perhaps old.
    Ready,
}

/// Why a provider cannot be used now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The issuer is not a URL, or must not be called.
    #[error("issuer: {0}")]
    Issuer(String),
    /// No answer.
    #[error("{0}: {1}")]
    Fetch(&'static str, FetchError),
    /// An answer that says no.
    #[error("{0}: HTTP status {1}")]
    Status(&'static str, u16),
    /// Unusable metadata.
    #[error("discovery: {0}")]
    Metadata(#[from] MetadataError),
    /// Unusable keys.
    #[error("keys: {0}")]
    Keys(#[from] KeySetError),
}

impl Provider {
    /// Starts to fetch on `runtime` and returns at once.
    fn spawn(
        issuer: &str,
        settings: &ProviderSettings,
        fetch: Fetch,
        in_use: InUse,
        events: Arc<dyn Events>,
        runtime: &tokio::runtime::Handle,
    ) -> Arc<Self> {
        let inner = Arc::new(Inner {
            issuer: issuer.to_owned(),
            settings: settings.clone(),
            fetch,
            metadata: ArcSwapOption::empty(),
            keys: ArcSwapOption::empty(),
            state: watch::Sender::new(State::Starting),
            lookups: Lookups::default(),
            events,
            runtime: runtime.clone(),
            _in_use: in_use,
        });
        let task = runtime.spawn(task::keep_fresh(Arc::clone(&inner))).abort_handle();
        let (grants, pushes) = (Arc::new(Semaphore::new(MOST_GRANTS)), Semaphore::new(MOST_PUSHES));
        Arc::new(Self {
            inner,
            task,
            grants,
            exchanges: Exchanges::default(),
            pushes,
            introspections: Introspections::default(),
            registrations: Registrations::default(),
            incomplete: Throttle::default(),
        })
    }

    /// The issuer as configured.
    pub fn issuer(&self) -> &str {
        &self.inner.issuer
    }

    /// Its HTTP client.
    pub fn fetch(&self) -> &Fetch {
        &self.inner.fetch
    }

    /// The seats of its refresh grants.
    pub fn grants(&self) -> &Arc<Semaphore> {
        &self.grants
    }

    /// The seats of its code exchanges.
    pub fn exchanges(&self) -> &Exchanges {
        &self.exchanges
    }

    /// The seats of its pushed authorization requests.
    pub fn pushes(&self) -> &Semaphore {
        &self.pushes
    }

    /// Observer.
    pub(super) fn events(&self) -> &Arc<dyn Events> {
        &self.inner.events
    }

    /// Runs what must outlive its request.
    pub(super) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.inner.runtime
    }

    /// What it has said of tokens.
    pub fn introspections(&self) -> &Introspections {
        &self.introspections
    }

    /// Log lines about logins and refreshes that go on without userinfo.
    pub(super) fn incomplete(&self) -> &Throttle {
        &self.incomplete
    }

    /// Its clients that register themselves.
    pub(super) fn registrations(&self) -> &Registrations {
        &self.registrations
    }

    /// The metadata, however long the first takes to come.
    pub async fn ready(&self) -> Arc<Metadata> {
        let mut state = self.inner.state.subscribe();
        loop {
            if let Some(metadata) = self.metadata() {
                return metadata;
            }
            // It cannot fail: `self` holds the sender.
            let _ = state.wait_for(|state| *state == State::Ready).await;
        }
    }

    /// The metadata, if there is any yet.
    pub fn metadata(&self) -> Option<Arc<Metadata>> {
        self.inner.metadata.load_full()
    }

    /// The metadata; waits while the first attempt is under way, at most `patience`.
    pub async fn metadata_within(&self, patience: Duration) -> Option<Arc<Metadata>> {
        if *self.inner.state.borrow() == State::Starting {
            let mut state = self.inner.state.subscribe();
            let started = state.wait_for(|state| *state != State::Starting);
            let _ = tokio::time::timeout(patience, started).await;
            take_turn().await;
        }
        self.metadata()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("issuer", &self.inner.issuer).finish_non_exhaustive()
    }
}

impl Inner {
    /// Metadata, keys and when those were asked for; all or an error.
    async fn fetch_all(&self) -> Result<(Metadata, KeySet, Instant), ProviderError> {
        let metadata = self.fetch_metadata().await?;
        let asked = Instant::now();
        let keys = self.fetch_keys(&metadata).await?;
        Ok((metadata, keys, asked))
    }

    async fn fetch_metadata(&self) -> Result<Metadata, ProviderError> {
        let mut url =
            discovery_url(&self.issuer).map_err(|error| ProviderError::Issuer(error.to_string()))?;
        if !self.settings.discovery_params.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.settings.discovery_params);
        }
        let reach = self.fetch.reach();
        reach.admit_issuer(&url).await.map_err(|error| ProviderError::Issuer(error.to_string()))?;
        let body = self.get("discovery", &url).await?;
        Ok(Metadata::read(&body, &self.issuer, &self.settings, reach).await?)
    }

    async fn fetch_keys(&self, metadata: &Metadata) -> Result<KeySet, ProviderError> {
        let body = self.get("keys", &metadata.jwks_uri).await?;
        Ok(KeySet::parse(&body)?)
    }

    async fn get(&self, what: &'static str, url: &url::Url) -> Result<Vec<u8>, ProviderError> {
        let answer = self.fetch.get_json(url).await.map_err(|error| ProviderError::Fetch(what, error))?;
        match answer.status.as_u16() {
            200 => Ok(answer.body),
            status => Err(ProviderError::Status(what, status)),
        }
    }
}
