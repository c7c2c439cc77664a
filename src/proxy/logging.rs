//! Last phase: one record per request, for the access log and the metrics.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, Version};
use pingora::proxy::Session;
use pingora::{Error, ErrorSource};

use super::context::{Ctx, Seen};
use super::edge::Shared;
use super::failure::{CLIENT_CLOSED_REQUEST, TOO_LATE};
use super::sanity;
use super::snapshot::{EntryPoint, Route};
use crate::net::ConnInfo;
use crate::net::cut;
use crate::net::forwarded::X_FORWARDED_FOR;
use crate::observe::{LevelMetrics, OriginRecord, Protocol, RequestRecord, TlsRecord, holds_credentials};

/// Bytes of a request line that is no HTTP that are recorded.
const LONGEST_LINE: usize = 2048;

/// What only the end of a request tells.
struct End<'a> {
    status: u16,
    request_headers: &'a HeaderMap,
    response_headers: Option<&'a HeaderMap>,
    request_bytes: u64,
    response_bytes: u64,
    origin_bytes: u64,
}

/// The request is over, one way or the other.
pub(super) fn finished(session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
    ctx.logged = true;
    if let Some(error) = error {
        report(error, ctx);
    }
    hide_own_cookies(session, ctx);
    hide_authorization(session, ctx);
    show_user_headers(session, ctx);
    let written = session.response_written();
    let end = End {
        status: ctx
            .status
            .or(written.map(|response| response.status.as_u16()))
            .unwrap_or(CLIENT_CLOSED_REQUEST),
        request_headers: &session.req_header().headers,
        response_headers: written.map(|response| &response.headers),
        request_bytes: session.body_bytes_read() as u64,
        response_bytes: session.body_bytes_sent() as u64,
        origin_bytes: session.upstream_body_bytes_received() as u64,
    };
    emit(ctx, &end);
}

/// A request that goes to a service has lost our cookies; one that is answered before still has them.
fn hide_own_cookies(session: &mut Session, ctx: &Ctx) {
    if let Some(entry) = &ctx.entry
        && ctx.shared.access_log.as_ref().is_some_and(|log| log.keeps_header(&COOKIE))
    {
        sanity::own_cookies(session.req_header_mut(), entry);
    }
}

/// Marks a bearer token that is a login, where it would be shown otherwise.
fn hide_authorization(session: &mut Session, ctx: &Ctx) {
    if !ctx.state.hide_authorization {
        return;
    }
    let logged = ctx.shared.access_log.as_ref().is_some_and(|log| log.keeps_header(&AUTHORIZATION));
    if !logged && !any_metrics(ctx, |metrics| metrics.shows_header(&AUTHORIZATION)) {
        return;
    }
    if let Some(mut token) = session.req_header().headers.get(AUTHORIZATION).cloned() {
        token.set_sensitive(true);
        // In place of a header that is there, so there is room for it.
        let _ = session.req_header_mut().insert_header(AUTHORIZATION, token);
    }
}

/// What only the service's copy of the request had is shown where other headers are.
fn show_user_headers(session: &mut Session, ctx: &Ctx) {
    let Some(headers) = &ctx.state.user_headers else { return };
    let logged = ctx.shared.access_log.as_ref().is_some_and(|log| log.keeps_headers());
    if logged || any_metrics(ctx, LevelMetrics::shows_headers) {
        headers.put_on(session.req_header_mut());
    }
}

/// Whether it is so of any metrics that count this request.
fn any_metrics(ctx: &Ctx, mut is_so: impl FnMut(&LevelMetrics) -> bool) -> bool {
    let of_route = ctx.route.as_deref().map(|route| [&route.metrics, &route.service_metrics]);
    let of_entry = ctx.entry.as_deref().map(|entry| &entry.metrics);
    of_route.into_iter().flatten().chain(of_entry).flatten().any(|metrics| is_so(metrics))
}

/// The request was dropped before it was over: a panic, or a connection cut from under it.
pub(super) fn abandoned(ctx: &mut Ctx) {
    ctx.logged = true;
    let panicking = std::thread::panicking();
    let headers = HeaderMap::new();
    let is_cut = ctx.cut.as_ref().is_some_and(|cut| cut.load(Ordering::Acquire));
    let status = match ctx.origin.status {
        _ if panicking => 500,
        Some(sent) if is_cut || cut::is_late() => sent,
        None if cut::is_late() => TOO_LATE,
        _ => CLIENT_CLOSED_REQUEST,
    };
    emit(
        ctx,
        &End {
            status,
            request_headers: &headers,
            response_headers: None,
            request_bytes: 0,
            response_bytes: 0,
            origin_bytes: 0,
        },
    );
}

/// One line about a failure; a client that leaves is no failure of ours.
fn report(error: &Error, ctx: &Ctx) {
    let router = ctx.route.as_ref().map_or("-", |route| &*route.name);
    let server = ctx.origin.endpoint.as_ref().map_or("-", |endpoint| &**endpoint.url());
    let request_id = ctx.request_id();
    if *error.esource() == ErrorSource::Downstream {
        tracing::debug!(request_id, router, server, %error, "client failed");
    } else {
        tracing::warn!(request_id, router, server, attempts = ctx.origin.attempts, %error, "request failed");
    }
}

fn emit(ctx: &Ctx, end: &End<'_>) {
    let (Some(seen), Some(conn), Some(entry)) = (&ctx.seen, &ctx.conn, &ctx.entry) else { return };
    write(&ctx.shared, entry, ctx.route.as_deref(), &record(ctx, seen, conn, end));
}

fn write(shared: &Shared, entry: &EntryPoint, route: Option<&Route>, record: &RequestRecord<'_>) {
    let observed = route.map_or(entry.observed, |route| route.observed);
    if observed.metrics {
        let of_route = route.map(|route| [&route.metrics, &route.service_metrics]);
        for metrics in of_route.into_iter().flatten().chain([&entry.metrics]).flatten() {
            metrics.record(record);
        }
    }
    if let Some(log) = shared.access_log.as_ref().filter(|_| observed.access_log) {
        log.write(record);
    }
}

/// Records of requests that are answered before they are parsed, because they are no HTTP.
#[derive(Clone)]
pub struct Unparsed(pub(super) Arc<Shared>);

impl Unparsed {
    /// Records an answer of `status` to a request whose first line is `line`, which may be anything. It `took` this
    /// long.
    pub fn record(&self, conn: &ConnInfo, line: &[u8], status: u16, took: Duration) {
        let Some(entry) = self.0.snapshot.load().entry_points.get(&conn.entry_point).cloned() else { return };
        let line = String::from_utf8_lossy(line.get(..LONGEST_LINE).unwrap_or(line));
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let version = match line.ends_with("HTTP/1.0") {
            _ if conn.h2 => Version::HTTP_2,
            true => Version::HTTP_10,
            false => Version::HTTP_11,
        };
        let headers = HeaderMap::new();
        let record = RequestRecord {
            start: SystemTime::now().checked_sub(took).unwrap_or(SystemTime::UNIX_EPOCH),
            duration: took,
            entry_point: &conn.entry_point,
            client: conn.peer,
            forwarded_for: None,
            user: None,
            method,
            authority: "",
            path,
            query,
            hide_query: query.is_some_and(|query| holds_credentials(query.as_bytes())),
            version,
            protocol: Protocol::Http,
            tls: tls(conn),
            request_headers: &headers,
            request_bytes: 0,
            router: None,
            service: None,
            origin: None,
            retry_attempts: 0,
            status,
            response_headers: None,
            response_bytes: 0,
            grpc_status: None,
            request_id: "",
        };
        write(&self.0, &entry, None, &record);
    }
}

fn tls(conn: &ConnInfo) -> Option<TlsRecord<'_>> {
    conn.tls.as_ref().map(|tls| TlsRecord {
        version: tls.version,
        cipher: tls.cipher,
        client_subject: tls.client_cert.as_ref().and_then(|certificate| certificate.subject.as_deref()),
    })
}

fn record<'a>(ctx: &'a Ctx, seen: &'a Seen, conn: &'a ConnInfo, end: &End<'a>) -> RequestRecord<'a> {
    let trusted = ctx.facts.as_ref().is_some_and(|facts| facts.peer_trusted);
    RequestRecord {
        start: ctx.started_at,
        duration: ctx.started.elapsed(),
        entry_point: &conn.entry_point,
        client: conn.peer,
        forwarded_for: end
            .request_headers
            .get(X_FORWARDED_FOR)
            .filter(|_| trusted)
            .and_then(|value| value.to_str().ok()),
        user: ctx.state.user.as_deref(),
        method: seen.method.as_str(),
        authority: seen.authority.to_str().unwrap_or_default(),
        path: seen.uri.path(),
        query: seen.uri.query(),
        hide_query: ctx.state.hide_query
            || ctx.origin.endpoint.is_none()
                && seen.uri.query().is_some_and(|query| holds_credentials(query.as_bytes())),
        version: if seen.version == Version::HTTP_09 { Version::HTTP_10 } else { seen.version },
        protocol: seen.protocol,
        tls: tls(conn),
        request_headers: end.request_headers,
        request_bytes: end.request_bytes,
        router: ctx.route.as_ref().map(|route| &*route.name),
        service: ctx.route.as_ref().map(|route| &*route.service_name),
        origin: origin(ctx, end),
        retry_attempts: ctx.origin.attempts.saturating_sub(1),
        status: end.status,
        response_headers: end.response_headers,
        response_bytes: end.response_bytes,
        grpc_status: ctx.grpc_status,
        request_id: ctx.request_id(),
    }
}

fn origin<'a>(ctx: &'a Ctx, end: &End<'a>) -> Option<OriginRecord<'a>> {
    let endpoint = ctx.origin.endpoint.as_ref()?;
    let elapsed = || ctx.origin.started.map_or(Duration::ZERO, |started| started.elapsed());
    Some(OriginRecord {
        url: endpoint.url(),
        addr: endpoint.host_and_port(),
        status: ctx.origin.status.unwrap_or(end.status),
        duration: ctx.origin.duration.unwrap_or_else(elapsed),
        headers: ctx.origin.headers.as_deref(),
        bytes: end.origin_bytes,
    })
}
