//! What happens to a request between its router and its service, and to the answer on the way back.
//!
//! Each middleware is one file with a `new` that takes its configuration, and one arm of [`Middleware`]. A router's
//! middlewares are flattened into one [`Chain`]: requests pass it in order, answers in reverse. See
//! `docs/adding-a-middleware.md`.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use smallvec::SmallVec;

use crate::config::middleware as config;
use crate::net::{LocalResponse, Scheme, Text};
use crate::oidc::Policy;
use crate::oidc::session::SessionEntry;

mod add_prefix;
mod basic_auth;
mod chain;
mod headers;
mod oidc;
mod redirect;
mod redirect_regex;
mod redirect_scheme;
mod replace_path;
mod strip_prefix;
mod target;

pub use add_prefix::AddPrefix;
pub use basic_auth::BasicAuth;
pub use chain::Chain;
pub use headers::Headers;
pub use oidc::{Oidc, UserHeaders};
pub use redirect_regex::RedirectRegex;
pub use redirect_scheme::RedirectScheme;
pub use replace_path::ReplacePath;
pub use strip_prefix::StripPrefix;

/// One middleware, compiled from its configuration.
#[derive(Debug)]
pub enum Middleware {
    /// `addPrefix`
    AddPrefix(AddPrefix),
    /// `basicAuth`
    BasicAuth(Box<BasicAuth>),
    /// `headers`
    Headers(Box<Headers>),
    /// `oidc`, and the plugin traefikoidc
    Oidc(Oidc),
    /// `redirectRegex`
    RedirectRegex(RedirectRegex),
    /// `redirectScheme`
    RedirectScheme(RedirectScheme),
    /// `replacePath`
    ReplacePath(ReplacePath),
    /// `stripPrefix`
    StripPrefix(StripPrefix),
}

/// What a middleware may look at and change while a request is on its way in.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// The request as the service will get it.
    pub request: &'a mut RequestHeader,
    /// What does not change during the request.
    pub facts: &'a Facts,
    /// What the middlewares leave for later phases.
    pub state: &'a mut State,
}

/// What is known about a request before its first middleware.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The TCP peer, or what a trusted PROXY header says.
    pub client: SocketAddr,
    /// Whether this connection is TLS.
    pub tls: bool,
    /// The outside scheme: of `X-Forwarded-Proto` if the peer is trusted, else of the connection.
    pub scheme: Scheme,
    /// Name of the entry point.
    pub entry_point: Arc<str>,
    /// Whether the peer's `X-Forwarded-*` headers are believed.
    pub peer_trusted: bool,
    /// Identifies the request in logs and on error pages.
    pub request_id: String,
    /// Whether headers of the request can be in its access-log line.
    pub headers_logged: bool,
}

/// What the middlewares of one request leave for later phases.
#[derive(Debug, Default)]
pub struct State {
    /// Appended to whatever answer goes out.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
    /// The user for the access log. Basic authentication sets it even when the password was wrong.
    pub user: Option<Text>,
    /// The sessions that let the request pass; a long answer ends with them.
    pub sessions: SmallVec<[Arc<SessionEntry>; 1]>,
    /// Keep the query out of the access log: it holds what only the provider and we may know.
    pub hide_query: bool,
    /// Do not append the peer to `X-Forwarded-For`.
    pub omit_forwarded_for: bool,
    /// The request body, once a middleware has asked for it by [`Flow::ReadBody`].
    pub body: Option<Bytes>,
    /// Headers that the service alone is to see.
    pub user_headers: Option<UserHeaders>,
    /// How many middlewares let the request pass.
    passed: usize,
    /// Whether the middleware under way is the last one.
    last: bool,
}

/// What a middleware may look at when an answer passes.
#[derive(Debug, Clone, Copy)]
pub struct ResponseFacts<'a> {
    /// The request as it stands after the chain.
    pub request: &'a RequestHeader,
    /// What does not change during the request.
    pub facts: &'a Facts,
    /// What the middlewares left.
    pub state: &'a State,
}

/// Whether a request goes on.
#[derive(Debug)]
pub enum Flow {
    /// To the next middleware, in the end to the service.
    Continue,
    /// No further: this is the answer.
    Respond(LocalResponse),
    /// Once more, with the body in [`State::body`]: the middleware is going to answer. A body of more bytes than this
    /// is answered with 413 instead. The body is gone for everybody else.
    ReadBody(usize),
}

impl Middleware {
    /// Compiles a middleware that stands for itself. `chain`, `plugin` and `oidc` are resolved by the caller.
    ///
    /// # Errors
    /// A reason that names the option. The middleware, and every router that uses it, is disabled then.
    pub fn new(config: &config::Middleware) -> Result<Self, String> {
        let kinds = [
            config.add_prefix.as_ref().map(|config| AddPrefix::new(config).map(Self::AddPrefix)),
            config
                .basic_auth
                .as_ref()
                .map(|config| BasicAuth::new(config).map(Box::new).map(Self::BasicAuth)),
            config.headers.as_ref().map(|config| Headers::new(config).map(Box::new).map(Self::Headers)),
            config.redirect_regex.as_ref().map(|config| RedirectRegex::new(config).map(Self::RedirectRegex)),
            config
                .redirect_scheme
                .as_ref()
                .map(|config| RedirectScheme::new(config).map(Self::RedirectScheme)),
            config.replace_path.as_ref().map(|config| ReplacePath::new(config).map(Self::ReplacePath)),
            config.strip_prefix.as_ref().map(|config| StripPrefix::new(config).map(Self::StripPrefix)),
        ];
        let mut kinds = kinds.into_iter().flatten();
        match (kinds.next(), kinds.next()) {
            (Some(only), None) => only,
            (None, _) => Err("a middleware needs one kind".to_owned()),
            (Some(_), Some(_)) => {
                Err("a middleware has exactly one kind; use a chain for several".to_owned())
            }
        }
    }

    /// What works, but not as it may seem.
    pub fn warnings(&self) -> Vec<String> {
        match self {
            Self::BasicAuth(middleware) => middleware.warnings(),
            Self::StripPrefix(middleware) => middleware.warnings(),
            _ => Vec::new(),
        }
    }

    /// The OIDC policy, if it is one.
    pub fn policy(&self) -> Option<&Policy> {
        match self {
            Self::Oidc(oidc) => Some(oidc.policy()),
            _ => None,
        }
    }

    async fn on_request(&self, exchange: &mut Exchange<'_>) -> Flow {
        match self {
            Self::AddPrefix(middleware) => middleware.on_request(exchange),
            Self::BasicAuth(middleware) => middleware.on_request(exchange).await,
            Self::Headers(middleware) => middleware.on_request(exchange),
            Self::Oidc(middleware) => middleware.on_request(exchange).await,
            Self::RedirectRegex(middleware) => middleware.on_request(exchange),
            Self::RedirectScheme(middleware) => middleware.on_request(exchange),
            Self::ReplacePath(middleware) => middleware.on_request(exchange),
            Self::StripPrefix(middleware) => middleware.on_request(exchange),
        }
    }

    fn on_response(&self, response: &ResponseFacts<'_>, header: &mut ResponseHeader) {
        match self {
            Self::Headers(middleware) => middleware.on_response(response, header),
            Self::Oidc(middleware) => middleware.on_response(response, header),
            Self::AddPrefix(_)
            | Self::BasicAuth(_)
            | Self::RedirectRegex(_)
            | Self::RedirectScheme(_)
            | Self::ReplacePath(_)
            | Self::StripPrefix(_) => {}
        }
    }
}

/// Puts a header on a message. The name is checked when the middleware is made, and Pingora's only other refusal is
/// a map of more than 32,768 headers; then the header is left out and said so.
macro_rules! set_header {
    ($message:expr, $call:ident, $name:expr, $value:expr) => {
        if let Err(error) = $message.$call($name, $value) {
            tracing::warn!(%error, "a header was left out");
        }
    };
}
use set_header;

#[cfg(test)]
mod testing;
