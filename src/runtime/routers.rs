//! Routers, placed on their entry points.

mod candidate;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use self::candidate::Candidate;
use super::middlewares::Middlewares;
use super::services::Services;
use crate::config::dynamic::Router as Config;
use crate::config::entry_point::EntryPoint;
use crate::config::{ConfigError, Located};
use crate::middleware::Chain;
use crate::net::internal::InternalService;
use crate::observe::Metrics;
use crate::proxy::{Observed, Route, Routes};
use crate::router::{RouteSpec, Router, Rule};
use crate::tls::HostOptions;

/// Ranks of routers of one priority: those that only hold a place come last.
const PLACED: u32 = 0;
const HELD: u32 = 1;

/// What a router refers to.
pub struct Context<'a> {
    /// Entry points by name.
    pub entry_points: &'a BTreeMap<String, EntryPoint>,
    /// Those of routers that name none.
    pub defaults: &'a [String],
    /// The middlewares of each entry point, or what is wrong with them.
    pub outer: &'a BTreeMap<String, Result<Chain, Vec<String>>>,
    /// Middlewares by name.
    pub middlewares: &'a Middlewares,
    /// Services by name.
    pub services: &'a Services,
    /// The names of all TLS options.
    pub tls_options: &'a BTreeSet<String>,
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
    pub asked: Vec<Asked>,
}

/// Which TLS options a router asks for.
pub struct Asked {
    /// The options and the host.
    pub options: HostOptions,
    /// The router's name as written.
    pub router: Arc<str>,
}

#[derive(Default)]
struct Side {
    specs: Vec<RouteSpec>,
    routes: Vec<Arc<Route>>,
}

impl Side {
    fn add(&mut self, route: Route, rule: Rule, priority: i64, provider_rank: u32) {
        let name = route.name.to_string();
        self.specs.push(RouteSpec { name, rule, priority, provider_rank });
        self.routes.push(Arc::new(route));
    }

    fn build(self) -> Routes {
        Routes { router: Router::build(self.specs), routes: self.routes }
    }
}

impl Table {
    /// Places one router; what is wrong with it is reported in `errors`. Unless its rule is wrong itself it has a place
    /// whatever else is wrong: what it was to guard must not fall to a more general router.
    pub fn add(
        &mut self,
        name: &str,
        provider: &str,
        located: &Located<Config>,
        context: &Context<'_>,
        errors: &mut Vec<ConfigError>,
    ) {
        let mut candidate = Candidate::new(name, provider, located, context);
        let there = candidate.entry_points();
        if let Some(rule) = candidate.rule() {
            for entry_point in &there {
                self.place(&mut candidate, &rule, entry_point, there.len() > 1);
            }
            if let Some(lost) = candidate.lost() {
                self.hold(&candidate, &rule, &there, lost);
            }
        }
        errors.append(&mut candidate.errors);
    }

    /// Places a router on one of its entry points.
    fn place(&mut self, candidate: &mut Candidate<'_>, rule: &Rule, entry_name: &str, on_several: bool) {
        let Some(entry_point) = candidate.context.entry_points.get(entry_name) else { return };
        let options = candidate.tls_options(entry_point);
        let mut broken = candidate.broken.clone();
        if let Some(options) = &options {
            broken = broken.or(candidate.judge_options(options, rule));
            self.note_hosts(candidate.name, options, rule, entry_name);
        }
        let route = candidate.route(entry_name, entry_point, on_several, broken);
        self.side(entry_name, options.is_some()).add(route, rule.clone(), candidate.priority(), PLACED);
    }

    /// Keeps the rule of a router on all entry points but those of its own (`there`): it names one that does not exist,
    /// which may be any of them. It answers 404 there, after routers of its priority that work.
    fn hold(&mut self, candidate: &Candidate<'_>, rule: &Rule, there: &[&str], lost: &str) {
        for (name, entry_point) in candidate.context.entry_points {
            if there.contains(&name.as_str()) {
                continue;
            }
            let broken = Some(format!("the entry point `{lost}` does not exist"));
            let route = Route { tls_options: None, ..candidate.route(name, entry_point, true, broken) };
            let tls = candidate.tls_options(entry_point).is_some();
            self.side(name, tls).add(route, rule.clone(), candidate.priority(), HELD);
        }
    }

    /// Notes which hosts ask for the TLS options `name`.
    fn note_hosts(&mut self, router: &str, name: &str, rule: &Rule, entry_point: &str) {
        let router: Arc<str> = router.into();
        self.asked.extend(rule.hosts().into_iter().map(|host| Asked {
            options: HostOptions { entry_point: entry_point.to_owned(), host, options: name.to_owned() },
            router: Arc::clone(&router),
        }));
    }

    fn side(&mut self, entry_point: &str, tls: bool) -> &mut Side {
        let side = if tls { &mut self.tls } else { &mut self.plain };
        side.entry(entry_point.to_owned()).or_default()
    }

    /// Places a router of ours.
    pub fn add_internal(&mut self, entry_point: &str, route: Route, rule: Rule, priority: i64, tls: bool) {
        self.side(entry_point, tls).add(route, rule, priority, PLACED);
    }

    /// The finished routes of an entry point: for plain and for TLS connections.
    pub fn take(&mut self, entry_point: &str) -> (Routes, Routes) {
        let take = |side: &mut HashMap<String, Side>| side.remove(entry_point).unwrap_or_default().build();
        (take(&mut self.plain), take(&mut self.tls))
    }
}
