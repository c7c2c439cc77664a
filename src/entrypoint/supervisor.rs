//! Keeps the listeners that configuration asks for, and lets them end in peace.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora_proxy::{HttpProxy, ProxyHttp};
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::bind::{self, BindError, ListenerSource};
use super::listener::{Listener, Shared};
use super::open::{ConnectionEvents, OpenCount};
use super::settings::Settings;
use crate::tls::TlsSnapshot;

/// A listener that should exist.
#[derive(Debug, Clone)]
pub struct ListenerSpec {
    /// Name of the entry point.
    pub name: Arc<str>,
    /// Its socket.
    pub source: ListenerSource,
    /// How it treats connections.
    pub settings: Arc<Settings>,
    /// How long requests in flight may take when it is removed.
    pub grace: Duration,
}

/// A listener that could not be opened. The others work.
#[derive(Debug, Error)]
#[error("entry point `{entry_point}`: {error}")]
pub struct ReconcileError {
    /// Name of the entry point.
    pub entry_point: Arc<str>,
    /// Why.
    pub error: BindError,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainOutcome {
    /// Connections that were cut because the time was up.
    pub cut: usize,
}

/// Owns the listeners. Runs in whatever tokio runtime its methods are called from.
pub struct Supervisor<E> {
    shared: Arc<Shared<E>>,
    listeners: Mutex<BTreeMap<Arc<str>, Running>>,
}

struct Running {
    listener: Listener,
    grace: Duration,
}

impl<E> Supervisor<E>
where
    E: ProxyHttp + Send + Sync + 'static,
    E::CTX: Send + Sync,
{
    /// Without listeners yet. `proxy` must have had its modules initialised.
    pub fn new(
        proxy: Arc<HttpProxy<E>>,
        tls: Arc<ArcSwap<TlsSnapshot>>,
        events: Arc<dyn ConnectionEvents>,
    ) -> Self {
        let shared = Shared { proxy, tls, events, open: Arc::new(OpenCount::default()) };
        Self { shared: Arc::new(shared), listeners: Mutex::new(BTreeMap::new()) }
    }

    /// Makes the listeners those of `wanted`: opens what is new, drains what is not wanted any
    /// more in the background, and applies changed settings to connections accepted from now on.
    /// Returns what could not be opened.
    pub async fn reconcile(&self, wanted: Vec<ListenerSpec>) -> Vec<ReconcileError> {
        let mut listeners = self.listeners.lock().await;
        for name in unwanted(&listeners, &wanted) {
            if let Some(running) = listeners.remove(&name) {
                info!(entry_point = %name, address = %running.listener.local, "removed");
                retire(running).await;
            }
        }
        let mut errors = Vec::new();
        for spec in wanted {
            if let Err(error) = self.ensure(&mut listeners, &spec).await {
                warn!(entry_point = %spec.name, %error, "cannot listen");
                errors.push(ReconcileError { entry_point: spec.name, error });
            }
        }
        errors
    }

    async fn ensure(
        &self,
        listeners: &mut BTreeMap<Arc<str>, Running>,
        spec: &ListenerSpec,
    ) -> Result<(), BindError> {
        if let Some(running) = listeners.get_mut(&spec.name)
            && running.listener.source.is_same(&spec.source)
        {
            running.listener.apply(spec.settings.clone());
            running.grace = spec.grace;
            return Ok(());
        }
        let mut opened = bind::open(&spec.source).await;
        if opened.as_ref().is_err_and(BindError::is_in_use) {
            // Perhaps the port is held by the listener that this one replaces; one on another port goes on.
            let holds = |old: &Running| spec.source.port() == Some(old.listener.local.port());
            if listeners.get(&spec.name).is_some_and(holds)
                && let Some(old) = listeners.remove(&spec.name)
            {
                retire(old).await;
                opened = bind::open(&spec.source).await;
            }
        }
        let (name, settings) = (spec.name.clone(), spec.settings.clone());
        let listener = Listener::start(name, spec.source.clone(), opened?, settings, self.shared.clone())
            .map_err(|source| BindError::System { address: spec.name.to_string(), source })?;
        let running = Running { listener, grace: spec.grace };
        if let Some(old) = listeners.insert(spec.name.clone(), running) {
            retire(old).await;
        }
        Ok(())
    }

    /// Where a listener really listens: tells the port when `:0` was asked for.
    pub async fn local_addr(&self, name: &str) -> Option<SocketAddr> {
        self.listeners.lock().await.get(name).map(|running| running.listener.local)
    }

    /// Connections open over all listeners, removed ones included.
    pub fn open_connections(&self) -> usize {
        self.shared.open.get()
    }

    /// Closes every socket, ends idle connections at once (those that have just been answered half a second
    /// later) and others after their requests in flight. What is still open after `grace` is cut. Returns as soon as nothing is open.
    pub async fn drain(&self, grace: Duration) -> DrainOutcome {
        let deadline = Instant::now() + grace;
        let mut listeners = std::mem::take(&mut *self.listeners.lock().await);
        for running in listeners.values_mut() {
            running.listener.drain().await;
        }
        if timeout_at(deadline, self.shared.open.wait_for_zero()).await.is_ok() {
            return DrainOutcome { cut: 0 };
        }
        let cut = self.shared.open.get();
        listeners.values().for_each(|running| running.listener.kill());
        DrainOutcome { cut }
    }
}

/// Listeners that have to go first: those that nobody wants any more, and those that leave their port to another.
fn unwanted(listeners: &BTreeMap<Arc<str>, Running>, wanted: &[ListenerSpec]) -> Vec<Arc<str>> {
    let goes = |name: &Arc<str>, listener: &Listener| {
        let Some(own) = wanted.iter().find(|spec| spec.name == *name) else { return true };
        let of_other =
            |spec: &ListenerSpec| spec.name != *name && spec.source.port() == Some(listener.local.port());
        !listener.source.is_same(&own.source) && wanted.iter().any(of_other)
    };
    let gone = listeners.iter().filter(|(name, running)| goes(name, &running.listener));
    gone.map(|(name, _)| Arc::clone(name)).collect()
}

/// Drains one listener; returns when its port is free, while its connections end on their own.
async fn retire(mut running: Running) {
    running.listener.drain().await;
    tokio::spawn(async move {
        let done = running.listener.open.wait_for_zero();
        if timeout_at(Instant::now() + running.grace, done).await.is_err() {
            running.listener.kill();
        }
    });
}
