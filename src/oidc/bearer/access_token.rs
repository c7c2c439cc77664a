//! JWT access tokens (RFC 9068), and plain ones of providers that do not mark theirs.

use std::time::SystemTime;

use serde_json::{Map, Value};

use super::Refusal;
use crate::oidc::claims::Claims;
use crate::oidc::client_auth::Credentials;
use crate::oidc::establish::check_tenant;
use crate::oidc::id_token::{self, SKEW, TokenError};
use crate::oidc::policy::Core;
use crate::oidc::settings::BearerSettings;

/// Longest key id.
const MAX_KID: usize = 256;

const NEVER_REACHED: &str = "the OpenID provider was never reached";

/// A token whose signature and rules are verified.
pub(super) struct AccessToken {
    pub(super) claims: Claims,
    /// When it ends for us.
    pub(super) until: SystemTime,
}

/// Verifies a JWT. Whatever can be judged by its header alone is judged before a key is looked for.
pub(super) async fn verify(
    token: &str,
    settings: &BearerSettings,
    core: &Core,
    client: &Credentials,
    now: SystemTime,
) -> Result<AccessToken, Refusal> {
    let header = id_token::header_of(token.split('.').next().unwrap_or_default())?;
    let marked = check_header(&header, settings)?;
    let metadata = core.provider.metadata();
    let metadata = metadata.ok_or_else(|| Refusal::Unavailable(NEVER_REACHED.into()))?;
    let rules = |claims: &Claims| {
        id_token::check_issuer(claims, &metadata.issuer)?;
        check_tenant(&core.settings, &metadata, claims)?;
        refuse_other_kinds(claims, marked, &client.id)?;
        check_audience(claims, settings, &client.id, marked)?;
        let expiry = id_token::check_times(claims, now)? + SKEW;
        // What RFC 9068, section 2.2, requires beside these is required of what says that it follows it.
        let required: &[_] = if marked { &["sub", "client_id", "jti"] } else { &["sub"] };
        if let Some(name) = required.iter().find(|name| claims.text(name).is_none_or(str::is_empty)) {
            return Err(TokenError::Claim(name).into());
        }
        Ok(check_age(claims, settings, now)?.map_or(expiry, |oldest| oldest.min(expiry)))
    };
    match id_token::verify_from_anybody(token, &core.provider, rules).await {
        Ok((signed, until)) => Ok(AccessToken { claims: signed.claims, until }),
        Err(Refusal::Token(error @ TokenError::KeysUnavailable)) => {
            Err(Refusal::Unavailable(error.to_string().into()))
        }
        Err(refusal) => Err(refusal),
    }
}

/// Whether the header marks an access token; `alg` and `crit` are judged with the signature, before
/// any key is fetched.
fn check_header(header: &Map<String, Value>, settings: &BearerSettings) -> Result<bool, Refusal> {
    match header.get("kid") {
        None => {}
        Some(Value::String(kid)) if kid.len() <= MAX_KID && is_key_id(kid) => {}
        Some(_) => return Err(TokenError::Malformed.into()),
    }
    if header.contains_key("cty") {
        return Err(Refusal::Kind("a nested token"));
    }
    let typ = match header.get("typ") {
        None => None,
        Some(Value::String(typ)) => Some(typ.to_ascii_lowercase()),
        Some(_) => return Err(TokenError::Malformed.into()),
    };
    match typ.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ)) {
        Some("at+jwt") => Ok(true),
        None | Some("jwt") if !settings.require_typ => Ok(false),
        None | Some("jwt") => Err(Refusal::Kind("a token without typ at+jwt")),
        Some("logout+jwt") => Err(Refusal::Kind("a logout token")),
        Some(_) => Err(Refusal::Kind("a token of another typ")),
    }
}

/// What providers use for names of keys: short names, and base64 (Cognito), which may have a `/`.
fn is_key_id(kid: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'=');
    kid.bytes().all(|b| plain(b) || matches!(b, b'.' | b'_' | b'-' | b':'))
        || kid.bytes().all(|b| plain(b) || b == b'/')
}

/// ID tokens, logout tokens and the like are signed with the same keys, and must not open a door
/// (RFC 8725, section 3.11; RFC 9068, section 5).
fn refuse_other_kinds(claims: &Claims, marked: bool, client_id: &str) -> Result<(), Refusal> {
    let has = |name: &str| claims.members().contains_key(name);
    if has("events") {
        return Err(Refusal::Kind("a logout token"));
    }
    if ["nonce", "at_hash", "c_hash", "s_hash"].into_iter().any(has) {
        return Err(Refusal::Kind("an ID token"));
    }
    refuse_other_uses(claims)?;
    let for_client_alone = claims.strings("aud") == [client_id];
    if !marked && !["scope", "scp", "token_use"].into_iter().any(has) && for_client_alone {
        return Err(Refusal::Kind("what may be an ID token"));
    }
    Ok(())
}

/// What says itself that it is no access token, or one that is not for whoever bears it.
pub(super) fn refuse_other_uses(claims: &Claims) -> Result<(), Refusal> {
    let is_other = |name: &str, usual: &[&str]| {
        let text = |value: &Value| value.as_str().map(str::to_ascii_lowercase);
        claims.get(name).is_some_and(|value| text(value).is_none_or(|text| !usual.contains(&text.as_str())))
    };
    // Cognito and Hydra.
    if is_other("token_use", &["access", "access_token"]) {
        return Err(Refusal::Kind("a token of another use"));
    }
    // Keycloak names the kind in the claims.
    if is_other("typ", &["bearer", "at+jwt", "jwt"]) {
        return Err(Refusal::Kind("a token of another type"));
    }
    // RFC 9449, section 7.2, and RFC 8705, section 3: nobody here asks for the proof that goes with it.
    if claims.get("cnf").is_some() {
        return Err(Refusal::Kind("a token that is bound to a key"));
    }
    Ok(())
}

/// The audience must be there and be ours, and the client that the token was issued to one that may come. `by_client_id`:
/// `client_id` names that client, as RFC 9068 and RFC 7662 say; elsewhere only `azp` is sure to.
fn check_audience(
    claims: &Claims,
    settings: &BearerSettings,
    client_id: &str,
    by_client_id: bool,
) -> Result<(), Refusal> {
    let several = match claims.members().get("aud") {
        Some(Value::String(_)) => false,
        Some(Value::Array(list)) if !list.is_empty() && list.iter().all(Value::is_string) => list.len() > 1,
        _ => return Err(TokenError::Claim("aud").into()),
    };
    if !claims.strings("aud").contains(&settings.audience.as_str()) {
        return Err(TokenError::Audience.into());
    }
    // A token for several may have been issued for another of them, which then could use it here.
    let any = settings.allowed_clients.is_empty() && !several;
    let may_come = |party: &str| any || is_allowed(party, settings, client_id);
    let party = |name: &str| claims.members().get(name);
    let named = match several {
        true => party("azp").is_some() || by_client_id && party("client_id").is_some(),
        false => any || party("azp").or(party("client_id")).is_some(),
    };
    let all =
        ["azp", "client_id"].into_iter().filter_map(party).all(|party| party.as_str().is_some_and(may_come));
    if named && all { Ok(()) } else { Err(TokenError::AuthorizedParty.into()) }
}

fn is_allowed(party: &str, settings: &BearerSettings, client_id: &str) -> bool {
    party == client_id || settings.allowed_clients.iter().any(|allowed| allowed == party)
}

/// When the token becomes too old, if it ever does.
fn check_age(
    claims: &Claims,
    settings: &BearerSettings,
    now: SystemTime,
) -> Result<Option<SystemTime>, Refusal> {
    let Some(max_age) = settings.max_age else { return Ok(None) };
    let issued = id_token::time(claims, "iat")?.ok_or(TokenError::Claim("iat"))?;
    let oldest = issued + max_age;
    if oldest < now { Err(Refusal::TooOld) } else { Ok(Some(oldest)) }
}

/// An opaque token is bound to us by the answer's audience, else by its client.
pub(super) fn check_introspected(
    claims: &Claims,
    settings: &BearerSettings,
    core: &Core,
    client: &Credentials,
    now: SystemTime,
) -> Result<(), Refusal> {
    let metadata = core.provider.metadata();
    let metadata = metadata.ok_or_else(|| Refusal::Unavailable(NEVER_REACHED.into()))?;
    check_tenant(&core.settings, &metadata, claims)?;
    refuse_other_uses(claims)?;
    let token_type = claims.get("token_type").map(|typ| typ.as_str().unwrap_or_default());
    if token_type.is_some_and(|typ| !typ.eq_ignore_ascii_case("bearer")) {
        return Err(Refusal::Kind("a token of another type"));
    }
    let client_id = &client.id;
    let is_allowed = |party: &str| is_allowed(party, settings, client_id);
    match claims.members().get("aud") {
        Some(_) => check_audience(claims, settings, client_id, true)?,
        // Refresh tokens, of which many providers say no more, have a client, but no `token_type`.
        None if token_type.is_none() => return Err(Refusal::Kind("what may be a refresh token")),
        None if claims.text("client_id").is_some_and(is_allowed) => {}
        None => return Err(TokenError::AuthorizedParty.into()),
    }
    let issued = id_token::time(claims, "iat")?;
    if issued.is_some_and(|issued| issued > now + SKEW) {
        return Err(TokenError::NotYet.into());
    }
    if issued.is_some() { check_age(claims, settings, now).map(|_| ()) } else { Ok(()) }
}
