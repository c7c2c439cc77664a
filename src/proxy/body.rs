//! Body chunks on their way.

use bytes::Bytes;

use super::context::Ctx;

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
