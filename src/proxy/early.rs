//! First phase: settings of the session, the request made sane, the router matched.
//!
//! The snapshot is loaded here, once; what is decided here stands for the whole request. An answer
//! of our own is only noted, because Pingora can write one no earlier than in the next phase.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderValue;
use http::{StatusCode, Version};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use super::context::{Ctx, Seen, new_request_id};
use super::edge::Shared;
use super::sanity::{self, Refusal, refuse, text};
use super::snapshot::EntryPoint;
use super::{response, upgrade};
use crate::middleware::Facts;
use crate::net::headers::connection_names;
use crate::net::{ConnInfo, canonical_host, forwarded};
use crate::observe::Protocol;
use crate::router::RequestView;
use crate::service::Use;

/// How long what is left of a request body may take to arrive after we have answered.
const DRAIN: Duration = Duration::from_secs(5);
/// The engine itself holds no larger header than this (1 MiB less one byte).
const ENGINE_HEADER_LIMIT: usize = 1_048_575;

pub(super) fn run(session: &mut Session, ctx: &mut Ctx) -> pingora::Result<()> {
    // HTTP/2 hands the connection over with the request; the engine clones extensions with the
    // header on each attempt, so it is taken out.
    if let Some(conn) = session.req_header_mut().extensions_mut().remove::<Arc<ConnInfo>>() {
        ctx.conn = Some(conn);
    }
    let conn = ctx.conn.clone().ok_or_else(|| {
        pingora::Error::explain(pingora::ErrorType::InternalError, "a request without its connection")
    })?;
    let entry = ctx.shared.snapshot.load().entry_points.get(&conn.entry_point).cloned();
    let Some(entry) = entry else {
        // The entry point went away while its connection lived on.
        ctx.answer = Some(not_found());
        return Ok(());
    };
    ctx.entry = Some(Arc::clone(&entry));
    // The engine reads the first `Connection` line only.
    let close = connection_names(&session.req_header().headers, "close");
    let raw_fragment = has_raw_fragment(session);
    if let Err(refusal) = judge(session.req_header_mut(), ctx, &conn, &entry, raw_fragment) {
        ctx.answer = Some(refusal);
    }
    configure(session, ctx, &conn, &entry);
    if close {
        session.set_keepalive(None);
    }
    Ok(())
}

/// `404 page not found`, as Go says it.
pub(super) fn not_found() -> Refusal {
    Box::new(text(StatusCode::NOT_FOUND, "404 page not found\n"))
}

/// Deadlines and keep-alive, which the engine resets with every request.
fn configure(session: &mut Session, ctx: &mut Ctx, conn: &ConnInfo, entry: &EntryPoint) {
    if conn.control.is_closing() {
        session.set_keepalive(None);
    } else if session.get_keepalive().is_some() {
        // Zero means for ever; a shorter time than a second is a second.
        let seconds = entry.idle_timeout.map_or(0, |idle| idle.as_secs().max(1));
        session.set_keepalive(Some(seconds));
    }
    session.set_total_drain_timeout(Some(DRAIN));
    let tunnel = ctx.wanted != Use::Request;
    // Bytes behind an upgrade request belong to the tunnel, not to a next request; our stream holds them back until
    // there is one.
    session.set_pipelining_enabled(!tunnel);
    session.set_read_timeout(if tunnel { None } else { entry.body_idle_timeout });
    if session.req_header().version < Version::HTTP_11 {
        // HTTP/1.0 knows no interim answers (RFC 9110, section 15.2).
        session.set_ignore_info_resp(true);
        session.downstream_modules_ctx = ctx.shared.http10_modules.build_ctx();
    }
}

fn judge(
    request: &mut RequestHeader,
    ctx: &mut Ctx,
    conn: &ConnInfo,
    entry: &EntryPoint,
    raw_fragment: bool,
) -> Result<(), Refusal> {
    ctx.seen = Some(Seen {
        method: request.method.clone(),
        uri: request.uri.clone(),
        authority: HeaderValue::from_static(""),
        version: request.version,
        protocol: Protocol::of(&request.headers),
    });
    sanity::method(request)?;
    if raw_fragment {
        return Err(refuse(StatusCode::BAD_REQUEST));
    }
    if entry.max_header_bytes < ENGINE_HEADER_LIMIT {
        sanity::size(request, entry.max_header_bytes)?;
    }
    let routing_path = sanity::target(request, entry)?;
    let authority = sanity::authority(request)?;
    sanity::length(request)?;
    if let Some(seen) = &mut ctx.seen {
        seen.authority = authority.clone();
    }
    let peer = conn.peer.ip();
    let trusted = entry.trust.trusts(peer);
    sanity::headers(request, entry, trusted)?;
    sanity::connection(request, entry)?;
    sanity::join_cookies(request);
    match upgrade::wanted(&request.headers, request.version) {
        Some(wanted) => ctx.wanted = wanted,
        None => sanity::drop_upgrade(request),
    }
    let tls = conn.tls.is_some();
    forward(request, &ctx.shared, &conn.peer_address, &authority, tls, ctx.wanted == Use::WebSocket);
    ctx.facts = Some(facts(request, conn, entry, trusted));
    route(request, ctx, conn, entry, authority.to_str().unwrap_or_default(), routing_path.as_deref())
}

/// Sets the forwarding headers that are missing.
fn forward(
    request: &mut RequestHeader,
    shared: &Shared,
    client: &HeaderValue,
    authority: &HeaderValue,
    tls: bool,
    websocket: bool,
) {
    // As in Go, what is empty is not there.
    let has = |request: &RequestHeader, name| {
        request.headers.get(name).is_some_and(|value: &HeaderValue| !value.is_empty())
    };
    let real_ip = has(request, forwarded::X_REAL_IP);
    let proto = has(request, forwarded::X_FORWARDED_PROTO);
    let port = has(request, forwarded::X_FORWARDED_PORT);
    let host = has(request, forwarded::X_FORWARDED_HOST) || authority.is_empty();
    insert(request, real_ip, "X-Real-Ip", || client.clone());
    insert(request, proto, "X-Forwarded-Proto", || forwarded::proto(tls, websocket));
    let scheme = forwarded::outside_scheme(&request.headers, tls);
    insert(request, port, "X-Forwarded-Port", || {
        forwarded::port(authority.to_str().unwrap_or_default(), scheme)
    });
    insert(request, host, "X-Forwarded-Host", || authority.clone());
    insert(request, false, "X-Forwarded-Server", || shared.hostname.clone());
}

fn insert(
    request: &mut RequestHeader,
    present: bool,
    name: &'static str,
    value: impl FnOnce() -> HeaderValue,
) {
    if !present {
        // Name and value are valid; only a header map that is full refuses, and then the request
        // is at the engine's limit of 256 headers anyway.
        let _ = request.insert_header(name, value());
    }
}

fn facts(request: &RequestHeader, conn: &ConnInfo, entry: &EntryPoint, trusted: bool) -> Facts {
    let tls = conn.tls.is_some();
    Facts {
        client: conn.peer,
        outside_client: forwarded::outside_client(&request.headers, &entry.trust, conn.peer.ip()),
        tls,
        scheme: forwarded::outside_scheme(&request.headers, tls),
        entry_point: Arc::clone(&entry.name),
        peer_trusted: trusted,
        request_id: new_request_id(),
    }
}

fn route(
    request: &RequestHeader,
    ctx: &mut Ctx,
    conn: &ConnInfo,
    entry: &EntryPoint,
    authority: &str,
    routing_path: Option<&str>,
) -> Result<(), Refusal> {
    let host = canonical_host(authority);
    let view = RequestView {
        method: &request.method,
        host: &host,
        path: routing_path.unwrap_or_else(|| request.uri.path()),
        query: request.uri.query(),
        headers: &request.headers,
        client: conn.peer.ip(),
    };
    let routes = if conn.tls.is_some() { &entry.tls } else { &entry.plain };
    let found = routes.router.route(&view).and_then(|number| routes.routes.get(number));
    let found = found.ok_or_else(not_found)?;
    ctx.route = Some(Arc::clone(found));
    if !entry.encoded_characters.allow(request.uri.path()) {
        return Err(refuse(StatusCode::BAD_REQUEST));
    }
    let other = |name: &str, wanted: &str| name != wanted;
    // A broken router answers 404 on every connection.
    if let Some(tls) = conn.tls.as_ref().filter(|_| found.broken.is_none())
        && (other(&tls.options_name, entry.options_of(&host))
            || found.tls_options.as_deref().is_some_and(|wanted| other(&tls.options_name, wanted)))
    {
        // The connection was made under other TLS options than this host or this router asks for
        // (RFC 9110, section 15.5.20).
        return Err(refuse(StatusCode::MISDIRECTED_REQUEST));
    }
    Ok(())
}

/// A `#` in the request line: the engine cuts it off before it hands the target over.
fn has_raw_fragment(session: &Session) -> bool {
    let Some(http1) = session.as_http1() else { return false };
    let raw = http1.get_headers_raw_bytes();
    let end = memchr::memchr(b'\n', &raw).unwrap_or(raw.len());
    memchr::memchr(b'#', &raw).is_some_and(|at| at < end)
}

/// Modules of HTTP/1.0 requests.
pub(super) fn http10_modules() -> pingora::modules::http::HttpModules {
    let mut modules = pingora::modules::http::HttpModules::new();
    modules.add_module(Box::new(response::Http10));
    modules
}
