//! A service: servers and the order in which they get requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use thiserror::Error;

use super::endpoint::{Endpoint, ServerUrlError};
use super::{Registries, Transport, schedule};
use crate::config::dynamic::LoadBalancer;

/// Why a service cannot work. Its routers answer 404.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// A server's URL.
    #[error("servers[{index}].url: {source}")]
    Server {
        /// Which server, from 0.
        index: usize,
        /// What is wrong with it.
        source: ServerUrlError,
    },
    /// A strategy other than `wrr`.
    #[error("strategy `{0}` is not supported yet; `wrr` is")]
    Strategy(String),
    /// More servers than a table can hold.
    #[error("more than {} servers", u16::MAX)]
    TooManyServers,
}

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
    /// Compiles the service `name` (`name@provider`).
    ///
    /// # Errors
    /// [`ServiceError`].
    pub fn compile(
        name: &str,
        config: &LoadBalancer,
        transport: &Transport,
        registries: &Registries,
    ) -> Result<Self, ServiceError> {
        if config.strategy != "wrr" {
            return Err(ServiceError::Strategy(config.strategy.clone()));
        }
        if config.servers.len() > usize::from(u16::MAX) {
            return Err(ServiceError::TooManyServers);
        }
        let servers = config.servers.iter().enumerate().map(|(index, server)| {
            Endpoint::new(server, transport, registries.names())
                .map(Arc::new)
                .map_err(|source| ServiceError::Server { index, source })
        });
        let weights: Vec<i64> = config.servers.iter().map(|server| server.weight).collect();
        Ok(Self {
            name: name.into(),
            servers: servers.collect::<Result<_, _>>()?,
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

    fn compile(config: &LoadBalancer) -> Result<Service, ServiceError> {
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
        let bad = compile(&balancer(&[("http://10.0.0.1", 1), ("gopher://x", 1)])).unwrap_err();
        assert_eq!(bad.to_string(), "servers[1].url: `gopher://x`: the scheme must be http, https or h2c");
        let p2c = LoadBalancer { strategy: "p2c".into(), ..balancer(&[]) };
        assert!(matches!(compile(&p2c), Err(ServiceError::Strategy(_))));
    }
}
