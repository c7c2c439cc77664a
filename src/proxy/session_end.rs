//! Long answers end with the session of their request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::select_all;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};

use super::context::Ctx;
use crate::net::cut;
use crate::oidc::clock::SystemClock;
use crate::oidc::session::SessionInUse;

/// A request that has lasted this long counts as long.
const LONG: Duration = Duration::from_secs(1);

/// Media types of answers that last.
const STREAMS: [&str; 6] = [
    "text/event-stream",
    "application/grpc",
    "application/x-ndjson",
    "application/stream+json",
    "application/json-seq",
    "multipart/x-mixed-replace",
];

/// A header from the service: streams are known by it, and may never send a byte.
pub(super) fn header(response: &ResponseHeader, ctx: &mut Ctx) {
    if !ctx.state.sessions.is_empty() && is_stream(response) {
        hold(ctx);
    }
}

/// A piece of the request body. After the session's end the request fails: a body that was merely cut off could be
/// taken for a whole one by the service.
///
/// # Errors
/// The session has ended.
pub(super) fn request_chunk(ctx: &mut Ctx) -> Result<()> {
    if has_ended(ctx) {
        return Error::e_explain(ErrorType::HTTPStatus(401), "the session has ended");
    }
    hold_if_long(ctx);
    Ok(())
}

/// A piece of the response body. What comes after the session's end goes nowhere.
pub(super) fn response_chunk(ctx: &mut Ctx, chunk: &mut Option<Bytes>, end: bool) {
    if end {
        return;
    }
    if has_ended(ctx) {
        *chunk = None;
        if ctx.cut.is_none() {
            hold(ctx);
        }
    }
    hold_if_long(ctx);
}

fn has_ended(ctx: &Ctx) -> bool {
    ctx.state.sessions.iter().any(|session| session.entry.is_ended())
}

fn hold_if_long(ctx: &mut Ctx) {
    if !ctx.state.sessions.is_empty() && ctx.cut.is_none() && ctx.started.elapsed() >= LONG {
        hold(ctx);
    }
}

fn is_stream(response: &ResponseHeader) -> bool {
    let media_type = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let known = |media_type: &str| {
        STREAMS.iter().any(|stream| {
            media_type.get(..stream.len()).is_some_and(|start| start.eq_ignore_ascii_case(stream))
        })
    };
    response.status == StatusCode::SWITCHING_PROTOCOLS || media_type.is_some_and(known)
}

/// Lets the end of the request's session end the request.
fn hold(ctx: &mut Ctx) {
    let sessions = ctx.state.sessions.clone();
    let request_id = ctx.request_id().to_owned();
    let flag = Arc::new(AtomicBool::new(false));
    ctx.cut = Some(Arc::clone(&flag));
    cut::end_when(async move {
        let ended = |session: SessionInUse| Box::pin(session.entry.ended(session.end, SystemClock));
        select_all(sessions.into_iter().map(ended)).await;
        flag.store(true, Ordering::Release);
        tracing::info!(request_id, "a stream ends with its session");
    });
}
