//! Everything that the configuration decides about requests, compiled and immutable.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use thiserror::Error;

use crate::config::entry_point as config;
use crate::config::telemetry::Observability;
use crate::middleware::Chain;
use crate::net::cidr::CidrError;
use crate::net::forwarded::Trust;
use crate::net::internal::InternalService;
use crate::net::path::{EncodedCharacters, PathPolicy};
use crate::observe::LevelMetrics;
use crate::oidc::OwnCookies;
use crate::router::Router;
use crate::service::Service;
use crate::tls::ByHost;

/// One generation of the routing configuration. Swapped as a whole; a request sees one only.
#[derive(Default)]
pub struct Snapshot {
    /// Counts configurations since the start.
    pub generation: u64,
    /// By name.
    pub entry_points: HashMap<Arc<str>, Arc<EntryPoint>>,
}

/// How an entry point treats requests, and where they go.
pub struct EntryPoint {
    /// Its name.
    pub name: Arc<str>,
    /// Routers without `tls`: for plain connections only.
    pub plain: Routes,
    /// Routers with `tls`: for TLS connections only.
    pub tls: Routes,
    /// Whose forwarding headers are believed.
    pub trust: Trust,
    /// Whether the peer is appended to `X-Forwarded-For`.
    pub append_forwarded_for: bool,
    /// Headers that a client may name in `Connection` and that middlewares still see.
    pub connection_headers: Vec<HeaderName>,
    /// How request targets are normalised.
    pub path: PathPolicy,
    /// Escapes that a path may hold; any other is a 400 once a router matched.
    pub encoded_characters: EncodedCharacters,
    /// What happens to headers whose names may alias others.
    pub alias_headers: AliasHeaders,
    /// Largest request header in bytes; over it 431.
    pub max_header_bytes: usize,
    /// How long an idle keep-alive connection is kept; none = for ever.
    pub idle_timeout: Option<Duration>,
    /// How long a pause within a request body may last; none = for ever.
    pub body_idle_timeout: Option<Duration>,
    /// Name of the TLS options of each host that has options other than `default`.
    pub tls_options: ByHost<Arc<str>>,
    /// What is ours, of all routes: clients cannot send it, services do not get it.
    pub own: Arc<Own>,
    /// Counts requests of this entry point, unless switched off.
    pub metrics: Option<Arc<LevelMetrics>>,
    /// What is recorded of requests that match no router.
    pub observed: Observed,
}

/// What is recorded of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// A line in the access log.
    pub access_log: bool,
    /// Metrics, of entry point, router and service.
    pub metrics: bool,
}

impl Default for Observed {
    /// Everything.
    fn default() -> Self {
        Self { access_log: true, metrics: true }
    }
}

impl Observed {
    /// What the first of `blocks` says that says something; without a word, everything.
    pub fn new<'a>(blocks: impl IntoIterator<Item = Option<&'a Observability>> + Clone) -> Self {
        let first = |pick: fn(&Observability) -> Option<bool>| {
            blocks.clone().into_iter().flatten().find_map(pick).unwrap_or(true)
        };
        Self { access_log: first(|block| block.access_logs), metrics: first(|block| block.metrics) }
    }

    /// What both record.
    pub fn and(self, other: Self) -> Self {
        Self { access_log: self.access_log && other.access_log, metrics: self.metrics && other.metrics }
    }
}

/// What belongs to the OIDC middlewares of a configuration on every route, also on those that have
/// none: a service behind two routers must not be told who the user is by the client, and a service
/// must not get the session of another.
#[derive(Debug, Default)]
pub struct Own {
    /// Their cookies, which no service gets.
    pub cookies: OwnCookies,
    /// Names of the identity headers that they set beside [`IDENTITY_HEADERS`], which no client may send.
    ///
    /// [`IDENTITY_HEADERS`]: crate::oidc::IDENTITY_HEADERS
    pub headers: Vec<HeaderName>,
}

impl EntryPoint {
    /// An entry point without routers that behaves as Traefik's do by default.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            plain: Routes::default(),
            tls: Routes::default(),
            trust: Trust::default(),
            append_forwarded_for: true,
            connection_headers: Vec::new(),
            path: PathPolicy::default(),
            encoded_characters: EncodedCharacters::ALL,
            alias_headers: AliasHeaders::Keep,
            max_header_bytes: 1_048_576,
            idle_timeout: Some(Duration::from_secs(180)),
            body_idle_timeout: Some(Duration::from_secs(60)),
            tls_options: ByHost::default(),
            own: Arc::default(),
            metrics: None,
            observed: Observed::default(),
        }
    }

    /// What `config` says about requests; routers, TLS options of hosts and metrics are left empty.
    ///
    /// # Errors
    /// [`EntryPointError`] for a value that is none of those that its key takes.
    pub fn from_config(name: &str, config: &config::EntryPoint) -> Result<Self, EntryPointError> {
        let headers = &config.forwarded_headers;
        let http = &config.http;
        let escapes = &http.encoded_characters;
        let idle = config.transport.responding_timeouts.idle_timeout;
        Ok(Self {
            trust: Trust::new(headers.insecure, &headers.trusted_ips)?,
            append_forwarded_for: !headers.not_append_x_forwarded_for,
            connection_headers: names(&headers.connection)?,
            path: PathPolicy {
                sanitize: http.sanitize_path,
                encode_query_semicolons: http.encode_query_semicolons,
            },
            encoded_characters: EncodedCharacters {
                slash: escapes.slash,
                back_slash: escapes.back_slash,
                null: escapes.null_character,
                semicolon: escapes.semicolon,
                percent: escapes.percent,
                question_mark: escapes.question_mark,
                hash: escapes.hash,
            },
            alias_headers: AliasHeaders::from_config(http.alias_headers_strategy.as_deref())?,
            max_header_bytes: usize::try_from(http.max_header_bytes).unwrap_or(usize::MAX),
            idle_timeout: (!idle.is_zero()).then_some(idle),
            observed: Observed::new([config.observability.as_ref()]),
            ..Self::new(name)
        })
    }

    /// The TLS options that connections to `host` must have been made with.
    pub(super) fn options_of(&self, host: &str) -> &str {
        self.tls_options.get(host).map_or("default", |name| name)
    }
}

/// Why an entry point's request options cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EntryPointError {
    /// `forwardedHeaders.trustedIPs`.
    #[error("forwardedHeaders.trustedIPs: {0}")]
    TrustedIps(#[from] CidrError),
    /// `forwardedHeaders.connection`.
    #[error("forwardedHeaders.connection: `{0}` is not a header name")]
    Connection(String),
    /// `http.aliasHeadersStrategy`.
    #[error("http.aliasHeadersStrategy: `{0}` is not one of keep, delete, reject")]
    AliasHeaders(String),
}

fn names(written: &[String]) -> Result<Vec<HeaderName>, EntryPointError> {
    let parse = |name: &String| name.parse().map_err(|_| EntryPointError::Connection(name.clone()));
    written.iter().map(parse).collect()
}

/// Routers of one kind: the index, and the routes that its answers number.
pub struct Routes {
    /// Finds the number of a route.
    pub router: Router,
    /// By the number that the index gives.
    pub routes: Vec<Arc<Route>>,
}

impl Default for Routes {
    fn default() -> Self {
        Self { router: Router::build(Vec::new()), routes: Vec::new() }
    }
}

/// A router: what happens to the requests that match it.
pub struct Route {
    /// `name@provider`.
    pub name: Arc<str>,
    /// Middlewares of the entry point, then those of the router.
    pub chain: Chain,
    /// Where requests go.
    pub service: RouteService,
    /// `name@provider` of the service.
    pub service_name: Arc<str>,
    /// Why this router answers 404: something that it names does not exist or does not work. It
    /// keeps its place, so that a more general router does not answer in its stead.
    pub broken: Option<String>,
    /// Name of the TLS options that the router asks for, unless they are the default ones. Its rule may
    /// match hosts that it does not name, and those choose other options in the handshake.
    pub tls_options: Option<Arc<str>>,
    /// What is recorded of requests.
    pub observed: Observed,
    /// Counts requests of the router, unless switched off.
    pub metrics: Option<Arc<LevelMetrics>>,
    /// Counts requests of the service, unless switched off.
    pub service_metrics: Option<Arc<LevelMetrics>>,
}

/// Where a route leads.
#[derive(Clone)]
pub enum RouteService {
    /// To servers.
    Balanced(Arc<Service>),
    /// To an answer of our own.
    Internal(InternalService),
}

/// `aliasHeadersStrategy`: headers whose names hold a byte other than letter, digit and `-`.
/// Identity and forwarding headers lose their aliases whatever this says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AliasHeaders {
    /// They pass.
    #[default]
    Keep,
    /// They are removed.
    Delete,
    /// The request is refused with 400.
    Reject,
}

impl AliasHeaders {
    /// Reads the value of the key; absent means `keep`.
    ///
    /// # Errors
    /// [`EntryPointError::AliasHeaders`].
    pub fn from_config(value: Option<&str>) -> Result<Self, EntryPointError> {
        match value {
            None | Some("keep") => Ok(Self::Keep),
            Some("delete") => Ok(Self::Delete),
            Some("reject") => Ok(Self::Reject),
            Some(other) => Err(EntryPointError::AliasHeaders(other.to_owned())),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_same_from_configuration() {
        let made = EntryPoint::from_config("web", &config::EntryPoint::default()).unwrap();
        let plain = EntryPoint::new("web");
        assert_eq!(made.trust, plain.trust);
        assert_eq!((made.path, made.encoded_characters), (plain.path, plain.encoded_characters));
        assert_eq!((made.max_header_bytes, made.idle_timeout), (plain.max_header_bytes, plain.idle_timeout));
        assert!(made.append_forwarded_for);
    }

    #[test]
    fn values_that_no_key_takes_are_named() {
        let mut config = config::EntryPoint::default();
        config.http.alias_headers_strategy = Some("drop".into());
        let error = EntryPoint::from_config("web", &config).err().unwrap();
        assert_eq!(error.to_string(), "http.aliasHeadersStrategy: `drop` is not one of keep, delete, reject");
    }
}
