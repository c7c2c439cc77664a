//! The response header on its way to the client.

use std::any::Any;

use async_trait::async_trait;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{StatusCode, Version};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::{HttpModule, HttpModuleBuilder, Module};
use pingora::proxy::Session;
use smallvec::SmallVec;

use super::context::Ctx;
use super::{framing, session_end};
use crate::middleware::ResponseFacts;
use crate::net::headers::{connection_members, is_hop_by_hop};
use crate::service::Use;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// A header from the service.
pub(super) fn from_service(
    session: &mut Session,
    response: &mut ResponseHeader,
    ctx: &mut Ctx,
) -> Result<()> {
    let switching = response.status == StatusCode::SWITCHING_PROTOCOLS;
    if response.status.is_informational() && !switching {
        interim(session, response);
        return Ok(());
    }
    session.set_close_on_response_before_downstream_finish(true);
    if switching {
        framing::agrees(ctx.wanted != Use::Request, &session.req_header().headers, response)?;
    } else {
        framing::settle(response)?;
    }
    if response.version < Version::HTTP_11 {
        // The version is ours and not the service's (RFC 9110, section 6.2).
        response.set_version(Version::HTTP_11);
    }
    ctx.deadline = None;
    ctx.origin.status = Some(response.status.as_u16());
    ctx.origin.duration = ctx.origin.started.map(|started| started.elapsed());
    note_grpc_status(&response.headers, ctx);
    if switching {
        // The tunnel may be silent for as long as it likes.
        session.set_read_timeout(None);
        if let Some(conn) = &ctx.conn {
            conn.control.begin_tunnel();
        }
    } else {
        let trailers = response.version == Version::HTTP_2 && session.is_http2();
        strip_hop_by_hop(response, trailers);
    }
    session_end::header(response, ctx);
    if ctx.shared.access_log.as_ref().is_some_and(|log| log.keeps_headers()) {
        ctx.origin.headers = Some(Box::new(response.headers.clone()));
    }
    through_chain(session.req_header(), ctx, response);
    if ctx.conn.as_ref().is_some_and(|conn| conn.control.is_closing()) {
        session.set_keepalive(None);
    }
    if session.req_header().version < Version::HTTP_11 {
        close_delimit(session, response);
    }
    Ok(())
}

/// An answer before the answer.
fn interim(session: &mut Session, response: &mut ResponseHeader) {
    // The request's body is yet to come, often because of this answer. The engine would take it for the last one, and
    // close the connection because the body is not read.
    session.set_close_on_response_before_downstream_finish(false);
    framing::unframe(response);
    strip_hop_by_hop(response, false);
}

/// Shows a header to the middlewares that the request passed, innermost first.
pub(super) fn through_chain(request: &RequestHeader, ctx: &Ctx, response: &mut ResponseHeader) {
    if let (true, Some(route), Some(facts)) = (ctx.chain_ran, &ctx.route, &ctx.facts) {
        route.chain.on_response(&ResponseFacts { request, facts, state: &ctx.state }, response);
    }
}

/// Headers of the connection between us and the service (RFC 9110, section 7.6.1). The engine
/// writes `Connection` and `Transfer-Encoding` itself. `trailers`: they reach the client, so their
/// announcement may too.
fn strip_hop_by_hop(response: &mut ResponseHeader, trailers: bool) {
    let belongs_to_connection = |name: &&HeaderName| match **name {
        TRAILER => !trailers,
        UPGRADE => true,
        _ => is_hop_by_hop(name),
    };
    let mut unwanted: SmallVec<[HeaderName; 4]> =
        response.headers.keys().filter(belongs_to_connection).cloned().collect();
    if response.headers.contains_key(CONNECTION) {
        let named = connection_members(&response.headers).filter_map(|name| name.parse::<HeaderName>().ok());
        unwanted.extend(named.filter(|name| *name != TRANSFER_ENCODING && *name != CONTENT_LENGTH));
        unwanted.push(CONNECTION);
    }
    for name in &unwanted {
        response.remove_header(name);
    }
}

/// A client that speaks HTTP/1.0 knows no chunks: without a length the end of the connection ends
/// the body (RFC 9112, section 6.1). The engine would send it chunks.
fn close_delimit(session: &mut Session, response: &mut ResponseHeader) {
    response.remove_header(&TRANSFER_ENCODING);
    if !response.headers.contains_key(CONTENT_LENGTH) {
        session.set_keepalive(None);
    }
}

/// `grpc-status`, which a response without messages carries in its header and others in trailers.
pub(super) fn trailers(trailers: &HeaderMap, ctx: &mut Ctx) {
    note_grpc_status(trailers, ctx);
}

fn note_grpc_status(headers: &HeaderMap, ctx: &mut Ctx) {
    let status = headers.get(GRPC_STATUS).map(HeaderValue::to_str);
    if let Some(Ok(status)) = status {
        ctx.grpc_status = status.trim_ascii().parse().ok();
    }
}

/// Undoes the chunks that the engine adds to HTTP/2 responses behind `response_filter`. Only
/// sessions of HTTP/1.0 clients have it.
pub(super) struct Http10;

impl HttpModuleBuilder for Http10 {
    fn init(&self) -> Module {
        Box::new(Http10)
    }
}

#[async_trait]
impl HttpModule for Http10 {
    async fn request_header_filter(&mut self, _: &mut RequestHeader) -> Result<()> {
        Ok(())
    }

    async fn response_header_filter(&mut self, response: &mut ResponseHeader, _: bool) -> Result<()> {
        response.remove_header(&TRANSFER_ENCODING);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_inner_connection_stay_there() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [
            ("Connection", "close, X-Inner"),
            ("X-Inner", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Trailer", "Expires"),
            ("Upgrade", "h2c"),
            ("Transfer-Encoding", "chunked"),
            ("X-Outer", "2"),
        ] {
            response.append_header(name, value).unwrap();
        }
        strip_hop_by_hop(&mut response, false);
        let mut left: Vec<_> = response.headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["transfer-encoding", "x-outer"]);
    }
}
