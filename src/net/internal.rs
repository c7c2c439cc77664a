//! Services of our own, such as `ping@internal`: made by the admin side, called by the proxy.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::LocalResponse;

/// What an internal service sees of a request.
#[derive(Debug, Clone, Copy)]
pub struct InternalRequest<'a> {
    /// Method.
    pub method: &'a Method,
    /// Path, normalised, as the chain left it.
    pub path: &'a str,
    /// Query without the question mark.
    pub query: Option<&'a str>,
    /// Headers.
    pub headers: &'a HeaderMap,
}

/// An internal service. It answers from what it has in memory; it never waits.
pub type InternalService = Arc<dyn Fn(&InternalRequest<'_>) -> LocalResponse + Send + Sync>;
