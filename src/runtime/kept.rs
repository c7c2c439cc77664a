//! What outlives a reload.

use std::sync::Arc;

use crate::admin::{Admin, Health};
use crate::observe::Metrics;
use crate::oidc;
use crate::service;
use crate::tls;

/// Registries and shared state that every configuration is compiled against.
pub struct Kept {
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Readiness and what is wrong.
    pub health: Arc<Health>,
    /// The internal services.
    pub admin: Admin,
    /// Balancer positions and resolved names.
    pub services: service::Registries,
    /// Sessions, OpenID providers, events.
    pub oidc: oidc::Deps,
    /// Ticket keys, resumable TLS sessions, the self-signed certificate.
    pub tls: tls::Keep,
}
