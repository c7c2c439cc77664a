//! Dynamic configuration: routers, services, middlewares and TLS, changed while running.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Located;
use super::decode::{Decode, Decoder, Presence};
use super::middleware::Middleware;
use super::telemetry::Observability;
use super::tls::{CertificatePair, Tls};
use super::value::Node;
use crate::schema;

schema! {
    /// What one provider says.
    pub struct DynamicConfig {
        /// HTTP routing.
        "http" => http: Http,
        /// Certificates and TLS options.
        "tls" => tls: Tls,
    }
    not supported yet: ["tcp", "udp"],
    refused: {
        "entryPoints" => "belongs to the static configuration",
        "providers" => "belongs to the static configuration",
        "certificatesResolvers" => "belongs to the static configuration",
        "experimental" => "belongs to the static configuration",
        "log" => "belongs to the static configuration",
        "accessLog" => "belongs to the static configuration",
        "api" => "belongs to the static configuration",
        "metrics" => "belongs to the static configuration",
        "ping" => "belongs to the static configuration",
    },
}

schema! {
    /// HTTP routing.
    pub struct Http {
        /// Which request goes where.
        "routers" => routers: BTreeMap<String, Located<Router>>,
        /// Where requests go.
        "services" => services: BTreeMap<String, Located<Service>>,
        /// What happens to them on the way.
        "middlewares" => middlewares: BTreeMap<String, Located<Middleware>>,
        /// How servers are reached.
        "serversTransports" => servers_transports: BTreeMap<String, Located<ServersTransport>>,
    }
    refused: {
        "models" => "is internal to Traefik: write these settings at the entry point",
    },
}

schema! {
    /// Which requests go through which middlewares to which service.
    pub struct Router {
        /// Entry points by name; none = the default ones.
        "entryPoints" => entry_points: Vec<String>,
        /// Middlewares, the first outermost.
        "middlewares" => middlewares: Vec<String>,
        /// The service.
        "service" => service: String,
        /// Which requests, in Traefik's rule language.
        "rule" => rule: String,
        /// Higher first; 0 = the rule's length.
        "priority" => priority: i64,
        /// Present: HTTPS only. Absent: plain HTTP only.
        "tls" => tls: Presence<RouterTls>,
        /// What is recorded of its requests, instead of what the entry point says.
        "observability" => observability: Option<Observability>,
    }
    required: ["rule", "service"],
    not supported yet: ["parentRefs", "ruleSyntax"],
}

schema! {
    /// TLS of a router.
    pub struct RouterTls {
        /// TLS options by name.
        "options" => options: Option<String>,
    }
    not supported yet: ["certResolver", "domains"],
}

schema! {
    /// Where requests go: exactly one kind.
    pub struct Service {
        /// Balances over servers.
        "loadBalancer" => load_balancer: Option<LoadBalancer>,
    }
    not supported yet: ["middlewares", "weighted", "mirroring", "failover", "highestRandomWeight"],
}

schema! {
    /// Balances over servers.
    pub struct LoadBalancer {
        /// The servers; none = 503.
        "servers" => servers: Vec<Server>,
        /// How a server is chosen; only `wrr` so far.
        "strategy" => strategy: String = "wrr".to_owned(),
        /// Passes the client's Host on.
        "passHostHeader" => pass_host_header: bool = true,
        /// Accepted for compatibility: responses are never held back.
        "responseForwarding" => response_forwarding: ResponseForwarding,
        /// How servers are reached; none = the default transport.
        "serversTransport" => servers_transport: Option<String>,
    }
    not supported yet: ["sticky", "healthCheck", "passiveHealthCheck"],
}

schema! {
    /// Accepted for compatibility.
    pub struct ResponseForwarding {
        /// Accepted as text, since Traefik takes negative durations here; every write is flushed at once.
        "flushInterval" => flush_interval: Option<String>,
    }
}

schema! {
    /// A server.
    pub struct Server {
        /// `http`, `https` or `h2c` URL; its path counts only with `preservePath`.
        "url" => url: String,
        /// Share of requests; not above 0 = never.
        "weight" => weight: i64 = 1,
        /// Joins the URL's path and the request's.
        "preservePath" => preserve_path: bool = false,
    }
    required: ["url"],
}

schema! {
    /// How servers are reached.
    pub struct ServersTransport {
        /// SNI, and the name that the certificate must hold.
        "serverName" => server_name: Option<String>,
        /// Turns verification of server certificates off.
        "insecureSkipVerify" => insecure_skip_verify: bool = false,
        /// CA certificates, as paths or inline PEM; they replace the system's.
        "rootCAs" => root_cas: Vec<String>,
        /// Client certificates.
        "certificates" => certificates: Vec<CertificatePair>,
        /// Idle connections kept per server; only "none" counts.
        "maxIdleConnsPerHost" => max_idle_conns_per_host: IdleConnections,
        /// Deadlines towards the server.
        "forwardingTimeouts" => forwarding_timeouts: ForwardingTimeouts,
        /// HTTP/1.1 only.
        "disableHTTP2" => disable_http2: bool = false,
    }
    refused: {
        "cipherSuites" => "cannot be honoured: the HTTP engine cannot set cipher suites per server",
        "minVersion" => "cannot be honoured: the HTTP engine cannot set TLS versions per server (it takes 1.2 and 1.3)",
        "maxVersion" => "cannot be honoured: the HTTP engine cannot set TLS versions per server (it takes 1.2 and 1.3)",
        "peerCertURI" => "cannot be honoured: the HTTP engine cannot check URI names of server certificates",
        "spiffe" => "cannot be honoured: the HTTP engine has no way to set SPIFFE identities per server",
    },
}

/// How many idle connections are kept per server: none if negative, else as many as there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IdleConnections(pub i64);

impl Decode for IdleConnections {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let number = i64::decode(node, decoder)?;
        if number > 0 {
            let reason = "the HTTP engine keeps every idle connection until `idleConnTimeout`; -1 keeps none";
            decoder.warn(&node.at, format!("has no effect: {reason}"));
        }
        Some(Self(number))
    }
}

schema! {
    /// Deadlines towards a server; 0 = none.
    pub struct ForwardingTimeouts {
        /// Connecting.
        "dialTimeout" => dial_timeout: Duration = Duration::from_secs(30),
        /// From the request's end to the response header.
        "responseHeaderTimeout" => response_header_timeout: Duration,
        /// How long an idle connection is kept.
        "idleConnTimeout" => idle_conn_timeout: Duration = Duration::from_secs(90),
        /// HTTP/2: a ping after this silence.
        "readIdleTimeout" => read_idle_timeout: Duration,
    }
    without effect: {
        "pingTimeout" => "the HTTP engine always waits 5 s for the answer to a ping",
    },
}
