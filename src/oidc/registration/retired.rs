//! Registrations that are of no use any more are deleted at the provider (RFC 7592, section 2.3), where it has said how.
//!
//! A deletion takes the client's tokens with it, so that of a client that sessions still have refresh tokens of waits until
//! its secret has ended.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use secrecy::ExposeSecret;

use super::Inner;
use super::answer::Registered;
use super::kept::Kept;
use super::task::LEASE;
use crate::oidc::fetch::FetchError;
use crate::oidc::provider::Provider;
use crate::oidc::session::{LeaseOutcome, StoreError};

/// Pauses before the attempts, while failures may pass by themselves; then the registration stays where it is.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(10), Duration::from_secs(60)];

/// What came of an attempt.
enum Outcome {
    Deleted,
    Refused(u16),
    Failed(String),
}

impl Inner {
    /// Deletes the former client once its secret has ended. One process does: the row tells the others.
    pub(super) async fn retire_former(
        &self,
        generation: u64,
        kept: &Kept,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        let over = |former: &&Registered| former.is_over(now) && former.is_manageable();
        let Some(former) = kept.former.as_ref().filter(over) else { return Ok(()) };
        // Nobody may be about to replace the row.
        let lease = self.sessions.claim_client(&self.scope, Some(generation), LEASE).await?;
        let alone = Kept { former: None, ..kept.clone() };
        if lease == LeaseOutcome::Granted
            && self.sessions.keep_client(&self.scope, generation, &alone.to_plain(), alone.expires()).await?
        {
            self.delete(former.clone());
        }
        Ok(())
    }

    /// Deletes a registration, beside everything else. Tries a few times.
    pub(super) fn delete(&self, client: Registered) {
        if !client.is_manageable() {
            return;
        }
        let (provider, clock) = (Arc::clone(&self.provider), Arc::clone(self.sessions.clock()));
        self.provider.runtime().spawn(async move {
            let (issuer, client_id) = (provider.issuer(), client.id.as_str());
            for pause in PAUSES {
                clock.sleep(pause).await;
                match attempt(&provider, &client).await {
                    Outcome::Deleted => {
                        tracing::info!(issuer, client_id, "a replaced client is deleted");
                        return;
                    }
                    Outcome::Refused(status) => {
                        tracing::info!(issuer, client_id, status, "a replaced client is not deleted");
                        return;
                    }
                    Outcome::Failed(cause) => {
                        tracing::debug!(issuer, client_id, cause, "a replaced client is not deleted yet");
                    }
                }
            }
            tracing::warn!(issuer, client_id, "a replaced client stays registered at the provider");
        });
    }
}

async fn attempt(provider: &Provider, client: &Registered) -> Outcome {
    let answer = match request(client) {
        Ok(request) => provider.fetch().call(request).await,
        Err(error) => Err(error),
    };
    match answer.map(|answer| answer.status.as_u16()) {
        Ok(200..=299) => Outcome::Deleted,
        Ok(status @ (408 | 429 | 500..)) => Outcome::Failed(format!("HTTP status {status}")),
        Ok(status) => Outcome::Refused(status),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

fn request(client: &Registered) -> Result<Request<Vec<u8>>, FetchError> {
    let (Some(uri), Some(token)) = (&client.client_uri, &client.access_token) else {
        return Err(FetchError::Request("nothing was said of how".to_owned()));
    };
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
        .map_err(|_| FetchError::Request("the registration access token is no header value".to_owned()))?;
    bearer.set_sensitive(true);
    Request::delete(uri.as_str())
        .header(AUTHORIZATION, bearer)
        .body(Vec::new())
        .map_err(|error| FetchError::Request(error.to_string()))
}

impl Registered {
    /// Whether the provider has said how the registration is managed.
    fn is_manageable(&self) -> bool {
        self.client_uri.is_some() && self.access_token.is_some()
    }
}
