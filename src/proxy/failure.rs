//! When it goes wrong: what may be tried again, and what the client is told.

use std::time::Duration;

use http::{Method, StatusCode};
use pingora::proxy::{FailToProxy, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, RetryType};

use super::context::Ctx;
use super::respond::{linger, respond};
use crate::net::LocalResponse;
use crate::net::cut::ResponseTooLate;

/// Times that a request may be tried, over all addresses of its server.
pub(super) const MAX_ATTEMPTS: u32 = 4;
/// Once connecting has taken this long, no further address is tried.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// The client left before it had an answer. Never written, only logged.
pub(super) const CLIENT_CLOSED_REQUEST: u16 = 499;
/// Nothing was written before the answer's time was up. Only logged.
pub(super) const TOO_LATE: u16 = 504;

/// A connection could not be made: nothing was sent, so the next address of the same server may be
/// tried whatever the request is.
pub(super) fn connecting(ctx: &mut Ctx, peer: &HttpPeer, mut error: Box<Error>) -> Box<Error> {
    let origin = &mut ctx.origin;
    let waited = origin.started.map_or(Duration::ZERO, |started| started.elapsed());
    let addresses = origin.endpoint.as_ref().map_or(0, |endpoint| endpoint.address_count());
    let more = u32::try_from(addresses).unwrap_or(MAX_ATTEMPTS).min(MAX_ATTEMPTS) > origin.attempts;
    let retry = more && waited < CONNECT_PATIENCE && is_unreachable(&error.etype);
    if retry {
        if let Some(endpoint) = &origin.endpoint {
            endpoint.address_failed(origin.address);
        }
        origin.address = origin.address.wrapping_add(1);
    }
    let other_proof = error.etype == ErrorType::TLSHandshakeFailure
        && origin.attempts == 1
        && origin.endpoint.as_ref().is_some_and(|endpoint| endpoint.may_present(peer));
    error.set_retry(retry || other_proof);
    error
}

/// Whether another address of the server may do better. A handshake that fails will fail there too.
fn is_unreachable(error: &ErrorType) -> bool {
    matches!(
        error,
        ErrorType::ConnectTimedout
            | ErrorType::ConnectRefused
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError
            | ErrorType::SocketError
    )
}

/// Something failed on a connection that was there. Always decides about another try: an undecided
/// error makes the engine panic.
pub(super) fn proxying(session: &mut Session, ctx: &Ctx, mut error: Box<Error>, reused: bool) -> Box<Error> {
    if ctx.deadline.as_ref().is_some_and(|deadline| deadline.has_fired()) {
        // What looks like a connection that ended is the one that we have cut.
        let mut late = Error::explain(ErrorType::ReadTimedout, "the response header took too long").into_up();
        late.set_retry(false);
        return late;
    }
    let answered = session.response_written().is_some_and(|response| !response.status.is_informational());
    let replayable = !answered && !session.as_downstream().retry_buffer_truncated();
    let retry = replayable
        && ctx.origin.attempts < MAX_ATTEMPTS
        && may_retry(&error.etype, error.retry, &session.req_header().method, reused);
    error.set_retry(retry);
    error
}

/// Whether a request that can be sent again byte for byte may be.
///
/// The engine marks what came before the server can have acted: a reused connection that died, an
/// HTTP/2 stream that was refused or hit by a graceful GOAWAY (RFC 9113, section 8.7). Only the last
/// two are certain, so only they allow it for methods that must not be repeated; an HTTP/2 protocol
/// error is marked too but is not certain (pingora#979). We mark a certificate that is not the one that
/// was expected, for which another proof is tried before anything is sent.
fn may_retry(error: &ErrorType, marked: RetryType, method: &Method, reused: bool) -> bool {
    let idempotent = method.is_idempotent();
    match marked {
        RetryType::ReusedOnly => reused && idempotent,
        RetryType::Decided(true) => {
            idempotent || matches!(error, ErrorType::H2Error | ErrorType::InvalidCert)
        }
        RetryType::Decided(false) => false,
    }
}

/// What a failure means for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It gets this status.
    Answer(u16),
    /// It is gone.
    ClientGone,
    /// The time for its answer is up (`writeTimeout`): nothing can be written any more.
    TooLate,
}

/// Statuses as Traefik's, but for an untrusted certificate and the like: those are 502, not 500.
fn outcome(source: &ErrorSource, error: &ErrorType) -> Outcome {
    use ErrorType::*;
    match (source, error) {
        (_, HTTPStatus(status)) => Outcome::Answer(*status),
        (ErrorSource::Upstream, ConnectTimedout | TLSHandshakeTimedout | ReadTimedout | WriteTimedout) => {
            Outcome::Answer(504)
        }
        (ErrorSource::Upstream, _) => Outcome::Answer(502),
        (ErrorSource::Downstream, ReadTimedout) => Outcome::Answer(408),
        (ErrorSource::Downstream, InvalidHTTPHeader) => Outcome::Answer(400),
        // `ConnectError` is the engine's word for bytes behind a request that may have none.
        (ErrorSource::Downstream, ConnectError) => Outcome::Answer(400),
        // The engine's private words for malformed chunks (RFC 9112, section 7.1); the client is there.
        (ErrorSource::Downstream, Custom("InvalidChunk" | "InvalidTrailerEnd")) => Outcome::Answer(400),
        (ErrorSource::Downstream, _) => Outcome::ClientGone,
        (ErrorSource::Internal | ErrorSource::Unset, _) => Outcome::Answer(500),
    }
}

/// What our stream says by an I/O error: that a request does not come in time, that its body cannot be followed, or
/// that the answer's time is up.
fn fault(error: &Error) -> Outcome {
    let Some(error) = error.root_cause().downcast_ref::<std::io::Error>() else { return Outcome::ClientGone };
    match error.kind() {
        _ if ResponseTooLate::is_in(error) => Outcome::TooLate,
        std::io::ErrorKind::TimedOut => Outcome::Answer(408),
        std::io::ErrorKind::InvalidData => Outcome::Answer(400),
        _ => Outcome::ClientGone,
    }
}

/// Tells the client, if it is there and nothing was written yet.
pub(super) async fn answer(session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
    let outcome = match outcome(error.esource(), error.etype()) {
        Outcome::ClientGone => fault(error),
        answer => answer,
    };
    let started = session.response_written().is_some_and(|response| {
        !response.status.is_informational() || response.status == StatusCode::SWITCHING_PROTOCOLS
    });
    let error_code = match outcome {
        _ if started => 0,
        Outcome::ClientGone => {
            ctx.status = Some(CLIENT_CLOSED_REQUEST);
            0
        }
        Outcome::TooLate => {
            ctx.status = Some(TOO_LATE);
            0
        }
        Outcome::Answer(status) => {
            ctx.status = Some(status);
            // What is left of the request cannot be trusted to be in step.
            session.set_keepalive(None);
            if let Err(write) = respond(session, ctx, page(status)).await {
                tracing::debug!(request_id = ctx.request_id(), error = %write, "the client left before its error page");
            } else if *error.esource() != ErrorSource::Downstream {
                linger(session).await;
            } else if !session.is_http2() {
                // The body cannot be followed to its end; our stream throws away what comes, for a moment.
                session.as_downstream_mut().shutdown().await;
            }
            status
        }
    };
    FailToProxy { error_code, can_reuse_downstream: false }
}

/// The status' own words as plain text, as Traefik writes it.
fn page(status: u16) -> LocalResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    LocalResponse::text(status, status.canonical_reason().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use pingora::ErrorType::*;

    use super::*;

    const EVERY_TYPE: [ErrorType; 31] = [
        ConnectTimedout,
        ConnectRefused,
        ConnectNoRoute,
        TLSWantX509Lookup,
        TLSHandshakeFailure,
        TLSHandshakeTimedout,
        InvalidCert,
        HandshakeError,
        ConnectError,
        BindError,
        AcceptError,
        SocketError,
        ConnectProxyFailure,
        InvalidHTTPHeader,
        H1Error,
        H2Error,
        H2Downgrade,
        InvalidH2,
        ReadError,
        WriteError,
        ReadTimedout,
        WriteTimedout,
        ConnectionClosed,
        HTTPStatus(503),
        FileOpenError,
        FileReadError,
        FileWriteError,
        InternalError,
        UnknownError,
        Custom("x"),
        CustomCode("x", 7),
    ];

    #[test]
    fn upstream_timeouts_are_504_and_everything_else_there_is_502() {
        for error in &EVERY_TYPE {
            let expected = match error {
                ConnectTimedout | TLSHandshakeTimedout | ReadTimedout | WriteTimedout => 504,
                HTTPStatus(status) => *status,
                _ => 502,
            };
            assert_eq!(outcome(&ErrorSource::Upstream, error), Outcome::Answer(expected), "{error:?}");
        }
    }

    #[test]
    fn a_client_that_left_gets_nothing() {
        for error in [WriteError, ReadError, ConnectionClosed, H2Error, WriteTimedout] {
            assert_eq!(outcome(&ErrorSource::Downstream, &error), Outcome::ClientGone);
        }
        assert_eq!(outcome(&ErrorSource::Downstream, &ReadTimedout), Outcome::Answer(408));
        assert_eq!(outcome(&ErrorSource::Downstream, &InvalidHTTPHeader), Outcome::Answer(400));
    }

    #[test]
    fn our_own_failures_are_500() {
        for source in [ErrorSource::Internal, ErrorSource::Unset] {
            assert_eq!(outcome(&source, &InternalError), Outcome::Answer(500));
        }
    }

    #[test]
    fn only_idempotent_requests_are_repeated_on_a_dead_connection() {
        let marked = RetryType::ReusedOnly;
        assert!(may_retry(&ReadError, marked, &Method::GET, true));
        assert!(!may_retry(&ReadError, marked, &Method::GET, false));
        assert!(!may_retry(&ReadError, marked, &Method::POST, true));
    }

    #[test]
    fn a_refused_stream_is_repeated_for_every_method() {
        let marked = RetryType::Decided(true);
        assert!(may_retry(&H2Error, marked, &Method::POST, false));
        assert!(may_retry(&H2Error, marked, &Method::GET, false));
    }

    #[test]
    fn pingora_979_a_protocol_error_is_not_repeated_for_post() {
        let marked = RetryType::Decided(true);
        assert!(!may_retry(&InvalidH2, marked, &Method::POST, false));
        assert!(!may_retry(&H2Downgrade, marked, &Method::PATCH, false));
        assert!(may_retry(&InvalidH2, marked, &Method::GET, false));
    }

    #[test]
    fn nothing_is_repeated_unmarked() {
        for error in &EVERY_TYPE {
            assert!(!may_retry(error, RetryType::Decided(false), &Method::GET, true));
        }
    }
}
