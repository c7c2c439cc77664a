//! The userinfo endpoint (OpenID Connect Core, section 5.3).

use secrecy::{ExposeSecret, SecretString};

use super::claims::Claims;
use super::fetch::FetchError;
use super::id_token::{self, TokenError};
use super::metadata::Metadata;
use super::profile;
use super::provider::Provider;
use super::settings::{Settings, UserInfo};
use super::unique::Members;

/// What a policy wants of userinfo. Policies of one client share their sessions, so what one of them needs counts for all.
#[derive(Debug, Clone)]
pub struct Wish {
    when: UserInfo,
    needed: Vec<String>,
}

impl Wish {
    /// That of a policy.
    pub fn of(settings: &Settings) -> Self {
        Self { when: settings.user_info, needed: settings.needed_claims() }
    }

    /// Whether something is wanted of a user of whom these claims are known.
    pub fn is_open(&self, claims: &Claims) -> bool {
        match self.when {
            UserInfo::Never => false,
            UserInfo::Always => true,
            UserInfo::Auto => self.needed.iter().any(|name| claims.get(name).is_none()),
        }
    }
}

/// Why there are no claims.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserInfoError {
    /// No answer.
    #[error("userinfo: {0}")]
    Fetch(#[from] FetchError),
    /// A status that is not 200.
    #[error("userinfo: HTTP status {0}")]
    Status(u16),
    /// Not a JSON object, or one with a name twice.
    #[error("userinfo: not a JSON object, or a name comes twice")]
    Malformed,
    /// A signed answer that does not verify.
    #[error("userinfo: {0}")]
    Token(#[from] TokenError),
    /// Claims of nobody, which the endpoint must name.
    #[error("userinfo: no `sub`")]
    NoSubject,
    /// Claims of somebody else: they must not be used, nor the session be made (section 5.3.2).
    #[error("userinfo: `sub` is not that of the ID token")]
    Subject,
}

impl UserInfoError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Fetch(_) | Self::Token(TokenError::KeysUnavailable) => true,
            Self::Status(status) => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// Fetches the claims of the access token's user, who must be `subject`. `None` if the provider
/// has no such endpoint.
///
/// # Errors
/// [`UserInfoError`].
pub async fn fetch(
    provider: &Provider,
    metadata: &Metadata,
    access_token: &SecretString,
    client_id: &str,
    subject: &str,
) -> Result<Option<Claims>, UserInfoError> {
    let Some(endpoint) = &metadata.userinfo_endpoint else { return Ok(None) };
    let mut bearer = http::HeaderValue::try_from(format!("Bearer {}", access_token.expose_secret()))
        .map_err(|_| FetchError::Request("the access token is not a header value".to_owned()))?;
    bearer.set_sensitive(true);
    let request = http::Request::get(endpoint.as_str())
        .header(http::header::AUTHORIZATION, bearer)
        .header(http::header::ACCEPT, "application/json, application/jwt;q=0.9")
        .body(Vec::new())
        .map_err(|error| FetchError::Request(error.to_string()))?;
    let answer = provider.fetch().call(request).await?;
    if answer.status.as_u16() != 200 {
        return Err(UserInfoError::Status(answer.status.as_u16()));
    }
    let claims = if answer.media_type() == "application/jwt" {
        let text = std::str::from_utf8(&answer.body).map_err(|_| UserInfoError::Malformed)?;
        signed(provider, metadata, text.trim(), client_id).await?
    } else {
        let members: Members = serde_json::from_slice(&answer.body).map_err(|_| UserInfoError::Malformed)?;
        Claims::new(members.0)
    };
    match claims.subject() {
        Some(theirs) if theirs == subject => Ok(Some(claims)),
        Some(_) => Err(UserInfoError::Subject),
        None => Err(UserInfoError::NoSubject),
    }
}

/// A signed answer has `iss` and `aud` too (section 5.3.2); where they are, they must be right.
async fn signed(
    provider: &Provider,
    metadata: &Metadata,
    token: &str,
    client_id: &str,
) -> Result<Claims, UserInfoError> {
    let claims = id_token::verify_signature(token, provider).await?.claims;
    let fits =
        |iss: &serde_json::Value| profile::is_issued_by(&metadata.issuer, iss.as_str(), claims.text("tid"));
    if claims.get("iss").is_some_and(|iss| !fits(iss)) {
        return Err(TokenError::Issuer.into());
    }
    if claims.get("aud").is_some() && !claims.strings("aud").contains(&client_id) {
        return Err(TokenError::Audience.into());
    }
    Ok(claims)
}
