//! Validation of ID tokens and other signed answers (OpenID Connect Core, sections 3.1.3.7 and 12.2).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::claims::Claims;
use super::jwks::KeySet;
use super::profile;
use super::provider::{NoKeys, Provider, Published, Source};
use super::unique::Members;

/// How far clocks may differ.
pub const SKEW: Duration = Duration::from_secs(60);

/// Longest header of a token, encoded.
const MAX_HEADER: usize = 8 * 1024;

/// Why a token is not accepted. Never holds a part of the token beyond short names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64url with JSON in the first two.
    #[error("malformed")]
    Malformed,
    /// An encrypted token; we have no key for it.
    #[error("encrypted, which is not supported")]
    Encrypted,
    /// An algorithm that is never accepted, or not supported.
    #[error("algorithm {0} is not accepted")]
    Algorithm(String),
    /// A critical header that we do not know.
    #[error("critical header parameters are not accepted")]
    Critical,
    /// Another kind of token.
    #[error("typ {0} is not an ID token")]
    Type(String),
    /// No key of the provider has that id and algorithm.
    #[error("no key of the provider fits")]
    NoKey,
    /// Not judged: its key is not among those that we have, and the provider could not, or must not so soon again, be asked
    /// for others. Another try may end otherwise.
    #[error("none of the known keys fits, and the provider cannot be asked for others at the moment")]
    KeysUnavailable,
    /// The signature does not verify.
    #[error("wrong signature")]
    Signature,
    /// A required claim is missing or of the wrong type.
    #[error("claim {0} is missing or malformed")]
    Claim(&'static str),
    /// Another issuer's token.
    #[error("wrong issuer")]
    Issuer,
    /// A tenant that is not among the allowed ones.
    #[error("the tenant is not allowed")]
    Tenant,
    /// A token for somebody else.
    #[error("wrong audience")]
    Audience,
    /// Issued to another party.
    #[error("wrong authorized party")]
    AuthorizedParty,
    /// Past its end.
    #[error("expired")]
    Expired,
    /// Not valid yet, or issued in the future.
    #[error("not valid yet")]
    NotYet,
    /// The nonce is missing or another attempt's.
    #[error("wrong nonce")]
    Nonce,
    /// A claim that this kind of token must not have.
    #[error("claim {0} must not be there")]
    Unwanted(&'static str),
    /// Not good any more, says the provider.
    #[error("inactive by introspection")]
    Inactive,
    /// It does not belong to the access token beside it.
    #[error("at_hash does not fit the access token")]
    AccessTokenHash,
}

/// What a token must fit.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The issuer of the metadata.
    pub issuer: &'a str,
    /// Our client identifier.
    pub client_id: &'a str,
    /// The nonce of the attempt; `None` after a refresh.
    pub nonce: Option<&'a str>,
    /// The access token that came along.
    pub access_token: Option<&'a str>,
}

/// A token whose signature is verified.
#[derive(Debug)]
pub struct Signed {
    /// Its payload.
    pub claims: Claims,
    /// Its algorithm.
    pub algorithm: Algorithm,
}

/// An accepted ID token.
#[derive(Debug, Clone)]
pub struct IdToken {
    /// Its claims.
    pub claims: Claims,
    /// When it ends.
    pub expiry: SystemTime,
}

/// Verifies the signature of a token that the provider has handed to us in answer to a call. If none of the known keys
/// fits, they are fetched again.
///
/// # Errors
/// [`TokenError`].
pub async fn verify_signature(token: &str, provider: &Provider) -> Result<Signed, TokenError> {
    Parsed::new(token)?.signed_by(provider, Source::Provider, |_| Ok(())).await
}

/// Verifies the signature of a token that anybody may have sent, and judges it by `rules`. What they refuse is refused
/// whoever has signed it, so that it causes no fetch of keys.
///
/// # Errors
/// [`TokenError`], and what the rules say.
pub async fn verify_from_anybody<T, E: From<TokenError>>(
    token: &str,
    provider: &Provider,
    rules: impl Fn(&Claims) -> Result<T, E>,
) -> Result<(Signed, T), E> {
    let by_rules = |claims: &Claims| rules(claims).map(|_| ());
    let signed = Parsed::new(token)?.signed_by(provider, Source::Anybody, by_rules).await?;
    let judged = rules(&signed.claims)?;
    Ok((signed, judged))
}

/// Validates an ID token in full.
///
/// # Errors
/// [`TokenError`], the first rule that it breaks.
pub async fn validate(
    token: &str,
    provider: &Provider,
    expected: Expected<'_>,
    now: SystemTime,
) -> Result<IdToken, TokenError> {
    refuse_other_kinds(token)?;
    let signed = verify_signature(token, provider).await?;
    check_claims(&signed, expected, now)
}

/// As [`validate`], with the keys that are at hand: none is fetched.
///
/// # Errors
/// [`TokenError`].
pub fn validate_with(
    token: &str,
    keys: &KeySet,
    expected: Expected<'_>,
    now: SystemTime,
) -> Result<IdToken, TokenError> {
    refuse_other_kinds(token)?;
    check_claims(&verify_with(token, keys)?, expected, now)
}

/// As [`verify_signature`], with the keys that are at hand.
pub(super) fn verify_with(token: &str, keys: &KeySet) -> Result<Signed, TokenError> {
    Parsed::new(token)?.signed(Some(keys))
}

/// Whether a token has the shape of a signed JWT: three parts.
pub(super) fn looks_like_jwt(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// The claims of a token of ours that was validated before: its signature is not looked at again.
pub fn claims_of_stored(token: &str) -> Option<Claims> {
    let payload = token.split('.').nth(1)?;
    let bytes = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&bytes).ok().map(Claims::new)
}

fn check_claims(signed: &Signed, expected: Expected<'_>, now: SystemTime) -> Result<IdToken, TokenError> {
    let claims = &signed.claims;
    check_issuer(claims, expected.issuer)?;
    check_audience(claims, expected.client_id)?;
    let expiry = check_times(claims, now)?;
    if text(claims, "sub")?.is_empty() {
        return Err(TokenError::Claim("sub"));
    }
    if let Some(nonce) = expected.nonce {
        let found = claims.members().get("nonce").and_then(Value::as_str).unwrap_or_default();
        if aws_lc_rs::constant_time::verify_slices_are_equal(found.as_bytes(), nonce.as_bytes()).is_err() {
            return Err(TokenError::Nonce);
        }
    }
    if let (Some(hash), Some(token)) = (claims.members().get("at_hash"), expected.access_token)
        && hash.as_str() != Some(access_token_hash(token, signed.algorithm).as_str())
    {
        return Err(TokenError::AccessTokenHash);
    }
    Ok(IdToken { claims: signed.claims.clone(), expiry })
}

/// `iss` is the provider's, exactly.
pub(super) fn check_issuer(claims: &Claims, issuer: &str) -> Result<(), TokenError> {
    let iss = text(claims, "iss")?;
    let is_theirs = profile::is_issued_by(issuer, Some(iss), claims.text("tid"));
    if is_theirs { Ok(()) } else { Err(TokenError::Issuer) }
}

/// `aud` names us; with others beside us, or an `azp`, the party it was issued to must be us too.
pub(super) fn check_audience(claims: &Claims, client_id: &str) -> Result<(), TokenError> {
    let (has_us, others) = match claims.members().get("aud") {
        Some(Value::String(audience)) => (audience == client_id, false),
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            (list.iter().any(|aud| aud.as_str() == Some(client_id)), list.len() > 1)
        }
        _ => return Err(TokenError::Claim("aud")),
    };
    if !has_us {
        return Err(TokenError::Audience);
    }
    match claims.members().get("azp") {
        Some(azp) if azp.as_str() != Some(client_id) => Err(TokenError::AuthorizedParty),
        None if others => Err(TokenError::AuthorizedParty),
        _ => Ok(()),
    }
}

/// Checks `exp`, `iat` and `nbf`, and gives the end.
pub(super) fn check_times(claims: &Claims, now: SystemTime) -> Result<SystemTime, TokenError> {
    let expiry = time(claims, "exp")?.ok_or(TokenError::Claim("exp"))?;
    let issued = time(claims, "iat")?.ok_or(TokenError::Claim("iat"))?;
    let not_before = time(claims, "nbf")?.unwrap_or(UNIX_EPOCH);
    if expiry + SKEW <= now {
        return Err(TokenError::Expired);
    }
    if issued > now + SKEW || not_before > now + SKEW {
        return Err(TokenError::NotYet);
    }
    Ok(expiry)
}

/// A NumericDate (RFC 7519, section 2): seconds, perhaps with a fraction.
pub(super) fn time(claims: &Claims, name: &'static str) -> Result<Option<SystemTime>, TokenError> {
    /// The year 9999.
    const LATEST: f64 = 253_402_300_799.0;
    let Some(value) = claims.members().get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|s| (0.0..=LATEST).contains(s)).ok_or(TokenError::Claim(name))?;
    Ok(Some(UNIX_EPOCH + Duration::from_secs_f64(seconds)))
}

pub(super) fn text<'a>(claims: &'a Claims, name: &'static str) -> Result<&'a str, TokenError> {
    claims.members().get(name).and_then(Value::as_str).ok_or(TokenError::Claim(name))
}

/// The left half of the token's hash, by the hash of the signature (Core, section 3.1.3.6).
fn access_token_hash(token: &str, algorithm: Algorithm) -> String {
    use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
    let by = match algorithm {
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => &SHA384,
        // EdDSA with Ed25519 hashes with SHA-512.
        Algorithm::RS512 | Algorithm::PS512 | Algorithm::EdDSA => &SHA512,
        _ => &SHA256,
    };
    let hash = digest(by, token.as_bytes());
    let (half, _) = hash.as_ref().split_at(hash.as_ref().len() / 2);
    URL_SAFE_NO_PAD.encode(half)
}

/// The `typ` of access and logout tokens, which are signed with the same keys (RFC 8725, section 3.11).
fn refuse_other_kinds(token: &str) -> Result<(), TokenError> {
    let header = header_of(token.split('.').next().unwrap_or_default())?;
    match header.get("typ").map(|typ| typ.as_str().unwrap_or("?").to_ascii_lowercase()) {
        Some(typ) if typ.trim_start_matches("application/").contains('+') || typ == "?" => {
            Err(TokenError::Type(shorten(&typ)))
        }
        _ => Ok(()),
    }
}

/// The members of a token's header, which nobody has verified.
pub(super) fn header_of(encoded: &str) -> Result<Map<String, Value>, TokenError> {
    if encoded.len() > MAX_HEADER {
        return Err(TokenError::Malformed);
    }
    members(encoded)
}

fn members(encoded: &str) -> Result<Map<String, Value>, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Malformed)?;
    let members: Members = serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)?;
    Ok(members.0)
}

pub(super) fn shorten(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).take(24).collect()
}

/// A compact JWS, taken apart.
struct Parsed<'a> {
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
    algorithm: Algorithm,
    kid: Option<String>,
}

impl<'a> Parsed<'a> {
    fn new(token: &'a str) -> Result<Self, TokenError> {
        match token.bytes().filter(|b| *b == b'.').take(6).count() {
            2 => {}
            4 => return Err(TokenError::Encrypted),
            _ => return Err(TokenError::Malformed),
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        let header = header_of(header)?;
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(TokenError::Critical);
        }
        let alg = header.get("alg").and_then(Value::as_str).unwrap_or("none");
        let algorithm: Algorithm = match alg.parse() {
            Ok(Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) | Err(_) => {
                return Err(TokenError::Algorithm(shorten(alg)));
            }
            Ok(algorithm) => algorithm,
        };
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= 512 => Some(kid.clone()),
            Some(_) => return Err(TokenError::Malformed),
        };
        Ok(Self { message, payload, signature, algorithm, kid })
    }

    /// Verifies it with the provider's keys, and if none fits and its claims are worth it, with newer ones. Keys that were
    /// asked for before the token came prove nothing against it: the provider may have begun to sign with others.
    async fn signed_by<E: From<TokenError>>(
        &self,
        provider: &Provider,
        source: Source,
        worth_it: impl Fn(&Claims) -> Result<(), E>,
    ) -> Result<Signed, E> {
        let came = Instant::now();
        let mut keys = provider.keys();
        loop {
            let result = self.signed(keys.as_ref().map(|keys| &keys.set));
            let is_fresh = keys.as_ref().is_some_and(|keys| keys.asked >= came);
            if is_fresh || !matches!(result, Err(TokenError::NoKey | TokenError::Signature)) {
                return Ok(result?);
            }
            worth_it(&Claims::new(self.payload()?))?;
            keys = match provider.newer_keys(keys.as_ref(), source).await {
                Ok(newer) => Some(newer),
                Err(NoKeys) if source == Source::Anybody && self.is_forged(&result, keys.as_deref()) => {
                    return Ok(result?);
                }
                Err(NoKeys) => return Err(TokenError::KeysUnavailable.into()),
            };
        }
    }

    /// Whether it names a key that the provider has published a moment ago, and that key has not signed it. Providers give
    /// a new key a new name, so such a token need not be put off.
    fn is_forged(&self, result: &Result<Signed, TokenError>, keys: Option<&Published>) -> bool {
        let is_recent = keys.is_some_and(|keys| keys.asked.elapsed() < Source::Anybody.pause());
        self.kid.is_some() && is_recent && matches!(result, Err(TokenError::Signature))
    }

    fn signed(&self, keys: Option<&KeySet>) -> Result<Signed, TokenError> {
        self.verify(keys)?;
        Ok(Signed { claims: Claims::new(self.payload()?), algorithm: self.algorithm })
    }

    fn verify(&self, keys: Option<&KeySet>) -> Result<(), TokenError> {
        let mut result = Err(TokenError::NoKey);
        for key in keys.into_iter().flat_map(|keys| keys.candidates(self.kid.as_deref(), self.algorithm)) {
            match jsonwebtoken::crypto::verify(self.signature, self.message.as_bytes(), key, self.algorithm) {
                Ok(true) => return Ok(()),
                _ => result = Err(TokenError::Signature),
            }
        }
        result
    }

    fn payload(&self) -> Result<Map<String, Value>, TokenError> {
        members(self.payload)
    }
}
