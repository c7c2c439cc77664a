//! A router on its way to its entry points: what it refers to, and what is wrong with it.

use std::sync::Arc;

use super::Context;
use crate::config::dynamic::Router as Config;
use crate::config::entry_point::EntryPoint;
use crate::config::{ConfigError, Located};
use crate::middleware::Chain;
use crate::net::internal::InternalService;
use crate::proxy::{Observed, Route, RouteService};
use crate::router::{Rule, default_priority};
use crate::runtime::names::{defined, hint, qualify};

/// The highest priority that an operator may give; what is above is for internal routers.
const HIGHEST: i64 = i64::MAX - 1000;

/// A router with what it names.
pub(super) struct Candidate<'a> {
    /// As written.
    pub(super) name: &'a str,
    /// `name@provider`.
    qualified: String,
    provider: &'a str,
    written: &'a Located<Config>,
    pub(super) context: &'a Context<'a>,
    chain: Chain,
    service: RouteService,
    service_name: String,
    /// Why it answers 404, if it does.
    pub(super) broken: Option<String>,
    /// Everything that is wrong with it.
    pub(super) errors: Vec<ConfigError>,
}

impl<'a> Candidate<'a> {
    pub(super) fn new(
        name: &'a str,
        provider: &'a str,
        written: &'a Located<Config>,
        context: &'a Context<'a>,
    ) -> Self {
        let mut candidate = Self {
            name,
            qualified: defined(name, provider),
            provider,
            written,
            context,
            chain: Chain::default(),
            service: RouteService::Internal(not_found()),
            service_name: qualify(&written.value.service, provider),
            broken: None,
            errors: Vec::new(),
        };
        candidate.resolve();
        candidate
    }

    fn config(&self) -> &'a Config {
        &self.written.value
    }

    /// Finds what it names.
    fn resolve(&mut self) {
        let config = self.config();
        match self.context.middlewares.chain(&config.middlewares, self.provider) {
            Ok(chain) => self.chain = chain,
            Err(faults) => faults.into_iter().for_each(|message| self.breaks("middlewares", message)),
        }
        match service(&self.service_name, self.context) {
            Ok(service) => self.service = service,
            Err(message) => self.breaks("service", message),
        }
        if config.priority > HIGHEST {
            self.breaks("priority", format!("the highest possible is {HIGHEST}"));
        }
    }

    /// Records what is wrong with `key`; once, however many entry points find it.
    fn tell(&mut self, key: &str, message: String) {
        let config = self.config();
        let is_missing =
            (key == "rule" && config.rule.is_empty()) || (key == "service" && config.service.is_empty());
        if self.written.faulty && is_missing {
            // That is told already.
            return;
        }
        let error = self.written.fault(&format!("http.routers.{}", self.name), key, message);
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Records what keeps it from working.
    fn breaks(&mut self, key: &str, message: String) {
        self.broken.get_or_insert_with(|| message.clone());
        self.tell(key, message);
    }

    /// Its rule. Without one there is no place that it could hold.
    pub(super) fn rule(&mut self) -> Option<Rule> {
        let text = &self.config().rule;
        Rule::parse(text).map_err(|error| self.tell("rule", format!("`{text}`: {error}"))).ok()
    }

    /// Its priority; too high a one is the highest there is, so that nothing takes its place.
    pub(super) fn priority(&self) -> i64 {
        match self.config().priority {
            0 => default_priority(&self.config().rule),
            priority => priority.min(HIGHEST),
        }
    }

    /// The entry points that it is on.
    pub(super) fn entry_points(&mut self) -> Vec<&'a str> {
        let (context, config) = (self.context, self.config());
        let wanted =
            if config.entry_points.is_empty() { context.defaults } else { config.entry_points.as_slice() };
        let (there, unknown): (Vec<&str>, Vec<&str>) =
            wanted.iter().map(String::as_str).partition(|name| context.entry_points.contains_key(*name));
        for name in unknown {
            let known = context.entry_points.keys().map(String::as_str);
            self.tell("entryPoints", format!("entry point `{name}` does not exist{}", hint(name, known)));
        }
        there
    }

    /// The entry point that it names and that does not exist, if there is one.
    pub(super) fn lost(&self) -> Option<&'a str> {
        let mut named = self.config().entry_points.iter().map(String::as_str);
        named.find(|name| !self.context.entry_points.contains_key(*name))
    }

    /// The name of the TLS options that it has on `entry_point`, if it is an HTTPS router there.
    pub(super) fn tls_options(&self, entry_point: &EntryPoint) -> Option<String> {
        let tls = self.config().tls.as_ref().or(entry_point.http.tls.as_ref())?;
        let options = tls.options.as_deref().unwrap_or("default");
        Some(if options == "default" { options.to_owned() } else { qualify(options, self.provider) })
    }

    /// Why its rule cannot be served with the TLS options `name`, if it cannot.
    pub(super) fn judge_options(&mut self, name: &str, rule: &Rule) -> Option<String> {
        let is_own = self.config().tls.as_ref().is_some();
        let message = if name == "default" {
            return None;
        } else if rule.hosts().is_empty() {
            // Such a rule would be answered on connections that were made with other options.
            format!("`{name}` needs Host in the rule: TLS options are chosen by server name")
        } else if !self.context.tls_options.contains(name) {
            let known = self.context.tls_options.iter().map(String::as_str);
            format!("no TLS options are called `{name}`{}", hint(name, known))
        } else {
            return None;
        };
        // The entry point's are told there.
        if is_own || rule.hosts().is_empty() {
            self.tell(if is_own { "tls.options" } else { "rule" }, message.clone());
        }
        Some(message)
    }

    /// Its route on an entry point, with the middlewares of that before its own; it answers 404 if it is `broken`.
    pub(super) fn route(
        &self,
        entry_name: &str,
        entry_point: &EntryPoint,
        on_several: bool,
        broken: Option<String>,
    ) -> Route {
        let metrics = self.context.metrics;
        let observed = self.observed(entry_point);
        let name = self.name_on(entry_name, entry_point, on_several);
        let outer = match self.context.outer.get(entry_name) {
            Some(Err(_)) => Err(format!("the middlewares of the entry point `{entry_name}` have faults")),
            Some(Ok(outer)) if !outer.is_empty() => Ok(outer.then(&self.chain)),
            _ => Ok(self.chain.clone()),
        };
        let (chain, service, broken) = match (outer, broken) {
            (Ok(chain), None) => (chain, self.service.clone(), None),
            (Err(reason), None) | (_, Some(reason)) => {
                (Chain::default(), RouteService::Internal(not_found()), Some(reason))
            }
        };
        Route {
            metrics: metrics.router(&name, &self.service_name).filter(|_| observed.metrics),
            service_metrics: metrics.service(&self.service_name).filter(|_| observed.metrics),
            name: name.into(),
            chain,
            service,
            service_name: self.service_name.as_str().into(),
            broken,
            tls_options: self.tls_options(entry_point).filter(|name| name != "default").map(Arc::from),
            observed,
        }
    }

    /// As Traefik names the copies of a router on entry points with settings of their own.
    fn name_on(&self, entry_name: &str, entry_point: &EntryPoint, on_several: bool) -> String {
        let here = &entry_point.http;
        let has_model = !here.middlewares.is_empty()
            || here.tls.as_ref().is_some()
            || entry_point.observability.is_some();
        if on_several && has_model {
            format!("{entry_name}-{}", self.qualified)
        } else {
            self.qualified.clone()
        }
    }

    fn observed(&self, entry_point: &EntryPoint) -> Observed {
        let observed =
            Observed::new([self.config().observability.as_ref(), entry_point.observability.as_ref()]);
        if self.service_name.ends_with("@internal") { observed.and(self.context.internals) } else { observed }
    }
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
