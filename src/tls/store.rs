//! The certificate store: which certificate answers which server name.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::by_host::ByHost;
use super::certificate::Facts;

/// Certificates by name. A name whose certificate could not be loaded is known too, so that it is
/// refused instead of being answered with the default certificate.
#[derive(Debug)]
pub(super) struct CertStore {
    names: ByHost<Candidates>,
    addresses: HashMap<IpAddr, Candidates>,
    default: Arc<CertifiedKey>,
}

/// Certificates of one name, best first; empty when none could be loaded.
#[derive(Debug, Default)]
pub(super) struct Candidates(Vec<Candidate>);

#[derive(Debug)]
struct Candidate {
    key: Arc<CertifiedKey>,
    not_after: i64,
}

/// What the store has for a server name.
pub(super) enum Found<'a> {
    /// At least one certificate.
    Certificate(&'a Candidates),
    /// A certificate that cannot be used.
    Broken,
    /// No certificate.
    Nothing,
}

impl Candidates {
    fn add(&mut self, key: &Arc<CertifiedKey>, not_after: i64) {
        self.0.push(Candidate { key: key.clone(), not_after });
        // ECDSA signs faster; of two alike the one that lasts longer.
        self.0.sort_by_key(|c| (c.key.key.algorithm() == SignatureAlgorithm::RSA, -c.not_after));
    }

    /// The best certificate whose signature the client can verify, else the best.
    fn choose(&self, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fits = |c: &&Candidate| c.key.key.choose_scheme(schemes).is_some();
        self.0.iter().find(fits).or(self.0.first()).map(|c| c.key.clone())
    }
}

impl CertStore {
    pub(super) fn new(default: Arc<CertifiedKey>) -> Self {
        Self { names: ByHost::default(), addresses: HashMap::new(), default }
    }

    /// Adds a certificate under all its names; without a key only marks the names as broken.
    pub(super) fn add(&mut self, facts: &Facts, key: Option<&Arc<CertifiedKey>>) {
        for name in &facts.names {
            let candidates = self.names.entry(name).or_default();
            key.into_iter().for_each(|key| candidates.add(key, facts.expiry.not_after));
        }
        for address in &facts.addresses {
            let candidates = self.addresses.entry(address.to_canonical()).or_default();
            key.into_iter().for_each(|key| candidates.add(key, facts.expiry.not_after));
        }
    }

    /// What there is for `name`, which is in lower case and without trailing dot.
    pub(super) fn find(&self, name: &str) -> Found<'_> {
        match self.names.get(name) {
            Some(candidates) if candidates.0.is_empty() => Found::Broken,
            Some(candidates) => Found::Certificate(candidates),
            None => Found::Nothing,
        }
    }

    /// The certificate for an address, for clients that send no server name.
    pub(super) fn for_address(
        &self,
        address: IpAddr,
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.addresses.get(&address.to_canonical())?.choose(schemes)
    }
}

/// Chooses from a [`CertStore`] by the server name of the ClientHello.
#[derive(Debug)]
pub(super) struct BySni(pub(super) Arc<CertStore>);

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().map_or(Found::Nothing, |name| self.0.find(&canonical(name)));
        match found {
            Found::Certificate(candidates) => candidates.choose(hello.signature_schemes()),
            Found::Nothing => Some(self.0.default.clone()),
            Found::Broken => None,
        }
    }
}

/// Always the same certificate.
#[derive(Debug)]
pub(super) struct Fixed(pub(super) Arc<CertifiedKey>);

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// A server name in lower case and without trailing dot.
pub(super) fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
