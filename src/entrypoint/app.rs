//! The HTTP application of one connection: hands its facts to every request, then lets the proxy
//! serve it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::server::ShutdownWatch;
use pingora_proxy::{HttpProxy, ProxyHttp};
use tokio::sync::watch;
use tracing::error;

use super::settings::Settings;
use crate::net::{ConnInfo, cut};

/// One connection's application.
///
/// The proxy gets the facts through `ProxyHttp::on_connection_reuse` on HTTP/1 (for every request,
/// the first included), and as an extension of the request header on HTTP/2; both are
/// `Arc<ConnInfo>`.
pub(super) struct ConnApp<E> {
    proxy: Arc<HttpProxy<E>>,
    conn: Arc<ConnInfo>,
    closer: Closer,
    max_requests: Option<u32>,
    /// For a stream of HTTP/2. The head of an HTTP/1 request is still to come when it is served; its answer's time
    /// is kept where that head is read.
    stream_limit: Option<Duration>,
    server_options: HttpServerOptions,
    h2_options: H2Options,
}

impl<E> ConnApp<E> {
    pub(super) fn new(
        proxy: Arc<HttpProxy<E>>,
        conn: Arc<ConnInfo>,
        closer: Closer,
        settings: &Settings,
    ) -> Self {
        let mut server_options = HttpServerOptions::default();
        server_options.h2_idle_timeout = settings.timeouts.idle;
        let mut h2_options = default_h2_options();
        h2_options
            .max_concurrent_streams(settings.http2.max_concurrent_streams)
            .max_header_list_size(settings.http2.max_header_list)
            .initial_window_size(settings.http2.window)
            .initial_connection_window_size(settings.http2.window);
        let max_requests = settings.keep_alive.max_requests;
        let stream_limit = settings.timeouts.write.filter(|_| conn.h2);
        Self { proxy, conn, closer, max_requests, stream_limit, server_options, h2_options }
    }

    /// Counts the request and hands it the facts of its connection.
    fn begin(&self, session: &mut ServerSession) {
        let number = self.conn.control.begin_request();
        let is_last = self.max_requests.is_some_and(|max| number >= max);
        if session.is_http2() {
            if is_last {
                self.closer.close();
            }
            session.req_header_mut().extensions_mut().insert(self.conn.clone());
            return;
        }
        session.set_connection_user_context(Some(Box::new(self.conn.clone())));
        // Waiting for a head, for a body and for the next request is bound by the stream. Pingora's
        // own timers would cut silent WebSocket tunnels after 60 s.
        session.set_keepalive(Some(0));
        session.set_read_timeout(None);
        if is_last || self.conn.control.is_closing() {
            session.set_keepalive_reuses_remaining(Some(0));
        }
    }
}

#[async_trait]
impl<E> HttpServerApp for ConnApp<E>
where
    E: ProxyHttp + Send + Sync + 'static,
    E::CTX: Send + Sync,
{
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.begin(&mut session);
        // A panic ends the request, not the process; on HTTP/2 the other streams live on.
        let served = AssertUnwindSafe(self.proxy.process_new_http(session, shutdown)).catch_unwind();
        match cut::cuttable(served, self.stream_limit).await {
            Some(Ok(reused)) => reused,
            // Ended from outside; what it held is closed.
            None => None,
            Some(Err(_)) => {
                error!(peer = %self.conn.peer, entry_point = %self.conn.entry_point, "a request panicked");
                None
            }
        }
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.server_options)
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(self.h2_options.clone())
    }
}

/// Ends a connection after the requests in flight: `Connection: close` or GOAWAY.
#[derive(Debug, Clone)]
pub(super) struct Closer {
    conn: Arc<ConnInfo>,
    shutdown: Arc<watch::Sender<bool>>,
}

impl Closer {
    /// With the watch that Pingora observes.
    pub(super) fn new(conn: Arc<ConnInfo>) -> (Self, ShutdownWatch) {
        let (shutdown, watch) = watch::channel(false);
        (Self { conn, shutdown: Arc::new(shutdown) }, watch)
    }

    pub(super) fn close(&self) {
        self.conn.control.close_when_idle();
        self.shutdown.send_replace(true);
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.shutdown.borrow()
    }
}
