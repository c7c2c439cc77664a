//! The `tls` section, and which hosts ask for which of its options.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::kept::Kept;
use super::names::defined;
use super::routers::Table;
use crate::config::ConfigError;
use crate::config::dynamic::DynamicConfig;
use crate::tls::{ByHost, Inputs, TlsError, TlsSnapshot, build as build_snapshot};

/// The names of all TLS options, as routers refer to them.
pub fn names(dynamic: &DynamicConfig, provider: &str) -> BTreeSet<String> {
    dynamic.tls.options.keys().map(|name| named(name, provider)).collect()
}

fn named(name: &str, provider: &str) -> String {
    if name == "default" { name.to_owned() } else { defined(name, provider) }
}

/// What handshakes are decided by. What does not work is reported in `errors`, and refused; what is served all the same, in
/// `warnings`.
pub fn build(
    dynamic: &DynamicConfig,
    provider: &str,
    table: &Table,
    kept: &Kept,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<ConfigError>,
) -> TlsSnapshot {
    let section = &dynamic.tls;
    let inputs = Inputs {
        certificates: section.certificates.iter().map(|certificate| &certificate.value).collect(),
        default_certificate: section
            .stores
            .get("default")
            .and_then(|store| store.value.default_certificate.as_ref()),
        options: section
            .options
            .iter()
            .map(|(name, options)| (named(name, provider), &options.value))
            .collect(),
        hosts: table.asked.iter().map(|asked| asked.options.clone()).collect(),
    };
    let (snapshot, faults) = build_snapshot(&inputs, &kept.tls);
    for fault in &faults {
        let list = if fault.is_bridged() { &mut *warnings } else { &mut *errors };
        // Several routers of one host may be told the same.
        list.extend(place(fault, dynamic, provider, table).filter(|told| !list.contains(told)));
    }
    for (index, certificate) in section.certificates.iter().enumerate() {
        let stores = &certificate.value.stores;
        if !stores.is_empty() && !stores.iter().any(|store| store == "default") {
            let message = "only the store `default` is used: the certificate is served from there";
            warnings.push(certificate.fault(&format!("tls.certificates[{index}]"), "stores", message));
        }
    }
    for (name, store) in section.stores.iter().filter(|(name, _)| *name != "default") {
        errors.push(store.fault(&format!("tls.stores.{name}"), "", "only the store `default` is used"));
    }
    snapshot
}

/// The fault with the place of what has it; none if it is told elsewhere.
fn place(fault: &TlsError, dynamic: &DynamicConfig, provider: &str, table: &Table) -> Option<ConfigError> {
    let section = &dynamic.tls;
    match fault {
        TlsError::Options { name, reason } => {
            let (written, options) =
                section.options.iter().find(|(written, _)| named(written, provider) == *name)?;
            let is_new = !options.faulty;
            is_new.then(|| options.fault(&format!("tls.options.{written}"), reason.key(), reason.to_string()))
        }
        TlsError::Certificate { index, reason, .. } => of_certificate(*index, dynamic, reason.to_string()),
        TlsError::Outdated { index, .. } => of_certificate(*index, dynamic, fault.to_string()),
        // The router or the entry point that names them has told it.
        TlsError::MissingOptions { .. } => None,
        TlsError::Conflict { entry_point, host, other, .. } => {
            let is_it = |asked: &&super::routers::Asked| {
                let options = &asked.options;
                options.entry_point == *entry_point && options.host == *host && options.options == *other
            };
            let router = &table.asked.iter().find(is_it)?.router;
            let written = dynamic.http.routers.get(&**router)?;
            Some(written.fault(&format!("http.routers.{router}"), "tls.options", fault.to_string()))
        }
        TlsError::SelfSigned(error) => Some(ConfigError::new("tls", error.to_string())),
    }
}

/// A fault of the certificate with this number, or of the default one.
fn of_certificate(index: Option<usize>, dynamic: &DynamicConfig, message: String) -> Option<ConfigError> {
    let section = &dynamic.tls;
    if let Some(index) = index {
        let certificate = section.certificates.get(index).filter(|certificate| !certificate.faulty)?;
        return Some(certificate.fault(&format!("tls.certificates[{index}]"), "", message));
    }
    let store = section.stores.get("default").filter(|store| !store.faulty)?;
    Some(store.fault("tls.stores.default", "defaultCertificate", message))
}

/// Hosts with TLS options other than the default ones, by entry point.
pub fn by_entry_point(table: &Table) -> BTreeMap<String, ByHost<Arc<str>>> {
    let mut options: BTreeMap<String, ByHost<Arc<str>>> = BTreeMap::new();
    for asked in table.asked.iter().map(|asked| &asked.options).filter(|asked| asked.options != "default") {
        let here = options.entry(asked.entry_point.clone()).or_default();
        here.entry(&asked.host).insert_entry(asked.options.as_str().into());
    }
    options
}
