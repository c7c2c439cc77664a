//! Pushed authorization requests (RFC 9126): the parameters go to the provider behind the browser's
//! back, and the browser only carries a reference to them.

use serde::Deserialize;
use url::Url;

use super::client_auth::Credentials;
use super::fetch::Fetch;
use super::metadata::Metadata;
use super::token_endpoint::GrantError;

/// When requests are pushed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PushedAuthorization {
    /// When the provider requires it.
    #[default]
    Auto,
    /// Always; without an endpoint there is no login.
    Always,
    /// Never.
    Never,
}

impl PushedAuthorization {
    /// Whether requests to this provider are pushed.
    pub fn applies(self, metadata: &Metadata) -> bool {
        match self {
            Self::Auto => metadata.pushed_required,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Longest reference.
const MAX_REFERENCE: usize = 2048;

#[derive(Deserialize)]
struct Reference {
    request_uri: String,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// Pushes the parameters of `location`, an authorization request, and answers with the short form
/// for the browser.
///
/// # Errors
/// [`GrantError`]: there is no endpoint, or it gives no reference.
pub(super) async fn push(
    credentials: &Credentials,
    metadata: &Metadata,
    fetch: &Fetch,
    location: &Url,
) -> Result<Url, GrantError> {
    let endpoint = metadata.pushed_endpoint.as_ref().ok_or_else(|| {
        GrantError::Request("the provider names no endpoint to push requests to".to_owned())
    })?;
    // The endpoint's own query belongs to its address.
    let own = metadata.authorization_endpoint.query_pairs().count();
    let pairs: Vec<_> = location.query_pairs().skip(own).collect();
    let form: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
    let proof = credentials.proof(metadata).await?;
    let request = proof.post(endpoint, &form).map_err(|error| GrantError::Request(error.to_string()))?;
    let answer = fetch.call(request).await?;
    let reference = match answer.status.as_u16() {
        200 | 201 => {
            let reference: Reference =
                serde_json::from_slice(&answer.body).map_err(|_| GrantError::Malformed)?;
            Some(reference.request_uri)
                .filter(|uri| !uri.is_empty() && uri.len() <= MAX_REFERENCE)
                .ok_or(GrantError::Malformed)?
        }
        400 | 401 | 403 => {
            let refusal: Refusal = serde_json::from_slice(&answer.body)
                .map_err(|_| GrantError::Status { status: answer.status.as_u16(), retry_after: None })?;
            return Err(GrantError::rejected(&refusal.error));
        }
        status => return Err(GrantError::Status { status, retry_after: None }),
    };
    let mut short = metadata.authorization_endpoint.clone();
    short.query_pairs_mut().append_pair("client_id", &credentials.id).append_pair("request_uri", &reference);
    Ok(short)
}
