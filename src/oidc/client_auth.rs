//! How we prove to a provider which client we are (OpenID Connect Core, section 9; RFC 8705): one
//! way for the token, revocation, introspection and pushed authorization request endpoints.

mod assertion;
mod signer;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request};
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::metadata::Metadata;

pub use assertion::{Assertion, AssertionError, KeySource};
pub use signer::{KeyFault, Signer};

/// `client_assertion_type` (RFC 7523, section 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A method of client authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// `client_secret_post`: identifier and secret in the form.
    SecretPost,
    /// `client_secret_basic`: both in the `Authorization` header, form-encoded.
    SecretBasic,
    /// `client_secret_jwt`: an assertion authenticated by the secret.
    SecretJwt,
    /// `private_key_jwt`: an assertion signed by our key.
    PrivateKeyJwt,
    /// `tls_client_auth` and `self_signed_tls_client_auth`: the certificate of the connection.
    TlsClient,
    /// `none`: a public client, only the identifier.
    Public,
}

impl ClientAuth {
    /// The method of a name (OAuth parameters registry: token endpoint authentication methods).
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "client_secret_post" => Self::SecretPost,
            "client_secret_basic" => Self::SecretBasic,
            "client_secret_jwt" => Self::SecretJwt,
            "private_key_jwt" => Self::PrivateKeyJwt,
            "tls_client_auth" | "self_signed_tls_client_auth" => Self::TlsClient,
            "none" => Self::Public,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::SecretPost => "client_secret_post",
            Self::SecretBasic => "client_secret_basic",
            Self::SecretJwt => "client_secret_jwt",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::TlsClient => "tls_client_auth",
            Self::Public => "none",
        }
    }

    /// Whether it needs a client secret.
    pub fn is_by_secret(self) -> bool {
        matches!(self, Self::SecretPost | Self::SecretBasic | Self::SecretJwt)
    }
}

/// What `aud` of an assertion is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Audience {
    /// The issuer: nobody else can use the assertion, whatever metadata say of the token endpoint.
    #[default]
    Issuer,
    /// The URL of the token endpoint, which some providers want (RFC 7523, section 3).
    TokenEndpoint,
}

/// A client and what it can prove itself with.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Client identifier; empty in the settings of a client that registers itself.
    pub id: String,
    /// The method as configured; `None`: by what discovery lists.
    pub method: Option<ClientAuth>,
    /// Client secret, never empty.
    pub secret: Option<SecretString>,
    /// Makes assertions with a key of ours.
    pub assertion: Option<Assertion>,
    /// Whom assertions are for.
    pub audience: Audience,
    /// Whether connections present a certificate.
    pub has_certificate: bool,
}

/// What proves it, once: an assertion must not be used twice.
#[derive(Debug)]
pub struct Proof {
    id: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Basic(SecretString),
    /// Members of the form beside `client_id`.
    Form(Vec<(&'static str, SecretString)>),
}

impl Credentials {
    /// The method for a provider: as configured; else our key if we have one; else by form if that
    /// is listed or nothing is, by header, by an assertion, or without any proof.
    pub fn method(&self, metadata: &Metadata) -> ClientAuth {
        let listed = metadata.auth_methods.as_deref();
        let names = |name: &str| listed.is_some_and(|methods| methods.iter().any(|m| m == name));
        let may = |name: &str| listed.is_none() || names(name);
        if let Some(method) = self.method {
            return method;
        }
        match () {
            () if self.assertion.is_some() => ClientAuth::PrivateKeyJwt,
            () if self.secret.is_none() && self.has_certificate => ClientAuth::TlsClient,
            () if self.secret.is_none() => ClientAuth::Public,
            () if may("client_secret_post") => ClientAuth::SecretPost,
            () if may("client_secret_basic") => ClientAuth::SecretBasic,
            () if names("client_secret_jwt") => ClientAuth::SecretJwt,
            () if names("none") => ClientAuth::Public,
            () => ClientAuth::SecretPost,
        }
    }

    /// Reads a key file for the first time.
    ///
    /// # Errors
    /// [`AssertionError`]: it cannot be read, or holds no fitting key.
    pub fn load(&self) -> Result<(), AssertionError> {
        self.assertion.as_ref().map_or(Ok(()), Assertion::load)
    }

    /// A proof for one request to `metadata`'s provider.
    ///
    /// # Errors
    /// [`AssertionError`]: an assertion cannot be made.
    pub async fn proof(&self, metadata: &Metadata) -> Result<Proof, AssertionError> {
        let secret = || self.secret.clone().unwrap_or_default();
        let kind = match self.method(metadata) {
            ClientAuth::SecretBasic => Kind::Basic(secret()),
            ClientAuth::SecretPost => Kind::Form(vec![("client_secret", secret())]),
            ClientAuth::Public | ClientAuth::TlsClient => Kind::Form(Vec::new()),
            ClientAuth::SecretJwt => self.assert(&Assertion::by_secret(&secret()), metadata).await?,
            ClientAuth::PrivateKeyJwt => {
                self.assert(self.assertion.as_ref().ok_or(KeyFault::Missing)?, metadata).await?
            }
        };
        Ok(Proof { id: self.id.clone(), kind })
    }

    async fn assert(&self, assertion: &Assertion, metadata: &Metadata) -> Result<Kind, AssertionError> {
        let audience = match self.audience {
            Audience::Issuer => metadata.issuer.as_str(),
            Audience::TokenEndpoint => metadata.token_endpoint.as_str(),
        };
        let assertion = assertion.sign(&self.id, audience).await?;
        let kind = SecretString::from(JWT_BEARER);
        Ok(Kind::Form(vec![("client_assertion_type", kind), ("client_assertion", assertion)]))
    }
}

impl Proof {
    /// The secret, if it goes into the header.
    pub(super) fn header_secret(&self) -> Option<&SecretString> {
        match &self.kind {
            Kind::Basic(secret) => Some(secret),
            Kind::Form(_) => None,
        }
    }

    /// What goes into the form beside `client_id`.
    pub(super) fn members(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let members: &[_] = match &self.kind {
            Kind::Basic(_) => &[],
            Kind::Form(members) => members,
        };
        members.iter().map(|(name, value)| (*name, value.expose_secret()))
    }

    /// A POST of `form` to `endpoint` that proves who we are and asks for JSON.
    ///
    /// # Errors
    /// The request cannot be made: a URL or value that HTTP does not allow.
    pub fn post(&self, endpoint: &Url, form: &[(&str, &str)]) -> Result<Request<Vec<u8>>, http::Error> {
        let mut body = Serializer::new(String::new());
        body.extend_pairs(form.iter().filter(|(name, _)| *name != "client_id"));
        let mut request = Request::post(endpoint.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json");
        match &self.kind {
            Kind::Basic(secret) => request = request.header(AUTHORIZATION, basic(&self.id, secret)?),
            Kind::Form(_) => {
                body.append_pair("client_id", &self.id);
                body.extend_pairs(self.members());
            }
        }
        request.body(body.finish().into_bytes())
    }
}

/// HTTP Basic with both halves form-encoded (RFC 6749, section 2.3.1).
fn basic(id: &str, secret: &SecretString) -> Result<HeaderValue, http::Error> {
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(id), encode(secret.expose_secret()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
