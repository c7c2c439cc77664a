//! What a provider says about itself (OpenID Connect Discovery 1.0, RFC 8414).

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::reach::{Reach, ReachError};
use super::settings::ProviderSettings;

/// Metadata of a provider, checked.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// The issuer, exactly as the provider spells it: what `iss` must be.
    pub issuer: String,
    /// Where the browser logs in.
    pub authorization_endpoint: Url,
    /// Where codes and refresh tokens are exchanged.
    pub token_endpoint: Url,
    /// Where the keys are.
    pub jwks_uri: Url,
    /// Where claims are, if anywhere.
    pub userinfo_endpoint: Option<Url>,
    /// Where the browser logs out, if anywhere.
    pub end_session_endpoint: Option<Url>,
    /// Where tokens are revoked, if anywhere.
    pub revocation_endpoint: Option<Url>,
    /// Where tokens are introspected, if anywhere (RFC 7662).
    pub introspection_endpoint: Option<Url>,
    /// Where clients register themselves, if they may (RFC 7591). Whether it may be called is judged when it is.
    pub registration_endpoint: Option<Url>,
    /// The scopes that it lists, if it lists them.
    pub scopes_supported: Option<Vec<String>>,
    /// How clients may authenticate, if it says so.
    pub auth_methods: Option<Vec<String>>,
    /// Whether answers of the authorization endpoint carry `iss` (RFC 9207).
    pub iss_in_answers: bool,
    /// Where authorization requests are pushed to, if anywhere (RFC 9126).
    pub pushed_endpoint: Option<Url>,
    /// Whether they must be.
    pub pushed_required: bool,
    /// Whether it lists its PKCE methods, and S256 is none of them (RFC 8414, section 2).
    pub lacks_s256: bool,
}

/// The document as it comes. Members that we do not need may be missing, null or blank.
#[derive(Debug, Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Url,
    #[serde(default, deserialize_with = "url_if_any")]
    userinfo_endpoint: Option<Url>,
    #[serde(default, deserialize_with = "url_if_any")]
    end_session_endpoint: Option<Url>,
    #[serde(default, deserialize_with = "url_if_any")]
    revocation_endpoint: Option<Url>,
    #[serde(default, deserialize_with = "url_if_any")]
    introspection_endpoint: Option<Url>,
    #[serde(default, deserialize_with = "url_if_any")]
    registration_endpoint: Option<Url>,
    scopes_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    authorization_response_iss_parameter_supported: Option<bool>,
    #[serde(default, deserialize_with = "url_if_any")]
    pushed_authorization_request_endpoint: Option<Url>,
    require_pushed_authorization_requests: Option<bool>,
    mtls_endpoint_aliases: Option<Aliases>,
    code_challenge_methods_supported: Option<Vec<String>>,
}

/// Where clients with a certificate go instead (RFC 8705, section 5).
#[derive(Debug, Default, Deserialize)]
struct Aliases {
    #[serde(default, deserialize_with = "url_if_any")]
    token_endpoint: Option<Url>,
    #[serde(default, deserialize_with = "url_if_any")]
    userinfo_endpoint: Option<Url>,
    #[serde(default, deserialize_with = "url_if_any")]
    revocation_endpoint: Option<Url>,
    #[serde(default, deserialize_with = "url_if_any")]
    introspection_endpoint: Option<Url>,
    #[serde(default, deserialize_with = "url_if_any")]
    pushed_authorization_request_endpoint: Option<Url>,
}

/// Some providers write what they do not have as an empty text.
fn url_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.trim().is_empty());
    text.map(|text| Url::parse(&text).map_err(D::Error::custom)).transpose()
}

/// Why metadata cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Not a discovery document.
    #[error("not a discovery document: {0}")]
    Malformed(String),
    /// The document is another issuer's.
    #[error("the metadata is of the issuer {found}, not of {expected}")]
    Issuer {
        /// As configured.
        expected: String,
        /// As found.
        found: String,
    },
    /// An endpoint must not be called.
    #[error("{name}: {error}")]
    Endpoint {
        /// Metadata member.
        name: &'static str,
        /// Reason.
        error: ReachError,
    },
}

/// Where the metadata of `issuer` is: a slash at its end is dropped before the suffix is added
/// (Discovery 1.0, section 4.1).
///
/// # Errors
/// If the result is no URL.
pub fn discovery_url(issuer: &str) -> Result<Url, url::ParseError> {
    Url::parse(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')))
}

impl Metadata {
    /// Reads and checks a discovery document.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub async fn read(
        json: &[u8],
        issuer: &str,
        settings: &ProviderSettings,
        reach: &Reach,
    ) -> Result<Self, MetadataError> {
        let metadata = Self::parse(json, issuer, settings)?;
        metadata.check(reach).await?;
        Ok(metadata)
    }

    /// Reads a discovery document of `issuer`; whether its endpoints may be called is left open.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn parse(json: &[u8], issuer: &str, settings: &ProviderSettings) -> Result<Self, MetadataError> {
        let document: Document =
            serde_json::from_slice(json).map_err(|error| MetadataError::Malformed(error.to_string()))?;
        let expected = settings.trusted_issuer.as_deref().unwrap_or(issuer);
        let shared = || settings.profile.shares_issuer(expected, &document.issuer);
        if !same_issuer(expected, &document.issuer) && !shared() {
            return Err(MetadataError::Issuer { expected: expected.to_owned(), found: document.issuer });
        }
        Ok(Self::from_document(document, settings))
    }

    fn from_document(document: Document, settings: &ProviderSettings) -> Self {
        let has_certificate = settings.client_certificate.is_some();
        let aliases = document.mtls_endpoint_aliases.filter(|_| has_certificate).unwrap_or_default();
        Self {
            issuer: document.issuer,
            authorization_endpoint: document.authorization_endpoint,
            token_endpoint: aliases.token_endpoint.unwrap_or(document.token_endpoint),
            jwks_uri: document.jwks_uri,
            userinfo_endpoint: aliases.userinfo_endpoint.or(document.userinfo_endpoint),
            end_session_endpoint: settings.end_session_url.clone().or(document.end_session_endpoint),
            revocation_endpoint: settings
                .revocation_url
                .clone()
                .or(aliases.revocation_endpoint)
                .or(document.revocation_endpoint),
            introspection_endpoint: settings
                .introspection_url
                .clone()
                .or(aliases.introspection_endpoint)
                .or(document.introspection_endpoint),
            registration_endpoint: document.registration_endpoint,
            scopes_supported: document.scopes_supported,
            auth_methods: document.token_endpoint_auth_methods_supported,
            iss_in_answers: document.authorization_response_iss_parameter_supported == Some(true),
            pushed_endpoint: aliases
                .pushed_authorization_request_endpoint
                .or(document.pushed_authorization_request_endpoint),
            pushed_required: document.require_pushed_authorization_requests == Some(true),
            lacks_s256: document
                .code_challenge_methods_supported
                .is_some_and(|methods| !methods.iter().any(|method| method == "S256")),
        }
    }

    async fn check(&self, reach: &Reach) -> Result<(), MetadataError> {
        let fault = |name: &'static str| move |error| MetadataError::Endpoint { name, error };
        reach.check_front(&self.authorization_endpoint).await.map_err(fault("authorization_endpoint"))?;
        if let Some(url) = &self.end_session_endpoint {
            reach.check_front(url).await.map_err(fault("end_session_endpoint"))?;
        }
        let back_channel = [
            ("token_endpoint", Some(&self.token_endpoint)),
            ("jwks_uri", Some(&self.jwks_uri)),
            ("userinfo_endpoint", self.userinfo_endpoint.as_ref()),
            ("revocation_endpoint", self.revocation_endpoint.as_ref()),
            ("pushed_authorization_request_endpoint", self.pushed_endpoint.as_ref()),
            ("introspection_endpoint", self.introspection_endpoint.as_ref()),
        ];
        for (name, url) in back_channel {
            if let Some(url) = url {
                reach.check(url).await.map_err(fault(name))?;
            }
        }
        Ok(())
    }

    /// Whether `offline_access` may be asked for: yes, unless scopes are listed without it.
    pub fn offers_offline_access(&self) -> bool {
        self.scopes_supported.as_ref().is_none_or(|scopes| scopes.iter().any(|s| s == "offline_access"))
    }
}

/// Exactly equal, but for one slash at the end that only one of them has.
fn same_issuer(configured: &str, found: &str) -> bool {
    configured == found
        || configured.strip_suffix('/') == Some(found)
        || found.strip_suffix('/') == Some(configured)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use serde_json::json;

    async fn read(change: impl FnOnce(&mut serde_json::Value)) -> Result<Metadata, MetadataError> {
        let mut document = json!({
            "issuer": "https://203.0.113.1/realm", "authorization_endpoint": "https://203.0.113.1/auth?p=1",
            "token_endpoint": "https://203.0.113.1/token", "jwks_uri": "https://203.0.113.1/jwks",
        });
        change(&mut document);
        let settings = ProviderSettings::default();
        Metadata::read(
            document.to_string().as_bytes(),
            "https://203.0.113.1/realm",
            &settings,
            &Reach::new(false),
        )
        .await
    }

    #[test]
    fn well_known_place() {
        assert_eq!(
            discovery_url("https://x/").unwrap().as_str(),
            "https://x/.well-known/openid-configuration"
        );
        assert_eq!(
            discovery_url("https://x/r").unwrap().as_str(),
            "https://x/r/.well-known/openid-configuration"
        );
    }

    #[tokio::test]
    async fn issuer_must_be_the_configured_one() {
        assert!(read(|_| {}).await.is_ok());
        let slash = read(|d| d["issuer"] = json!("https://203.0.113.1/realm/")).await.unwrap();
        assert_eq!(slash.issuer, "https://203.0.113.1/realm/");
        for other in [
            "https://203.0.113.1/realm//",
            "https://203.0.113.1/Realm",
            "https://evil",
            "https://203.0.113.1/realm/x",
        ] {
            assert!(
                matches!(read(|d| d["issuer"] = json!(other)).await, Err(MetadataError::Issuer { .. })),
                "{other}"
            );
        }
    }

    #[tokio::test]
    async fn endpoints_are_checked() {
        for name in [
            "authorization_endpoint",
            "token_endpoint",
            "jwks_uri",
            "userinfo_endpoint",
            "end_session_endpoint",
        ] {
            for url in
                ["https://169.254.169.254/", "https://127.0.0.1/", "http://203.0.113.1/", "https://[::1]/"]
            {
                let result = read(|d| d[name] = json!(url)).await;
                assert!(matches!(result, Err(MetadataError::Endpoint { .. })), "{name} {url}: {result:?}");
            }
        }
        assert!(matches!(read(|d| d["token_endpoint"] = json!(5)).await, Err(MetadataError::Malformed(_))));
    }

    #[tokio::test]
    async fn what_a_provider_does_not_have_may_be_written_in_any_way() {
        let optional = [
            "userinfo_endpoint",
            "end_session_endpoint",
            "revocation_endpoint",
            "introspection_endpoint",
            "registration_endpoint",
            "pushed_authorization_request_endpoint",
        ];
        for name in optional {
            for nothing in [json!(null), json!(""), json!(" ")] {
                assert!(read(|d| d[name] = nothing).await.is_ok(), "{name}");
            }
            for odd in [json!("/relative"), json!(5)] {
                assert!(matches!(read(|d| d[name] = odd).await, Err(MetadataError::Malformed(_))), "{name}");
            }
        }
        for name in [
            "authorization_response_iss_parameter_supported",
            "require_pushed_authorization_requests",
            "code_challenge_methods_supported",
            "scopes_supported",
            "mtls_endpoint_aliases",
        ] {
            let metadata = read(|d| d[name] = json!(null)).await.unwrap();
            assert!(!metadata.iss_in_answers && !metadata.pushed_required && !metadata.lacks_s256, "{name}");
        }
        assert!(read(|d| d["mtls_endpoint_aliases"] = json!({"token_endpoint": ""})).await.is_ok());
        // What turns a check on is not guessed.
        assert!(read(|d| d["authorization_response_iss_parameter_supported"] = json!("true")).await.is_err());
    }
}
