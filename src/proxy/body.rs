//! Body chunks on their way.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::EXPECT;
use pingora::proxy::Session;

use super::context::Ctx;

/// How long a body that a middleware has asked for may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first `limit` bytes of the request body; nothing if it does not come, or not in time.
pub(super) async fn read(session: &mut Session, limit: usize) -> Bytes {
    let all = async {
        let mut body = BytesMut::new();
        if session.req_header().headers.contains_key(EXPECT) {
            session.as_downstream_mut().write_continue_response().await?;
        }
        while let Some(chunk) = session.as_downstream_mut().read_request_body().await? {
            body.extend_from_slice(chunk.get(..limit - body.len()).unwrap_or(&chunk));
            if body.len() >= limit {
                break;
            }
        }
        Ok::<_, Box<pingora::Error>>(body.freeze())
    };
    match tokio::time::timeout(PATIENCE, all).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) | Err(_) => Bytes::new(),
    }
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
pub(super) fn response_chunk(ctx: &mut Ctx, end: bool) {
    if end {
        ctx.origin.duration = ctx.origin.started.map(|started| started.elapsed());
    }
}
