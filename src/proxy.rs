//! The one `ProxyHttp`: how a request passes through, phase by phase.
//!
//! [`Edge`] is what Pingora calls; each of its methods delegates to the module of its phase:
//! `early` (request made sane, router matched), `request` (middleware chain, answers of our own),
//! `upstream` (server, peer, request header), `response`, `framing`, `body`, `session_end`, `failure`, `logging`. What one
//! request carries from phase to phase is a `Ctx`. Everything that the configuration decides is in
//! the immutable [`Snapshot`], of which a request takes its entry point and its route once.

mod body;
mod context;
mod early;
mod edge;
mod failure;
mod framing;
mod header_deadline;
mod logging;
mod request;
mod respond;
mod response;
mod sanity;
mod session_end;
mod snapshot;
mod upgrade;
mod upstream;

pub use context::Ctx;
pub use edge::{Edge, http_proxy};
pub use logging::Unparsed;
pub use snapshot::{
    AliasHeaders, EntryPoint, EntryPointError, Observed, Own, Route, RouteService, Routes, Snapshot,
};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod testing;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
