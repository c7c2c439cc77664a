//! What one finished request leaves behind for the access log and the metrics.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, UPGRADE};

/// Everything that is known about a request once its last byte was written.
///
/// The proxy fills it in its logging phase from what it already holds, so every text is borrowed.
/// Fields name facts, not formats: the access log and the metrics derive their own keys from it.
#[derive(Debug, Clone, Copy)]
pub struct RequestRecord<'a> {
    /// When the request header had been read.
    pub start: SystemTime,
    /// From `start` until the answer was written or given up.
    pub duration: Duration,
    /// Name of the entry point that accepted the connection.
    pub entry_point: &'a str,
    /// The client's TCP address, corrected by PROXY protocol.
    pub client: SocketAddr,
    /// X-Forwarded-For, only when it came from a trusted peer. Traefik logs the whole value as `ClientHost`.
    pub forwarded_for: Option<&'a str>,
    /// Who the client is, as an authentication middleware found.
    pub user: Option<&'a str>,
    /// Request method as sent.
    pub method: &'a str,
    /// Host header or `:authority` as sent; empty if there was none.
    pub authority: &'a str,
    /// Path as sent, before any middleware changed it.
    pub path: &'a str,
    /// Query as sent, without the question mark.
    pub query: Option<&'a str>,
    /// True on paths of our own that carry secrets in the query (the OIDC callback): it is never logged.
    pub hide_query: bool,
    /// HTTP version of the client's request.
    pub version: http::Version,
    /// What the request is used for, as Traefik's metrics tell apart.
    pub protocol: Protocol,
    /// TLS of the client's connection; none on plain ports.
    pub tls: Option<TlsRecord<'a>>,
    /// Request headers as the chain left them.
    pub request_headers: &'a HeaderMap,
    /// Bytes of the request body.
    pub request_bytes: u64,
    /// Qualified router name (`web@file`); none when no rule matched.
    pub router: Option<&'a str>,
    /// Qualified service name; none when no rule matched.
    pub service: Option<&'a str>,
    /// The service's part; none when the request was answered before it reached one.
    pub origin: Option<OriginRecord<'a>>,
    /// Attempts after the first one.
    pub retry_attempts: u32,
    /// Status that the client got; 499 when it left before.
    pub status: u16,
    /// Headers that the client got, if any were written.
    pub response_headers: Option<&'a HeaderMap>,
    /// Bytes of the response body that were written.
    pub response_bytes: u64,
    /// `grpc-status` of the answer, from headers or trailers.
    pub grpc_status: Option<u16>,
    /// The id that error pages and log lines of this request carry.
    pub request_id: &'a str,
}

/// TLS facts of a request.
#[derive(Debug, Clone, Copy)]
pub struct TlsRecord<'a> {
    /// Protocol version in any usual spelling (`TLSv1_3`, `TLSv1.3`, `1.3`).
    pub version: &'a str,
    /// Cipher suite, as IANA or rustls spell it.
    pub cipher: &'a str,
    /// Subject of the client's certificate (RFC 4514 text).
    pub client_subject: Option<&'a str>,
}

/// The service's part of a request. Present as soon as a server was picked, also when it could not be reached.
#[derive(Debug, Clone, Copy)]
pub struct OriginRecord<'a> {
    /// URL of the server, as configured.
    pub url: &'a str,
    /// `host:port` of the server.
    pub addr: &'a str,
    /// Status of the service's answer, or ours when it gave none (502, 504).
    pub status: u16,
    /// From the first attempt until the answer ended.
    pub duration: Duration,
    /// Headers of the service's answer, if there was one.
    pub headers: Option<&'a HeaderMap>,
    /// Bytes of the service's response body.
    pub bytes: u64,
}

/// What a request is used for: the `protocol` label of Traefik's request metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// Plain HTTP.
    Http,
    /// A WebSocket handshake (RFC 6455).
    Websocket,
    /// The client asks for server-sent events.
    Sse,
    /// gRPC.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
}

impl Protocol {
    /// Judges by the request headers.
    pub fn of(headers: &HeaderMap) -> Self {
        if lists(headers, CONNECTION, "upgrade") && lists(headers, UPGRADE, "websocket") {
            return Self::Websocket;
        }
        if lists(headers, ACCEPT, "text/event-stream") {
            return Self::Sse;
        }
        let media = headers.get(CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
        if media.starts_with(b"application/grpc-web") {
            Self::GrpcWeb
        } else if media.starts_with(b"application/grpc") {
            Self::Grpc
        } else {
            Self::Http
        }
    }

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Websocket => "websocket",
            Self::Sse => "sse",
            Self::Grpc => "grpc",
            Self::GrpcWeb => "grpc-web",
        }
    }
}

/// True if a member of the comma-separated header `name` equals `value`, ignoring case.
fn lists(headers: &HeaderMap, name: HeaderName, value: &str) -> bool {
    headers
        .get(name)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.split(',').any(|member| member.trim().eq_ignore_ascii_case(value)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn protocol(pairs: &[(&'static str, &'static str)]) -> Protocol {
        let headers = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        Protocol::of(&headers)
    }

    #[test]
    fn protocols_are_told_apart_as_traefik_does() {
        assert_eq!(protocol(&[]), Protocol::Http);
        assert_eq!(
            protocol(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")]),
            Protocol::Websocket
        );
        assert_eq!(protocol(&[("upgrade", "websocket")]), Protocol::Http);
        assert_eq!(protocol(&[("accept", "text/event-stream")]), Protocol::Sse);
        assert_eq!(protocol(&[("content-type", "application/grpc+proto")]), Protocol::Grpc);
        assert_eq!(protocol(&[("content-type", "application/grpc-web-text")]), Protocol::GrpcWeb);
    }
}
