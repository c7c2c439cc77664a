//! What outlives a reload.

use std::sync::{Arc, OnceLock};

use super::events::Told;
use super::sessions;
use crate::admin::{Admin, Health};
use crate::observe::{AuditLog, Metrics};
use crate::oidc::{self, Directory, Events, Providers, SessionDesk, UsedStates};
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
    /// Ticket keys, resumable TLS sessions, the self-signed certificate.
    pub tls: tls::Keep,
    /// Runs what must outlive its request.
    pub runtime: tokio::runtime::Handle,
    oidc: OnceLock<oidc::Deps>,
    in_memory: bool,
    audit: Option<Arc<AuditLog>>,
}

impl Kept {
    /// Nothing kept yet. Background work runs on `runtime`.
    pub fn new(
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        admin: Admin,
        services: service::Registries,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        let (tls, oidc) = (tls::Keep::default(), OnceLock::new());
        Self { metrics, health, admin, services, tls, runtime, oidc, in_memory: false, audit: None }
    }

    /// Keeps sessions in memory only, for a configuration that is tried out.
    #[must_use]
    pub fn in_memory(self) -> Self {
        Self { in_memory: true, ..self }
    }

    /// Writes what happens to users to this log, too.
    #[must_use]
    pub fn with_audit(self, audit: Option<Arc<AuditLog>>) -> Self {
        Self { audit, ..self }
    }

    /// Sessions, OpenID providers and events. The session store is opened when the first OIDC
    /// middleware asks; whoever uses none gets no file.
    ///
    /// # Errors
    /// There is no place for the store, or no thread for it. The next configuration tries again.
    pub fn oidc(&self) -> Result<&oidc::Deps, String> {
        if let Some(deps) = self.oidc.get() {
            return Ok(deps);
        }
        let deps = self.open_oidc()?;
        Ok(self.oidc.get_or_init(|| deps))
    }

    /// The sessions, if an OIDC middleware has asked for them.
    pub fn sessions(&self) -> Option<&oidc::session::Sessions> {
        self.oidc.get().map(|deps| &deps.sessions)
    }

    fn open_oidc(&self) -> Result<oidc::Deps, String> {
        let _inside = self.runtime.enter();
        let sessions = match self.in_memory {
            true => sessions::in_memory()?,
            false => sessions::open(&sessions::state_folder()?)?,
        };
        drop(sessions.spawn_upkeep());
        let events: Arc<dyn Events> =
            Arc::new(Told { metrics: Arc::clone(&self.metrics), audit: self.audit.clone() });
        let directory: Arc<Directory> = Arc::default();
        let desk = SessionDesk {
            sessions: sessions.clone(),
            directory: Arc::clone(&directory),
            events: Arc::clone(&events),
        };
        self.admin.attach(desk);
        Ok(oidc::Deps {
            sessions,
            directory,
            providers: Arc::new(Providers::new(Arc::clone(&events), self.runtime.clone())),
            used: Arc::new(UsedStates::default()),
            events,
            runtime: self.runtime.clone(),
        })
    }
}
