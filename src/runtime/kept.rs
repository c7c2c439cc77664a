//! What outlives a reload.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

use super::events::Told;
use super::stores::Stores;
use crate::admin::{Admin, Health};
use crate::config::places::Places;
use crate::config::{ConfigError, StaticConfig};
use crate::observe::{AuditLog, Metrics};
use crate::oidc::session::StoreSettings;
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
    oidc: OnceLock<Shared>,
    stores: Stores,
    audit: Option<Arc<AuditLog>>,
    /// Where the keys of the static configuration are written: in the file that was read last.
    places: ArcSwapOption<Places>,
}

/// What all OIDC middlewares share, whatever their stores are.
struct Shared {
    events: Arc<dyn Events>,
    providers: Arc<Providers>,
    used: Arc<UsedStates>,
    directory: Arc<Directory>,
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
        let stores = Stores::new(runtime.clone(), metrics.oidc().clone());
        Self {
            metrics,
            health,
            admin,
            services,
            tls: tls::Keep::default(),
            runtime,
            oidc: OnceLock::new(),
            stores,
            audit: None,
            places: ArcSwapOption::empty(),
        }
    }

    /// Tells faults of the static configuration with their places in it.
    #[must_use]
    pub fn with_places(self, places: Option<Places>) -> Self {
        self.set_places(places);
        self
    }

    /// The static configuration was read again, and its keys are written at these places now.
    pub fn set_places(&self, places: Option<Places>) {
        self.places.store(places.map(Arc::new));
    }

    /// Gives a fault of the static configuration its place.
    pub fn place(&self, fault: &mut ConfigError) {
        if let Some(places) = &*self.places.load() {
            fault.place_in(places);
        }
    }

    /// Keeps sessions in memory only, for a configuration that is tried out.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.stores = self.stores.in_memory();
        self
    }

    /// Looks at the sessions of another process, over connections that live on `runtime`; no file is made for them.
    #[must_use]
    pub fn beside(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.stores = self.stores.beside(runtime);
        self
    }

    /// Where sessions live whose middleware does not say it.
    #[must_use]
    pub fn default_store(mut self, config: &StaticConfig) -> Self {
        if let Some(store) = &config.oidc.session.store {
            self.stores = self.stores.or_else(StoreSettings::of(store));
        }
        self
    }

    /// Writes what happens to users to this log, too.
    #[must_use]
    pub fn with_audit(self, audit: Option<Arc<AuditLog>>) -> Self {
        Self { audit, ..self }
    }

    /// Sessions, OpenID providers and events for a middleware whose sessions live in `store`, or where those of all
    /// others do. A store is opened when the first middleware asks for it; whoever uses none gets no file.
    ///
    /// # Errors
    /// The store cannot be opened at all.
    pub fn oidc(&self, store: Option<&StoreSettings>) -> Result<oidc::Deps, String> {
        let sessions = self.stores.get(store)?;
        let shared = self.oidc.get_or_init(|| self.share());
        Ok(oidc::Deps {
            sessions,
            providers: Arc::clone(&shared.providers),
            used: Arc::clone(&shared.used),
            directory: Arc::clone(&shared.directory),
            events: Arc::clone(&shared.events),
            runtime: self.runtime.clone(),
        })
    }

    /// The session stores that are open.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    fn share(&self) -> Shared {
        let events: Arc<dyn Events> =
            Arc::new(Told { metrics: Arc::clone(&self.metrics), audit: self.audit.clone() });
        let directory: Arc<Directory> = Arc::default();
        self.admin.attach(SessionDesk {
            directory: Arc::clone(&directory),
            events: Arc::clone(&events),
            via: None,
        });
        Shared {
            providers: Arc::new(Providers::new(Arc::clone(&events), self.runtime.clone())),
            used: Arc::default(),
            directory,
            events,
        }
    }
}
