//! The registration request (RFC 7591, section 3.1).

use http::Request;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::io::AsyncReadExt;
use url::Url;

use super::Inner;
use super::answer::{self, Registered};
use super::task::RegistrationError;
use crate::oidc::client_auth::ClientAuth;
use crate::oidc::metadata::Metadata;
use crate::oidc::settings::InitialAccessToken;

/// Longest file with an initial access token.
const MAX_TOKEN: u64 = 16 * 1024;

impl Inner {
    /// Registers a client, whatever clients there are.
    pub(super) async fn register(&self, provider: &Metadata) -> Result<Registered, RegistrationError> {
        let endpoint = self.settings.endpoint.as_ref().or(provider.registration_endpoint.as_ref());
        let endpoint = endpoint.ok_or(RegistrationError::NoEndpoint)?;
        let method = match self.template.method {
            Some(method) => method,
            None => {
                offered(self.template.assertion.is_some(), provider).ok_or(RegistrationError::NoMethod)?
            }
        };
        let metadata = with_method(self.settings.metadata.clone(), method);
        let token = self.access_token().await?;
        let request = request(endpoint, &metadata, token.as_ref())?;
        let answer = self.provider.fetch().call(request).await?;
        answer::read(&answer, &metadata, method)
    }

    async fn access_token(&self) -> Result<Option<SecretString>, RegistrationError> {
        let path = match &self.settings.access_token {
            None => return Ok(None),
            Some(InitialAccessToken::Fixed(token)) => return Ok(Some(token.clone())),
            Some(InitialAccessToken::File(path)) => path,
        };
        let unreadable = |source: std::io::Error| RegistrationError::TokenFile {
            path: path.display().to_string(),
            reason: source.to_string(),
        };
        let mut text = String::new();
        let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        file.take(MAX_TOKEN).read_to_string(&mut text).await.map_err(unreadable)?;
        let token = SecretString::from(text.trim());
        zeroize::Zeroize::zeroize(&mut text);
        Ok(Some(token))
    }
}

/// The first method that we have and the provider lists; the standard's default where it lists nothing.
fn offered(has_key: bool, provider: &Metadata) -> Option<ClientAuth> {
    let ours = [
        (has_key, ClientAuth::PrivateKeyJwt),
        (true, ClientAuth::SecretBasic),
        (true, ClientAuth::SecretPost),
        (true, ClientAuth::SecretJwt),
        (true, ClientAuth::Public),
    ];
    let listed = provider.auth_methods.as_deref();
    let listed = |name: &str| listed.is_none_or(|methods| methods.iter().any(|method| method == name));
    ours.into_iter().find(|(can, method)| *can && listed(method.name())).map(|(_, method)| method)
}

fn with_method(mut metadata: Map<String, Value>, method: ClientAuth) -> Map<String, Value> {
    // One of two names of the same way, or a longer one, may be written already.
    metadata.entry("token_endpoint_auth_method").or_insert_with(|| method.name().into());
    metadata
}

fn request(
    endpoint: &Url,
    metadata: &Map<String, Value>,
    token: Option<&SecretString>,
) -> Result<Request<Vec<u8>>, RegistrationError> {
    let mut request = Request::post(endpoint.as_str())
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json");
    if let Some(token) = token {
        let value = http::HeaderValue::try_from(format!("Bearer {}", token.expose_secret()));
        let mut value = value.map_err(|_| RegistrationError::Token)?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let body = serde_json::to_vec(metadata).unwrap_or_default();
    request.body(body).map_err(|_| RegistrationError::Token)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::oidc::settings::ProviderSettings;
    use serde_json::json;

    fn provider(methods: Option<&[&str]>) -> Metadata {
        let document = json!({
            "issuer": "https://i", "authorization_endpoint": "https://i/a", "token_endpoint": "https://i/t",
            "jwks_uri": "https://i/k", "token_endpoint_auth_methods_supported": methods,
        });
        let settings = ProviderSettings::default();
        Metadata::parse(document.to_string().as_bytes(), "https://i", &settings).unwrap()
    }

    #[test]
    fn the_method_is_one_that_both_have() {
        assert_eq!(offered(false, &provider(None)), Some(ClientAuth::SecretBasic));
        assert_eq!(
            offered(false, &provider(Some(&["private_key_jwt", "client_secret_post"]))),
            Some(ClientAuth::SecretPost)
        );
        assert_eq!(
            offered(true, &provider(Some(&["private_key_jwt", "client_secret_post"]))),
            Some(ClientAuth::PrivateKeyJwt)
        );
        assert_eq!(offered(false, &provider(Some(&["none"]))), Some(ClientAuth::Public));
        assert_eq!(offered(false, &provider(Some(&["private_key_jwt"]))), None);
        let written = json!({"token_endpoint_auth_method": "self_signed_tls_client_auth"});
        let metadata = with_method(written.as_object().unwrap().clone(), ClientAuth::TlsClient);
        assert_eq!(metadata["token_endpoint_auth_method"], "self_signed_tls_client_auth");
    }

    #[test]
    fn the_token_goes_into_the_header_and_stays_out_of_logs() {
        let endpoint = Url::parse("https://i/register").unwrap();
        let metadata = json!({"redirect_uris": ["https://app/cb"]}).as_object().unwrap().clone();
        let sent = request(&endpoint, &metadata, Some(&"initial".into())).unwrap();
        assert_eq!(sent.headers()[AUTHORIZATION], "Bearer initial");
        assert!(!format!("{sent:?}").contains("initial"));
        assert_eq!(sent.body(), br#"{"redirect_uris":["https://app/cb"]}"#);
        assert!(request(&endpoint, &metadata, Some(&"a\nb".into())).is_err());
    }
}
