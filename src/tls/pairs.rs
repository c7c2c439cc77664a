//! Certificates with their keys that worked, for the time while their files do not.
//!
//! Whoever renews a certificate writes two files, one after the other, or takes them away for a moment. Until they hold a
//! usable pair again, the last one stays in service.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::sign::CertifiedKey;

use super::certificate::{self, CertificateError, Facts};
use crate::config::pem;

/// A certificate and its key, which belong together.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) facts: Facts,
    pub(super) key: Arc<CertifiedKey>,
}

/// What is wrong with a pair.
#[derive(Debug)]
pub(super) struct Unusable {
    /// What the certificate is good for, if that can be read.
    pub(super) facts: Option<Facts>,
    pub(super) reason: CertificateError,
}

impl Pair {
    /// Reads a pair from files or inline PEM.
    ///
    /// # Errors
    /// [`Unusable`].
    pub(super) fn load(cert: &str, key: &str) -> Result<Self, Box<Unusable>> {
        let unreadable = |reason| Box::new(Unusable { facts: None, reason });
        let chain = certificate::certificates(cert).map_err(unreadable)?;
        let facts = certificate::facts(cert, &chain).map_err(unreadable)?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        match certificate::certified_key(chain, key, &provider) {
            Ok(key) => Ok(Self { facts, key }),
            Err(reason) => Err(Box::new(Unusable { facts: Some(facts), reason })),
        }
    }
}

/// The last usable pair of each two files that the configuration names.
#[derive(Debug, Default)]
pub(super) struct Pairs(Mutex<HashMap<(String, String), Pair>>);

impl Pairs {
    /// Keeps a pair. Inline PEM never changes, so nothing of it is kept.
    pub(super) fn remember(&self, cert: &str, key: &str, pair: &Pair) {
        if !pem::is_inline(cert) && !pem::is_inline(key) {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert((cert.to_owned(), key.to_owned()), pair.clone());
        }
    }

    /// The pair that was read last from these files.
    pub(super) fn last(&self, cert: &str, key: &str) -> Option<Pair> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(cert.to_owned(), key.to_owned())).cloned()
    }

    /// Forgets the pairs of files that are not named any more.
    pub(super) fn retain(&self, named: &HashSet<(&str, &str)>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(cert, key), _| named.contains(&(cert.as_str(), key.as_str())));
    }
}
