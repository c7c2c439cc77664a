//! Whether the provider still knows the client.
//!
//! A provider that has forgotten it (restored from an older copy, tidied up by somebody) keeps every browser on a page of
//! its own, so no login would ever tell us. A refresh token that does not exist does: who is known gets `invalid_grant`,
//! who is not, `invalid_client` (RFC 6749, section 5.2).

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::Inner;
use crate::oidc::client_auth::Credentials;
use crate::oidc::clock::unix_millis;
use crate::oidc::metadata::Metadata;
use crate::oidc::session::random_bytes;

/// How often it is asked.
const PERIOD: Duration = Duration::from_secs(3600);

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Inner {
    /// Asks if it is time to, and the provider is there. Whether the client is known, as far as anybody can say.
    pub(super) async fn is_known(&self, client: &Credentials, now: SystemTime) -> bool {
        let (now, period) = (unix_millis(now), u64::try_from(PERIOD.as_millis()).unwrap_or(u64::MAX));
        let Some(provider) = self.provider.metadata() else { return true };
        let mut probed = self.probed.lock().await;
        if probed.is_some_and(|last| now < last.saturating_add(period)) {
            return true;
        }
        *probed = Some(now);
        !self.is_unknown_at(&provider, client).await.unwrap_or(false)
    }

    /// None: the provider gave no answer, or one that means nothing.
    async fn is_unknown_at(&self, provider: &Metadata, client: &Credentials) -> Option<bool> {
        let token = URL_SAFE_NO_PAD.encode(random_bytes::<32>().ok()?);
        let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
        let request = client.proof(provider).await.ok()?.post(&provider.token_endpoint, &form).ok()?;
        let answer = self.provider.fetch().call(request).await.ok()?;
        if !matches!(answer.status.as_u16(), 400 | 401) {
            return None;
        }
        let refusal: Refusal = serde_json::from_slice(&answer.body).ok()?;
        Some(refusal.error == "invalid_client")
    }
}
