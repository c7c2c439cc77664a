//! From a configuration to what requests are served by.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entry_points;
use super::kept::Kept;
use super::middlewares::Middlewares;
use super::names::{hint, qualify};
use super::routers::{Context, Table};
use super::services::Services;
use super::{redirect, tls};
use crate::config::dynamic::DynamicConfig;
use crate::config::entry_point::EntryPoint as EntryPointConfig;
use crate::config::{ConfigError, StaticConfig};
use crate::middleware::Chain;
use crate::proxy::{EntryPoint, Observed, Route, RouteService, Snapshot};
use crate::router::Rule;
use crate::tls::{ByHost, TlsSnapshot};

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
    let services = Services::compile(dynamic, provider, fixed, kept, &mut errors, &mut warnings);
    let tls_options = tls::names(dynamic, provider);
    let outer = outer_chains(&entry_points, &middlewares, provider);
    let context = Context {
        entry_points: &entry_points,
        defaults: &entry_points::defaults(&entry_points),
        outer: &outer,
        middlewares: &middlewares,
        services: &services,
        tls_options: &tls_options,
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
    // Without a router they serve nobody, and before the first load nothing that they name is there.
    if !dynamic.http.routers.is_empty() {
        errors.extend(faults_of_entry_points(&context, provider));
    }
    add_internal(&mut table, fixed, kept, &context);
    for (name, entry_point) in &entry_points {
        if let Err(error) = redirect::add(&mut table, name, entry_point, &entry_points, &context) {
            errors.push(error);
        }
    }
    let tls = tls::build(dynamic, provider, &table, kept, &mut errors, &mut warnings);
    let options = tls::by_entry_point(&table);
    let own = Arc::new(middlewares.own());
    let built = entry_points.iter().map(|(name, config)| {
        let built = build(name, config, fixed, kept, &mut table, options.get(name.as_str()));
        let built = EntryPoint { own: Arc::clone(&own), ..built };
        (Arc::clone(&built.name), Arc::new(built))
    });
    let snapshot = Snapshot { generation, entry_points: built.collect() };
    errors.iter_mut().chain(&mut warnings).for_each(|told| kept.place(told));
    Compiled { snapshot, tls, errors, warnings }
}

/// The middlewares of each entry point, or what is wrong with them.
fn outer_chains(
    entry_points: &BTreeMap<String, EntryPointConfig>,
    middlewares: &Middlewares,
    provider: &str,
) -> BTreeMap<String, Result<Chain, Vec<String>>> {
    let chain = |entry_point: &EntryPointConfig| middlewares.chain(&entry_point.http.middlewares, provider);
    entry_points.iter().map(|(name, entry_point)| (name.clone(), chain(entry_point))).collect()
}

/// What entry points name for all routers on them, and what is wrong with it.
fn faults_of_entry_points(context: &Context<'_>, provider: &str) -> Vec<ConfigError> {
    let mut faults = Vec::new();
    for (name, entry_point) in context.entry_points {
        let path = format!("entryPoints.{name}.http");
        let chain = context.outer.get(name).and_then(|chain| chain.as_ref().err());
        let chain = chain.into_iter().flatten();
        faults.extend(chain.map(|message| ConfigError::new(format!("{path}.middlewares"), message)));
        let options = entry_point.http.tls.as_ref().and_then(|tls| tls.options.as_deref());
        let options = options.filter(|name| *name != "default").map(|name| qualify(name, provider));
        if let Some(name) = options.filter(|name| !context.tls_options.contains(name)) {
            let known = hint(&name, context.tls_options.iter().map(String::as_str));
            let message = format!("no TLS options are called `{name}`{known}");
            faults.push(ConfigError::new(format!("{path}.tls.options"), message));
        }
    }
    faults
}

fn build(
    name: &str,
    config: &EntryPointConfig,
    fixed: &StaticConfig,
    kept: &Kept,
    table: &mut Table,
    tls_options: Option<&ByHost<Arc<str>>>,
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
