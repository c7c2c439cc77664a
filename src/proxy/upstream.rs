//! The server's side: which peer, and the request header as the server gets it.

use std::sync::Arc;
use std::time::Instant;

use http::Version;
use http::header::{CONNECTION, CONTENT_TYPE, EXPECT, HOST, HeaderName, HeaderValue, TE};
use pingora::http::RequestHeader;
use pingora::protocols::Digest;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use smallvec::SmallVec;

use super::context::Ctx;
use super::header_deadline::HeaderDeadline;
use super::sanity::replace_target;
use super::snapshot::RouteService;
use crate::net::forwarded;
use crate::net::headers::{connection_members, is_hop_by_hop};
use crate::service::{Cut, Endpoint, Use};

/// The peer of this attempt.
pub(super) fn peer(ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
    let origin = &mut ctx.origin;
    let Some(endpoint) = &origin.endpoint else {
        return Error::e_explain(ErrorType::InternalError, "no server was picked");
    };
    if origin.attempts == 0 {
        origin.address = endpoint.first_address();
        origin.started = Some(Instant::now());
    }
    origin.attempts += 1;
    endpoint
        .peer(origin.address, ctx.wanted)
        .ok_or_else(|| Error::explain(ErrorType::HTTPStatus(502), "server name not resolved").into_up())
}

/// A connection is there, new or pooled.
pub(super) fn connected(
    session: &mut Session,
    ctx: &mut Ctx,
    peer: &HttpPeer,
    digest: Option<&Digest>,
) -> Result<()> {
    if !ctx.origin.endpoint.as_ref().is_some_and(|endpoint| endpoint.admits(peer, digest)) {
        let text = "the server's certificate is none of those that rootCAs lists, or not valid now";
        let mut error = Error::explain(ErrorType::InvalidCert, text).into_up();
        // It may be one that an authority has signed. Nothing was sent.
        error.set_retry(ctx.origin.attempts == 1);
        return Err(error);
    }
    let limit = ctx.origin.endpoint.as_ref().and_then(|endpoint| endpoint.response_header_timeout());
    let cut = digest.and_then(Cut::of);
    // A client may wait for an interim answer before it sends a body, so that would come too late.
    ctx.gate = match cut.as_ref().and_then(Cut::gate) {
        Some(gate) if session.as_downstream_mut().is_body_empty() => Some(Arc::clone(gate)),
        _ => None,
    };
    if let Some(gate) = &ctx.gate {
        gate.hold();
    }
    ctx.deadline = match (limit, cut) {
        (Some(limit), Some(cut)) => Some(Box::new(HeaderDeadline::new(limit, cut))),
        _ => None,
    };
    Ok(())
}

/// Edits the header that goes to the server: a fresh copy of the client's, as the chain left it,
/// on every attempt.
pub(super) async fn request(session: &mut Session, request: &mut RequestHeader, ctx: &mut Ctx) -> Result<()> {
    append_forwarded_for(request, ctx)?;
    if let Some(endpoint) = &ctx.origin.endpoint {
        if !passes_host(ctx) || !names_host(request) {
            request.insert_header(HOST, endpoint.authority().clone())?;
        }
        prepend_path(request, endpoint)?;
    }
    if ctx.wanted == Use::OtherUpgrade {
        keep_only_upgrade(request)?;
    }
    restore_te(session, request)?;
    if let Some(headers) = &ctx.state.user_headers {
        headers.put_on(request);
    }
    answer_expectation(session, request).await
}

fn passes_host(ctx: &Ctx) -> bool {
    match ctx.route.as_ref().map(|route| &route.service) {
        Some(RouteService::Balanced(service)) => service.pass_host_header(),
        _ => true,
    }
}

/// Whether a host is named. HTTP/1.0 needs none, but what goes on is HTTP/1.1 or HTTP/2, which do.
fn names_host(request: &RequestHeader) -> bool {
    request.uri.authority().is_some() || request.headers.get(HOST).is_some_and(|host| !host.is_empty())
}

fn append_forwarded_for(request: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    let wanted = ctx.entry.as_ref().is_some_and(|entry| entry.append_forwarded_for);
    let Some(conn) = ctx.conn.as_ref().filter(|_| wanted && !ctx.state.omit_forwarded_for) else {
        return Ok(());
    };
    let value = forwarded::append_client(&request.headers, &conn.peer_address);
    request.insert_header("X-Forwarded-For", value)
}

/// `preservePath`: the URL's path in front of the request's, joined by one slash.
fn prepend_path(request: &mut RequestHeader, endpoint: &Endpoint) -> Result<()> {
    let Some(base) = endpoint.base_path().filter(|base| *base != "/") else { return Ok(()) };
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    let joined = [base.trim_end_matches('/'), "/", target.trim_start_matches('/')].concat();
    replace_target(request, &joined)
}

/// The engine passes an upgrade other than WebSocket on with every header of the client's
/// connection; only the upgrade itself may cross.
fn keep_only_upgrade(request: &mut RequestHeader) -> Result<()> {
    let named = connection_members(&request.headers).filter_map(|name| name.parse::<HeaderName>().ok());
    let mut unwanted: SmallVec<[HeaderName; 8]> =
        named.filter(|name| *name != http::header::UPGRADE && *name != HOST).collect();
    unwanted.extend(request.headers.keys().filter(|name| is_hop_by_hop(name)).cloned());
    for name in &unwanted {
        request.remove_header(name);
    }
    request.insert_header(CONNECTION, HeaderValue::from_static("Upgrade"))
}

/// gRPC servers insist on `TE: trailers`, which the engine strips like any header of one
/// connection; it is put back where trailers really arrive (HTTP/2) and where gRPC asks.
fn restore_te(session: &Session, request: &mut RequestHeader) -> Result<()> {
    let client = session.req_header();
    let grpc = client
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|media| media.as_bytes().starts_with(b"application/grpc"));
    let asked =
        client.headers.get(TE).and_then(|te| te.to_str().ok()).is_some_and(|te| {
            te.split(',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case("trailers"))
        });
    if grpc || (asked && request.version == Version::HTTP_2) {
        request.insert_header(TE, HeaderValue::from_static("trailers"))?;
    } else if request.version == Version::HTTP_2 {
        // Nothing else may be in it (RFC 9113, section 8.2.2).
        request.remove_header(&TE);
    }
    Ok(())
}

/// `Expect: 100-continue` goes to an HTTP/1 server, whose answer comes back. HTTP/2 servers' interim
/// answers do not come through, so there the client gets its leave from us.
async fn answer_expectation(session: &mut Session, request: &mut RequestHeader) -> Result<()> {
    if request.version != Version::HTTP_2 || !request.headers.contains_key(EXPECT) {
        return Ok(());
    }
    request.remove_header(&EXPECT);
    if session.req_header().version == Version::HTTP_11 {
        // This is not the answer before the end of the body for which the engine closes a connection.
        session.set_close_on_response_before_downstream_finish(false);
        session.as_downstream_mut().write_continue_response().await.map_err(Error::into_down)?;
    }
    Ok(())
}
