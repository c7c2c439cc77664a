//! What Portcullis answers about itself: ping, readiness, metrics and the API.
//!
//! [`Admin`] makes the internal services (`ping@internal` …) and the routers that Traefik creates for them
//! without being asked; the runtime places both in the snapshot. [`Health`] is what they tell.

mod api;
mod health;
mod healthcheck;
mod probes;
mod routes;
mod sessions;

use std::sync::Arc;

use http::{Method, StatusCode, header};

pub use health::{Health, NotReady};
pub use healthcheck::{HealthcheckError, healthcheck, healthcheck_command};
pub use routes::{INTERNAL_ENTRY_POINT, InternalRoute, implicit_entry_point};

use crate::config::StaticConfig;
use crate::net::LocalResponse;
use crate::net::internal::{InternalRequest, InternalService};
use crate::observe::{Log, Metrics, metrics};
use crate::oidc::SessionDesk;

/// The internal services, and what they show.
#[derive(Clone)]
pub struct Admin {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    log: Arc<Log>,
    /// The path below which the API is served, without a slash at its end.
    api_base: Arc<str>,
    terminating_status: StatusCode,
    desk: sessions::Desk,
}

impl Admin {
    /// Services as `config` wants them.
    pub fn new(config: &StaticConfig, health: Arc<Health>, metrics: Arc<Metrics>, log: Arc<Log>) -> Self {
        let base = config.api.as_ref().map_or("/", |api| &api.base_path);
        let terminating = config.ping.as_ref().map_or(503, |ping| ping.terminating_status_code);
        Self {
            health,
            metrics,
            log,
            api_base: base.trim_end_matches('/').into(),
            desk: sessions::Desk::default(),
            terminating_status: StatusCode::from_u16(terminating).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// Gives the API the sessions to show, once there are any.
    pub fn attach(&self, desk: SessionDesk) {
        // There is one session store in a process.
        let _ = self.desk.set(desk);
    }

    /// What [`Admin::attach`] has given.
    pub fn desk(&self) -> Option<&SessionDesk> {
        self.desk.get()
    }

    /// The service that a router names, such as `ping@internal`; none if there is no such service or its
    /// block (`ping`, `metrics.prometheus`, `api`) is absent from `config`.
    pub fn service(&self, name: &str, config: &StaticConfig) -> Option<InternalService> {
        let prometheus = config.metrics.as_ref().is_some_and(|metrics| metrics.prometheus.as_ref().is_some());
        match name {
            "ping@internal" => config.ping.as_ref().map(|_| self.ping()),
            "prometheus@internal" => prometheus.then(|| self.prometheus()),
            "api@internal" => config.api.as_ref().map(|_| self.api(Access::Full)),
            "noop@internal" => Some(Arc::new(|_: &InternalRequest<'_>| noop().into())),
            _ => None,
        }
    }

    fn ping(&self) -> InternalService {
        let (health, terminating) = (Arc::clone(&self.health), self.terminating_status);
        Arc::new(move |request: &InternalRequest<'_>| probes::answer(&health, terminating, request).into())
    }

    fn prometheus(&self) -> InternalService {
        let metrics = Arc::clone(&self.metrics);
        Arc::new(move |_: &InternalRequest<'_>| exposition(&metrics).into())
    }

    fn api(&self, access: Access) -> InternalService {
        let admin = self.clone();
        Arc::new(move |request: &InternalRequest<'_>| api::answer(&admin, access, request))
    }
}

/// What a caller of the API may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Nobody was asked who they are (`api.insecure`).
    ReadOnly,
    /// A router of the operator's leads here, with whatever protection it has.
    Full,
}

fn exposition(metrics: &Metrics) -> LocalResponse {
    match metrics.encode() {
        Ok(text) => LocalResponse::new(StatusCode::OK).with_body(metrics::MEDIA_TYPE, text),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be shown");
            LocalResponse::text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be shown; see the log\n")
        }
    }
}

/// A router to this service has middlewares that answer (a redirection); so does Traefik when they do not.
fn noop() -> LocalResponse {
    LocalResponse::new(StatusCode::IM_A_TEAPOT)
}

/// `405 Method Not Allowed` unless the method is one of `allowed`; HEAD goes with GET (RFC 9110, section 15.5.6).
fn refuse_method(request: &InternalRequest<'_>, allowed: &'static [Method]) -> Option<LocalResponse> {
    let method = if *request.method == Method::HEAD { &Method::GET } else { request.method };
    if allowed.contains(method) {
        return None;
    }
    let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    let response = LocalResponse::text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed\n");
    Some(match names.join(", ").parse() {
        Ok(value) => response.with_header(header::ALLOW, value),
        Err(_) => response,
    })
}

fn json(status: StatusCode, body: &serde_json::Value) -> LocalResponse {
    LocalResponse::new(status).with_body("application/json", format!("{body}\n")).no_store()
}

#[cfg(test)]
mod tests;
