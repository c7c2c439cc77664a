//! The whole TLS configuration at one moment, and the decision for one handshake.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;

use super::by_host::ByHost;
use super::certificate::{Expiry, Facts};
use super::error::TlsError;
use super::options::{self, Built, Keep};
use super::pairs::Pair;
use super::store::{BySni, CertStore, Fixed, Found, canonical};
use crate::config::pem;
use crate::config::tls::{Certificate, CertificatePair, TlsOptions};

/// Name of the options that serve whatever names no others.
const DEFAULT: &str = "default";

/// What a snapshot is built from: the `tls` sections of all providers, merged.
#[derive(Debug, Default)]
pub struct Inputs<'a> {
    /// Every certificate.
    pub certificates: Vec<&'a Certificate>,
    /// `stores.default.defaultCertificate`.
    pub default_certificate: Option<&'a CertificatePair>,
    /// Options by the name that routers use: `default`, else `<name>@<provider>`.
    pub options: BTreeMap<String, &'a TlsOptions>,
    /// Which options the hosts of HTTPS routers ask for.
    pub hosts: Vec<HostOptions>,
}

impl Inputs<'_> {
    /// Certificate and key of every pair that is named.
    fn pairs(&self) -> HashSet<(&str, &str)> {
        let default = self.default_certificate.iter().map(|pair| (&*pair.cert_file, &*pair.key_file));
        default.chain(self.certificates.iter().map(|pair| (&*pair.cert_file, &*pair.key_file))).collect()
    }
}

/// A host of an HTTPS router's rule and the options that the router names.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The router's entry point.
    pub entry_point: String,
    /// In lower case, without trailing dot; `*.example.com` stands for one label.
    pub host: String,
    /// Name of the options.
    pub options: String,
}

/// The TLS configuration at one moment. Immutable; replaced as a whole.
#[derive(Debug)]
pub struct TlsSnapshot {
    /// Absent when not even a self-signed certificate could be made: every handshake is refused.
    store: Option<Arc<CertStore>>,
    /// `None` for options that cannot be applied.
    options: HashMap<Arc<str>, Option<Built>>,
    /// Of hosts that no router names.
    default: Choice,
    /// What hosts ask for, by entry point.
    hosts: HashMap<String, ByHost<Choice>>,
    expiries: Vec<Expiry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    Options(Arc<str>),
    /// Contradictory or missing options.
    Refused,
}

/// What happens with a ClientHello.
#[derive(Debug)]
pub enum Decision {
    /// The handshake goes on.
    Serve {
        /// With this configuration.
        config: Arc<ServerConfig>,
        /// Name of the options it was made from.
        options_name: Arc<str>,
        /// Whether a client certificate, if sent, is checked against CAs.
        verifies_clients: bool,
    },
    /// The handshake ends with an alert.
    Refuse(Refusal),
}

/// Why a handshake is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `sniStrict` and no certificate for the name.
    UnknownName,
    /// The host's options or certificate cannot be applied.
    Unusable,
}

impl Refusal {
    /// The alert record that the client gets: `unrecognized_name` or `access_denied` (RFC 8446,
    /// section 6.2), not encrypted since no handshake has begun.
    pub fn alert(self) -> &'static [u8] {
        match self {
            Self::UnknownName => &[0x15, 3, 3, 0, 2, 2, 112],
            Self::Unusable => &[0x15, 3, 3, 0, 2, 2, 49],
        }
    }
}

impl TlsSnapshot {
    /// Decides about the handshake that begins with `hello`, on `entry_point` and the local
    /// address `local`.
    pub fn decide(&self, entry_point: &str, local: IpAddr, hello: &ClientHello<'_>) -> Decision {
        let sni = hello.server_name().map(canonical);
        let Choice::Options(name) = self.choice(entry_point, sni.as_deref()) else {
            return Decision::Refuse(Refusal::Unusable);
        };
        let (Some(Some(built)), Some(store)) = (self.options.get(name), &self.store) else {
            return Decision::Refuse(Refusal::Unusable);
        };
        let mut config = built.config.clone();
        match sni.as_deref().map_or(Found::Nothing, |sni| store.find(sni)) {
            Found::Certificate(_) => {}
            Found::Broken => return Decision::Refuse(Refusal::Unusable),
            Found::Nothing if built.sni_strict => return Decision::Refuse(Refusal::UnknownName),
            Found::Nothing if sni.is_some() => {}
            Found::Nothing => {
                if let Some(key) = store.for_address(local, hello.signature_schemes()) {
                    let mut own = ServerConfig::clone(&config);
                    own.cert_resolver = Arc::new(Fixed(key));
                    config = Arc::new(own);
                }
            }
        }
        let verifies_clients = built.verifies_clients;
        Decision::Serve { config, options_name: Arc::clone(name), verifies_clients }
    }

    /// Validity of every certificate that is served.
    pub fn expiries(&self) -> &[Expiry] {
        &self.expiries
    }

    fn choice(&self, entry_point: &str, host: Option<&str>) -> &Choice {
        let named = host.and_then(|host| self.hosts.get(entry_point)?.get(host));
        named.unwrap_or(&self.default)
    }
}

/// Builds a snapshot. What cannot be applied is reported and refused; the rest works. Reads files,
/// so it must not run on a thread that serves requests.
pub fn build(inputs: &Inputs<'_>, keep: &Keep) -> (TlsSnapshot, Vec<TlsError>) {
    let mut builder = Builder { errors: Vec::new(), expiries: Vec::new() };
    let store = builder.store(inputs, keep).map(Arc::new);
    keep.pairs.retain(&inputs.pairs());
    let implied = TlsOptions::default();
    let mut all: BTreeMap<&str, &TlsOptions> =
        inputs.options.iter().map(|(name, options)| (name.as_str(), *options)).collect();
    all.entry(DEFAULT).or_insert(&implied);

    let mut built = HashMap::new();
    for (name, options) in &all {
        let made = store.as_ref().and_then(|store| {
            let resolver = Arc::new(BySni(store.clone()));
            let told = |reason| TlsError::Options { name: (*name).to_owned(), reason };
            let made = options::build(name, options, resolver, keep);
            made.map_err(|reasons| builder.errors.extend(reasons.into_iter().map(told))).ok()
        });
        built.insert(Arc::from(*name), made);
    }
    keep.retain(|name| all.contains_key(name));
    let hosts = builder.hosts(inputs, &built);
    let Builder { errors, expiries } = builder;
    let default = Choice::Options(Arc::from(DEFAULT));
    (TlsSnapshot { store, options: built, default, hosts, expiries }, errors)
}

struct Builder {
    errors: Vec<TlsError>,
    expiries: Vec<Expiry>,
}

impl Builder {
    fn keep_error<T, E>(&mut self, made: Result<T, E>, wrap: impl FnOnce(E) -> TlsError) -> Option<T> {
        made.map_err(|error| self.errors.push(wrap(error))).ok()
    }

    fn store(&mut self, inputs: &Inputs<'_>, keep: &Keep) -> Option<CertStore> {
        let default = inputs
            .default_certificate
            .and_then(|pair| self.load(None, &pair.cert_file, &pair.key_file, keep)?.1)
            .map_or_else(|| keep.self_signed(), Ok);
        let mut store = CertStore::new(self.keep_error(default, TlsError::from)?);
        for (index, certificate) in inputs.certificates.iter().enumerate() {
            let loaded = self.load(Some(index), &certificate.cert_file, &certificate.key_file, keep);
            if let Some((facts, key)) = loaded {
                store.add(&facts, key.as_ref());
            }
        }
        Some(store)
    }

    /// What a certificate is good for, and its key unless that is unusable. A pair that worked before stays until there
    /// is another that does.
    fn load(
        &mut self,
        index: Option<usize>,
        cert: &str,
        key: &str,
        keep: &Keep,
    ) -> Option<(Facts, Option<Arc<CertifiedKey>>)> {
        let certificate = pem::name(cert).to_owned();
        let pair = match (Pair::load(cert, key), keep.pairs.last(cert, key)) {
            (Ok(pair), _) => {
                keep.pairs.remember(cert, key, &pair);
                pair
            }
            (Err(fault), Some(last)) => {
                self.errors.push(TlsError::Outdated { index, certificate, reason: fault.reason });
                last
            }
            (Err(fault), None) => {
                self.errors.push(TlsError::Certificate { index, certificate, reason: fault.reason });
                return fault.facts.map(|facts| (facts, None));
            }
        };
        self.expiries.push(pair.facts.expiry.clone());
        Some((pair.facts, Some(pair.key)))
    }

    fn hosts(
        &mut self,
        inputs: &Inputs<'_>,
        built: &HashMap<Arc<str>, Option<Built>>,
    ) -> HashMap<String, ByHost<Choice>> {
        let mut named: HashMap<(&str, &str), &str> = HashMap::new();
        let mut hosts: HashMap<String, ByHost<Choice>> = HashMap::new();
        for HostOptions { entry_point, host, options } in &inputs.hosts {
            let first = *named.entry((entry_point, host)).or_insert(options);
            let choice = if first != options {
                self.errors.push(TlsError::Conflict {
                    entry_point: entry_point.clone(),
                    host: host.clone(),
                    one: first.to_owned(),
                    other: options.clone(),
                });
                Choice::Refused
            } else if let Some((name, _)) = built.get_key_value(options.as_str()) {
                Choice::Options(name.clone())
            } else {
                self.errors.push(TlsError::MissingOptions {
                    entry_point: entry_point.clone(),
                    host: host.clone(),
                    name: options.clone(),
                });
                Choice::Refused
            };
            // Once refused, a later router that repeats the first name changes nothing.
            let kept = hosts.entry(entry_point.clone()).or_default().entry(host).or_insert(choice.clone());
            if choice == Choice::Refused {
                *kept = choice;
            }
        }
        hosts
    }
}
