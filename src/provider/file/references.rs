//! Files that a configuration names: a change of theirs is a change of the configuration.

use std::path::PathBuf;

use crate::config::StaticConfig;
use crate::config::dynamic::DynamicConfig;
use crate::config::middleware::Middleware;
use crate::config::value::{Node, Value};

/// Certificates, keys, CA bundles and user files that are named by path.
pub fn files(config: &DynamicConfig) -> Vec<PathBuf> {
    let mut named: Vec<&str> = Vec::new();
    for certificate in &config.tls.certificates {
        named.extend([&*certificate.value.cert_file, &*certificate.value.key_file]);
    }
    for store in config.tls.stores.values() {
        if let Some(pair) = &store.value.default_certificate {
            named.extend([&*pair.cert_file, &*pair.key_file]);
        }
    }
    for options in config.tls.options.values() {
        named.extend(options.value.client_auth.ca_files.iter().map(String::as_str));
    }
    for transport in config.http.servers_transports.values() {
        named.extend(transport.value.root_cas.iter().map(String::as_str));
        for pair in &transport.value.certificates {
            named.extend([&*pair.cert_file, &*pair.key_file]);
        }
    }
    for middleware in config.http.middlewares.values() {
        of_middleware(&middleware.value, &mut named);
    }
    paths(named)
}

/// Those that the static configuration names for the services of every provider.
pub fn of_static(config: &StaticConfig) -> Vec<PathBuf> {
    paths(config.servers_transport.root_cas.iter().map(String::as_str).collect())
}

/// What is no inline PEM, each once.
fn paths(named: Vec<&str>) -> Vec<PathBuf> {
    let is_path = |name: &&str| !name.trim_start().starts_with("-----BEGIN");
    let mut files: Vec<PathBuf> = named.into_iter().filter(is_path).map(PathBuf::from).collect();
    files.sort();
    files.dedup();
    files
}

fn of_middleware<'a>(middleware: &'a Middleware, named: &mut Vec<&'a str>) {
    if let Some(basic_auth) = &middleware.basic_auth {
        named.extend(basic_auth.users_file.as_deref());
    }
    let blocks = middleware.plugin.iter().flat_map(|plugins| plugins.values()).chain(&middleware.oidc);
    for block in blocks {
        named.extend(["caCertPath", "clientAssertionKeyPath"].iter().filter_map(|key| text(block, key)));
    }
}

fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    match &node.get(key)?.node.value {
        Value::Scalar(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}
