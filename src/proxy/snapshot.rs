//! Everything that the configuration decides about requests, compiled and immutable.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};

use crate::middleware::Chain;
use crate::net::LocalResponse;
use crate::net::forwarded::Trust;
use crate::net::path::{EncodedCharacters, PathPolicy};
use crate::observe::LevelMetrics;
use crate::router::Router;
use crate::service::Service;

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
    pub tls_options: HashMap<String, Arc<str>>,
    /// Counts requests of this entry point, unless switched off.
    pub metrics: Option<Arc<LevelMetrics>>,
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
            path: PathPolicy::default(),
            encoded_characters: EncodedCharacters::ALL,
            alias_headers: AliasHeaders::Keep,
            max_header_bytes: 1_048_576,
            idle_timeout: Some(Duration::from_secs(180)),
            body_idle_timeout: Some(Duration::from_secs(60)),
            tls_options: HashMap::new(),
            metrics: None,
        }
    }

    /// The TLS options that connections to `host` must have been made with.
    pub(super) fn options_of(&self, host: &str) -> &str {
        self.tls_options.get(host).map_or("default", |name| name)
    }
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
    /// Whether requests are written to the access log.
    pub access_log: bool,
    /// Counts requests of the router, unless switched off.
    pub metrics: Option<Arc<LevelMetrics>>,
    /// Counts requests of the service, unless switched off.
    pub service_metrics: Option<Arc<LevelMetrics>>,
}

/// Where a route leads.
pub enum RouteService {
    /// To servers.
    Balanced(Arc<Service>),
    /// To an answer of our own.
    Internal(InternalService),
}

/// A service of ours, such as `ping@internal`.
pub type InternalService = Arc<dyn Fn(&InternalRequest<'_>) -> LocalResponse + Send + Sync>;

/// What an internal service sees of a request.
#[derive(Debug, Clone, Copy)]
pub struct InternalRequest<'a> {
    /// Method.
    pub method: &'a Method,
    /// Path, normalised, as the chain left it.
    pub path: &'a str,
    /// Query without `?`.
    pub query: Option<&'a str>,
    /// Headers.
    pub headers: &'a HeaderMap,
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
