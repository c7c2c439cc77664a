//! A service: servers and the order in which they get requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::endpoint::{Endpoint, ServerUrlError};
use super::{Registries, Transport, schedule};
use crate::config::dynamic::LoadBalancer;
use crate::config::{Fault, Faults};

/// Servers that share the requests of a service by weight.
#[derive(Debug)]
pub struct Service {
    name: Arc<str>,
    servers: Vec<Arc<Endpoint>>,
    turns: Box<[u16]>,
    position: Arc<AtomicUsize>,
    pass_host_header: bool,
}

impl Service {
    /// Why this service cannot work; its routers answer 404 then.
    pub fn faults(config: &LoadBalancer) -> Faults {
        let mut faults = Vec::new();
        if config.strategy != "wrr" {
            let message = format!("`{}` is not supported yet; `wrr` is", config.strategy);
            faults.push(Fault::new("strategy", message));
        }
        if config.servers.len() > usize::from(u16::MAX) {
            faults.push(Fault::new("servers", format!("more than {}", u16::MAX)));
        }
        let servers = config.servers.iter().enumerate();
        faults.extend(servers.filter_map(|(index, server)| {
            Some(Fault::new(format!("servers[{index}].url"), Endpoint::fault(server)?.to_string()))
        }));
        Faults(faults)
    }

    /// Compiles the service `name` (`name@provider`).
    ///
    /// # Errors
    /// [`Service::faults`].
    pub fn compile(
        name: &str,
        config: &LoadBalancer,
        transport: &Transport,
        registries: &Registries,
    ) -> Result<Self, Faults> {
        Self::faults(config).or(())?;
        let servers = config.servers.iter();
        let servers =
            servers.map(|server| Endpoint::new(server, transport, registries.names()).map(Arc::new));
        let servers: Result<_, ServerUrlError> = servers.collect();
        let weights: Vec<i64> = config.servers.iter().map(|server| server.weight).collect();
        Ok(Self {
            name: name.into(),
            servers: servers.map_err(|error| error.to_string())?,
            turns: schedule::turns(&weights),
            position: registries.position(name),
            pass_host_header: config.pass_host_header,
        })
    }

    /// `name@provider`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether the server gets the client's Host header instead of its own name.
    pub fn pass_host_header(&self) -> bool {
        self.pass_host_header
    }

    /// The server for the next request; none when no server may get any (503).
    pub fn pick(&self) -> Option<&Arc<Endpoint>> {
        let position = self.position.fetch_add(1, Ordering::Relaxed);
        let turn = self.turns.get(position.checked_rem(self.turns.len())?)?;
        self.servers.get(usize::from(*turn))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use crate::config::dynamic::Server;
    use crate::service::dns::Names;

    fn balancer(servers: &[(&str, i64)]) -> LoadBalancer {
        LoadBalancer {
            servers: servers
                .iter()
                .map(|&(url, weight)| Server { url: url.into(), weight, preserve_path: false })
                .collect(),
            ..LoadBalancer::default()
        }
    }

    fn compile(config: &LoadBalancer) -> Result<Service, Faults> {
        Service::compile("web@file", config, &Transport::standard(), &Registries::new(Names::fixed([])))
    }

    #[tokio::test]
    async fn requests_are_shared_by_weight() {
        let service = compile(&balancer(&[("http://10.0.0.1", 3), ("http://10.0.0.2", 1)])).unwrap();
        let heavy = (0..400).filter(|_| &**service.pick().unwrap().url() == "http://10.0.0.1").count();
        assert_eq!(heavy, 300);
    }

    #[tokio::test]
    async fn no_server_with_a_weight_is_nobody() {
        assert!(compile(&balancer(&[])).unwrap().pick().is_none());
        assert!(compile(&balancer(&[("http://10.0.0.1", 0)])).unwrap().pick().is_none());
    }

    #[tokio::test]
    async fn a_reload_goes_on_where_the_old_balancer_was() {
        let registries = Registries::new(Names::fixed([]));
        let config = balancer(&[("http://10.0.0.1", 1), ("http://10.0.0.2", 1)]);
        let make = || Service::compile("web@file", &config, &Transport::standard(), &registries).unwrap();
        let old = make();
        let first = Arc::clone(old.pick().unwrap().url());
        let new = make();
        drop(old);
        assert_ne!(*new.pick().unwrap().url(), first);
    }

    #[tokio::test]
    async fn what_cannot_work_is_named() {
        let servers = balancer(&[("http://10.0.0.1", 1), ("gopher://x", 1), ("nonsense", 1)]);
        let said = compile(&LoadBalancer { strategy: "p2c".into(), ..servers }).unwrap_err().to_string();
        assert_eq!(
            said.lines().collect::<Vec<_>>(),
            [
                "strategy: `p2c` is not supported yet; `wrr` is",
                "servers[1].url: `gopher://x`: the scheme must be http, https or h2c",
                "servers[2].url: `nonsense` is not a URL: relative URL without a base",
            ]
        );
    }
}
