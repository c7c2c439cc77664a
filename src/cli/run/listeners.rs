//! The listeners that the static configuration asks for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::StaticConfig;
use crate::config::entry_point::LifeCycle;
use crate::entrypoint::{ConnectionEvents, ListenerSource, ListenerSpec, Settings};
use crate::observe::Metrics;
use crate::observe::metrics::ConnectionGauge;
use crate::runtime::entry_points;

/// One listener for each entry point.
///
/// # Errors
/// A setting that cannot be applied.
pub fn wanted(config: &StaticConfig) -> Result<Vec<ListenerSpec>, String> {
    let spec = |(name, entry_point): (String, crate::config::entry_point::EntryPoint)| {
        let settings =
            Settings::from_config(&entry_point).map_err(|error| format!("entryPoints.{name}: {error}"))?;
        Ok(ListenerSpec {
            name: name.into(),
            source: ListenerSource::Address(entry_point.address),
            settings: Arc::new(settings),
            grace: entry_point.transport.life_cycle.grace_timeout,
        })
    };
    entry_points::effective(config).into_iter().map(spec).collect()
}

/// The life cycle of the process: the longest of its entry points', since they leave together.
pub fn life_cycle(config: &StaticConfig) -> LifeCycle {
    let mut longest =
        LifeCycle { request_accept_grace_timeout: Duration::ZERO, grace_timeout: Duration::ZERO };
    for entry_point in entry_points::effective(config).values() {
        let here = &entry_point.transport.life_cycle;
        longest.request_accept_grace_timeout =
            longest.request_accept_grace_timeout.max(here.request_accept_grace_timeout);
        longest.grace_timeout = longest.grace_timeout.max(here.grace_timeout);
    }
    longest
}

/// Counts open connections by entry point.
pub struct Connections(HashMap<Arc<str>, ConnectionGauge>);

impl Connections {
    /// A gauge for each of `specs`.
    pub fn new(specs: &[ListenerSpec], metrics: &Metrics) -> Self {
        Self(
            specs.iter().map(|spec| (Arc::clone(&spec.name), metrics.open_connections(&spec.name))).collect(),
        )
    }
}

impl ConnectionEvents for Connections {
    fn opened(&self, entry_point: &str) {
        if let Some(gauge) = self.0.get(entry_point) {
            gauge.opened();
        }
    }

    fn closed(&self, entry_point: &str) {
        if let Some(gauge) = self.0.get(entry_point) {
            gauge.closed();
        }
    }
}
