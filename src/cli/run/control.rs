//! What runs beside the requests: configuration in, signals, the order of start and end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::time::{Instant, interval, timeout};

use super::listeners::{self, Connections};
use super::reload::{Reload, open};
use super::{Greeting, Observed};
use crate::admin::Admin;
use crate::config::places::Places;
use crate::config::{Outline, StaticConfig};
use crate::entrypoint::Supervisor;
use crate::lifecycle::{self, Actions, DrainOutcome, DrainTarget, Notifier, Signals};
use crate::provider::Event;
use crate::provider::file::{FileProvider, Source};
use crate::proxy::{Edge, http_proxy};
use crate::runtime::{Kept, Runtime};
use crate::service::{Registries, dns::Names};

/// How long the first configuration is waited for before the ports open without it.
const FIRST_CONFIGURATION: Duration = Duration::from_secs(10);
/// How often readiness looks at the session store.
const LOOK: Duration = Duration::from_secs(1);
/// How long refreshes under way may take at the end.
const LAST_REFRESHES: Duration = Duration::from_secs(5);

/// Everything that control needs.
pub struct Control {
    pub(super) arguments: Vec<String>,
    pub(super) config: StaticConfig,
    pub(super) places: Option<Places>,
    pub(super) outline: Outline,
    pub(super) observed: Observed,
    pub(super) greeting: Option<Greeting>,
}

impl Control {
    /// Runs until a signal says stop, and then until everything has left. Connections are served on `edge`.
    ///
    /// # Errors
    /// What keeps the process from starting.
    pub async fn run(mut self, edge: Handle) -> Result<(), String> {
        let mut signals = Signals::listen().map_err(|error| format!("signals: {error}"))?;
        let notifier = Notifier::from_environment();
        let specs = listeners::wanted(&self.config)?;
        let runtime = self.runtime()?;
        let (supervisor, connections) = self.supervisor(&runtime);
        connections.expect(&specs, &self.observed.metrics);
        let (stop, stopped) = watch::channel(false);
        let reread = Arc::new(Notify::new());
        self.start_providers(&runtime, &reread, stopped).await;
        open(&edge, &supervisor, specs).await?;
        notifier.ready("serving");
        if let Some(greeting) = self.greeting.take() {
            greeting();
        }
        tokio::spawn(watch_over(Arc::clone(&runtime)));
        let actions = self.actions(self.reload(&edge, &supervisor, connections, &runtime, reread));
        let health = Arc::clone(&self.observed.health);
        let probe = async || edge.spawn(async {}).await.is_ok();
        tokio::select! {
            () = lifecycle::until_stopped(async || signals.next().await, &notifier, &actions) => {}
            () = lifecycle::watchdog(&notifier, probe, |alive| health.set_alive(alive)) => {}
        }
        self.leave(&runtime, &edge, &supervisor, &notifier, &mut signals).await;
        let _ = stop.send(true);
        let stores = runtime.kept().stores().all();
        join_all(stores.iter().map(|store| store.sessions.close(LAST_REFRESHES))).await;
        Ok(())
    }

    fn runtime(&self) -> Result<Arc<Runtime>, String> {
        let Observed { metrics, health, log, audit, .. } = &self.observed;
        let admin = Admin::new(&self.config, Arc::clone(health), Arc::clone(metrics), Arc::clone(log));
        let services = Registries::new(Names::system()?);
        let kept = Kept::new(Arc::clone(metrics), Arc::clone(health), admin, services, Handle::current())
            .default_store(&self.config)
            .with_audit(audit.clone())
            .with_places(self.places.clone());
        Ok(Arc::new(Runtime::new(self.config.clone(), kept)))
    }

    fn supervisor(&self, runtime: &Runtime) -> (Arc<Supervisor<Edge>>, Arc<Connections>) {
        let edge = Edge::new(Arc::clone(runtime.snapshot()), self.observed.access_log.clone(), &hostname());
        let events = Arc::new(Connections::new(edge.unparsed()));
        let proxy = http_proxy(edge, lifecycle::server_conf());
        let supervisor = Supervisor::new(Arc::new(proxy), Arc::clone(runtime.tls()), events.clone());
        (Arc::new(supervisor), events)
    }

    fn reload(
        &self,
        edge: &Handle,
        supervisor: &Arc<Supervisor<Edge>>,
        connections: Arc<Connections>,
        runtime: &Arc<Runtime>,
        reread: Arc<Notify>,
    ) -> Arc<Reload> {
        let Observed { metrics, log, .. } = &self.observed;
        Arc::new(Reload {
            arguments: self.arguments.clone(),
            edge: edge.clone(),
            supervisor: Arc::clone(supervisor),
            connections,
            runtime: Arc::clone(runtime),
            log: Arc::clone(log),
            metrics: Arc::clone(metrics),
            reread: self.config.providers.file.is_some().then_some(reread),
            started: self.outline.clone(),
            current: Mutex::new(self.outline.clone()),
        })
    }

    /// Starts the providers and waits for the first configuration, so that no port opens to 404 for everything.
    async fn start_providers(
        &self,
        runtime: &Arc<Runtime>,
        reread: &Arc<Notify>,
        stopped: watch::Receiver<bool>,
    ) {
        let Some(source) = Source::new(&self.config) else {
            return runtime.apply_nothing();
        };
        let (sender, events) = mpsc::channel(1);
        let provider = FileProvider::new(source, self.config.providers.throttle, Arc::clone(reread));
        let mut first = runtime.outcomes();
        tokio::spawn(provider.run(sender, stopped));
        tokio::spawn(follow(Arc::clone(runtime), events));
        if timeout(FIRST_CONFIGURATION, first.wait_for(Option::is_some)).await.is_err() {
            tracing::error!("the first configuration takes long; ports open without it");
        }
    }

    fn actions(&self, reload: Arc<Reload>) -> Actions {
        let Observed { log, access_log, audit, .. } = self.observed.clone();
        Actions {
            reopen_logs: Box::new(move || {
                log.reopen();
                if let Some(access_log) = &access_log {
                    access_log.reopen();
                }
                if let Some(audit) = &audit {
                    audit.reopen();
                }
            }),
            reload: Box::new(move || {
                let reload = Arc::clone(&reload);
                async move { reload.run().await }.boxed()
            }),
        }
    }

    /// Not ready any more, then no new connections, then the requests in flight.
    async fn leave(
        &self,
        runtime: &Runtime,
        edge: &Handle,
        supervisor: &Arc<Supervisor<Edge>>,
        notifier: &Notifier,
        signals: &mut Signals,
    ) {
        self.observed.health.start_draining();
        notifier.stopping("draining");
        tracing::info!("stopping");
        let (edge, supervisor) = (edge.clone(), Arc::clone(supervisor));
        let target = DrainTarget {
            name: "all".into(),
            life_cycle: listeners::life_cycle(&runtime.fixed()),
            stop: Box::new(move |deadline: Instant| {
                let grace = deadline.saturating_duration_since(Instant::now());
                let drained = edge.spawn(async move { supervisor.drain(grace).await.cut });
                async move { drained.await.unwrap_or(0) }.boxed()
            }),
        };
        match lifecycle::drain(vec![target], signals.stop()).await {
            DrainOutcome::Complete => tracing::info!("stopped"),
            DrainOutcome::Cut(_) => tracing::warn!("stopped with requests in flight"),
            DrainOutcome::Hurried => tracing::warn!("stopped in a hurry"),
        }
    }
}

/// Applies what providers send, one after the other.
async fn follow(runtime: Arc<Runtime>, mut events: mpsc::Receiver<Event>) {
    while let Some(event) = events.recv().await {
        runtime.apply(event).await;
    }
}

/// Tells readiness and metrics about the sessions, and closes stores that no configuration names any more.
async fn watch_over(runtime: Arc<Runtime>) {
    let mut look = interval(LOOK);
    loop {
        look.tick().await;
        let kept = runtime.kept();
        let stores = kept.stores().all();
        for store in &stores {
            kept.health
                .report(&store.component(), store.sessions.health().err().map(|error| error.to_string()));
        }
        kept.metrics.oidc().set_sessions(stores.iter().map(|store| store.sessions.cached()).sum());
        drop(stores);
        for unused in kept.stores().take_unused() {
            kept.health.report(&unused.component(), None);
            tracing::info!(store = unused.name, "nothing uses this session store any more: closed");
            tokio::spawn(async move { unused.sessions.close(LAST_REFRESHES).await });
        }
    }
}

/// The machine's name. Asked of the system: a service manager may hide `/proc/sys` (`ProcSubset=pid`).
fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    #[test]
    fn the_machine_has_a_name() {
        let told = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(super::hostname(), told.trim());
    }
}
