//! `entryPoints.<name>.http.redirections`: everything that arrives goes elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::names::hint;
use super::routers::{Context, Table};
use crate::config::entry_point::{EntryPoint, RedirectEntryPoint};
use crate::config::middleware;
use crate::config::{ConfigError, address};
use crate::middleware::{Chain, Middleware, RedirectScheme};
use crate::proxy::{Observed, Route, RouteService};
use crate::router::{Rule, default_priority};

/// The rule of a redirection, as Traefik has it.
const EVERYTHING: &str = "HostRegexp(`^.+$`)";

/// Places the redirection of the entry point `name`, if it has one.
///
/// # Errors
/// A target that is no entry point and no port.
pub fn add(
    table: &mut Table,
    name: &str,
    entry_point: &EntryPoint,
    entry_points: &BTreeMap<String, EntryPoint>,
    context: &Context<'_>,
) -> Result<(), ConfigError> {
    let redirections = entry_point.http.redirections.as_ref();
    let Some(target) = redirections.and_then(|redirections| redirections.entry_point.as_ref()) else {
        return Ok(());
    };
    let path = format!("entryPoints.{name}.http.redirections.entryPoint");
    let fail = |message: String| ConfigError::new(path.clone(), message);
    let config = middleware::RedirectScheme {
        scheme: target.scheme.clone(),
        port: Some(
            port(target, entry_points).map_err(|message| ConfigError::new(format!("{path}.to"), message))?,
        ),
        permanent: target.permanent,
    };
    let redirect = RedirectScheme::new(&config).map_err(|fault| fail(fault.to_string()))?;
    let rule = Rule::parse(EVERYTHING).map_err(|error| fail(error.to_string()))?;
    let route_name = format!("{name}-to-{}@internal", target.to.trim_start_matches(':'));
    let noop = (context.internal)("noop@internal").ok_or_else(|| fail("no service".to_owned()))?;
    let route = Route {
        name: route_name.into(),
        chain: Chain::new([Arc::new(Middleware::RedirectScheme(redirect))]),
        service: RouteService::Internal(noop),
        service_name: "noop@internal".into(),
        broken: None,
        tls_options: None,
        observed: context.internals.and(Observed::new([entry_point.observability.as_ref()])),
        metrics: None,
        service_metrics: None,
    };
    let tls = entry_point.http.tls.as_ref().is_some();
    let priority = if target.priority == 0 { default_priority(EVERYTHING) } else { target.priority };
    table.add_internal(name, route, rule, priority, tls);
    Ok(())
}

/// The port that requests are sent to.
fn port(target: &RedirectEntryPoint, entry_points: &BTreeMap<String, EntryPoint>) -> Result<String, String> {
    let address = match entry_points.get(&target.to) {
        Some(entry_point) => entry_point.address.as_str(),
        None if target.to.starts_with(':') => {
            let expected = |_| format!("expected an entry point or :port, found `{}`", target.to);
            return address::parse(&target.to).map(|address| address.port().to_string()).map_err(expected);
        }
        None => {
            let known = hint(&target.to, entry_points.keys().map(String::as_str));
            return Err(format!("entry point `{}` does not exist{known}", target.to));
        }
    };
    address::parse(address).map(|address| address.port().to_string())
}
