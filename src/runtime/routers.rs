//! Routers, placed on their entry points.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::middlewares::Middlewares;
use super::names::{hint, qualify};
use super::services::Services;
use crate::config::dynamic::Router as Config;
use crate::config::entry_point::EntryPoint;
use crate::config::{ConfigError, Located};
use crate::middleware::Chain;
use crate::net::internal::InternalService;
use crate::observe::Metrics;
use crate::proxy::{Observed, Route, RouteService, Routes};
use crate::router::{RouteSpec, Router, Rule, default_priority};
use crate::tls::HostOptions;

/// The highest priority that an operator may give; what is above is for internal routers.
const HIGHEST: i64 = i64::MAX - 1000;

/// What a router refers to.
pub struct Context<'a> {
    /// Entry points by name.
    pub entry_points: &'a BTreeMap<String, EntryPoint>,
    /// Those of routers that name none.
    pub defaults: &'a [String],
    /// Middlewares by name.
    pub middlewares: &'a Middlewares,
    /// Services by name.
    pub services: &'a Services,
    /// `ping@internal` and the like.
    pub internal: &'a dyn Fn(&str) -> Option<InternalService>,
    /// Counters.
    pub metrics: &'a Metrics,
    /// What is recorded of requests to internal services (`addInternals`).
    pub internals: Observed,
}

/// Routes of each entry point under construction.
#[derive(Default)]
pub struct Table {
    plain: HashMap<String, Side>,
    tls: HashMap<String, Side>,
    /// The TLS options that hosts ask for.
    pub hosts: Vec<HostOptions>,
}

#[derive(Default)]
struct Side {
    specs: Vec<RouteSpec>,
    routes: Vec<Arc<Route>>,
}

impl Side {
    fn add(&mut self, route: Route, rule: Rule, priority: i64) {
        let name = route.name.to_string();
        self.specs.push(RouteSpec { name, rule, priority, provider_rank: 0 });
        self.routes.push(Arc::new(route));
    }

    fn build(self) -> Routes {
        Routes { router: Router::build(self.specs), routes: self.routes }
    }
}

impl Table {
    /// Places one router; what is wrong with it is reported in `errors`.
    pub fn add(
        &mut self,
        name: &str,
        provider: &str,
        located: &Located<Config>,
        context: &Context<'_>,
        errors: &mut Vec<ConfigError>,
    ) {
        let mut fail = |message: String| {
            let path = format!("http.routers.{name}");
            errors.push(ConfigError { at: Some(located.at.clone()), path, message });
        };
        let config = &located.value;
        if config.priority > HIGHEST {
            return fail(format!("priority: the highest possible is {HIGHEST}"));
        }
        let rule = match Rule::parse(&config.rule) {
            Ok(rule) => rule,
            Err(error) => return fail(format!("rule `{}`: {error}", config.rule)),
        };
        let (wanted, unknown) = wanted_entry_points(config, context);
        for entry_point in &unknown {
            let known = context.entry_points.keys().map(String::as_str);
            fail(format!("entry point `{entry_point}` does not exist{}", hint(entry_point, known)));
        }
        for (index, entry_point) in wanted.iter().enumerate() {
            let placed = self.place(name, provider, config, &rule, entry_point, wanted.len() > 1, context);
            // The same fault on every entry point is one fault.
            if let Some(message) = placed.filter(|_| index == 0) {
                fail(message);
            }
        }
    }

    /// Places a router on one entry point; why it answers 404, if it does.
    #[allow(clippy::too_many_arguments)]
    fn place(
        &mut self,
        name: &str,
        provider: &str,
        config: &Config,
        rule: &Rule,
        entry_name: &str,
        on_several: bool,
        context: &Context<'_>,
    ) -> Option<String> {
        let entry_point = context.entry_points.get(entry_name)?;
        let here = &entry_point.http;
        let qualified = qualify(name, provider);
        // As Traefik names the copies of a router on entry points with settings of their own.
        let has_model = !here.middlewares.is_empty()
            || here.tls.as_ref().is_some()
            || entry_point.observability.is_some();
        let route_name =
            if on_several && has_model { format!("{entry_name}-{qualified}") } else { qualified };
        let service_name = qualify(&config.service, provider);
        let tls = config.tls.as_ref().or(here.tls.as_ref());
        let options = tls.map(|tls| tls.options.as_deref().unwrap_or("default"));

        let outer = context.middlewares.chain(&here.middlewares, provider);
        let tls_options =
            options.filter(|name| *name != "default").map(|name| Arc::from(qualify(name, provider)));
        let chain = outer
            .and_then(|outer| Ok(outer.then(&context.middlewares.chain(&config.middlewares, provider)?)));
        let service = service(&service_name, context);
        let with_options =
            options.map_or(Ok(()), |options| self.options(options, provider, rule, entry_name));
        let (chain, service, broken) = match (chain, service, with_options) {
            (Ok(chain), Ok(service), Ok(())) => (chain, service, None),
            (Err(reason), ..) | (_, Err(reason), _) | (.., Err(reason)) => {
                (Chain::default(), RouteService::Internal(not_found()), Some(reason))
            }
        };
        let blocks = [config.observability.as_ref(), entry_point.observability.as_ref()];
        let mut observed = Observed::new(blocks);
        if service_name.ends_with("@internal") {
            observed = observed.and(context.internals);
        }
        let route = Route {
            metrics: context.metrics.router(&route_name, &service_name).filter(|_| observed.metrics),
            service_metrics: context.metrics.service(&service_name).filter(|_| observed.metrics),
            name: route_name.into(),
            chain,
            service,
            service_name: service_name.into(),
            broken: broken.clone(),
            tls_options,
            observed,
        };
        let priority = match config.priority {
            0 => default_priority(&config.rule),
            priority => priority,
        };
        let side = if tls.is_some() { &mut self.tls } else { &mut self.plain };
        side.entry(entry_name.to_owned()).or_default().add(route, rule.clone(), priority);
        broken
    }

    /// Notes which hosts ask for the TLS options `name`.
    fn options(&mut self, name: &str, provider: &str, rule: &Rule, entry_point: &str) -> Result<(), String> {
        let options = if name == "default" { name.to_owned() } else { qualify(name, provider) };
        let hosts = rule.hosts();
        if hosts.is_empty() && options != "default" {
            // Such a rule would be answered on connections that were made with other options.
            return Err(format!(
                "tls.options `{name}` needs a rule with Host: options are chosen by server name"
            ));
        }
        self.hosts.extend(hosts.into_iter().map(|host| HostOptions {
            entry_point: entry_point.to_owned(),
            host,
            options: options.clone(),
        }));
        Ok(())
    }

    /// Places a router of ours.
    pub fn add_internal(&mut self, entry_point: &str, route: Route, rule: Rule, priority: i64, tls: bool) {
        let side = if tls { &mut self.tls } else { &mut self.plain };
        side.entry(entry_point.to_owned()).or_default().add(route, rule, priority);
    }

    /// The finished routes of an entry point: for plain and for TLS connections.
    pub fn take(&mut self, entry_point: &str) -> (Routes, Routes) {
        let take = |side: &mut HashMap<String, Side>| side.remove(entry_point).unwrap_or_default().build();
        (take(&mut self.plain), take(&mut self.tls))
    }
}

fn wanted_entry_points<'a>(
    config: &'a Config,
    context: &'a Context<'_>,
) -> (Vec<&'a String>, Vec<&'a String>) {
    let wanted = if config.entry_points.is_empty() { context.defaults } else { &config.entry_points };
    wanted.iter().partition(|name| context.entry_points.contains_key(*name))
}

fn service(name: &str, context: &Context<'_>) -> Result<RouteService, String> {
    if name.ends_with("@internal") {
        let internal = (context.internal)(name).ok_or_else(|| {
            format!("service `{name}` does not exist, or its block in the static configuration is missing")
        })?;
        return Ok(RouteService::Internal(internal));
    }
    context.services.get(name).map(RouteService::Balanced)
}

/// What a broken router answers, should anybody ask its service.
fn not_found() -> InternalService {
    Arc::new(|_| crate::net::LocalResponse::text(http::StatusCode::NOT_FOUND, "404 page not found\n").into())
}
