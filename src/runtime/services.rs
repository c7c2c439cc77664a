//! Services and transports by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kept::Kept;
use super::names::{hint, qualify};
use crate::config::dynamic::{DynamicConfig, ServersTransport};
use crate::config::static_config::DefaultServersTransport;
use crate::config::{ConfigError, StaticConfig};
use crate::service::{Service, Transport};

const DEFAULT_TRANSPORT: &str = "default@internal";

/// Every service of a configuration; `Err` holds why one does not work.
pub struct Services(BTreeMap<String, Result<Arc<Service>, String>>);

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
            let compiled = match &located.value.load_balancer {
                None => Err("a service needs one kind, such as `loadBalancer`".to_owned()),
                Some(balancer) => {
                    let transport = balancer.servers_transport.as_deref();
                    let transport =
                        transport.map_or(DEFAULT_TRANSPORT.to_owned(), |name| qualify(name, provider));
                    find(&transports, &transport).and_then(|transport| {
                        Service::compile(&qualified, balancer, transport, &kept.services)
                            .map(Arc::new)
                            .map_err(|error| error.to_string())
                    })
                }
            };
            if let Err(message) = &compiled {
                errors.push(ConfigError {
                    at: Some(located.at.clone()),
                    path: format!("http.services.{name}"),
                    message: message.clone(),
                });
            }
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
            Some(Ok(service)) => Ok(Arc::clone(service)),
            Some(Err(reason)) => Err(format!("service `{name}` does not work: {reason}")),
            None => Err(format!(
                "service `{name}` does not exist{}",
                hint(name, self.0.keys().map(String::as_str))
            )),
        }
    }
}

type Transports = BTreeMap<String, Result<Transport, String>>;

fn transports(
    dynamic: &DynamicConfig,
    provider: &str,
    default: &DefaultServersTransport,
    errors: &mut Vec<ConfigError>,
) -> Transports {
    let mut table = BTreeMap::new();
    let compiled = Transport::compile(&named(default)).map_err(|error| error.to_string());
    if let Err(message) = &compiled {
        errors.push(ConfigError::new("serversTransport", message.clone()));
    }
    table.insert(DEFAULT_TRANSPORT.to_owned(), compiled);
    for (name, located) in &dynamic.http.servers_transports {
        let compiled = Transport::compile(&located.value).map_err(|error| error.to_string());
        if let Err(message) = &compiled {
            errors.push(ConfigError {
                at: Some(located.at.clone()),
                path: format!("http.serversTransports.{name}"),
                message: message.clone(),
            });
        }
        table.insert(qualify(name, provider), compiled);
    }
    table
}

fn find<'a>(transports: &'a Transports, name: &str) -> Result<&'a Transport, String> {
    match transports.get(name) {
        Some(Ok(transport)) => Ok(transport),
        Some(Err(reason)) => Err(format!("serversTransport `{name}` does not work: {reason}")),
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
