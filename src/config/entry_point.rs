//! `entryPoints.<name>`: where Portcullis listens and how it treats what arrives there.

use std::time::Duration;

use super::decode::Presence;
use super::telemetry::Observability;
use crate::schema;

schema! {
    /// One listener.
    pub struct EntryPoint {
        /// `[host]:port[/tcp]`.
        "address" => address: String,
        /// Member of the default list for routers without `entryPoints`.
        "asDefault" => as_default: bool = false,
        /// HTTP options.
        "http" => http: Http,
        /// HTTP/2 limits.
        "http2" => http2: Http2,
        /// Trust in the peer's X-Forwarded-* headers.
        "forwardedHeaders" => forwarded_headers: ForwardedHeaders,
        /// PROXY protocol v1 and v2.
        "proxyProtocol" => proxy_protocol: Presence<ProxyProtocol>,
        /// Deadlines and life cycle.
        "transport" => transport: Transport,
        /// What is recorded of requests here.
        "observability" => observability: Option<Observability>,
    }
    required: ["address"],
    not supported yet: ["allowACMEByPass", "reusePort", "udp"],
    refused: {
        "http3" => "not supported yet: the HTTP engine has no HTTP/3",
        "tls" => "write it one level deeper: `http.tls`",
        "middlewares" => "write it one level deeper: `http.middlewares`",
        "redirections" => "write it one level deeper: `http.redirections`",
        "redirect" => "is Traefik v1's: write `http.redirections.entryPoint`",
    },
}

schema! {
    /// HTTP options of an entry point.
    pub struct Http {
        /// Redirects everything elsewhere.
        "redirections" => redirections: Option<Redirections>,
        /// Middlewares before those of every router here; names need `@provider`.
        "middlewares" => middlewares: Vec<String>,
        /// Makes the routers here HTTPS routers unless they have a `tls` block of their own.
        "tls" => tls: Presence<super::dynamic::RouterTls>,
        /// Collapses `//`, `/./` and `/../` before routing and forwarding.
        "sanitizePath" => sanitize_path: bool = true,
        /// Largest request header block in bytes; over it 431.
        "maxHeaderBytes" => max_header_bytes: u32 = 1_048_576,
        /// Which escaped characters a path may hold.
        "encodedCharacters" => encoded_characters: EncodedCharacters,
        /// `;` in a query becomes `%3B` instead of `&`.
        "encodeQuerySemicolons" => encode_query_semicolons: bool = false,
        /// `keep`, `delete` or `reject` request headers whose name is not letters, digits and `-`.
        "aliasHeadersStrategy" => alias_headers_strategy: Option<String>,
    }
    not supported yet: ["underscoreHeadersStrategy"],
}

schema! {
    /// Which escaped characters a path may hold; one that is false makes such a request a 400.
    pub struct EncodedCharacters {
        /// `%2F`.
        "allowEncodedSlash" => slash: bool = true,
        /// `%5C`.
        "allowEncodedBackSlash" => back_slash: bool = true,
        /// `%00`.
        "allowEncodedNullCharacter" => null_character: bool = true,
        /// `%3B`.
        "allowEncodedSemicolon" => semicolon: bool = true,
        /// `%25`.
        "allowEncodedPercent" => percent: bool = true,
        /// `%3F`.
        "allowEncodedQuestionMark" => question_mark: bool = true,
        /// `%23`.
        "allowEncodedHash" => hash: bool = true,
    }
}

schema! {
    /// Redirects everything that arrives.
    pub struct Redirections {
        /// To another entry point.
        "entryPoint" => entry_point: Option<RedirectEntryPoint>,
    }
}

schema! {
    /// The target of a redirection.
    pub struct RedirectEntryPoint {
        /// An entry point's name, or `:port`.
        "to" => to: String,
        /// The target's scheme.
        "scheme" => scheme: String = "https".to_owned(),
        /// 301/308 instead of 302/307.
        "permanent" => permanent: bool = true,
        /// Priority of the router that is made for it.
        "priority" => priority: i64 = i64::MAX - 1,
    }
    required: ["to"],
}

schema! {
    /// HTTP/2 limits.
    pub struct Http2 {
        /// Streams of one connection at a time.
        "maxConcurrentStreams" => max_concurrent_streams: u32 = 250,
    }
    not supported yet: ["maxDecoderHeaderTableSize", "maxEncoderHeaderTableSize"],
}

schema! {
    /// Trust in the peer's X-Forwarded-* headers.
    pub struct ForwardedHeaders {
        /// Trusts every peer.
        "insecure" => insecure: bool = false,
        /// Trusted addresses and CIDRs.
        "trustedIPs" => trusted_ips: Vec<String>,
        /// Headers that a client may list in `Connection` and that still reach the middlewares.
        "connection" => connection: Vec<String>,
        /// Does not append the peer to X-Forwarded-For.
        "notAppendXForwardedFor" => not_append_x_forwarded_for: bool = false,
    }
}

schema! {
    /// Who may say by PROXY protocol where a connection comes from.
    pub struct ProxyProtocol {
        /// Believes every peer.
        "insecure" => insecure: bool = false,
        /// Believed addresses and CIDRs.
        "trustedIPs" => trusted_ips: Vec<String>,
    }
}

schema! {
    /// Deadlines and life cycle of connections.
    pub struct Transport {
        /// What happens on shutdown.
        "lifeCycle" => life_cycle: LifeCycle,
        /// Deadlines towards the client.
        "respondingTimeouts" => responding_timeouts: RespondingTimeouts,
        /// After this age the next response closes the connection; 0 = never.
        "keepAliveMaxTime" => keep_alive_max_time: Duration,
        /// After this many requests the next response closes the connection; 0 = never.
        "keepAliveMaxRequests" => keep_alive_max_requests: u32,
        /// Connections open at a time, over which more wait to be accepted; 0 = no limit. Portcullis' own.
        "maxConnections" => max_connections: u32,
    }
}

schema! {
    /// What happens on shutdown.
    pub struct LifeCycle {
        /// How long requests are still accepted before draining.
        "requestAcceptGraceTimeout" => request_accept_grace_timeout: Duration,
        /// How long requests in flight may take then.
        "graceTimeOut" => grace_timeout: Duration = Duration::from_secs(10),
    }
}

schema! {
    /// Deadlines towards the client.
    pub struct RespondingTimeouts {
        /// The whole request including its body, when configured. Without it the header has 10 s
        /// and each pause within the body 60 s, so that a long upload is not cut.
        "readTimeout" => read_timeout: Option<Duration>,
        /// From the end of the request header to the end of the response; 0 = none.
        "writeTimeout" => write_timeout: Duration,
        /// An idle keep-alive connection; 0 = none.
        "idleTimeout" => idle_timeout: Duration = Duration::from_secs(180),
    }
}
