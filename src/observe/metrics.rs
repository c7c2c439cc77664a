//! Prometheus metrics under Traefik's names. [`names`] is the table of all of them.
//!
//! Whatever a request touches is resolved while the configuration is compiled: the snapshot holds
//! [`LevelMetrics`] handles, so that a request costs a few atomic additions.

mod exposition;
mod header_labels;
mod level;
pub mod names;
mod oidc;
mod process;
mod slots;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder};

pub use level::LevelMetrics;
pub use oidc::{LoginOutcome, OidcMetrics, RefreshOutcome};
pub use state::CertificateExpiry;

use crate::config::telemetry::Prometheus;
use header_labels::HeaderLabels;
use level::{Bounds, Level};
use names::Family;
use state::State;

/// The media type of [`Metrics::encode`] (Prometheus text exposition format 0.0.4).
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// `metrics.prometheus.buckets` cannot be used.
    #[error("metrics.prometheus.buckets: expected positive numbers in ascending order")]
    Buckets,
    /// `metrics.prometheus.headerLabels` has a label that cannot be one, or names no header.
    #[error(
        "metrics.prometheus.headerLabels.{0}: expected a label of letters, digits and `_`, and a header name"
    )]
    HeaderLabel(String),
    /// The registry refused a metric; the table is inconsistent.
    #[error("a metric could not be registered: {0}")]
    Registry(#[from] prometheus::Error),
}

/// Every metric of the process.
pub struct Metrics {
    registry: Registry,
    state: Arc<State>,
    enabled: Enabled,
    bounds: Arc<Bounds>,
    header_labels: Arc<HeaderLabels>,
    config_reloads: IntCounter,
    config_last_success: IntGauge,
    config_errors: IntGaugeVec,
    open_connections: IntGaugeVec,
    panics: IntCounter,
    log_lines_dropped: IntCounterVec,
    ready: IntGauge,
    oidc: OidcMetrics,
}

/// Which levels `metrics.prometheus` asks for.
#[derive(Debug, Clone, Copy)]
struct Enabled {
    entry_points: bool,
    routers: bool,
    services: bool,
}

impl Metrics {
    /// Builds every metric. Without a `metrics.prometheus` block request metrics are off and cost nothing.
    ///
    /// # Errors
    /// Buckets that do not ascend.
    pub fn new(config: Option<&Prometheus>) -> Result<Self, MetricsError> {
        let bounds = config.map_or(&[][..], |config| &config.buckets);
        let registry = Registry::new();
        let state = Arc::new(State::default());
        registry.register(Box::new(state::StateCollector::new(Arc::clone(&state))?))?;
        registry.register(Box::new(process::ProcessCollector::new()?))?;
        let build_info = gauge_vec(&registry, &names::BUILD_INFO)?;
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            enabled: Enabled {
                entry_points: config.is_some_and(|config| config.add_entry_points_labels),
                routers: config.is_some_and(|config| config.add_routers_labels),
                services: config.is_some_and(|config| config.add_services_labels),
            },
            bounds: Arc::new(Bounds::new(bounds).ok_or(MetricsError::Buckets)?),
            header_labels: Arc::new(match config {
                Some(config) => HeaderLabels::new(&config.header_labels)?,
                None => HeaderLabels::default(),
            }),
            config_reloads: counter(&registry, &names::CONFIG_RELOADS)?,
            config_last_success: gauge(&registry, &names::CONFIG_LAST_RELOAD_SUCCESS)?,
            config_errors: gauge_vec(&registry, &names::CONFIG_ERRORS)?,
            open_connections: gauge_vec(&registry, &names::OPEN_CONNECTIONS)?,
            panics: counter(&registry, &names::PANICS)?,
            log_lines_dropped: counter_vec(&registry, &names::LOG_LINES_DROPPED)?,
            ready: gauge(&registry, &names::READY)?,
            oidc: OidcMetrics::new(&registry)?,
            state,
            registry,
        })
    }

    /// The handle of an entry point, or none if `addEntryPointsLabels` is off.
    pub fn entry_point(&self, name: &str) -> Option<Arc<LevelMetrics>> {
        self.enabled.entry_points.then(|| self.level(Level::EntryPoint(name.into())))
    }

    /// The handle of a router, or none unless `addRoutersLabels` is on.
    pub fn router(&self, router: &str, service: &str) -> Option<Arc<LevelMetrics>> {
        let level = || Level::Router { router: router.into(), service: service.into() };
        self.enabled.routers.then(|| self.level(level()))
    }

    /// The handle of a service, or none if `addServicesLabels` is off.
    pub fn service(&self, name: &str) -> Option<Arc<LevelMetrics>> {
        self.enabled.services.then(|| self.level(Level::Service(name.into())))
    }

    fn level(&self, level: Level) -> Arc<LevelMetrics> {
        let make = || LevelMetrics::new(level.clone(), Arc::clone(&self.bounds), &self.header_labels);
        self.state.levels.get(level.clone(), make)
    }

    /// The gauge of one server of a service, or none if `addServicesLabels` is off. It starts as up.
    pub fn server(&self, service: &str, url: &str) -> Option<Arc<ServerUp>> {
        let key = (Box::from(service), Box::from(url));
        self.enabled.services.then(|| self.state.servers.get(key, ServerUp::default))
    }

    /// The gauge of open connections of an entry point.
    pub fn open_connections(&self, entry_point: &str) -> ConnectionGauge {
        ConnectionGauge(self.open_connections.with_label_values(&[entry_point, "TCP"]))
    }

    /// Replaces the list of certificates whose expiry is shown.
    pub fn set_certificates(&self, certificates: Vec<CertificateExpiry>) {
        self.state.certificates.store(Arc::new(certificates));
    }

    /// Counts a dynamic configuration that was applied at `now`.
    pub fn config_applied(&self, now: SystemTime) {
        self.config_reloads.inc();
        self.config_last_success.set(unix_seconds(now));
    }

    /// Counts a dynamic configuration that was refused whole; the time of the last success stays.
    pub fn config_refused(&self) {
        self.config_reloads.inc();
    }

    /// Sets how many errors the current configuration of `provider` has.
    pub fn set_config_errors(&self, provider: &str, count: usize) {
        self.config_errors.with_label_values(&[provider]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Counts a panic.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Panics since the start.
    pub fn panics(&self) -> u64 {
        self.panics.get()
    }

    /// The counter of lines that `log` (`access`, `audit` or `process`) lost.
    pub fn log_lines_dropped(&self, log: &'static str) -> IntCounter {
        self.log_lines_dropped.with_label_values(&[log])
    }

    /// Shows what `/readyz` answers.
    pub fn set_ready(&self, ready: bool) {
        self.ready.set(ready.into());
    }

    /// Metrics of the OIDC engine.
    pub fn oidc(&self) -> &OidcMetrics {
        &self.oidc
    }

    /// The whole registry in the text exposition format; media type [`MEDIA_TYPE`].
    ///
    /// Walks every series: call it where blocking for some milliseconds is fine. Series whose last handle is
    /// gone appear in this answer for the last time.
    ///
    /// # Errors
    /// A metric that the format cannot express.
    pub fn encode(&self) -> Result<String, MetricsError> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

/// Whether a server of a service takes requests.
#[derive(Debug)]
pub struct ServerUp(AtomicBool);

impl Default for ServerUp {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl ServerUp {
    /// Tells the state after a health check.
    pub fn set(&self, up: bool) {
        self.0.store(up, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts the open connections of one entry point.
#[derive(Debug, Clone)]
pub struct ConnectionGauge(IntGauge);

impl ConnectionGauge {
    /// Counts one connection until [`Self::closed`] is called.
    pub fn opened(&self) {
        self.0.inc();
    }

    /// The end of a connection that [`Self::opened`] counted.
    pub fn closed(&self) {
        self.0.dec();
    }

    /// Connections open now.
    pub fn current(&self) -> i64 {
        self.0.get()
    }
}

fn unix_seconds(time: SystemTime) -> i64 {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn register<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> prometheus::Result<M> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counter(registry: &Registry, family: &Family) -> prometheus::Result<IntCounter> {
    register(registry, IntCounter::with_opts(family.opts())?)
}

fn counter_vec(registry: &Registry, family: &Family) -> prometheus::Result<IntCounterVec> {
    register(registry, IntCounterVec::new(family.opts(), family.labels)?)
}

fn gauge(registry: &Registry, family: &Family) -> prometheus::Result<IntGauge> {
    register(registry, IntGauge::with_opts(family.opts())?)
}

fn gauge_vec(registry: &Registry, family: &Family) -> prometheus::Result<IntGaugeVec> {
    register(registry, IntGaugeVec::new(family.opts(), family.labels)?)
}

#[cfg(test)]
mod tests;
