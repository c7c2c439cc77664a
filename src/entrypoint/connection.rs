//! The life of one connection: established, served, ended.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora_proxy::{HttpProxy, ProxyHttp};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::app::{Closer, ConnApp};
use super::establish::{Accepted, Establish, Established, Failure};
use super::listener::Phase;
use super::open::ConnectionEvents;
use super::settings::Settings;
use crate::tls::TlsSnapshot;

/// What a connection is served with.
pub(super) struct Connection<E> {
    pub(super) entry_point: Arc<str>,
    pub(super) settings: Arc<Settings>,
    pub(super) tls: Arc<TlsSnapshot>,
    pub(super) proxy: Arc<HttpProxy<E>>,
    pub(super) events: Arc<dyn ConnectionEvents>,
}

impl<E> Connection<E>
where
    E: ProxyHttp + Send + Sync + 'static,
    E::CTX: Send + Sync,
{
    /// Serves until the client goes, a limit is reached, or `phase` says so.
    pub(super) async fn run(self, accepted: Accepted, mut phase: watch::Receiver<Phase>) {
        let opened = accepted.opened;
        let establish = Establish {
            entry_point: &self.entry_point,
            settings: &self.settings,
            tls: self.tls.clone(),
            events: &self.events,
        };
        let established = tokio::select! {
            biased;
            // Nobody has asked anything yet.
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => return,
            established = establish.run(accepted) => established,
        };
        let Established { io, conn, turns } = match established {
            Ok(established) => established,
            Err(Failure::Gone) => return,
            Err(Failure::Rejected(reason)) => return self.events.rejected(&self.entry_point, reason),
        };
        if let Some(turns) = turns {
            // Its request has come, so a drain lets it pass; and `serve` is to see that drain.
            let mut killed = phase.clone();
            tokio::select! {
                biased;
                _ = killed.wait_for(|phase| *phase == Phase::Killed) => return,
                () = turns.take() => {}
            }
        }
        let (closer, shutdown) = Closer::new(conn.clone());
        let app = Arc::new(ConnApp::new(self.proxy, conn, closer.clone(), &self.settings));
        let stream: Stream = Box::new(io);
        let end = self.settings.keep_alive.max_time.map(|age| opened + age);
        serve(app.process_new(stream, &shutdown), end, &closer, phase).await;
    }
}

async fn serve<T>(
    serving: impl Future<Output = T>,
    end: Option<Instant>,
    closer: &Closer,
    mut phase: watch::Receiver<Phase>,
) {
    let mut serving = pin!(serving);
    let mut aged = pin!(async {
        match end {
            Some(end) => sleep_until(end).await,
            None => std::future::pending().await,
        }
    });
    loop {
        tokio::select! {
            biased;
            _ = &mut serving => return,
            changed = phase.changed() => match changed.map(|()| *phase.borrow_and_update()) {
                Ok(Phase::Serving) => {}
                Ok(Phase::Draining) => closer.close(),
                // A listener that is gone without a word has been killed.
                Ok(Phase::Killed) | Err(_) => return,
            },
            () = &mut aged, if !closer.is_closed() => closer.close(),
        }
    }
}
