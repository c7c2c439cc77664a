//! Validation of logout tokens (OpenID Connect Back-Channel Logout 1.0, sections 2.4 and 2.6).

use std::time::SystemTime;

use serde_json::Value;

use super::claims::Claims;
use super::id_token::{self, TokenError};
use super::jwks::KeySet;
use super::provider::Provider;

/// The member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// An accepted logout token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogoutToken {
    /// Whose sessions end.
    pub target: Target,
    /// Names the token.
    pub jti: String,
    /// When it was issued.
    pub issued: SystemTime,
    /// When it ends; it is not accepted later than [`id_token::SKEW`] after it.
    pub expiry: SystemTime,
}

/// What a logout token is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One session at the provider. Named also where there is a `sub` beside it.
    Session(String),
    /// All sessions of a subject.
    Subject(String),
}

/// Validates a logout token in full: as an ID token, and as what it is.
///
/// # Errors
/// [`TokenError`], the first rule that it breaks.
pub async fn validate(
    token: &str,
    provider: &Provider,
    issuer: &str,
    client_id: &str,
    now: SystemTime,
) -> Result<LogoutToken, TokenError> {
    refuse_other_kinds(token)?;
    let rules = |claims: &Claims| judge(claims, issuer, client_id, now);
    let (_, judged) = id_token::verify_from_anybody(token, provider, rules).await?;
    Ok(judged)
}

/// As [`validate`], with the keys that are at hand: none is fetched.
///
/// # Errors
/// [`TokenError`].
pub fn validate_with(
    token: &str,
    keys: &KeySet,
    issuer: &str,
    client_id: &str,
    now: SystemTime,
) -> Result<LogoutToken, TokenError> {
    refuse_other_kinds(token)?;
    judge(&id_token::verify_with(token, keys)?.claims, issuer, client_id, now)
}

/// Many providers write `JWT`. What tells the token from others then is its event, which they lack, and the nonce,
/// which it lacks (section 2.4).
fn refuse_other_kinds(token: &str) -> Result<(), TokenError> {
    let header = id_token::header_of(token.split('.').next().unwrap_or_default())?;
    let Some(typ) = header.get("typ") else { return Ok(()) };
    let typ = typ.as_str().unwrap_or("?").to_ascii_lowercase();
    match typ.strip_prefix("application/").unwrap_or(&typ) {
        "logout+jwt" | "jwt" => Ok(()),
        _ => Err(TokenError::Type(id_token::shorten(&typ))),
    }
}

fn judge(claims: &Claims, issuer: &str, client_id: &str, now: SystemTime) -> Result<LogoutToken, TokenError> {
    id_token::check_issuer(claims, issuer)?;
    id_token::check_audience(claims, client_id)?;
    let expiry = id_token::check_times(claims, now)?;
    if !claims.members().get("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object) {
        return Err(TokenError::Claim("events"));
    }
    if claims.members().contains_key("nonce") {
        return Err(TokenError::Unwanted("nonce"));
    }
    let jti = id_token::text(claims, "jti")?.to_owned();
    let target = match (optional(claims, "sid")?, optional(claims, "sub")?) {
        (Some(sid), _) => Target::Session(sid),
        (None, Some(sub)) => Target::Subject(sub),
        (None, None) => return Err(TokenError::Claim("sid")),
    };
    if jti.is_empty() {
        return Err(TokenError::Claim("jti"));
    }
    let issued = id_token::time(claims, "iat")?.ok_or(TokenError::Claim("iat"))?;
    Ok(LogoutToken { target, jti, issued, expiry })
}

/// A claim that may be missing, but is text where it is there.
fn optional(claims: &Claims, name: &'static str) -> Result<Option<String>, TokenError> {
    match claims.members().get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(TokenError::Claim(name)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn read(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Result<LogoutToken, TokenError> {
        let mut claims = json!({"iss": "https://op", "aud": "client", "iat": NOW, "exp": NOW + 120, "jti": "1",
            "events": {EVENT: {}}, "sub": "alice", "sid": "s"});
        change(claims.as_object_mut().unwrap());
        let claims = Claims::new(claims.as_object().unwrap().clone());
        judge(&claims, "https://op", "client", UNIX_EPOCH + Duration::from_secs(NOW))
    }

    #[test]
    fn the_session_is_named_before_the_subject() {
        assert_eq!(read(|_| {}).unwrap().target, Target::Session("s".into()));
        let of_subject = read(|claims| drop(claims.remove("sid"))).unwrap();
        assert_eq!(of_subject.target, Target::Subject("alice".into()));
        assert_eq!(read(|claims| drop(claims.remove("sub"))).unwrap().target, Target::Session("s".into()));
        assert!(read(|claims| claims["aud"] = json!(["client"])).is_ok());
    }

    #[test]
    fn a_tenant_of_a_shared_issuer_logs_out() {
        let shared = "https://login.microsoftonline.com/{tenantid}/v2.0";
        let tid = "72f988bf-86f1-41af-91ab-2d7cd011db47";
        let judge_of = |tenant: &str| {
            let claims = json!({"iss": shared.replace("{tenantid}", tenant), "tid": tid, "aud": "client", "iat": NOW,
                "exp": NOW + 120, "jti": "1", "events": {EVENT: {}}, "sub": "alice"});
            let claims = Claims::new(claims.as_object().unwrap().clone());
            judge(&claims, shared, "client", UNIX_EPOCH + Duration::from_secs(NOW))
        };
        assert!(judge_of(tid).is_ok());
        assert_eq!(judge_of("11111111-86f1-41af-91ab-2d7cd011db47").err(), Some(TokenError::Issuer));
    }

    #[test]
    fn every_missing_or_wrong_claim_is_refused() {
        for name in ["iss", "aud", "iat", "exp", "jti", "events"] {
            assert!(read(|claims| drop(claims.remove(name))).is_err(), "without {name}");
            assert!(read(|claims| claims[name] = json!(null)).is_err(), "{name}: null");
            assert!(read(|claims| claims[name] = json!([])).is_err(), "{name}: []");
        }
        for (name, value) in [
            ("iss", json!("https://op/")),
            ("aud", json!("other")),
            ("aud", json!(["client", "other"])),
            ("exp", json!(NOW - 61)),
            ("iat", json!(NOW + 61)),
            ("jti", json!("")),
            ("events", json!({EVENT: null})),
            ("events", json!({"http://schemas.openid.net/event/other": {}})),
            ("sid", json!("")),
            ("sid", json!(5)),
            ("nonce", json!("n")),
            ("nonce", json!(null)),
        ] {
            assert!(
                read(|claims| drop(claims.insert(name.into(), value.clone()))).is_err(),
                "{name}: {value}"
            );
        }
        let nobody = read(|claims| claims.retain(|name, _| name != "sid" && name != "sub"));
        assert_eq!(nobody, Err(TokenError::Claim("sid")));
    }

    #[test]
    fn other_kinds_of_token_are_refused_before_any_key_is_asked_for() {
        let token = |typ: Value| {
            format!("{}.e30.x", URL_SAFE_NO_PAD.encode(json!({"alg": "ES256", "typ": typ}).to_string()))
        };
        for typ in ["logout+jwt", "LOGOUT+JWT", "application/logout+jwt", "JWT"] {
            assert_eq!(refuse_other_kinds(&token(json!(typ))), Ok(()), "{typ}");
        }
        for typ in [json!("at+jwt"), json!("secevent+jwt"), json!(""), json!(5), json!(null)] {
            assert!(refuse_other_kinds(&token(typ.clone())).is_err(), "{typ}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_token_or_not_without_panic(text in "\\PC{0,200}", value in "\\PC{0,40}") {
            let _ = refuse_other_kinds(&text);
            let _ = read(|claims| drop(claims.insert("events".into(), serde_json::from_str(&value).unwrap_or(Value::Null))));
        }
    }
}
