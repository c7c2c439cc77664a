//! What a session is: the whole record as the store keeps it, and the part of it that stays in memory.

mod wire;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::compact::Compact;
use super::dictionary::Dictionary;
use super::id::ScopeId;
use super::name::Name;
use crate::oidc::clock::{from_unix_millis, unix_millis};

/// Everything that is known of one login. Lives in the store, sealed.
///
/// Debug output shows no token and no claim.
#[derive(Clone, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Provider and client.
    #[serde(with = "wire")]
    pub scope: ScopeId,
    /// `sub` of the ID token. Never changes.
    #[serde(with = "wire")]
    pub subject: Arc<str>,
    /// The user's name for gates, headers and the access log.
    #[serde(with = "wire")]
    pub identifier: Arc<str>,
    /// The claims that gates, headers and templates may ask for.
    pub claims: Map<String, Value>,
    /// The last ID token, for `id_token_hint` and templates.
    #[serde(with = "wire")]
    pub id_token: SecretString,
    /// The last access token.
    #[serde(with = "wire")]
    pub access_token: SecretString,
    /// The refresh token, if the provider gave one.
    #[serde(with = "wire")]
    pub refresh_token: Option<SecretString>,
    /// When the ID token ends. None if no ID token bounds the session any more: the provider has refreshed
    /// without a new one.
    #[serde(with = "wire")]
    pub id_expiry: Option<SystemTime>,
    /// When the access token ends, if the provider said so.
    #[serde(with = "wire")]
    pub access_expiry: Option<SystemTime>,
    /// When the user logged in.
    #[serde(with = "wire")]
    pub created: SystemTime,
    /// When the tokens were last refreshed.
    #[serde(with = "wire")]
    pub refreshed_at: Option<SystemTime>,
    /// When the present refresh token was issued.
    #[serde(with = "wire")]
    pub refresh_token_issued: Option<SystemTime>,
    /// The end of the session, whatever is refreshed (`sessionMaxAge`).
    #[serde(with = "wire")]
    pub absolute_expiry: SystemTime,
    /// How long the session lasts without a request; none: until its absolute end. Records of earlier releases have none.
    #[serde(with = "wire", default, skip_serializing_if = "Option::is_none")]
    pub idle_lifetime: Option<Duration>,
    /// The provider's session id, for back-channel and front-channel logout.
    #[serde(with = "wire")]
    pub sid: Option<Arc<str>>,
    /// Counts the changes of this record; the store's compare-and-swap goes by it.
    pub generation: u64,
}

impl SessionRecord {
    /// The bytes that are sealed.
    ///
    /// # Errors
    /// If a claim cannot be written as JSON, which a claim that was read from JSON never does.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        // Large enough for most at once: a buffer that grows leaves copies of tokens behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
        serde_json::to_writer(&mut *bytes, self)?;
        Ok(bytes)
    }

    /// Reads what [`SessionRecord::encode`] wrote.
    ///
    /// # Errors
    /// If the bytes are of another version or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

impl std::fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionRecord")
            .field("scope", &self.scope)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// The part of a record that requests need; one immutable value for each generation.
///
/// Of the tokens only the refresh token is here, the largest two stay in the store: with it a session goes on while the
/// store is down ([`SessionProfile::recall`]). Times are at hand, as each request looks at them; the texts are kept in
/// little memory (`compact`), for they are read once for each generation and policy, to make the headers and the verdict.
pub struct SessionProfile {
    /// The record's generation.
    pub generation: u64,
    /// When what ends.
    pub timing: Timing,
    texts: Compact,
}

impl SessionProfile {
    pub(super) fn of(record: &SessionRecord, dictionary: Arc<Dictionary>) -> Self {
        let texts = Compact::of(record, dictionary);
        Self { generation: record.generation, timing: Timing::of(record), texts }
    }

    /// `sub` of the ID token.
    #[must_use]
    pub fn subject(&self) -> Name<'_> {
        self.texts.subject()
    }

    /// The user's name for gates, headers and the access log.
    #[must_use]
    pub fn identifier(&self) -> Name<'_> {
        self.texts.identifier()
    }

    /// The provider's session id.
    #[must_use]
    pub fn sid(&self) -> Option<Name<'_>> {
        self.texts.sid()
    }

    /// The refresh token.
    pub(in crate::oidc) fn refresh_token(&self) -> Option<SecretString> {
        self.texts.refresh_token()
    }

    /// The record as far as memory has it: without access token and ID token. Enough for a refresh, which brings new
    /// ones.
    pub(super) fn recall(&self, scope: ScopeId, idle_lifetime: Option<Duration>) -> SessionRecord {
        let Timing { absolute, id, access, created, refreshed, refresh_token } = self.timing;
        let time = |millis: u64| (millis != Timing::NEVER).then(|| from_unix_millis(millis));
        SessionRecord {
            scope,
            subject: (*self.subject()).into(),
            identifier: (*self.identifier()).into(),
            claims: self.claims(),
            id_token: SecretString::default(),
            access_token: SecretString::default(),
            refresh_token: self.texts.refresh_token(),
            id_expiry: time(id),
            access_expiry: time(access),
            created: from_unix_millis(created),
            refreshed_at: (refreshed != 0).then(|| from_unix_millis(refreshed)),
            refresh_token_issued: time(refresh_token),
            absolute_expiry: from_unix_millis(absolute),
            idle_lifetime,
            sid: self.sid().as_deref().map(Into::into),
            generation: self.generation,
        }
    }

    /// The claims. Decompresses and parses them: ask once for each generation, and keep what is made of them in a memo
    /// ([`SessionEntry::memo`](super::SessionEntry::memo)).
    #[must_use]
    pub fn claims(&self) -> Map<String, Value> {
        self.texts.claims()
    }
}

impl std::fmt::Debug for SessionProfile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionProfile")
            .field("generation", &self.generation)
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}

/// The times of a record, in milliseconds since 1970; [`Timing::NEVER`] where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// End of the session.
    pub absolute: u64,
    /// End of the ID token.
    pub id: u64,
    /// End of the access token.
    pub access: u64,
    /// When the user logged in.
    pub created: u64,
    /// When the tokens were refreshed; 0 if never.
    pub refreshed: u64,
    /// When the refresh token was issued; `NEVER` if there is no refresh token.
    pub refresh_token: u64,
}

impl Timing {
    /// No such time.
    pub const NEVER: u64 = u64::MAX;

    fn of(record: &SessionRecord) -> Self {
        let or_never = |time: Option<SystemTime>| time.map_or(Self::NEVER, unix_millis);
        let issued = record.refresh_token_issued.unwrap_or(record.created);
        Self {
            absolute: unix_millis(record.absolute_expiry),
            id: or_never(record.id_expiry),
            access: or_never(record.access_expiry),
            created: unix_millis(record.created),
            refreshed: record.refreshed_at.map_or(0, unix_millis),
            refresh_token: or_never(record.refresh_token.as_ref().map(|_| issued)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::oidc::session::testing;

    /// What other processes of a store, and other releases, read and have written.
    #[test]
    fn a_record_is_written_in_one_way() {
        let mut record = testing::record();
        let millis = |time| unix_millis(time);
        let (began, tokens_end) = (millis(record.created), millis(record.id_expiry.unwrap()));
        let mut text = serde_json::json!({
            "scope": record.scope.bytes(), "subject": "alice", "identifier": "alice@example.com",
            "claims": {"email": "alice@example.com", "groups": ["a", "b"]},
            "id_token": "an.id.token", "access_token": "access-0", "refresh_token": "refresh-0",
            "id_expiry": tokens_end, "access_expiry": tokens_end, "created": began, "refreshed_at": null,
            "refresh_token_issued": began, "absolute_expiry": millis(record.absolute_expiry),
            "sid": "op-session-1", "generation": 0,
        });
        for idle in [None, Some(Duration::from_millis(600_001))] {
            record.idle_lifetime = idle;
            if idle.is_some() {
                text["idle_lifetime"] = 600_001.into();
            }
            let written: Value = serde_json::from_slice(&record.encode().unwrap()).unwrap();
            assert_eq!(written, text);
            let read = SessionRecord::decode(text.to_string().as_bytes()).unwrap();
            assert_eq!((read.idle_lifetime, read.created), (idle, record.created));
            assert_eq!(serde_json::to_value(read).unwrap(), text);
        }
        for missing in ["sid", "refresh_token", "id_expiry", "subject"] {
            let mut text = text.clone();
            text.as_object_mut().unwrap().remove(missing);
            assert!(SessionRecord::decode(text.to_string().as_bytes()).is_err(), "without {missing}");
        }
    }
}
