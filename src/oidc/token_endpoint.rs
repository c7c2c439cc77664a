//! The token endpoint: codes and refresh tokens against tokens, and revocation.

use std::borrow::Cow;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, RETRY_AFTER};
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreRevocableToken,
    CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AccessToken, AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret,
    EmptyAdditionalClaims, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IdToken, IssuerUrl,
    JsonWebKeySet, OAuth2TokenResponse, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError,
    Scope, StandardErrorResponse, TokenResponse, TokenUrl,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};

use super::client_auth::{AssertionError, Credentials, Proof};
use super::fetch::{Fetch, FetchError};
use super::metadata::Metadata;
use super::settings::Settings;

/// What the token endpoint gave.
pub struct Tokens {
    /// Access token.
    pub access_token: SecretString,
    /// Refresh token, if there is one (a new one).
    pub refresh_token: Option<SecretString>,
    /// ID token, if there is one.
    pub id_token: Option<SecretString>,
    /// Life of the access token, if said.
    pub expires_in: Option<Duration>,
}

/// Why it gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The code or refresh token is refused for good (RFC 6749, section 5.2: `invalid_grant`).
    #[error("the grant is refused: invalid_grant")]
    InvalidGrant,
    /// Another error that the provider names: our client's fault, or its own.
    #[error("the provider answers {0}")]
    Rejected(String),
    /// Nothing was sent.
    #[error("{0}")]
    NotSent(FetchError),
    /// The grant may have been taken, but there is no usable answer.
    #[error("{0}")]
    NoAnswer(FetchError),
    /// A status that is no answer of a token endpoint.
    #[error("HTTP status {status}")]
    Status {
        /// The status.
        status: u16,
        /// How long to wait, if it says so (RFC 9110, section 10.2.3).
        retry_after: Option<Duration>,
    },
    /// A body that is no answer of a token endpoint.
    #[error("the answer holds neither tokens nor an error")]
    Malformed,
    /// A URL or parameter of ours is unusable.
    #[error("the request cannot be made: {0}")]
    Request(String),
}

impl From<FetchError> for GrantError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Reach(_) | FetchError::Connect(_) | FetchError::Request(_) => Self::NotSent(error),
            error => Self::NoAnswer(error),
        }
    }
}

impl GrantError {
    /// What the provider's `error` says, which may be anything: at most 64 characters that can be shown.
    pub(super) fn rejected(error: &str) -> Self {
        Self::Rejected(error.chars().filter(char::is_ascii_graphic).take(64).collect())
    }

    /// Whether the provider does not know the client, or not by its proof (RFC 6749, section 5.2: `invalid_client`).
    pub fn is_about_client(&self) -> bool {
        matches!(self, Self::Rejected(error) if error == "invalid_client")
    }

    /// The name of the error, if the provider says that nothing goes on without the user (OpenID Connect Core, section 3.1.2.6;
    /// Entra and others answer a refresh so, when a new rule asks for another proof or for consent).
    pub fn wants_user(&self) -> Option<&'static str> {
        const NAMES: [&str; 4] =
            ["interaction_required", "login_required", "consent_required", "account_selection_required"];
        let Self::Rejected(error) = self else { return None };
        NAMES.into_iter().find(|name| name == error)
    }

    /// Whether the provider cannot answer anybody, as opposed to refusing this one.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::NotSent(_) | Self::NoAnswer(_) | Self::Status { .. } | Self::Malformed)
    }

    /// Whether the provider was too slow, as opposed to wrong.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::NoAnswer(FetchError::Timeout(_)))
    }
}

/// The answer of the token endpoint (RFC 6749, section 5.1), with the ID token as text: it is
/// judged by our own rules.
#[derive(Deserialize, Serialize)]
pub(super) struct Answer {
    access_token: AccessToken,
    #[serde(default = "bearer")]
    token_type: CoreTokenType,
    #[serde(default, deserialize_with = "lenient_seconds")]
    expires_in: Option<u64>,
    #[serde(default)]
    refresh_token: Option<RefreshToken>,
    #[serde(default)]
    id_token: Option<String>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer([redacted])")
    }
}

impl OAuth2TokenResponse for Answer {
    type TokenType = CoreTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &CoreTokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in.map(Duration::from_secs)
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

type CoreIdToken = IdToken<
    EmptyAdditionalClaims,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

impl
    TokenResponse<
        EmptyAdditionalClaims,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    > for Answer
{
    fn id_token(&self) -> Option<&CoreIdToken> {
        None
    }
}

/// The client of one provider, ready for the authorization request and both grants.
pub(super) type OidcClient = Client<
    EmptyAdditionalClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Answer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
    EndpointNotSet,
>;

/// Makes the client for `metadata`.
///
/// # Errors
/// If the issuer is not a URL, which discovery has ruled out.
pub(super) fn client(id: &str, metadata: &Metadata) -> Result<OidcClient, GrantError> {
    let issuer =
        IssuerUrl::new(metadata.issuer.clone()).map_err(|error| GrantError::Request(error.to_string()))?;
    Ok(Client::new(ClientId::new(id.to_owned()), issuer, JsonWebKeySet::new(Vec::new()))
        .set_auth_uri(AuthUrl::from_url(metadata.authorization_endpoint.clone()))
        .set_token_uri(TokenUrl::from_url(metadata.token_endpoint.clone()))
        .set_auth_type(AuthType::RequestBody))
}

/// The client with a secret for the header, if that is how it proves itself; [`Proof::members`] are
/// for each request.
fn proving(client: OidcClient, proof: &Proof) -> OidcClient {
    match proof.header_secret() {
        Some(secret) => client
            .set_auth_type(AuthType::BasicAuth)
            .set_client_secret(ClientSecret::new(secret.expose_secret().to_owned())),
        None => client,
    }
}

impl From<AssertionError> for GrantError {
    fn from(error: AssertionError) -> Self {
        Self::Request(error.to_string())
    }
}

/// Exchanges a code (RFC 6749, section 4.1.3; RFC 7636). Tried once more only if nothing was sent.
///
/// # Errors
/// [`GrantError`].
pub async fn exchange_code(
    settings: &Settings,
    credentials: &Credentials,
    metadata: &Metadata,
    fetch: &Fetch,
    code: &str,
    verifier: &str,
    redirect_uri: &str,
) -> Result<Tokens, GrantError> {
    let redirect =
        RedirectUrl::new(redirect_uri.to_owned()).map_err(|error| GrantError::Request(error.to_string()))?;
    let once = || async {
        let proof = credentials.proof(metadata).await?;
        let client = proving(client(&credentials.id, metadata)?, &proof);
        let mut request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()))
            .set_redirect_uri(Cow::Borrowed(&redirect));
        if let Some(resource) = &settings.resource {
            request = request.add_extra_param("resource", resource.as_str());
        }
        for (name, value) in proof.members() {
            request = request.add_extra_param(name, value);
        }
        finish(request.request_async(&Http(fetch)).await)
    };
    match once().await {
        Err(GrantError::NotSent(FetchError::Connect(_))) => once().await,
        result => result,
    }
}

/// Exchanges a refresh token (RFC 6749, section 6). Never repeated here.
///
/// # Errors
/// [`GrantError`].
pub async fn refresh(
    settings: &Settings,
    credentials: &Credentials,
    metadata: &Metadata,
    fetch: &Fetch,
    token: &SecretString,
) -> Result<Tokens, GrantError> {
    let proof = credentials.proof(metadata).await?;
    let client = proving(client(&credentials.id, metadata)?, &proof);
    let token = RefreshToken::new(token.expose_secret().to_owned());
    let mut request = client.exchange_refresh_token(&token);
    if let Some(resource) = &settings.resource {
        request = request.add_extra_param("resource", resource.as_str());
    }
    for (name, value) in proof.members() {
        request = request.add_extra_param(name, value);
    }
    finish(request.request_async(&Http(fetch)).await)
}

/// Revokes a refresh token (RFC 7009); an answer other than 200 is only for the log.
///
/// # Errors
/// [`GrantError`].
pub async fn revoke(
    credentials: &Credentials,
    metadata: &Metadata,
    fetch: &Fetch,
    token: &SecretString,
) -> Result<(), GrantError> {
    let Some(endpoint) = &metadata.revocation_endpoint else { return Ok(()) };
    let form = [("token", token.expose_secret()), ("token_type_hint", "refresh_token")];
    let proof = credentials.proof(metadata).await?;
    let request = proof.post(endpoint, &form).map_err(|error| GrantError::Request(error.to_string()))?;
    let answer = fetch.call(request).await?;
    match answer.status.as_u16() {
        200 => Ok(()),
        status => Err(GrantError::Status { status, retry_after: None }),
    }
}

/// What went wrong below the token protocol.
#[derive(Debug, thiserror::Error)]
enum Transport {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("HTTP status {0}")]
    Status(u16, Option<Duration>),
}

/// The provider's HTTP client, as the protocol crate wants it.
struct Http<'f>(&'f Fetch);

impl<'c> AsyncHttpClient<'c> for Http<'_> {
    type Error = Transport;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Transport>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(send(self.0, request))
    }
}

async fn send(fetch: &Fetch, request: HttpRequest) -> Result<HttpResponse, Transport> {
    let answer = fetch.call(request).await?;
    // An error document counts only with the statuses that go with it (RFC 6749, section 5.2).
    if !matches!(answer.status.as_u16(), 200 | 400 | 401 | 403) {
        return Err(Transport::Status(answer.status.as_u16(), retry_after(&answer.headers)));
    }
    let mut response = HttpResponse::new(answer.body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    Ok(response)
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).ok(),
    }
}

fn finish(
    result: Result<Answer, RequestTokenError<Transport, StandardErrorResponse<CoreErrorResponseType>>>,
) -> Result<Tokens, GrantError> {
    let answer = result.map_err(|error| match error {
        RequestTokenError::ServerResponse(response) => match response.error() {
            CoreErrorResponseType::InvalidGrant => GrantError::InvalidGrant,
            other => GrantError::rejected(other.as_ref()),
        },
        RequestTokenError::Request(Transport::Fetch(error)) => error.into(),
        RequestTokenError::Request(Transport::Status(status, retry_after)) => {
            GrantError::Status { status, retry_after }
        }
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => GrantError::Malformed,
    })?;
    if !answer.token_type.as_ref().eq_ignore_ascii_case("bearer") {
        return Err(GrantError::Rejected("a token_type that is not Bearer".to_owned()));
    }
    Ok(Tokens {
        access_token: SecretString::from(answer.access_token.secret().as_str()),
        refresh_token: answer
            .refresh_token
            .map(|token| SecretString::from(token.secret().as_str()))
            .filter(|t| !t.expose_secret().is_empty()),
        id_token: answer.id_token.map(SecretString::from).filter(|token| !token.expose_secret().is_empty()),
        expires_in: answer.expires_in.map(Duration::from_secs),
    })
}

/// What a missing `token_type` means: nobody uses another one without being asked to.
fn bearer() -> CoreTokenType {
    CoreTokenType::Bearer
}

/// Seconds as a number, with or without a fraction, or, as some providers do, as text; anything else is "not said".
fn lenient_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    /// Longer lives than this are cut: 30 years.
    const LONGEST: f64 = 30.0 * 365.0 * 24.0 * 3600.0;
    let value = serde_json::Value::deserialize(deserializer)?;
    let number = value.as_f64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
    let seconds = number.filter(|seconds: &f64| *seconds >= 0.0).map(|seconds| seconds.min(LONGEST));
    // In whole seconds: not negative, and no more than 30 years.
    Ok(seconds.map(|seconds| Duration::from_secs_f64(seconds).as_secs()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_life_is_read_as_providers_write_it() {
        let life = |value: Value| {
            let answer = json!({"access_token": "a", "expires_in": value});
            serde_json::from_value::<Answer>(answer).unwrap().expires_in
        };
        for (value, seconds) in [
            (json!(300), 300),
            (json!("300"), 300),
            (json!(300.5), 300),
            (json!(" 300.0 "), 300),
            (json!(0), 0),
            (json!(1e300), 30 * 365 * 24 * 3600),
        ] {
            assert_eq!(life(value.clone()), Some(seconds), "{value}");
        }
        for value in
            [json!(null), json!(-1), json!("-1"), json!("soon"), json!("NaN"), json!([300]), json!(true)]
        {
            assert_eq!(life(value.clone()), None, "{value}");
        }
    }
}
