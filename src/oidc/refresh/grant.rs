//! What the provider is asked for, and what a session makes of its answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::FlightOutcome;
use crate::oidc::session::{SessionEntry, SessionRecord};

/// How the provider is asked for new tokens.
#[async_trait]
pub trait RefreshGrant: Send + Sync {
    /// One refresh grant with `refresh_token`, which is the record's. Validates what comes back (signature, issuer,
    /// audience, same `sub`) and does not repeat a request of which bytes were sent.
    ///
    /// It is dropped when [`RefreshSettings::attempt`](super::RefreshSettings::attempt) has passed.
    async fn refresh(&self, record: &SessionRecord, refresh_token: &SecretString) -> GrantResult;

    /// Tokens that were granted to a session which ended meanwhile: to be revoked where that is possible.
    async fn discard(&self, _tokens: RenewedTokens) {}

    /// Called once for each flight, for logs and metrics.
    fn landed(&self, _landing: &Landing<'_>) {}
}

/// How the flight of a session ended.
#[derive(Clone, Copy)]
pub struct Landing<'a> {
    /// The session.
    pub session: &'a SessionEntry,
    /// What came of it.
    pub outcome: &'a FlightOutcome,
    /// What the provider's answer was, beyond the reason that the outcome has.
    pub detail: Option<&'a str>,
    /// The request that asked first.
    pub request_id: &'a str,
}

/// What came of a refresh grant.
pub enum GrantResult {
    /// New tokens.
    Renewed(Box<RenewedTokens>),
    /// `invalid_grant`: the refresh token is no good any more. Ends the session.
    Invalid,
    /// The answer must not be used: another `sub`, a bad signature. Ends the session.
    Ended {
        /// For metrics and the audit trail; no secret.
        reason: &'static str,
        /// More, for the log; no secret.
        detail: Option<String>,
    },
    /// Nothing was granted: the provider cannot be reached, answers 5xx or nonsense. The session lives on.
    Transient {
        /// For metrics and the audit trail; no secret.
        reason: &'static str,
        /// More, for the log; no secret.
        detail: Option<String>,
        /// `Retry-After` of the provider.
        retry_after: Option<Duration>,
    },
    /// The request was sent and no answer came: the refresh token may have been used up.
    Unknown {
        /// Why not, for the log; no secret.
        detail: Option<String>,
    },
}

impl GrantResult {
    /// Takes what is for the log alone.
    pub(super) fn take_detail(&mut self) -> Option<String> {
        match self {
            Self::Ended { detail, .. } | Self::Transient { detail, .. } | Self::Unknown { detail } => {
                detail.take()
            }
            Self::Renewed(_) | Self::Invalid => None,
        }
    }
}

/// What a refresh changes in a session. `sub` stays.
pub struct RenewedTokens {
    /// Whom they were issued to; nobody else can revoke them.
    pub client_id: Arc<str>,
    /// The new access token.
    pub access_token: SecretString,
    /// When it ends, if the provider said so.
    pub access_expiry: Option<SystemTime>,
    /// The new refresh token; none: the old one stays.
    pub refresh_token: Option<SecretString>,
    /// The new ID token and its end; none: identity stays, and from here on the access token alone bounds the session.
    pub id_token: Option<(SecretString, SystemTime)>,
    /// The claims now, if an ID token or userinfo brought some.
    pub claims: Option<Map<String, Value>>,
    /// The user's name, by the same rule as at login, if the claims are new.
    pub identifier: Option<Arc<str>>,
    /// The provider's session id, if the ID token has one.
    pub sid: Option<Arc<str>>,
}

impl RenewedTokens {
    /// The record's next generation.
    pub(super) fn apply(self, mut record: SessionRecord, now: SystemTime) -> SessionRecord {
        record.generation += 1;
        record.refreshed_at = Some(now);
        record.access_token = self.access_token;
        record.access_expiry = self.access_expiry;
        if let Some(token) = self.refresh_token {
            record.refresh_token = Some(token);
            record.refresh_token_issued = Some(now);
        }
        record.id_expiry = self.id_token.as_ref().map(|(_, expiry)| *expiry);
        if let Some((token, _)) = self.id_token {
            record.id_token = token;
        }
        record.claims = self.claims.unwrap_or(record.claims);
        record.identifier = self.identifier.unwrap_or(record.identifier);
        record.sid = self.sid.or(record.sid);
        record
    }

    /// The tokens alone, to revoke them if the session has ended.
    pub(super) fn without_identity(&self) -> Self {
        Self {
            client_id: Arc::clone(&self.client_id),
            access_token: self.access_token.clone(),
            access_expiry: self.access_expiry,
            refresh_token: self.refresh_token.clone(),
            id_token: None,
            claims: None,
            identifier: None,
            sid: None,
        }
    }
}
