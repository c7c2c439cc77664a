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
        let router = Placing { name, provider, config, rule: &rule, on_several: wanted.len() > 1 };
        for (index, entry_point) in wanted.iter().enumerate() {
            let placed = self.place(&router, entry_point, context);
            // The same fault on every entry point is one fault.
            if let Some(message) = placed.filter(|_| index == 0) {
                fail(message);
            }
        }
    }

    /// Places a router on one entry point; why it answers 404, if it does.
    fn place(&mut self, router: &Placing<'_>, entry_name: &str, context: &Context<'_>) -> Option<String> {
        let entry_point = context.entry_points.get(entry_name)?;
        let Placing { provider, config, rule, .. } = *router;
        let options = router.tls_options(entry_point);
        // Also for a router that does not work: its hosts ask for these options all the same.
        let with_options =
            options.map_or(Ok(()), |options| self.options(options, provider, rule, entry_name));
        let parts = router.parts(entry_point, context).and_then(|parts| with_options.map(|()| parts));
        let (chain, service, broken) = match parts {
            Ok((chain, service)) => (chain, service, None),
            Err(reason) => (Chain::default(), RouteService::Internal(not_found()), Some(reason)),
        };
        let (name, service_name) = (router.name_on(entry_name, entry_point), router.service_name());
        let observed = router.observed(entry_point, context);
        let route = Route {
            metrics: context.metrics.router(&name, &service_name).filter(|_| observed.metrics),
            service_metrics: context.metrics.service(&service_name).filter(|_| observed.metrics),
            name: name.into(),
            chain,
            service,
            service_name: service_name.into(),
            broken: broken.clone(),
            tls_options: options
                .filter(|name| *name != "default")
                .map(|name| Arc::from(qualify(name, provider))),
            observed,
        };
        let priority = match config.priority {
            0 => default_priority(&config.rule),
            priority => priority,
        };
        let side = if options.is_some() { &mut self.tls } else { &mut self.plain };
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

/// A router on its way to its entry points.
struct Placing<'a> {
    name: &'a str,
    provider: &'a str,
    config: &'a Config,
    rule: &'a Rule,
    /// It goes to more than one.
    on_several: bool,
}

impl<'a> Placing<'a> {
    /// As Traefik names the copies of a router on entry points with settings of their own.
    fn name_on(&self, entry_name: &str, entry_point: &EntryPoint) -> String {
        let qualified = qualify(self.name, self.provider);
        let here = &entry_point.http;
        let has_model = !here.middlewares.is_empty()
            || here.tls.as_ref().is_some()
            || entry_point.observability.is_some();
        if self.on_several && has_model { format!("{entry_name}-{qualified}") } else { qualified }
    }

    fn service_name(&self) -> String {
        qualify(&self.config.service, self.provider)
    }

    /// The TLS options, as written; none: it is for plain connections.
    fn tls_options<'b>(&self, entry_point: &'b EntryPoint) -> Option<&'b str>
    where
        'a: 'b,
    {
        let tls = self.config.tls.as_ref().or(entry_point.http.tls.as_ref());
        tls.map(|tls| tls.options.as_deref().unwrap_or("default"))
    }

    /// What it refers to, the middlewares of the entry point first.
    fn parts(
        &self,
        entry_point: &EntryPoint,
        context: &Context<'_>,
    ) -> Result<(Chain, RouteService), String> {
        let chain = |names: &[String]| context.middlewares.chain(names, self.provider);
        let chain = chain(&entry_point.http.middlewares)?.then(&chain(&self.config.middlewares)?);
        Ok((chain, service(&self.service_name(), context)?))
    }

    /// What is recorded of its requests.
    fn observed(&self, entry_point: &EntryPoint, context: &Context<'_>) -> Observed {
        let observed =
            Observed::new([self.config.observability.as_ref(), entry_point.observability.as_ref()]);
        let internal = self.service_name().ends_with("@internal");
        if internal { observed.and(context.internals) } else { observed }
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
