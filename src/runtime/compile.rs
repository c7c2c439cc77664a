//! From a configuration to what requests are served by.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::entry_points;
use super::kept::Kept;
use super::middlewares::Middlewares;
use super::names::qualify;
use super::redirect;
use super::routers::{Context, Table};
use super::services::Services;
use crate::config::dynamic::DynamicConfig;
use crate::config::entry_point::EntryPoint as EntryPointConfig;
use crate::config::{ConfigError, StaticConfig};
use crate::middleware::Chain;
use crate::proxy::{EntryPoint, Observed, Route, RouteService, Snapshot};
use crate::router::Rule;
use crate::tls::{self, TlsSnapshot};

/// The outcome of a compilation: always something to serve, and what does not work in it.
pub struct Compiled {
    /// Routing.
    pub snapshot: Snapshot,
    /// TLS.
    pub tls: TlsSnapshot,
    /// Items that do not work; only they are disabled.
    pub errors: Vec<ConfigError>,
    /// What works, but not as it may seem.
    pub warnings: Vec<ConfigError>,
}

/// Compiles `dynamic`, which `provider` sent. Reads the files that it names: not for a thread that serves requests.
pub fn compile(
    generation: u64,
    fixed: &StaticConfig,
    dynamic: &DynamicConfig,
    provider: &str,
    kept: &Kept,
) -> Compiled {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    let entry_points = entry_points::effective(fixed);
    let middlewares = Middlewares::compile(dynamic, provider, fixed, kept, &mut errors, &mut warnings);
    let services = Services::compile(dynamic, provider, fixed, kept, &mut errors);
    let context = Context {
        entry_points: &entry_points,
        defaults: &entry_points::defaults(&entry_points),
        middlewares: &middlewares,
        services: &services,
        internal: &|name| kept.admin.service(name, fixed),
        metrics: &kept.metrics,
        internals: Observed {
            access_log: fixed.access_log.as_ref().is_some_and(|log| log.add_internals),
            metrics: fixed.metrics.as_ref().is_some_and(|metrics| metrics.add_internals),
        },
    };
    let mut table = Table::default();
    for (name, router) in &dynamic.http.routers {
        table.add(name, provider, router, &context, &mut errors);
    }
    add_internal(&mut table, fixed, kept, &context);
    for (name, entry_point) in &entry_points {
        if let Err(error) = redirect::add(&mut table, name, entry_point, &entry_points, &context) {
            errors.push(error);
        }
    }
    let tls = build_tls(dynamic, provider, &table, kept, &mut errors, &mut warnings);
    let options = options_by_entry_point(&table);
    let own = Arc::new(middlewares.own());
    let built = entry_points.iter().map(|(name, config)| {
        let built = build(name, config, fixed, kept, &mut table, options.get(name.as_str()));
        let built = EntryPoint { own: Arc::clone(&own), ..built };
        (Arc::clone(&built.name), Arc::new(built))
    });
    let snapshot = Snapshot { generation, entry_points: built.collect() };
    Compiled { snapshot, tls, errors, warnings }
}

fn build(
    name: &str,
    config: &EntryPointConfig,
    fixed: &StaticConfig,
    kept: &Kept,
    table: &mut Table,
    tls_options: Option<&HashMap<String, Arc<str>>>,
) -> EntryPoint {
    let (plain, tls) = table.take(name);
    // Its values were checked with the rest of the static configuration; should one be wrong all the
    // same, the defaults trust nobody.
    let built = EntryPoint::from_config(name, config).unwrap_or_else(|error| {
        tracing::error!(entry_point = name, %error, "this entry point has its defaults");
        EntryPoint::new(name)
    });
    EntryPoint {
        plain,
        tls,
        append_forwarded_for: built.append_forwarded_for && !fixed.global.not_append_x_forwarded_for,
        tls_options: tls_options.cloned().unwrap_or_default(),
        metrics: kept.metrics.entry_point(name),
        ..built
    }
}

/// The routers that the static configuration implies: ping, metrics, API.
fn add_internal(table: &mut Table, fixed: &StaticConfig, kept: &Kept, context: &Context<'_>) {
    for internal in kept.admin.routes(fixed) {
        let Ok(rule) = Rule::parse(&internal.rule) else {
            tracing::error!(rule = internal.rule, "the rule of an internal router is wrong");
            continue;
        };
        let entry_point = context.entry_points.get(&internal.entry_point);
        let route = Route {
            name: internal.name.into(),
            chain: Chain::default(),
            service: RouteService::Internal(internal.service),
            service_name: internal.name.into(),
            broken: None,
            tls_options: None,
            observed: context
                .internals
                .and(Observed::new([entry_point.and_then(|it| it.observability.as_ref())])),
            metrics: context.metrics.router(internal.name, internal.name),
            service_metrics: context.metrics.service(internal.name),
        };
        let tls = entry_point.is_some_and(|entry_point| entry_point.http.tls.as_ref().is_some());
        table.add_internal(&internal.entry_point, route, rule, internal.priority, tls);
    }
}

fn build_tls(
    dynamic: &DynamicConfig,
    provider: &str,
    table: &Table,
    kept: &Kept,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<ConfigError>,
) -> TlsSnapshot {
    let section = &dynamic.tls;
    let named = |name: &String| if name == "default" { name.clone() } else { qualify(name, provider) };
    let inputs = tls::Inputs {
        certificates: section.certificates.iter().map(|certificate| &certificate.value).collect(),
        default_certificate: section
            .stores
            .get("default")
            .and_then(|store| store.value.default_certificate.as_ref()),
        options: section.options.iter().map(|(name, options)| (named(name), &options.value)).collect(),
        hosts: table.hosts.clone(),
    };
    let (snapshot, faults) = tls::build(&inputs, &kept.tls);
    for fault in faults {
        let list = if fault.is_bridged() { &mut *warnings } else { &mut *errors };
        list.push(ConfigError::new("tls", fault.to_string()));
    }
    for name in section.stores.keys().filter(|name| *name != "default") {
        errors.push(ConfigError::new(format!("tls.stores.{name}"), "only the store `default` is used"));
    }
    snapshot
}

/// Hosts with TLS options other than the default ones, by entry point.
fn options_by_entry_point(table: &Table) -> BTreeMap<String, HashMap<String, Arc<str>>> {
    let mut options: BTreeMap<String, HashMap<String, Arc<str>>> = BTreeMap::new();
    for host in table.hosts.iter().filter(|host| host.options != "default") {
        let here = options.entry(host.entry_point.clone()).or_default();
        here.insert(host.host.clone(), host.options.as_str().into());
    }
    options
}
