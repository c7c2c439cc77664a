//! CA bundles and client certificates that worked, for the time while their files do not.
//!
//! Whoever renews them writes one file after the other, or takes them away for a moment. Until they can be used again,
//! what they held last stays in use, so that no service is lost meanwhile.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use pingora::utils::tls::CertKey;
use rustls::pki_types::CertificateDer;

use super::pem::{self, PemError};
use crate::config::dynamic::ServersTransport;

/// What the files of transports held last.
#[derive(Debug, Default)]
pub struct Material {
    authorities: Last<String, Arc<[CertificateDer<'static>]>>,
    certificates: Last<(String, String), Arc<CertKey>>,
}

/// What a file holds, or held last.
pub(super) struct Found<T> {
    pub(super) value: T,
    /// Why it is not what the file holds now.
    pub(super) outdated: Option<PemError>,
}

impl Material {
    /// The certificates of a CA bundle, which is inline PEM or a path.
    pub(super) fn authorities(
        &self,
        source: &str,
    ) -> Result<Found<Arc<[CertificateDer<'static>]>>, PemError> {
        let key = (!pem::is_inline(source)).then(|| source.to_owned());
        self.authorities.or_last(key, pem::authorities(source))
    }

    /// A client certificate with its chain and key.
    pub(super) fn certificate(&self, cert: &str, key: &str) -> Result<Found<Arc<CertKey>>, PemError> {
        let named =
            (!pem::is_inline(cert) && !pem::is_inline(key)).then(|| (cert.to_owned(), key.to_owned()));
        self.certificates.or_last(named, pem::client_certificate(cert, key))
    }

    /// Forgets what none of these transports names any more.
    pub fn keep_for(&self, transports: &[&ServersTransport]) {
        self.authorities.retain(|source| transports.iter().any(|named| named.root_cas.contains(source)));
        self.certificates.retain(|(cert, key)| {
            let pairs = transports.iter().flat_map(|named| &named.certificates);
            pairs.into_iter().any(|pair| pair.cert_file == *cert && pair.key_file == *key)
        });
    }
}

#[derive(Debug)]
struct Last<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Last<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Last<K, V> {
    /// What was read, or what was read last under `key`. Inline PEM has no key, since it never changes.
    fn or_last(&self, key: Option<K>, read: Result<V, PemError>) -> Result<Found<V>, PemError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (read, key) {
            (Ok(value), key) => {
                all.extend(key.map(|key| (key, value.clone())));
                Ok(Found { value, outdated: None })
            }
            (Err(error), Some(key)) => match all.get(&key) {
                Some(last) => Ok(Found { value: last.clone(), outdated: Some(error) }),
                None => Err(error),
            },
            (Err(error), None) => Err(error),
        }
    }

    fn retain(&self, is_named: impl Fn(&K) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| is_named(key));
    }
}
