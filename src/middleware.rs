//! What happens to a request between its router and its service, and to the answer on the way back.
//!
//! Each middleware is one file with a `new` that takes its configuration, and one arm of [`Middleware`]. A router's
//! middlewares are flattened into one [`Chain`]: requests pass it in order, answers in reverse. See
//! `docs/adding-a-middleware.md`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use smallvec::SmallVec;

use crate::config::Faults;
use crate::config::middleware as config;
use crate::net::{LocalResponse, Scheme, Text};
use crate::oidc::Policy;
use crate::oidc::session::SessionInUse;

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
    /// The client's address: of `X-Forwarded-For` if the peer is trusted, else as `client`.
    pub outside_client: IpAddr,
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
}

/// What the middlewares of one request leave for later phases.
#[derive(Debug, Default)]
pub struct State {
    /// Appended to whatever answer goes out.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
    /// The user for the access log. Basic authentication sets it even when the password was wrong.
    pub user: Option<Text>,
    /// The sessions that let the request pass; a long answer ends with them.
    pub sessions: SmallVec<[SessionInUse; 1]>,
    /// Keep the query out of the access log: it holds what only the provider and we may know.
    pub hide_query: bool,
    /// Keep `Authorization` out of logs and metrics, whatever they are told to show: it holds a login.
    pub hide_authorization: bool,
    /// Do not append the peer to `X-Forwarded-For`.
    pub omit_forwarded_for: bool,
    /// Nothing was left of the path behind its prefix, for which a request line has `/`.
    pub path_is_empty: bool,
    /// The request body, once a middleware has asked for it by [`Flow::ReadBody`].
    pub body: Option<Bytes>,
    /// Headers for the service's copy of the request. None where a later middleware is to see them: they are on the request.
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
    /// All that is wrong with it. The middleware, and every router that uses it, is disabled then.
    pub fn new(config: &config::Middleware) -> Result<Self, Faults> {
        let kinds = [
            kind("addPrefix", &config.add_prefix, AddPrefix::new, Self::AddPrefix),
            kind("basicAuth", &config.basic_auth, BasicAuth::new, |it| Self::BasicAuth(Box::new(it))),
            kind("headers", &config.headers, Headers::new, |it| Self::Headers(Box::new(it))),
            kind("redirectRegex", &config.redirect_regex, RedirectRegex::new, Self::RedirectRegex),
            kind("redirectScheme", &config.redirect_scheme, RedirectScheme::new, Self::RedirectScheme),
            kind("replacePath", &config.replace_path, ReplacePath::new, Self::ReplacePath),
            kind("stripPrefix", &config.strip_prefix, StripPrefix::new, Self::StripPrefix),
        ];
        let mut kinds = kinds.into_iter().flatten();
        match (kinds.next(), kinds.next()) {
            (Some(only), None) => only,
            (None, _) => Err("a middleware needs one kind".to_owned().into()),
            (Some(_), Some(_)) => {
                Err("a middleware has exactly one kind; use a chain for several".to_owned().into())
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

/// The middleware of the kind `key`, if that is what is configured.
fn kind<C, M, E: Into<Faults>>(
    key: &str,
    config: &Option<C>,
    new: impl FnOnce(&C) -> Result<M, E>,
    wrap: impl FnOnce(M) -> Middleware,
) -> Option<Result<Middleware, Faults>> {
    let made = config.as_ref().map(new)?;
    Some(made.map(wrap).map_err(|faults| faults.into().below(key)))
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
