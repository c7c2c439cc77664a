//! Pingora's server: two services with a runtime each, and how they end.
//!
//! *Edge* has a thread for every core and serves connections. *Control* does everything else. When
//! control is done, the process ends.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pingora::server::configuration::ServerConf;
use pingora::server::{ListenFds, RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::Service;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

/// Idle upstream connections kept, for each thread.
const POOL: usize = 4096;

/// What control does, given its own runtime and the edge's. It blocks its thread until it is done;
/// an error is what kept the process from going on.
pub type Control = Box<dyn FnOnce(Handle, Handle) -> Result<(), String> + Send + Sync>;

/// Runs both services until control is done.
///
/// # Errors
/// What control could not do.
pub fn serve(control: Control) -> Result<(), String> {
    let mut server = Server::new_with_opt_and_conf(None, server_conf());
    server.bootstrap();
    let (sender, receiver) = oneshot::channel();
    let ending = Ending::default();
    server.add_service(EdgeService(Some(sender)));
    server.add_service(ControlService { control: Some((control, receiver)), ending: ending.clone() });
    server.run(RunArgs { shutdown_signal: Box::new(ending.clone()) });
    ending.outcome()
}

/// Threads, pool and times of the engine.
pub fn server_conf() -> ServerConf {
    let threads = crate::net::cores();
    ServerConf {
        threads,
        upstream_keepalive_pool_size: POOL,
        // Control drains before it ends; a second wait would only be a wait.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    }
}

/// Lends its runtime to the listeners, which control opens and closes.
struct EdgeService(Option<oneshot::Sender<Handle>>);

#[async_trait]
impl Service for EdgeService {
    async fn start_service(&mut self, _: Option<ListenFds>, mut shutdown: ShutdownWatch, _: usize) {
        if let Some(sender) = self.0.take() {
            // Nobody listens only if control has failed, and then the process ends.
            let _ = sender.send(Handle::current());
        }
        let _ = shutdown.changed().await;
    }

    fn name(&self) -> &str {
        "edge"
    }
}

/// Runs [`Control`] on a runtime of its own.
struct ControlService {
    control: Option<(Control, oneshot::Receiver<Handle>)>,
    ending: Ending,
}

#[async_trait]
impl Service for ControlService {
    async fn start_service(&mut self, _: Option<ListenFds>, _: ShutdownWatch, _: usize) {
        let Some((control, edge)) = self.control.take() else { return };
        let here = Handle::current();
        let outcome = match edge.await {
            Ok(edge) => tokio::task::spawn_blocking(move || control(here, edge)).await,
            Err(_) => Ok(Err("the edge did not start".to_owned())),
        };
        self.ending.end(outcome.unwrap_or_else(|error| Err(format!("control ended: {error}"))));
    }

    fn name(&self) -> &str {
        "control"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

/// Tells the server that control is done, after it has drained or failed.
#[derive(Clone, Default)]
struct Ending(Arc<Inner>);

#[derive(Default)]
struct Inner {
    done: Notify,
    failure: Mutex<Option<String>>,
}

impl Ending {
    fn end(&self, outcome: Result<(), String>) {
        *self.0.failure.lock().unwrap_or_else(PoisonError::into_inner) = outcome.err();
        self.0.done.notify_one();
    }

    fn outcome(&self) -> Result<(), String> {
        match self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Ok(()),
            Some(failure) => Err(failure),
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Ending {
    async fn recv(&self) -> ShutdownSignal {
        self.0.done.notified().await;
        ShutdownSignal::FastShutdown
    }
}
