//! From tokens to claims: one way for login and refresh.

use std::sync::Arc;
use std::time::SystemTime;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};

use super::cause::Cause;
use super::claims::Claims;
use super::client_auth::Credentials;
use super::fetch::{FetchError, MAX_TIME};
use super::gate::is_of_tenant;
use super::id_token::{self, Expected, TokenError};
use super::introspection::{Verdict, introspect};
use super::metadata::Metadata;
use super::policy::Core;
use super::profile;
use super::provider::Source;
use super::session::SessionRecord;
use super::settings::{Settings, UserInfo};
use super::throttle::warn_or_debug;
use super::token_audience;
use super::token_endpoint::Tokens;
use super::userinfo::{self, UserInfoError};

/// Whose tokens they are.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// Of the policy that asks.
    pub(super) core: &'a Core,
    /// Who we are to the provider: whom the tokens must be for.
    pub(super) client: &'a Arc<Credentials>,
    pub(super) metadata: &'a Metadata,
    /// Until when keys and userinfo are waited for.
    pub(super) until: Instant,
    pub(super) now: SystemTime,
}

/// What tokens say about their user.
pub(super) struct Established {
    /// Claims of the ID token, completed by userinfo where that is wanted.
    pub(super) claims: Claims,
    /// End of the ID token; `None` if none came.
    pub(super) id_expiry: Option<SystemTime>,
}

/// Validates what the token endpoint gave and collects the claims. `nonce` is that of the login,
/// `previous` the session that is refreshed.
///
/// # Errors
/// [`Cause`]: the tokens must not be used.
pub(super) async fn establish(
    context: Context<'_>,
    tokens: &Tokens,
    nonce: Option<&str>,
    previous: Option<&SessionRecord>,
) -> Result<Established, Cause> {
    let Context { core: Core { settings, provider, .. }, client, metadata, now, .. } = context;
    let validated = match &tokens.id_token {
        Some(token) => {
            let expected = Expected {
                issuer: &metadata.issuer,
                client_id: &client.id,
                nonce,
                access_token: Some(tokens.access_token.expose_secret()),
            };
            let judging = id_token::validate(token.expose_secret(), provider, expected, now);
            judged(context, previous, judging).await?
        }
        None => None,
    };
    let (mut claims, id_expiry) = match (validated, previous) {
        (Some(token), _) => (token.claims, Some(token.expiry)),
        // A refresh may bring no ID token (Core, section 12.2): what the last one said stays.
        (None, Some(previous)) => (stored_claims(previous), None),
        (None, None) => return Err(Cause::NoIdToken),
    };
    if let Some(previous) = previous {
        keep_level(&mut claims, previous);
    }
    if previous.is_some_and(|previous| claims.subject() != Some(&*previous.subject)) {
        return Err(TokenError::Claim("sub").into());
    }
    // What one policy asks of later tokens is judged when they are used: others may share the session, and no refresh is
    // lost by it.
    if previous.is_none() {
        check_tenant(settings, metadata, &claims)?;
        check_access_token(context, &tokens.access_token).await?;
    }
    complete(context, &mut claims, &tokens.access_token, previous).await?;
    Ok(Established { claims, id_expiry })
}

/// What comes of judging a token by the provider's keys. At a refresh nothing may, and then what is known of the session
/// goes on: the old refresh token is spent by it, and keys that cannot be had right now must not cost the session.
async fn judged<T>(
    context: Context<'_>,
    previous: Option<&SessionRecord>,
    judging: impl Future<Output = Result<T, TokenError>>,
) -> Result<Option<T>, TokenError> {
    match timeout_at(context.until, judging).await.unwrap_or(Err(TokenError::KeysUnavailable)) {
        Err(TokenError::KeysUnavailable) if previous.is_some() => Ok(None),
        result => result.map(Some),
    }
}

/// Whether the user's tenant may log in where the metadata are those of many.
pub(super) fn check_tenant(
    settings: &Settings,
    metadata: &Metadata,
    claims: &Claims,
) -> Result<(), TokenError> {
    let allowed = &settings.allowed_tenants;
    if !profile::is_shared(&metadata.issuer) && allowed.is_empty() {
        return Ok(());
    }
    if is_of_tenant(allowed, claims) { Ok(()) } else { Err(TokenError::Tenant) }
}

/// A refresh is no new login: how strong that was, and when, stays true where the new ID token does not repeat it, and it
/// was not later than it was (Core, section 12.2).
fn keep_level(claims: &mut Claims, previous: &SessionRecord) {
    let repeats = ["acr", "auth_time"].iter().any(|name| claims.get(name).is_some());
    let time = |members: &Map<String, Value>| members.get("auth_time").and_then(Value::as_f64);
    let is_later = time(claims.members()).zip(time(&previous.claims)).is_some_and(|(new, old)| new > old);
    if !repeats {
        claims.take_over(&["acr", "amr", "auth_time"], &previous.claims);
    } else if is_later {
        claims.take_over(&["auth_time"], &previous.claims);
    }
}

/// Asks userinfo for what the ID token lacks.
async fn complete(
    context: Context<'_>,
    claims: &mut Claims,
    access_token: &SecretString,
    previous: Option<&SessionRecord>,
) -> Result<(), Cause> {
    let Context { core, client, metadata, until, .. } = context;
    if !core.wants_userinfo(claims) {
        return Ok(());
    }
    let subject = claims.subject().unwrap_or_default().to_owned();
    let answer = userinfo::fetch(&core.provider, metadata, access_token, &client.id, &subject);
    let late = FetchError::Timeout(MAX_TIME.as_secs());
    match timeout_at(until, answer).await.unwrap_or(Err(late.into())) {
        Ok(Some(info)) => claims.fill_from(&info),
        Ok(None) => {}
        Err(error @ UserInfoError::Subject) => return Err(error.into()),
        Err(error) => without_userinfo(context, claims, previous, error)?,
    }
    Ok(())
}

/// Userinfo has failed. A refresh goes on with what it said last time, however it has failed: that says nothing of the user.
/// A login goes on unless the user's very name depends on it, which must not change from one login to the next.
fn without_userinfo(
    context: Context<'_>,
    claims: &mut Claims,
    previous: Option<&SessionRecord>,
    error: UserInfoError,
) -> Result<(), Cause> {
    let Context { core: Core { settings, provider, .. }, now, .. } = context;
    warn_or_debug!(
        provider.incomplete().admit(now), issuer = provider.issuer(), cause = %error, "claims are incomplete"
    );
    if let Some(previous) = previous {
        claims.fill_from(&from_userinfo(previous));
        return Ok(());
    }
    let nameless = error.is_transient() && claims.text(&settings.gate.identifier_claim).is_none();
    let is_needed = settings.user_info == UserInfo::Always || nameless || error == UserInfoError::NoSubject;
    if is_needed { Err(error.into()) } else { Ok(()) }
}

/// Whether the access token of a login is for us and active, where that is asked for.
async fn check_access_token(context: Context<'_>, token: &SecretString) -> Result<(), Cause> {
    let Context { core: Core { settings, provider, .. }, client, until, now, .. } = context;
    if settings.strict_audience {
        let checked = timeout_at(until, check_audience(context, token.expose_secret())).await;
        checked.unwrap_or(Err(TokenError::KeysUnavailable)).map_err(Cause::AccessToken)?;
    }
    if !settings.require_introspection {
        return Ok(());
    }
    match introspect(client, provider, token, Source::Provider, now).await.verdict {
        Verdict::Active(_) => Ok(()),
        Verdict::Inactive => Err(Cause::AccessToken(TokenError::Inactive)),
        Verdict::Unknown(_) => Err(Cause::Unavailable),
    }
}

/// A JWT access token must name the audience (`strictAudienceValidation`); an opaque one cannot.
async fn check_audience(context: Context<'_>, token: &str) -> Result<(), TokenError> {
    let Context { core: Core { settings, provider, .. }, client, .. } = context;
    if !id_token::looks_like_jwt(token) {
        return Ok(());
    }
    let signed = id_token::verify_signature(token, provider).await?;
    let is_for_us = signed.claims.strings("aud").contains(&token_audience::wanted(settings, client));
    if is_for_us { Ok(()) } else { Err(TokenError::Audience) }
}

/// The claims of the session's last ID token; those that the session has kept where that is not at hand.
pub(super) fn stored_claims(record: &SessionRecord) -> Claims {
    id_token::claims_of_stored(record.id_token.expose_secret())
        .unwrap_or_else(|| Claims::new(record.claims.clone()))
}

/// The claims of the session that did not come from its ID token. All of them where that is not at hand, as in a browser
/// that does not carry it: nobody can tell, and what the user may do must not depend on an outage.
fn from_userinfo(record: &SessionRecord) -> Claims {
    let mut members = record.claims.clone();
    if let Some(of_token) = id_token::claims_of_stored(record.id_token.expose_secret()) {
        members.retain(|name, _| of_token.members().get(name).is_none_or(Value::is_null));
    }
    Claims::new(members)
}
