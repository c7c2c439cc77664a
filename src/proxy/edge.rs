//! What Pingora calls: every phase delegates to its own module.

use std::any::Any;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use pingora::apps::HttpServerOptions;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, HttpProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};

use super::context::Ctx;
use super::logging::Unparsed;
use super::snapshot::Snapshot;
use super::{body, early, failure, logging, request, response, session_end, upstream};
use crate::net::ConnInfo;
use crate::observe::AccessLog;

/// The proxy: routing state, and where its records go.
pub struct Edge {
    shared: Arc<Shared>,
}

/// What every request needs of [`Edge`].
pub(super) struct Shared {
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) access_log: Option<Arc<AccessLog>>,
    /// `X-Forwarded-Server`.
    pub(super) hostname: HeaderValue,
    pub(super) http10_modules: HttpModules,
}

impl Edge {
    /// A proxy that routes by what `snapshot` holds at the time of each request.
    ///
    /// `hostname` is the machine's name, which services see as `X-Forwarded-Server`.
    pub fn new(snapshot: Arc<ArcSwap<Snapshot>>, access_log: Option<Arc<AccessLog>>, hostname: &str) -> Self {
        let hostname =
            HeaderValue::from_str(hostname).unwrap_or_else(|_| HeaderValue::from_static("portcullis"));
        let http10_modules = early::http10_modules();
        Self { shared: Arc::new(Shared { snapshot, access_log, hostname, http10_modules }) }
    }

    /// Where requests are recorded that never come here.
    pub fn unparsed(&self) -> Unparsed {
        Unparsed(Arc::clone(&self.shared))
    }
}

/// The engine around `edge`, ready for connections.
///
/// `conf` gives the number of threads and the size of the connection pool; attempts per request and
/// the treatment of `CONNECT` are ours.
pub fn http_proxy(edge: Edge, mut conf: ServerConf) -> HttpProxy<Edge> {
    conf.max_retries = failure::MAX_ATTEMPTS as usize;
    let mut proxy = HttpProxy::new(edge, Arc::new(conf));
    // Not to proxy it, but to refuse it with our own answer.
    let mut options = HttpServerOptions::default();
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    proxy.handle_init_modules();
    proxy
}

#[async_trait]
impl ProxyHttp for Edge {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new(Arc::clone(&self.shared))
    }

    // No modules: the engine's own are not used, and ours serve HTTP/1.0 clients only.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    // HTTP/1: the connection's facts, which come with every request of it.
    fn on_connection_reuse(&self, _: &mut Session, ctx: &mut Ctx, connection: Box<dyn Any + Send + Sync>) {
        ctx.conn = connection.downcast::<Arc<ConnInfo>>().ok().map(|conn| *conn);
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        early::run(session, ctx)
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        request::run(session, ctx).await
    }

    async fn upstream_peer(&self, _: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        upstream::peer(ctx)
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        peer: &HttpPeer,
        ctx: &mut Ctx,
        error: Box<Error>,
    ) -> Box<Error> {
        failure::connecting(ctx, peer, error)
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        _: bool,
        peer: &HttpPeer,
        _: RawFd,
        digest: Option<&Digest>,
        ctx: &mut Ctx,
    ) -> Result<()> {
        upstream::connected(session, ctx, peer, digest)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        upstream::request(session, request, ctx).await
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        chunk: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        session_end::request_chunk(ctx)?;
        body::request_chunk(ctx, chunk, end);
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        response::from_service(session, response, ctx)
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        chunk: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        session_end::response_chunk(ctx, chunk, end);
        body::response_chunk(ctx, chunk, end);
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut Ctx,
    ) -> Result<Option<Bytes>> {
        response::trailers(trailers, ctx);
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Ctx,
        reused: bool,
    ) -> Box<Error> {
        failure::proxying(session, ctx, error, reused)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
        failure::answer(session, error, ctx).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
        logging::finished(session, error, ctx);
    }

    // Our own record says what the engine's lines would, once and without noise about clients.
    fn suppress_error_log(&self, _: &Session, _: &Ctx, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Ctx, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}
