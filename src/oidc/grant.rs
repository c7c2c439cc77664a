//! The refresh grant as the session code wants it: one call of the token endpoint, and the same
//! validation and the same claims as at login.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::time::Instant;

use super::audit::{AuditEvent, AuditRecord};
use super::callback::kept_claims;
use super::client_auth::Credentials;
use super::establish::{Context, Established, establish};
use super::fetch::{FetchError, MAX_TIME};
use super::metadata::Metadata;
use super::policy::Core;
use super::refresh::{FlightOutcome, GrantResult, Landing, RefreshGrant, RenewedTokens};
use super::session::SessionRecord;
use super::throttle::warn_or_debug;
use super::token_endpoint::{self, GrantError, Tokens};

/// Time kept for storing the new tokens.
const MARGIN: Duration = Duration::from_millis(1_000);

#[async_trait]
impl RefreshGrant for Core {
    async fn refresh(&self, record: &SessionRecord, refresh_token: &SecretString) -> GrantResult {
        let Some(metadata) = self.provider.metadata() else {
            return transient("the OpenID provider was never reached", None);
        };
        let Some(client) = self.client_of(record) else {
            return transient("the client is not registered", None);
        };
        // The old refresh token is spent by it: what else is asked must not use up the time that is left.
        let until = Instant::now() + MAX_TIME.saturating_sub(MARGIN);
        let fetch = self.provider.fetch();
        let tokens = token_endpoint::refresh(&self.settings, &client, &metadata, fetch, refresh_token).await;
        let tokens = match tokens {
            Ok(tokens) => tokens,
            Err(error) => return not_granted(&self.noted(&client, error)),
        };
        let now = self.clock.now();
        let context = Context { core: self, client: &client, metadata: &metadata, until, now };
        let established = establish(context, &tokens, None, Some(record)).await;
        match established {
            Ok(established) => {
                GrantResult::Renewed(Box::new(self.renewed(&client, tokens, established, now)))
            }
            Err(cause) => GrantResult::Ended { reason: cause.label(), detail: Some(cause.to_string()) },
        }
    }

    async fn discard(&self, tokens: RenewedTokens) {
        let client = self.clients().find(|client| *client.id == *tokens.client_id);
        if let (Some(token), Some(metadata), Some(client)) =
            (tokens.refresh_token, self.provider.metadata(), client)
        {
            self.revoke(&client, &metadata, &token).await;
        }
    }

    fn landed(&self, landing: &Landing<'_>) {
        self.log_landing(landing);
        let Landing { session, outcome, request_id, .. } = *landing;
        if let FlightOutcome::Ended(cause) | FlightOutcome::Failed(cause) = outcome {
            self.events.audit(&AuditRecord {
                policy: Some(&self.name),
                provider: Some(self.provider.issuer()),
                user: Some(&session.profile().identifier()),
                session: Some(session.key()),
                request_id: Some(request_id),
                cause: Some(cause),
                ..AuditRecord::new(AuditEvent::RefreshFailed)
            });
        }
        let outcome = match outcome {
            FlightOutcome::Renewed => "renewed",
            FlightOutcome::Found => "reused",
            FlightOutcome::Ended("invalid_grant") => "invalid_grant",
            FlightOutcome::Ended(_) => "rejected",
            FlightOutcome::Failed(_) => "unavailable",
        };
        self.events.refreshed(self.provider.issuer(), outcome);
    }
}

impl Core {
    /// One line for each flight.
    fn log_landing(&self, landing: &Landing<'_>) {
        let (policy, issuer, session) = (&*self.name, self.provider.issuer(), landing.session.key());
        let Landing { request_id, detail: cause, .. } = *landing;
        match landing.outcome {
            FlightOutcome::Renewed => tracing::debug!(policy, ?session, request_id, "session refreshed"),
            FlightOutcome::Found => tracing::debug!(policy, ?session, request_id, "session found refreshed"),
            FlightOutcome::Ended(reason) if cause.is_some() => tracing::warn!(
                policy,
                issuer,
                ?session,
                request_id,
                reason,
                cause,
                "refreshed tokens are not accepted; the session ends"
            ),
            FlightOutcome::Ended(reason) => {
                tracing::info!(policy, issuer, ?session, request_id, reason, "session ended at refresh");
            }
            FlightOutcome::Failed(reason) => warn_or_debug!(
                self.failed_refreshes.admit(self.clock.now()),
                policy,
                issuer,
                ?session,
                request_id,
                reason,
                cause,
                "refresh failed; the session goes on"
            ),
        }
    }

    fn renewed(
        &self,
        client: &Credentials,
        tokens: Tokens,
        established: Established,
        now: SystemTime,
    ) -> RenewedTokens {
        let claims = &established.claims;
        RenewedTokens {
            client_id: client.id.as_str().into(),
            access_token: tokens.access_token,
            access_expiry: tokens.expires_in.map(|life| now + life),
            refresh_token: tokens.refresh_token,
            id_token: tokens.id_token.zip(established.id_expiry),
            identifier: claims.identifier(&self.settings.gate.identifier_claim).map(Arc::from),
            sid: claims.text("sid").map(Arc::from),
            claims: Some(kept_claims(claims)),
        }
    }

    /// Has the provider forget the refresh token of a session that has ended.
    pub(super) async fn forget(&self, record: &SessionRecord) {
        let (Some(token), Some(client)) = (&record.refresh_token, self.client_of(record)) else { return };
        if let Some(metadata) = self.provider.metadata_within(MAX_TIME).await {
            self.revoke(&client, &metadata, token).await;
        }
    }

    /// Revokes a refresh token; a failure is only logged: the session has ended in any case.
    pub(super) async fn revoke(&self, client: &Credentials, metadata: &Metadata, token: &SecretString) {
        let result = token_endpoint::revoke(client, metadata, self.provider.fetch(), token).await;
        if let Err(error) = result {
            tracing::warn!(policy = %self.name, issuer = self.provider.issuer(), cause = %error, "a refresh token was not revoked");
        }
    }
}

/// What an error of the token endpoint means for the session.
fn not_granted(error: &GrantError) -> GrantResult {
    if let Some(reason) = error.wants_user() {
        return GrantResult::Ended { reason, detail: None };
    }
    let detail = Some(error.to_string());
    match error {
        GrantError::InvalidGrant => GrantResult::Invalid,
        GrantError::Rejected(_) => transient("the provider rejects the client", detail),
        GrantError::NotSent(_) | GrantError::Request(_) => {
            transient("the provider cannot be reached", detail)
        }
        GrantError::Status { retry_after, .. } => {
            let reason = "the provider answers with an error status";
            GrantResult::Transient { reason, detail, retry_after: *retry_after }
        }
        GrantError::Malformed => transient("the answer holds no tokens", detail),
        GrantError::NoAnswer(FetchError::TooLong) => transient("the answer is too long", detail),
        GrantError::NoAnswer(_) => GrantResult::Unknown { detail },
    }
}

fn transient(reason: &'static str, detail: Option<String>) -> GrantResult {
    GrantResult::Transient { reason, detail, retry_after: None }
}
