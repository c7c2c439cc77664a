//! The two services of Pingora's server, and how they end.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pingora::server::{ListenFds, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::Service;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use super::control::Control;

/// Lends its runtime to the listeners, which control opens and closes.
pub struct EdgeService(Option<oneshot::Sender<Handle>>);

impl EdgeService {
    /// The service, and where its runtime will be told.
    pub fn new() -> (Self, oneshot::Receiver<Handle>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(sender)), receiver)
    }
}

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
pub struct ControlService {
    control: Option<(Control, oneshot::Receiver<Handle>)>,
    ending: Ending,
}

impl ControlService {
    /// `edge` is where the runtime for connections will be told; `ending` learns when control is done.
    pub fn new(control: Control, edge: oneshot::Receiver<Handle>, ending: Ending) -> Self {
        Self { control: Some((control, edge)), ending }
    }
}

#[async_trait]
impl Service for ControlService {
    async fn start_service(&mut self, _: Option<ListenFds>, _: ShutdownWatch, _: usize) {
        let Some((control, edge)) = self.control.take() else { return };
        let outcome = match edge.await {
            Ok(edge) => on_own_thread(control, edge).await,
            Err(_) => Err("the edge did not start".to_owned()),
        };
        self.ending.end(outcome.err());
    }

    fn name(&self) -> &str {
        "control"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

/// Drives control from a blocking thread: its future borrows across awaits in ways that the compiler
/// cannot prove fit to move between threads.
async fn on_own_thread(control: Control, edge: Handle) -> Result<(), String> {
    let here = Handle::current();
    let running = tokio::task::spawn_blocking(move || here.block_on(control.run(edge)));
    running.await.unwrap_or_else(|error| Err(format!("control ended: {error}")))
}

/// Tells the server that control is done, after it has drained or failed.
#[derive(Clone, Default)]
pub struct Ending(Arc<Inner>);

#[derive(Default)]
struct Inner {
    done: Notify,
    failure: Mutex<Option<String>>,
}

impl Ending {
    fn end(&self, failure: Option<String>) {
        *self.0.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        self.0.done.notify_one();
    }

    /// Why control could not go on, if so.
    pub fn failure(&self) -> Option<String> {
        self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl ShutdownSignalWatch for Ending {
    async fn recv(&self) -> ShutdownSignal {
        self.0.done.notified().await;
        ShutdownSignal::FastShutdown
    }
}
