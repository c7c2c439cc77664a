//! Providers by identity: what survives a reload of the configuration.

use std::sync::{Arc, Weak};

use dashmap::DashMap;

use super::Provider;
use crate::oidc::events::Events;
use crate::oidc::fetch::{Fetch, TrustError, read_authorities};
use crate::oidc::settings::ProviderSettings;

/// What makes two middlewares share a provider: the issuer, and all that decides whom we trust.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProviderKey {
    issuer: String,
    ca_pem: Vec<String>,
    ca_file: Option<Vec<u8>>,
    insecure_skip_verify: bool,
    allow_private: bool,
    timeout: Option<std::time::Duration>,
    end_session_url: Option<url::Url>,
    revocation_url: Option<url::Url>,
}

impl ProviderKey {
    fn new(issuer: &str, settings: &ProviderSettings, ca_file: Option<Vec<u8>>) -> Self {
        Self {
            issuer: issuer.to_owned(),
            ca_pem: settings.ca_pem.clone(),
            ca_file,
            insecure_skip_verify: settings.insecure_skip_verify,
            allow_private: settings.allow_private,
            timeout: settings.timeout,
            end_session_url: settings.end_session_url.clone(),
            revocation_url: settings.revocation_url.clone(),
        }
    }
}

/// All providers in use. A reload that names one again finds it ready.
pub struct Providers {
    by_key: DashMap<ProviderKey, Weak<Provider>>,
    events: Arc<dyn Events>,
    runtime: tokio::runtime::Handle,
}

impl Providers {
    /// None yet; their tasks will run on `runtime`.
    pub fn new(events: Arc<dyn Events>, runtime: tokio::runtime::Handle) -> Self {
        Self { by_key: DashMap::new(), events, runtime }
    }

    /// The provider of that identity, started if it is not in use yet.
    ///
    /// # Errors
    /// [`TrustError`]: its certificate authorities cannot be read.
    pub fn get(&self, issuer: &str, settings: &ProviderSettings) -> Result<Arc<Provider>, TrustError> {
        self.by_key.retain(|_, provider| provider.strong_count() > 0);
        // What the file holds is part of the identity: a reload takes up new authorities.
        let ca_file = read_authorities(settings)?;
        let fetch = Fetch::new(settings, ca_file.as_deref())?;
        let key = ProviderKey::new(issuer, settings, ca_file);
        if let Some(provider) = self.by_key.get(&key).and_then(|weak| weak.upgrade()) {
            return Ok(provider);
        }
        let provider = Provider::spawn(issuer, settings, fetch, Arc::clone(&self.events), &self.runtime);
        self.by_key.insert(key, Arc::downgrade(&provider));
        Ok(provider)
    }
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Providers").field("len", &self.by_key.len()).finish_non_exhaustive()
    }
}
