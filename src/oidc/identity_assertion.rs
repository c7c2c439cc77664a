//! A signed assertion of identity for the service: a short JWT (RFC 7519) in a header, as Google's IAP, Cloudflare Access and
//! Pomerium send one. A service that verifies it need not trust the network between.
//!
//! One is signed for each session, not for each request: it is used until half of its life is over. What it says is
//! made with the verdict on the user ([`Principal`]).

mod keys;

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{ALLOW, CACHE_CONTROL};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::claims::Claims;
use super::client_auth::KeyFault;
use super::clock::unix_millis;
use super::policy::Policy;
use super::principal::{IdentityHeaders, Principal};
use super::settings::{AssertionSettings, Settings};
use super::{RequestParts, page};
use crate::net::LocalResponse;
use keys::SigningKeys;

/// Name of the header unless told otherwise. No client may send it, on any route.
pub(super) const DEFAULT_HEADER: &str = "x-portcullis-jwt-assertion";

/// Members that are ours to say.
pub(super) const RESERVED: &[&str] =
    &["iss", "aud", "sub", "iat", "nbf", "exp", "jti", "groups", "roles", "overage"];

/// Claims of the user that are in every assertion, if there are such.
const USUAL: &[&str] = &["email", "email_verified", "name", "preferred_username"];

/// Longest claims, in bytes. With more the header is too long for many servers.
const MAX_CLAIMS: usize = 4_096;

/// How long a service may keep the keys. A new key is published for much longer before it signs.
const KEYS_CACHED: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// What is asserted of one user.
#[derive(Debug)]
pub struct Asserted {
    /// Members of the payload, each with a comma behind it.
    members: Box<str>,
    ready: ArcSwapOption<Ready>,
}

impl Asserted {
    /// About how many bytes of memory it takes, with what is signed of it.
    pub(super) fn weight(&self) -> usize {
        // The members themselves, and in base64 with header, signature and our own members.
        self.members.len() * 5 / 2 + 1_024
    }
}

/// Headers with a signed assertion among them, and from when until when they are used, in milliseconds since 1970.
#[derive(Debug)]
struct Ready {
    from: u64,
    until: u64,
    headers: IdentityHeaders,
}

/// Which claims are asserted.
#[derive(Debug)]
pub(super) struct Selection {
    role_claim: String,
    group_claim: String,
    further: Vec<String>,
}

impl Selection {
    /// None if `settings` ask for no assertion.
    pub(super) fn of(settings: &Settings) -> Option<Self> {
        let assertion = settings.identity_assertion.as_ref()?;
        Some(Self {
            role_claim: settings.gate.role_claim.clone(),
            group_claim: settings.gate.group_claim.clone(),
            further: assertion.claims.clone(),
        })
    }

    /// What is asserted of the user of `claims`, whose name is `user`. What does not fit is named in `overage`: a service must
    /// be able to tell it from what is not there.
    pub(super) fn assert(&self, claims: &Claims, user: &str) -> Asserted {
        let mut members = Map::new();
        members.insert("sub".to_owned(), claims.subject().unwrap_or(user).into());
        let mut length = 0;
        let mut overage = Vec::new();
        let mut add = |name: &str, value: Value| {
            let more = name.len() + value.to_string().len();
            if length + more > MAX_CLAIMS {
                overage.push(name.to_owned());
            } else {
                length += more;
                members.insert(name.to_owned(), value);
            }
        };
        for name in USUAL.iter().copied().chain(self.further.iter().map(String::as_str)) {
            if let Some(value) = claims.get(name).filter(|value| !value.is_null()) {
                add(name, value.clone());
            }
        }
        for (name, claim) in [("roles", &self.role_claim), ("groups", &self.group_claim)] {
            let values = claims.strings(claim);
            if !values.is_empty() {
                add(name, values.into());
            }
        }
        if !overage.is_empty() {
            members.insert("overage".to_owned(), overage.into());
        }
        let text = Value::Object(members).to_string();
        let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default();
        Asserted { members: format!("{inner},").into(), ready: ArcSwapOption::empty() }
    }
}

/// Makes the assertions of one policy.
pub(super) struct Assertions {
    settings: AssertionSettings,
    /// The beginning of every payload.
    opening: String,
    keys: SigningKeys,
}

impl Assertions {
    /// None if `settings` ask for no assertion. Keys are derived from their secrets, for `scope` alone.
    ///
    /// # Errors
    /// [`KeyFault`]: no key can be derived.
    pub(super) fn new(settings: &Settings, scope: &str, now: SystemTime) -> Result<Option<Self>, KeyFault> {
        let Some(assertion) = settings.identity_assertion.clone() else { return Ok(None) };
        let audience = match assertion.audience.as_slice() {
            [one] => json!(one),
            several => json!(several),
        };
        Ok(Some(Self {
            opening: format!("{{\"iss\":{},\"aud\":{audience},", json!(assertion.issuer)),
            keys: SigningKeys::new(&settings.key, &settings.previous_keys, scope, now)?,
            settings: assertion,
        }))
    }

    /// The headers for the service, with an assertion.
    fn headers(&self, headers: IdentityHeaders, asserted: &Asserted, now: SystemTime) -> IdentityHeaders {
        let millis = unix_millis(now);
        if let Some(ready) = &*asserted.ready.load()
            && (ready.from..ready.until).contains(&millis)
        {
            return ready.headers.clone();
        }
        match self.sign(asserted, millis / 1000) {
            Ok(value) => {
                let headers = headers.with_assertion(value);
                let half = u64::try_from(self.settings.life.as_millis() / 2).unwrap_or(u64::MAX);
                let ready = Ready { from: millis, until: millis + half, headers: headers.clone() };
                asserted.ready.store(Some(Arc::new(ready)));
                headers
            }
            Err(fault) => {
                // A service that relies on it refuses a request without it.
                tracing::error!(%fault, "an identity was not asserted");
                headers
            }
        }
    }

    /// `second` is the time of the assertion, since 1970.
    fn sign(&self, asserted: &Asserted, second: u64) -> Result<HeaderValue, KeyFault> {
        let keys = self.keys.at(second)?;
        let end = second.saturating_add(self.settings.life.as_secs());
        let payload = format!("{}{}\"iat\":{second},\"exp\":{end}}}", self.opening, asserted.members);
        let message = format!("{}.{}", keys.header(), URL_SAFE_NO_PAD.encode(payload));
        let signature = keys.sign(message.as_bytes())?;
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
        let mut value = HeaderValue::try_from(token).map_err(|_| KeyFault::Failed)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Policy {
    /// The headers that tell the service of a user.
    pub(super) fn headers_for(&self, principal: &Principal, now: SystemTime) -> IdentityHeaders {
        let headers = self.rules.headers(principal);
        match (&self.assertions, principal.asserted()) {
            (Some(assertions), Some(asserted)) => assertions.headers(headers, asserted, now),
            _ => headers,
        }
    }

    /// The public keys (RFC 7517, section 5), for anybody, if they are at `path`.
    pub(super) fn public_keys(&self, request: &RequestParts<'_>, now: SystemTime) -> Option<LocalResponse> {
        let assertions = self.assertions.as_ref()?;
        if request.path != assertions.settings.jwks_path {
            return None;
        }
        if ![Method::GET, Method::HEAD].contains(request.method) {
            let refusal = page::json(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "keys are read");
            return Some(refusal.with_header(ALLOW, HeaderValue::from_static("GET, HEAD")));
        }
        Some(match assertions.keys.at(unix_millis(now) / 1000) {
            Ok(keys) => LocalResponse::new(StatusCode::OK)
                .with_header(CACHE_CONTROL, KEYS_CACHED)
                .with_body("application/jwk-set+json", keys.jwks().clone()),
            Err(_) => page::json(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "no keys"),
        })
    }

    /// The name of the header that assertions are sent in, if they are.
    pub(super) fn assertion_header(&self) -> Option<&HeaderName> {
        self.assertions.as_ref().map(|assertions| &assertions.settings.header)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_weighs_as_well() {
        let claims = json!({"sub": "alice", "email": "a".repeat(3_000)});
        let (role_claim, group_claim) = ("roles".to_owned(), "groups".to_owned());
        let selection = Selection { role_claim, group_claim, further: Vec::new() };
        let asserted = selection.assert(&Claims::new(claims.as_object().unwrap().clone()), "alice");
        let signed = URL_SAFE_NO_PAD.encode(&*asserted.members).len();
        assert!(asserted.weight() > asserted.members.len() + signed);
    }
}
