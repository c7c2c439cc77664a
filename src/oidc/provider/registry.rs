//! Providers by identity: what survives a reload of the configuration.

use std::sync::{Arc, Weak};

use aws_lc_rs::digest::{Context, SHA256};
use dashmap::DashMap;
use secrecy::ExposeSecret;

use super::Provider;
use super::in_use::{InUse, Issuers};
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
    /// Of what is secret, or only says how to read answers.
    fingerprint: [u8; 32],
    end_session_url: Option<url::Url>,
    revocation_url: Option<url::Url>,
    introspection_url: Option<url::Url>,
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
            fingerprint: fingerprint(settings),
            end_session_url: settings.end_session_url.clone(),
            revocation_url: settings.revocation_url.clone(),
            introspection_url: settings.introspection_url.clone(),
        }
    }
}

/// A digest of the options that are not compared as such.
fn fingerprint(settings: &ProviderSettings) -> [u8; 32] {
    let mut digest = Context::new(&SHA256);
    let mut add = |text: &str| {
        digest.update(&text.len().to_le_bytes());
        digest.update(text.as_bytes());
    };
    add(settings.client_certificate.as_ref().map_or("", |pem| pem.expose_secret()));
    add(settings.proxy.as_ref().map_or("", |proxy| proxy.url.as_str()));
    let login = settings.proxy.as_ref().and_then(|proxy| proxy.login.as_ref());
    add(login.map_or("", |(user, _)| user));
    add(login.map_or("", |(_, password)| password.expose_secret()));
    add(settings.trusted_issuer.as_deref().unwrap_or_default());
    add(&format!("{:?} {:?}", settings.profile, settings.discovery_params));
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest.finish().as_ref());
    fingerprint
}

/// All providers in use. A reload that names one again finds it ready.
pub struct Providers {
    by_key: DashMap<ProviderKey, Weak<Provider>>,
    issuers: Arc<Issuers>,
    events: Arc<dyn Events>,
    runtime: tokio::runtime::Handle,
}

impl Providers {
    /// None yet; their tasks will run on `runtime`.
    pub fn new(events: Arc<dyn Events>, runtime: tokio::runtime::Handle) -> Self {
        Self { by_key: DashMap::new(), issuers: Arc::default(), events, runtime }
    }

    /// The provider of that identity, started if it is not in use yet.
    ///
    /// # Errors
    /// [`TrustError`]: its certificate authorities cannot be read.
    pub fn get(&self, issuer: &str, settings: &ProviderSettings) -> Result<Arc<Provider>, TrustError> {
        self.by_key.retain(|_, provider| provider.strong_count() > 0);
        // What the file holds is part of the identity: a reload takes up new authorities.
        let ca_file = read_authorities(settings)?;
        let key = ProviderKey::new(issuer, settings, ca_file);
        if let Some(provider) = self.by_key.get(&key).and_then(|weak| weak.upgrade()) {
            return Ok(provider);
        }
        // Reads the system's authorities: not for each middleware and each reload.
        let fetch = Fetch::new(settings, key.ca_file.as_deref())?;
        let in_use = InUse::new(issuer, &self.issuers, &self.events);
        let events = Arc::clone(&self.events);
        let provider = Provider::spawn(issuer, settings, fetch, in_use, events, &self.runtime);
        self.by_key.insert(key, Arc::downgrade(&provider));
        Ok(provider)
    }
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Providers").field("len", &self.by_key.len()).finish_non_exhaustive()
    }
}
