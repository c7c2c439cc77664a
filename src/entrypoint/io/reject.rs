//! Answers to what is no acceptable HTTP/1 request, where Pingora would close without a word.

use http::StatusCode;

/// Why a connection or a request on it was refused before HTTP processing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// A PROXY header that cannot be read.
    ProxyHeader,
    /// No complete PROXY header, ClientHello or handshake in time.
    HandshakeTimeout,
    /// The TLS handshake failed.
    Handshake,
    /// The TLS handshake was refused: no certificate or no usable options for the name.
    ServerName,
    /// A request line that is none, or framing that contradicts itself: 400.
    Malformed,
    /// A body that is not the chunked coding that it should be: 400, from the proxy.
    MalformedBody,
    /// The head did not arrive in time: 408.
    HeaderTimeout,
    /// The request line is too long: 414.
    TargetTooLong,
    /// The head is too large: 431.
    HeaderTooLarge,
    /// A method or transfer coding that is not implemented: 501.
    NotImplemented,
    /// Not HTTP/1.0 or HTTP/1.1: 505.
    Version,
}

impl RejectReason {
    /// The status that an HTTP/1 client is told, if any.
    pub fn status(self) -> Option<StatusCode> {
        match self {
            Self::ProxyHeader | Self::HandshakeTimeout | Self::Handshake | Self::ServerName => None,
            Self::Malformed | Self::MalformedBody => Some(StatusCode::BAD_REQUEST),
            Self::HeaderTimeout => Some(StatusCode::REQUEST_TIMEOUT),
            Self::TargetTooLong => Some(StatusCode::URI_TOO_LONG),
            Self::HeaderTooLarge => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Self::NotImplemented => Some(StatusCode::NOT_IMPLEMENTED),
            Self::Version => Some(StatusCode::HTTP_VERSION_NOT_SUPPORTED),
        }
    }

    /// A name for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProxyHeader => "proxy_header",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Handshake => "handshake",
            Self::ServerName => "server_name",
            Self::Malformed => "malformed",
            Self::MalformedBody => "malformed_body",
            Self::HeaderTimeout => "header_timeout",
            Self::TargetTooLong => "target_too_long",
            Self::HeaderTooLarge => "header_too_large",
            Self::NotImplemented => "not_implemented",
            Self::Version => "version",
        }
    }

    /// The complete answer on the wire; empty when there is none.
    pub(super) fn answer(self) -> Vec<u8> {
        let Some(status) = self.status() else { return Vec::new() };
        let (code, phrase) = (status.as_str(), status.canonical_reason().unwrap_or_default());
        // The text of Go's server, with a length so that no client waits for the end.
        let body = format!("{code} {phrase}");
        format!(
            "HTTP/1.1 {code} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}
