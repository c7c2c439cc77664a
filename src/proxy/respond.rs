//! Writes an answer of our own.

use http::header::{CONTENT_LENGTH, EXPECT, HeaderValue};
use http::{Method, StatusCode};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::context::Ctx;
use super::response;
use crate::net::LocalResponse;

/// Writes `answer` after the chain has seen its header, as it sees a service's. What nobody is there to read is undone.
///
/// # Errors
/// The client is gone.
pub(super) async fn respond(session: &mut Session, ctx: &mut Ctx, answer: LocalResponse) -> Result<()> {
    let undo = answer.undo.clone();
    let written = write(session, ctx, answer).await.map_err(pingora::Error::into_down);
    if let (Err(_), Some(undo)) = (&written, undo) {
        undo.run();
    }
    written
}

async fn write(session: &mut Session, ctx: &mut Ctx, answer: LocalResponse) -> Result<()> {
    let LocalResponse { status, headers, body, .. } = answer;
    let mut header = ResponseHeader::build(status, Some(headers.len() + 6))?;
    for (name, value) in &headers {
        header.append_header(name, value)?;
    }
    response::through_chain(session.req_header(), ctx, &mut header);
    // The chain may have changed it.
    let status = header.status;
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bodiless {
        header.remove_header(&CONTENT_LENGTH);
    } else {
        header.insert_header(CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    }
    if session.req_header().headers.contains_key(EXPECT) {
        // The client waits for our leave to send its body, which it will never get: what it sends
        // next cannot be told from a body any more (RFC 9110, section 10.1.1).
        session.set_keepalive(None);
    } else {
        // What is left of the body is read and thrown away, within the drain timeout.
        session.set_close_on_response_before_downstream_finish(false);
    }
    let head = session.req_header().method == Method::HEAD;
    session.as_downstream_mut().write_response_header(Box::new(header)).await?;
    if !(bodiless || head || body.is_empty()) {
        session.as_downstream_mut().write_response_body(body, true).await?;
    }
    session.as_downstream_mut().finish_body().await
}

/// Reads what is left of the request body before the connection is closed, within the drain
/// timeout: closing it at once would reset it, and a client that is still sending would not see
/// the answer (RFC 9112, section 9.6).
pub(super) async fn linger(session: &mut Session) {
    let last = session.get_keepalive().is_none() || session.get_keepalive_reuses_remaining() == Some(0);
    let closing = last && !session.is_http2();
    if closing && !session.req_header().headers.contains_key(EXPECT) && !session.is_body_done() {
        // The answer is out; whether the client ever finishes changes nothing.
        let _ = session.as_downstream_mut().drain_request_body().await;
    }
}
