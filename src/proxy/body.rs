//! Body chunks on their way.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, EXPECT};
use pingora::proxy::Session;

use super::context::Ctx;
use super::sanity::{Refusal, refuse};

/// How long a body that a middleware has asked for may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The request body; nothing if it does not come, or not in time.
///
/// # Errors
/// 413 for a body of more than `limit` bytes, of which no more is read.
pub(super) async fn read(session: &mut Session, limit: usize) -> Result<Bytes, Refusal> {
    let headers = &session.req_header().headers;
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let waits = headers.contains_key(EXPECT);
    let all = async {
        let mut body = BytesMut::new();
        if waits {
            session.as_downstream_mut().write_continue_response().await?;
        }
        while let Some(chunk) = session.as_downstream_mut().read_request_body().await? {
            body.extend_from_slice(&chunk);
            if body.len() > limit {
                return Ok(None);
            }
        }
        Ok::<_, Box<pingora::Error>>(Some(body.freeze()))
    };
    match tokio::time::timeout(PATIENCE, all).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => Err(too_large()),
        Ok(Err(_)) | Err(_) => Ok(Bytes::new()),
    }
}

fn too_large() -> Refusal {
    refuse(StatusCode::PAYLOAD_TOO_LARGE)
}

/// A chunk of the request body on its way to the service.
pub(super) fn request_chunk(ctx: &mut Ctx, chunk: &mut Option<Bytes>, end: bool) {
    if !end {
        return;
    }
    // An HTTP/2 client may end its body with an empty DATA frame; the engine would write the last
    // chunk of an HTTP/1 body twice then, and the next request on that connection would be read
    // from its middle (pingora#935).
    if chunk.as_ref().is_some_and(Bytes::is_empty) {
        *chunk = None;
    }
    if let Some(gate) = ctx.gate.take() {
        gate.request_ends();
    }
    if let Some(deadline) = &mut ctx.deadline {
        deadline.start();
    }
}

/// A chunk of the service's response body.
pub(super) fn response_chunk(ctx: &mut Ctx, chunk: &mut Option<Bytes>, end: bool) {
    // An HTTP/2 service can send a body where there is none (RFC 9110, section 6.4.1), which a client of HTTP/2 would
    // take for a fault of ours. Bodies behind HEAD are refused by the library, and HTTP/1 has no place for either.
    if matches!(ctx.origin.status, Some(204 | 304)) {
        *chunk = None;
    }
    if end {
        ctx.origin.duration = ctx.origin.started.map(|started| started.elapsed());
    }
}
