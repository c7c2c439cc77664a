//! The routers and the entry point that Traefik makes by itself.

use super::{Access, Admin};
use crate::config::StaticConfig;
use crate::config::entry_point::EntryPoint;
use crate::net::internal::InternalService;

/// The entry point that ping, metrics and the insecure API use unless told otherwise.
pub const INTERNAL_ENTRY_POINT: &str = "traefik";
/// Where it listens when the operator does not define it.
const INTERNAL_ADDRESS: &str = ":8080";

/// A router without a line of configuration.
#[derive(Clone)]
pub struct InternalRoute {
    /// Qualified name, such as `ping@internal`.
    pub name: &'static str,
    /// The one entry point that it listens on.
    pub entry_point: String,
    /// Its rule, in the rule language.
    pub rule: String,
    /// Its priority, above everything that an operator can write.
    pub priority: i64,
    /// What answers.
    pub service: InternalService,
}

impl Admin {
    /// The routers that `config` implies.
    pub fn routes(&self, config: &StaticConfig) -> Vec<InternalRoute> {
        let mut routes = Vec::new();
        let route = |name, entry_point: &str, rule: &str, priority, service| InternalRoute {
            name,
            entry_point: entry_point.to_owned(),
            rule: rule.to_owned(),
            priority,
            service,
        };
        if let Some(ping) = config.ping.as_ref().filter(|ping| !ping.manual_routing) {
            routes.push(route(
                "ping@internal",
                &ping.entry_point,
                "PathPrefix(`/ping`)",
                i64::MAX,
                self.ping(),
            ));
            let probes = "Path(`/readyz`) || Path(`/livez`)";
            routes.push(route("probes@internal", &ping.entry_point, probes, i64::MAX, self.ping()));
        }
        let prometheus = config.metrics.as_ref().and_then(|metrics| metrics.prometheus.as_ref());
        if let Some(metrics) = prometheus.filter(|metrics| !metrics.manual_routing) {
            let rule = "PathPrefix(`/metrics`)";
            routes.push(route(
                "prometheus@internal",
                &metrics.entry_point,
                rule,
                i64::MAX,
                self.prometheus(),
            ));
        }
        if config.api.as_ref().is_some_and(|api| api.insecure) {
            let rule = format!("PathPrefix(`{}/api`)", self.api_base);
            let api = self.api(Access::ReadOnly);
            routes.push(route("api@internal", INTERNAL_ENTRY_POINT, &rule, i64::MAX - 1, api));
        }
        routes
    }
}

/// The entry point `traefik` on `:8080`, if something in `config` needs it and the operator has not defined it.
pub fn implicit_entry_point(config: &StaticConfig) -> Option<(&'static str, EntryPoint)> {
    let ping = config.ping.as_ref().filter(|ping| !ping.manual_routing);
    let prometheus = config.metrics.as_ref().and_then(|metrics| metrics.prometheus.as_ref());
    let metrics = prometheus.filter(|metrics| !metrics.manual_routing);
    let needed = ping.is_some_and(|ping| ping.entry_point == INTERNAL_ENTRY_POINT)
        || metrics.is_some_and(|metrics| metrics.entry_point == INTERNAL_ENTRY_POINT)
        || config.api.as_ref().is_some_and(|api| api.insecure);
    (needed && !config.entry_points.contains_key(INTERNAL_ENTRY_POINT)).then(|| {
        let entry_point = EntryPoint { address: INTERNAL_ADDRESS.to_owned(), ..EntryPoint::default() };
        (INTERNAL_ENTRY_POINT, entry_point)
    })
}
