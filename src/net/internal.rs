//! Services of our own, such as `ping@internal`: made by the admin side, called by the proxy.

use std::net::IpAddr;
use std::pin::Pin;
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
    /// The client's address, where one is known.
    pub client: Option<IpAddr>,
    /// The request's name in logs.
    pub request_id: &'a str,
}

/// What an internal service says.
pub enum InternalAnswer {
    /// At once, from what it has in memory.
    Now(LocalResponse),
    /// Once it has asked a store.
    Later(Pin<Box<dyn Future<Output = LocalResponse> + Send>>),
}

impl From<LocalResponse> for InternalAnswer {
    fn from(answer: LocalResponse) -> Self {
        Self::Now(answer)
    }
}

/// An internal service. It never blocks.
pub type InternalService = Arc<dyn Fn(&InternalRequest<'_>) -> InternalAnswer + Send + Sync>;
