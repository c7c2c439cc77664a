//! Which issuers are in use. Two providers may have one issuer: a reload that changes whom we trust starts the new one
//! before the old one ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::oidc::events::Events;

/// How many providers each issuer has.
#[derive(Default)]
pub(super) struct Issuers(Mutex<HashMap<String, usize>>);

/// One provider of an issuer, while it lives.
pub(super) struct InUse {
    issuer: String,
    issuers: Arc<Issuers>,
    events: Arc<dyn Events>,
}

impl InUse {
    pub(super) fn new(issuer: &str, issuers: &Arc<Issuers>, events: &Arc<dyn Events>) -> Self {
        let mut all = issuers.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry(issuer.to_owned()).or_default() += 1;
        Self { issuer: issuer.to_owned(), issuers: Arc::clone(issuers), events: Arc::clone(events) }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut all = self.issuers.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = all.get(&self.issuer).map_or(0, |count| count.saturating_sub(1));
        if left > 0 {
            all.insert(self.issuer.clone(), left);
        } else {
            all.remove(&self.issuer);
            // Under the lock, so that it comes before whatever a new provider of the issuer tells.
            self.events.provider_unused(&self.issuer);
        }
    }
}
