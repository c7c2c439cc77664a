//! The background task of a client that registers itself.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};

use super::answer::Registered;
use super::kept::Kept;
use super::{Clients, Inner};
use crate::oidc::clock::unix_millis;
use crate::oidc::fetch::FetchError;
use crate::oidc::metadata::Metadata;
use crate::oidc::session::{LeaseOutcome, StoreError};

/// How often the store is looked at: another process may have registered anew.
const LOOK: Duration = Duration::from_secs(30);

/// How often, while another process registers.
const LEASE_POLL: Duration = Duration::from_millis(250);

/// Longer than a registration takes, so that the lease need not be renewed.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// First pause after a failure; doubles up to one of the others.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// After failures that pass by themselves: the client is there within five seconds.
const SHORT_PAUSE: Duration = Duration::from_secs(4);

/// After those that somebody must do something about.
const LONG_PAUSE: Duration = Duration::from_secs(300);

/// Tries to keep what was registered, a second apart.
const SAVES: u32 = 10;

/// Why there is no client. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RegistrationError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error(
        "the provider's metadata name no registration_endpoint; set it in the configuration, or register a client by hand \
         and set clientID"
    )]
    NoEndpoint,
    #[error("the provider lists no way of client authentication that we have; see clientAuthMethod")]
    NoMethod,
    #[error("the initial access token is no header value")]
    Token,
    #[error("initialAccessTokenFile: cannot read {path}: {reason}")]
    TokenFile { path: String, reason: String },
    #[error("registration: {0}")]
    Fetch(#[from] FetchError),
    #[error("registration: HTTP status {0}")]
    Status(u16),
    #[error("registration: the provider answers {error} (HTTP status {status}) {description}")]
    Refused { status: u16, error: String, description: String },
    #[error("registration: the answer cannot be used: {0}")]
    Answer(String),
}

impl RegistrationError {
    /// A short name for metrics.
    fn label(&self) -> &'static str {
        match self {
            Self::Store(_) => "session_store",
            Self::Fetch(_) | Self::Status(_) => "unavailable",
            Self::Refused { .. } => "refused",
            Self::NoEndpoint | Self::NoMethod | Self::Token | Self::TokenFile { .. } => "impossible",
            Self::Answer(_) => "unusable",
        }
    }

    fn longest_pause(&self) -> Duration {
        let passes = |status: u16| status >= 500 || status == 429 || status == 408;
        match self {
            Self::Store(_) => SHORT_PAUSE,
            Self::Fetch(FetchError::Reach(_) | FetchError::Request(_)) => LONG_PAUSE,
            Self::Fetch(_) => SHORT_PAUSE,
            Self::Status(status) | Self::Refused { status, .. } if passes(*status) => SHORT_PAUSE,
            _ => LONG_PAUSE,
        }
    }
}

/// Never ends by itself.
pub(super) async fn keep_registered(client: Arc<Inner>) {
    let mut pause = FIRST_PAUSE;
    let mut last_fault = None;
    loop {
        let wait = match client.look(pause).await {
            Ok(wait) => {
                if client.clients.load().is_some() {
                    (pause, last_fault) = (FIRST_PAUSE, None);
                    client.tried.send_replace(true);
                }
                wait
            }
            Err(error) => {
                let wait = pause.min(error.longest_pause());
                pause = (pause * 2).min(error.longest_pause());
                client.report(error, &mut last_fault);
                wait
            }
        };
        tokio::select! {
            () = client.sessions.clock().sleep(wait) => {}
            () = client.look_again.notified() => {}
        }
    }
}

impl Inner {
    /// Uses the client of the store, or registers one. Answers with the time until the next look; `pause` is the next one
    /// after a failure.
    async fn look(&self, pause: Duration) -> Result<Duration, RegistrationError> {
        let now = self.sessions.clock().now();
        let row = self.sessions.client_row(&self.scope).await?;
        let kept = row.kept.and_then(|plain| Kept::read(&plain));
        let refused = kept.as_ref().is_some_and(|kept| self.is_refused(kept));
        if let Some(kept) = &kept {
            self.publish(kept, now);
            if !refused
                && let Some(client) = self.current()
                && !self.is_known(&client, now).await
                && self.refuse(&client)
            {
                tracing::warn!(
                    issuer = self.provider.issuer(),
                    client_id = client.id,
                    "the provider does not know the client any more"
                );
                return Ok(Duration::ZERO);
            }
            let due = kept.due(refused).map(|due| due.duration_since(now).unwrap_or_default());
            match due {
                Some(Duration::ZERO) => {}
                due => {
                    self.retire_former(row.generation.unwrap_or(0), kept, now).await?;
                    return Ok(due.unwrap_or(LOOK).min(LOOK));
                }
            }
        } else {
            // It has ended, or somebody has emptied the store.
            self.clients.store(None);
        }
        let provider = self.provider.ready().await;
        match self.sessions.claim_client(&self.scope, row.generation, LEASE).await? {
            LeaseOutcome::Granted => {}
            LeaseOutcome::Held(_) | LeaseOutcome::Moved(_) | LeaseOutcome::Gone => return Ok(LEASE_POLL),
        }
        let registered = match self.register_living(&provider).await {
            Ok(registered) => registered,
            Err(error) => {
                self.provider.events().client_registered(self.provider.issuer(), error.label());
                // The pause is the client's, not the process's.
                let until = now + pause.min(error.longest_pause());
                self.sessions.release_client(&self.scope, until).await;
                return Err(error);
            }
        };
        let now = self.sessions.clock().now();
        let refusals = kept.as_ref().map_or(0, |kept| kept.refusals_of_next(refused, now));
        let (former, spent) = kept.map(|kept| kept.give_way(refused, now)).unwrap_or_default();
        let kept = Kept { client: registered, former, registered: now, refusals };
        *self.probed.lock().await = Some(unix_millis(now));
        if !self.save(row.generation.unwrap_or(0), &kept).await? {
            return Ok(Duration::ZERO);
        }
        spent.into_iter().for_each(|client| self.delete(client));
        Ok(LOOK)
    }

    /// A client whose secret has ended already would be replaced at once, and again, and again.
    async fn register_living(&self, provider: &Metadata) -> Result<Registered, RegistrationError> {
        let registered = self.register(provider).await?;
        match registered.end {
            Some(end) if end <= self.sessions.clock().now() => {
                Err(RegistrationError::Answer("`client_secret_expires_at` is over".to_owned()))
            }
            _ => Ok(registered),
        }
    }

    /// The provider has made a client: that must not be lost while there is hope. Whether it is the one that counts.
    async fn save(&self, generation: u64, kept: &Kept) -> Result<bool, RegistrationError> {
        let mut failure = StoreError::Busy;
        for _ in 0..SAVES {
            let plain = kept.to_plain();
            match self.sessions.keep_client(&self.scope, generation, &plain, kept.expires()).await {
                Ok(true) => {
                    self.provider.events().client_registered(self.provider.issuer(), "registered");
                    tracing::info!(
                        issuer = self.provider.issuer(),
                        client_id = kept.client.id,
                        "client registered"
                    );
                    self.publish(kept, kept.registered);
                    return Ok(true);
                }
                Ok(false) => {
                    tracing::warn!(
                        issuer = self.provider.issuer(),
                        client_id = kept.client.id,
                        "another process has registered meanwhile; this client is not used"
                    );
                    return Ok(false);
                }
                Err(error) => failure = error,
            }
            self.sessions.clock().sleep(Duration::from_secs(1)).await;
        }
        tracing::error!(
            issuer = self.provider.issuer(), client_id = kept.client.id, cause = %failure,
            "a client was registered and cannot be kept; it is lost"
        );
        Err(failure.into())
    }

    /// Lets requests use the client, unless it is over.
    fn publish(&self, kept: &Kept, now: SystemTime) {
        if kept.client.is_over(now) {
            return self.clients.store(None);
        }
        let former = kept.former.as_ref().filter(|former| !former.is_over(now));
        let present = self.clients.load();
        let is_same = |present: &Arc<Clients>| {
            let (current, before) = (&present.current, &present.former);
            current.id == kept.client.id
                && exposed(&current.secret) == exposed(&kept.client.secret)
                && before.as_ref().map(|client| &client.id) == former.map(|client| &client.id)
        };
        if !present.as_ref().is_some_and(is_same) {
            let credentials = |client: &Registered| Arc::new(client.credentials(&self.template));
            let clients = Clients { current: credentials(&kept.client), former: former.map(credentials) };
            self.clients.store(Some(Arc::new(clients)));
        }
    }

    fn is_refused(&self, kept: &Kept) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.as_ref() == Some(&kept.client.id)
    }

    /// One log line for each new cause, not for each attempt.
    fn report(&self, error: RegistrationError, last: &mut Option<RegistrationError>) {
        if last.as_ref() != Some(&error) {
            tracing::warn!(
                issuer = self.provider.issuer(), cause = %error, "the client is not registered; trying on"
            );
        }
        *last = Some(error);
        self.tried.send_replace(true);
    }
}

fn exposed(secret: &Option<SecretString>) -> Option<&str> {
    secret.as_ref().map(ExposeSecret::expose_secret)
}
