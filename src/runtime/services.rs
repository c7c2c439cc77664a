//! Services and transports by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kept::Kept;
use super::names::{hint, qualify, see_there};
use crate::config::dynamic::{self as config, DynamicConfig, ServersTransport};
use crate::config::static_config::DefaultServersTransport;
use crate::config::{ConfigError, Located, StaticConfig};
use crate::service::{Service, Transport};

const DEFAULT_TRANSPORT: &str = "default@internal";

/// Every service of a configuration; none for one that does not work.
pub struct Services(BTreeMap<String, Option<Arc<Service>>>);

impl Services {
    /// Compiles them; what does not work is reported in `errors` and breaks only the routers that use it.
    pub fn compile(
        dynamic: &DynamicConfig,
        provider: &str,
        fixed: &StaticConfig,
        kept: &Kept,
        errors: &mut Vec<ConfigError>,
    ) -> Self {
        let transports = transports(dynamic, provider, &fixed.servers_transport, errors);
        let mut table = BTreeMap::new();
        for (name, located) in &dynamic.http.services {
            let qualified = qualify(name, provider);
            let compiled = match one(&qualified, provider, located, &transports, kept) {
                Ok(service) => service.map(Arc::new),
                Err((key, message)) => {
                    errors.push(located.fault(&format!("http.services.{name}"), key, message));
                    None
                }
            };
            table.insert(qualified, compiled);
        }
        Self(table)
    }

    /// The service `name`, which is qualified.
    ///
    /// # Errors
    /// Nobody defines it, or it does not work.
    pub fn get(&self, name: &str) -> Result<Arc<Service>, String> {
        match self.0.get(name) {
            Some(Some(service)) => Ok(Arc::clone(service)),
            Some(None) => Err(see_there("service", name)),
            None => Err(format!(
                "service `{name}` does not exist{}",
                hint(name, self.0.keys().map(String::as_str))
            )),
        }
    }
}

/// The service `name`, or which of its keys is wrong and how; none if it did not decode, which is told already.
fn one(
    name: &str,
    provider: &str,
    located: &Located<config::Service>,
    transports: &Transports,
    kept: &Kept,
) -> Result<Option<Service>, (&'static str, String)> {
    if located.faulty {
        return Ok(None);
    }
    let Some(balancer) = &located.value.load_balancer else {
        return Err(("", "a service needs one kind, such as `loadBalancer`".to_owned()));
    };
    let transport = balancer.servers_transport.as_deref();
    let transport = transport.map_or(DEFAULT_TRANSPORT.to_owned(), |name| qualify(name, provider));
    let transport =
        find(transports, &transport).map_err(|message| ("loadBalancer.serversTransport", message))?;
    Service::compile(name, balancer, transport, &kept.services)
        .map(Some)
        .map_err(|error| ("loadBalancer", error.to_string()))
}

/// Every transport; none for one that does not work.
type Transports = BTreeMap<String, Option<Transport>>;

fn transports(
    dynamic: &DynamicConfig,
    provider: &str,
    default: &DefaultServersTransport,
    errors: &mut Vec<ConfigError>,
) -> Transports {
    let mut table = BTreeMap::new();
    let compiled = Transport::compile(&named(default));
    let compiled =
        compiled.map_err(|error| errors.push(ConfigError::new("serversTransport", error.to_string())));
    table.insert(DEFAULT_TRANSPORT.to_owned(), compiled.ok());
    for (name, located) in &dynamic.http.servers_transports {
        let compiled = (!located.faulty).then(|| Transport::compile(&located.value)).transpose();
        let compiled = compiled.unwrap_or_else(|error| {
            let path = format!("http.serversTransports.{name}");
            errors.push(located.fault(&path, "", error.to_string()));
            None
        });
        table.insert(qualify(name, provider), compiled);
    }
    table
}

fn find<'a>(transports: &'a Transports, name: &str) -> Result<&'a Transport, String> {
    match transports.get(name) {
        Some(Some(transport)) => Ok(transport),
        Some(None) => Err(see_there("serversTransport", name)),
        None => Err(format!(
            "serversTransport `{name}` does not exist{}",
            hint(name, transports.keys().map(String::as_str))
        )),
    }
}

/// The default transport in the words of a named one.
fn named(default: &DefaultServersTransport) -> ServersTransport {
    ServersTransport {
        insecure_skip_verify: default.insecure_skip_verify,
        root_cas: default.root_cas.clone(),
        max_idle_conns_per_host: default.max_idle_conns_per_host,
        forwarding_timeouts: default.forwarding_timeouts.clone(),
        ..ServersTransport::default()
    }
}
