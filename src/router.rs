//! Which router answers a request: Traefik's rule language, compiled to an index.
//!
//! [`Rule::parse`] reads a rule, [`Router::build`] compiles many of them, [`Router::route`] finds the one that a
//! linear walk in order of priority would find first, without the walk. Pure: no I/O, no Pingora.

use std::net::IpAddr;

use http::{HeaderMap, Method};

mod cover;
mod index;
mod matcher;
mod parser;
mod prefix;
mod query;
mod rule;

pub use index::{RouteSpec, Router};
pub use rule::{Rule, RuleError};

/// What of a request rules can see.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    /// Method as received; rules compare it with regard to case.
    pub method: &'a Method,
    /// Canonical host, see [`crate::net::canonical_host`]; `""` for none.
    pub host: &'a str,
    /// Routing path, see [`crate::net::path::Target::routing_path`].
    pub path: &'a str,
    /// Query as the service gets it, without `?`.
    pub query: Option<&'a str>,
    /// Headers after the entry point has dealt with `X-Forwarded-*`.
    pub headers: &'a HeaderMap,
    /// The TCP peer, never an address out of a header.
    pub client: IpAddr,
}

/// The priority of a router that sets none: the length of its rule in bytes, as written.
pub fn default_priority(rule: &str) -> i64 {
    i64::try_from(rule.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
