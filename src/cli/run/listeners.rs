//! The listeners that the static configuration asks for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::config::StaticConfig;
use crate::config::entry_point::LifeCycle;
use crate::entrypoint::{Answered, ConnectionEvents, ListenerSource, ListenerSpec, Settings};
use crate::observe::Metrics;
use crate::observe::metrics::ConnectionGauge;
use crate::proxy::Unparsed;
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

/// Counts open connections by entry point, and records requests that only a listener has seen.
pub struct Connections {
    gauges: ArcSwap<HashMap<Arc<str>, ConnectionGauge>>,
    unparsed: Unparsed,
}

impl Connections {
    /// Without entry points yet.
    pub fn new(unparsed: Unparsed) -> Self {
        Self { gauges: ArcSwap::default(), unparsed }
    }

    /// Has a gauge for each of `specs` from now on; those of entry points that are gone stay, for their last
    /// connections.
    pub fn expect(&self, specs: &[ListenerSpec], metrics: &Metrics) {
        let mut gauges = HashMap::clone(&self.gauges.load());
        for spec in specs {
            gauges.entry(Arc::clone(&spec.name)).or_insert_with(|| metrics.open_connections(&spec.name));
        }
        self.gauges.store(Arc::new(gauges));
    }
}

impl ConnectionEvents for Connections {
    fn opened(&self, entry_point: &str) {
        if let Some(gauge) = self.gauges.load().get(entry_point) {
            gauge.opened();
        }
    }

    fn closed(&self, entry_point: &str) {
        if let Some(gauge) = self.gauges.load().get(entry_point) {
            gauge.closed();
        }
    }

    fn answered(&self, answered: &Answered<'_>) {
        self.unparsed.record(answered.conn, answered.line, answered.status.as_u16(), answered.took);
    }
}
