//! One listening socket and the task that accepts from it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora_proxy::{HttpProxy, ProxyHttp};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use super::bind::ListenerSource;
use super::connection::Connection;
use super::establish::Accepted;
use super::open::{ConnectionEvents, Entered, OpenCount};
use super::settings::Settings;
use crate::net::cores;
use crate::tls::TlsSnapshot;

/// First pause after a failed `accept`; doubled up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(5);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// How many connections are accepted for each core before the worker looks for what else there is to do.
const ACCEPTED: usize = 8;
/// How often it is said that connections wait.
const AGAIN: Duration = Duration::from_secs(60);

/// Where a listener is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// Accepts no more; connections end after their requests.
    Draining,
    /// Connections end now.
    Killed,
}

/// What all listeners have in common.
pub(super) struct Shared<E> {
    pub(super) proxy: Arc<HttpProxy<E>>,
    pub(super) tls: Arc<ArcSwap<TlsSnapshot>>,
    pub(super) events: Arc<dyn ConnectionEvents>,
    pub(super) open: Arc<OpenCount>,
}

/// A listener that runs.
pub(super) struct Listener {
    pub(super) source: ListenerSource,
    pub(super) local: SocketAddr,
    pub(super) open: Arc<OpenCount>,
    settings: Arc<ArcSwap<Limited>>,
    phase: watch::Sender<Phase>,
    accepting: JoinHandle<()>,
}

/// Settings with the permits that their limit stands for.
struct Limited {
    settings: Arc<Settings>,
    permits: Option<Arc<Semaphore>>,
}

impl Limited {
    fn new(settings: Arc<Settings>) -> Self {
        let permits =
            settings.max_connections.map(|max| Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))));
        Self { settings, permits }
    }
}

impl Listener {
    /// Starts to accept on `socket`, in the current runtime.
    pub(super) fn start<E>(
        name: Arc<str>,
        source: ListenerSource,
        socket: TcpListener,
        settings: Arc<Settings>,
        shared: Arc<Shared<E>>,
    ) -> io::Result<Self>
    where
        E: ProxyHttp + Send + Sync + 'static,
        E::CTX: Send + Sync,
    {
        let local = socket.local_addr()?;
        let open = Arc::new(OpenCount::default());
        let settings = Arc::new(ArcSwap::from_pointee(Limited::new(settings)));
        let (phase, watch) = watch::channel(Phase::Serving);
        info!(entry_point = %name, address = %local, "listening");
        let accept = Accept { name, shared, open: open.clone(), settings: settings.clone(), phase: watch };
        let accepting = tokio::spawn(accept.run(socket));
        Ok(Self { source, local, open, settings, phase, accepting })
    }

    /// Treats connections accepted from now on by `settings`.
    pub(super) fn apply(&self, settings: Arc<Settings>) {
        if !Arc::ptr_eq(&self.settings.load().settings, &settings) {
            self.settings.store(Arc::new(Limited::new(settings)));
        }
    }

    /// Closes the socket and has connections end after their requests in flight.
    pub(super) async fn drain(&mut self) {
        self.phase.send_replace(Phase::Draining);
        // The port is free only when the task has dropped the socket.
        let _ = (&mut self.accepting).await;
    }

    /// Ends what is still open.
    pub(super) fn kill(&self) {
        self.phase.send_replace(Phase::Killed);
    }
}

/// The accept loop's own state.
struct Accept<E> {
    name: Arc<str>,
    shared: Arc<Shared<E>>,
    open: Arc<OpenCount>,
    settings: Arc<ArcSwap<Limited>>,
    phase: watch::Receiver<Phase>,
}

impl<E> Accept<E>
where
    E: ProxyHttp + Send + Sync + 'static,
    E::CTX: Send + Sync,
{
    async fn run(self, socket: TcpListener) {
        let mut phase = self.phase.clone();
        tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => {}
            () = self.accept(&socket) => {}
        }
    }

    async fn accept(&self, socket: &TcpListener) {
        let at_once = ACCEPTED * cores();
        let (mut pause, mut told) = (MIN_PAUSE, None);
        for turn in (1..=at_once).cycle() {
            if turn == at_once {
                // Comes back when the worker has looked for other work.
                tokio::task::yield_now().await;
            }
            match socket.accept().await {
                Ok((tcp, peer)) => {
                    pause = MIN_PAUSE;
                    // Over the limit this one waits in hand, and the others in the kernel.
                    let limits = self.settings.load_full();
                    let permit = self.acquire(limits.permits.as_ref(), &mut told).await;
                    self.spawn(tcp, peer, limits.settings.clone(), permit);
                }
                // The client's own doing; the next one may be fine.
                Err(error) if is_about_client(&error) => {}
                Err(error) => {
                    // Most likely out of file descriptors: waiting lets connections end.
                    warn!(entry_point = %self.name, %error, "cannot accept connections");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                }
            }
        }
    }

    /// A permit for one connection more, which may have to be waited for. That is `told` once a minute.
    async fn acquire(
        &self,
        permits: Option<&Arc<Semaphore>>,
        told: &mut Option<Instant>,
    ) -> Option<OwnedSemaphorePermit> {
        let permits = permits?.clone();
        if permits.available_permits() == 0 && told.is_none_or(|at| at.elapsed() >= AGAIN) {
            *told = Some(Instant::now());
            warn!(entry_point = %self.name, "as many connections as maxConnections allows: others wait");
        }
        // Fails only when the semaphore is closed, which nobody does.
        permits.acquire_owned().await.ok()
    }

    fn spawn(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        settings: Arc<Settings>,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let Ok(local) = tcp.local_addr() else { return };
        let accepted =
            Accepted { tcp, peer: canonical(peer), local: canonical(local), opened: Instant::now() };
        let connection = Connection {
            entry_point: self.name.clone(),
            settings,
            tls: self.shared.tls.load_full(),
            proxy: self.shared.proxy.clone(),
            events: self.shared.events.clone(),
        };
        let guard = Guard::new(self, permit);
        let phase = self.phase.clone();
        tokio::spawn(async move {
            let _guard = guard;
            connection.run(accepted, phase).await;
        });
    }
}

/// What an open connection holds, let go however it ends.
struct Guard {
    entry_point: Arc<str>,
    events: Arc<dyn ConnectionEvents>,
    _open: [Entered; 2],
    _permit: Option<OwnedSemaphorePermit>,
}

impl Guard {
    fn new<E>(accept: &Accept<E>, permit: Option<OwnedSemaphorePermit>) -> Self {
        accept.shared.events.opened(&accept.name);
        Self {
            entry_point: accept.name.clone(),
            events: accept.shared.events.clone(),
            _open: [accept.open.enter(), accept.shared.open.enter()],
            _permit: permit,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.events.closed(&self.entry_point);
    }
}

fn is_about_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// IPv4 clients of a dual-stack socket as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
