//! Services and transports by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kept::Kept;
use super::names::{defined, hint, qualify, see_there};
use crate::config::dynamic::{self as config, DynamicConfig, ServersTransport};
use crate::config::static_config::DefaultServersTransport;
use crate::config::{ConfigError, Fault, Faults, Located, StaticConfig};
use crate::service::{Material, Service, Transport};

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
        warnings: &mut Vec<ConfigError>,
    ) -> Self {
        let material = kept.services.material();
        let transports = transports(dynamic, provider, &fixed.servers_transport, material, errors, warnings);
        let mut table = BTreeMap::new();
        for (name, located) in &dynamic.http.services {
            let qualified = defined(name, provider);
            let compiled = match one(&qualified, provider, located, &transports, kept) {
                Ok(service) => service.map(Arc::new),
                Err(faults) => {
                    errors.extend(located.faults(&format!("http.services.{name}"), faults));
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

/// The service `name`, or all that is wrong with it; none if it did not decode, which is told already.
fn one(
    name: &str,
    provider: &str,
    located: &Located<config::Service>,
    transports: &Transports,
    kept: &Kept,
) -> Result<Option<Service>, Faults> {
    let Some(balancer) = &located.value.load_balancer else {
        let message = "a service needs one kind, such as `loadBalancer`".to_owned();
        return if located.faulty { Ok(None) } else { Err(message.into()) };
    };
    let mut faults = Service::faults(balancer);
    // One that did not decode is told already.
    faults.0.retain(|fault| !located.faulty || !fault.message.starts_with("``"));
    let mut faults = faults.below("loadBalancer");
    let transport = balancer.servers_transport.as_deref();
    let transport = transport.map_or(DEFAULT_TRANSPORT.to_owned(), |name| qualify(name, provider));
    let found = find(transports, &transport);
    let transport =
        faults.gather(found.map_err(|message| Fault::new("loadBalancer.serversTransport", message)));
    faults.or(())?;
    let made = transport.filter(|_| !located.faulty).map(|transport| {
        Service::compile(name, balancer, transport, &kept.services)
            .map_err(|faults| faults.below("loadBalancer"))
    });
    made.transpose()
}

/// Every transport; none for one that does not work.
type Transports = BTreeMap<String, Option<Transport>>;

fn transports(
    dynamic: &DynamicConfig,
    provider: &str,
    default: &DefaultServersTransport,
    material: &Material,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<ConfigError>,
) -> Transports {
    let mut table = BTreeMap::new();
    let default = named(default);
    let fault = |Fault { key, message }| ConfigError::new(format!("serversTransport.{key}"), message);
    let compiled = Transport::compile(&default, material);
    let compiled = compiled.map_err(|faults| errors.extend(faults.0.into_iter().map(fault))).ok();
    warnings.extend(compiled.iter().flat_map(Transport::outdated).cloned().map(fault));
    table.insert(DEFAULT_TRANSPORT.to_owned(), compiled);
    for (name, located) in &dynamic.http.servers_transports {
        let path = format!("http.serversTransports.{name}");
        let compiled = (!located.faulty).then(|| Transport::compile(&located.value, material)).transpose();
        let compiled = compiled.unwrap_or_else(|faults| {
            errors.extend(located.faults(&path, faults));
            None
        });
        let outdated = compiled.iter().flat_map(Transport::outdated).cloned();
        warnings.extend(located.faults(&path, Faults(outdated.collect())));
        table.insert(defined(name, provider), compiled);
    }
    let named = dynamic.http.servers_transports.values().map(|located| &located.value);
    material.keep_for(&named.chain([&default]).collect::<Vec<_>>());
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
