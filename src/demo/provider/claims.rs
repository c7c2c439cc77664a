//! What the provider says about a person: in the ID token and at the userinfo endpoint.

use serde_json::{Map, Value, json};

use super::keys::{self, CryptoError};
use super::ledger::{Grant, Millis};
use super::{Document, Shared, User, locked};

/// Claims of the scopes that were asked for (OpenID Connect Core 5.4); groups and roles come with `profile`.
pub(super) fn of_scopes(user: &User, scope: &str) -> Map<String, Value> {
    let asked = |name: &str| scope.split_ascii_whitespace().any(|scope| scope == name);
    let mut claims = Map::new();
    if asked("profile") {
        claims.insert("name".to_owned(), json!(user.display_name));
        claims.insert("preferred_username".to_owned(), json!(user.name));
        claims.insert("groups".to_owned(), json!(user.groups));
        claims.insert("roles".to_owned(), json!(user.roles));
    }
    if let Some(email) = user.email.as_ref().filter(|_| asked("email")) {
        claims.insert("email".to_owned(), json!(email));
        claims.insert("email_verified".to_owned(), json!(true));
    }
    claims
}

/// A signed ID token for `grant` (OpenID Connect Core 2 and 3.1.3.6).
pub(super) fn id_token(
    shared: &Shared,
    grant: &Grant,
    nonce: Option<&str>,
    access_token: &str,
    now: Millis,
) -> Result<String, CryptoError> {
    let quirks = shared.quirks();
    let issued = now / 1000;
    let audience = if quirks.audience_list { json!([grant.client]) } else { json!(grant.client) };
    let members = json!({
        "iss": shared.issuer(),
        "sub": grant.user,
        "aud": audience,
        "iat": issued,
        "exp": issued.saturating_add(shared.access_life().as_secs().max(1)),
        "auth_time": grant.auth_time / 1000,
        "sid": grant.sid,
        "at_hash": keys::half_sha256_text(access_token),
    });
    let mut claims: Map<String, Value> = members.as_object().cloned().unwrap_or_default();
    if quirks.audience_list {
        claims.insert("azp".to_owned(), json!(grant.client));
    }
    if let Some(nonce) = nonce {
        claims.insert("nonce".to_owned(), json!(nonce));
    }
    if let Some(user) = shared.user(&grant.user).filter(|_| !quirks.claims_only_from_userinfo) {
        claims.extend(of_scopes(user, &grant.scope));
    }
    let claims = shared.tampered(Document::IdToken, claims);
    let forgery = *locked(&shared.forgery);
    locked(&shared.keys).sign("JWT", &claims, forgery)
}
