//! Access tokens: opaque, or signed for the audience that was asked for (RFC 9068).

use serde_json::{Map, Value, json};

use super::authorize::Parameters;
use super::keys::{self, CryptoError};
use super::ledger::{Grant, Millis};
use super::{Document, Shared, claims, locked};

/// Longest audience, in bytes.
const MOST_AUDIENCE: usize = 256;

/// Whom tokens shall be for: `audience`, as Auth0 has it, or else `resource` (RFC 8707 section 2).
pub(super) fn audience(parameters: &Parameters) -> Option<String> {
    let named = |name: &str| parameters.get(name).filter(|value| !value.is_empty());
    named("audience").or_else(|| named("resource")).filter(|value| value.len() <= MOST_AUDIENCE).cloned()
}

/// A new access token for `grant`.
pub(super) fn make(shared: &Shared, grant: &Grant, now: Millis) -> Result<String, CryptoError> {
    let Some(audience) = &grant.audience else { return keys::random_text() };
    let claims = shared.tampered(Document::AccessToken, members(shared, grant, audience, now)?);
    locked(&shared.keys).sign("at+jwt", &claims, None)
}

/// The claims of RFC 9068 section 2.2.
fn members(
    shared: &Shared,
    grant: &Grant,
    audience: &str,
    now: Millis,
) -> Result<Map<String, Value>, CryptoError> {
    let issued = now / 1000;
    let members = json!({
        "iss": shared.issuer(),
        "sub": grant.user,
        "aud": audience,
        "client_id": grant.client,
        "scope": grant.scope,
        "iat": issued,
        "exp": issued.saturating_add(shared.access_life().as_secs().max(1)),
        "jti": keys::random_text()?,
    });
    let mut members: Map<String, Value> = members.as_object().cloned().unwrap_or_default();
    if !grant.is_machine() {
        members.insert("auth_time".to_owned(), json!(grant.auth_time / 1000));
        members.extend(
            shared.user(&grant.user).map(|user| claims::of_scopes(user, &grant.scope)).into_iter().flatten(),
        );
    }
    Ok(members)
}
