//! Where requests go: services, their servers, and how servers are reached.
//!
//! A [`Service`] balances over [`Endpoint`]s. An endpoint knows how to make Pingora's peer for one
//! of its resolved addresses under its [`Transport`]. Names are resolved in the background
//! ([`dns::Names`]); a request never waits for DNS. What must outlive a reload (resolved addresses,
//! a balancer's position) lives in [`Registries`], keyed by names that stay the same.

mod balancer;
pub mod dns;
mod endpoint;
mod gate;
mod material;
mod pem;
mod presented;
mod registry;
mod schedule;
mod severable;
mod transport;

pub use balancer::Service;
pub use endpoint::{Endpoint, ServerUrlError, Use};
pub use gate::Gate;
pub use material::Material;
pub use registry::Registries;
pub use severable::Cut;
pub use transport::Transport;
