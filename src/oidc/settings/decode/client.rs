//! Which client we are, and how it proves that.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::Builder;
use crate::oidc::client_auth::{Assertion, Audience, ClientAuth, Credentials, KeySource, Signer};

const METHODS: &str = "must be client_secret_post, client_secret_basic, client_secret_jwt, private_key_jwt, tls_client_auth \
                       or none";

impl Builder<'_> {
    pub(super) fn client(&mut self) -> Option<Credentials> {
        let block = self.block;
        let method = self.client_auth_method();
        let assertion = self.assertion(method.unwrap_or_default());
        let audience = self.assertion_audience();
        let tls = block.client_config.as_ref().and_then(|client| client.tls.as_ref());
        let id = block.client_id.as_ref().map(|id| id.trim()).filter(|id| !id.is_empty());
        let registers = self.registers();
        if id.is_none() && !registers {
            self.error(
                "clientID",
                "is required (or `clientRegistration`, where the provider registers clients)",
            );
        }
        let credentials = Credentials {
            id: id.unwrap_or_default().to_owned(),
            method: method.unwrap_or_default(),
            secret: block
                .client_secret
                .clone()
                .filter(|secret| !registers && !secret.expose_secret().is_empty()),
            assertion: assertion.clone().unwrap_or_default(),
            audience: audience.unwrap_or_default(),
            has_certificate: tls.is_some_and(|tls| tls.cert.as_ref().is_some_and(|cert| !cert.is_empty())),
        };
        if !registers && method.and(assertion.map(drop)).is_ok() {
            self.check_proof(&credentials);
        }
        Some(credentials)
    }

    fn client_auth_method(&mut self) -> Result<Option<ClientAuth>, ()> {
        let written = self.block.client_auth_method.as_deref().filter(|name| !name.is_empty());
        let (key, name) = match (written, self.registered_auth_method()) {
            (Some(name), _) => ("clientAuthMethod", name),
            (None, Some(name)) => {
                ("dynamicClientRegistration.clientMetadata.token_endpoint_auth_method", name)
            }
            (None, None) => return Ok(None),
        };
        let method = ClientAuth::named(name);
        if method.is_none() {
            self.error(key, METHODS);
        }
        method.ok_or(()).map(Some)
    }

    /// What the method needs must be there.
    fn check_proof(&mut self, credentials: &Credentials) {
        let by_secret = credentials.method.is_some_and(ClientAuth::is_by_secret);
        let provable = credentials.secret.is_some()
            || credentials.assertion.is_some()
            || credentials.has_certificate
            || credentials.method == Some(ClientAuth::Public);
        if credentials.secret.is_none() && by_secret
            || !provable && credentials.method.is_none_or(|method| method == ClientAuth::Public)
        {
            self.error("clientSecret", "is required (or `clientAuthMethod: none` for a public client)");
        }
        if credentials.method == Some(ClientAuth::TlsClient) && !credentials.has_certificate {
            self.error("clientConfig.tls.cert", "is required by `clientAuthMethod: tls_client_auth`");
        }
    }

    /// The key of `private_key_jwt`, if that is the method or may be.
    fn assertion(&mut self, method: Option<ClientAuth>) -> Result<Option<Assertion>, ()> {
        let block = self.block;
        let inline =
            block.client_assertion_private_key.as_ref().filter(|key| !key.expose_secret().is_empty());
        let path = block.client_assertion_key_path.as_deref().filter(|path| !path.is_empty());
        let wanted = method == Some(ClientAuth::PrivateKeyJwt);
        let (key, has_key) = match (inline, path) {
            (Some(_), Some(_)) => {
                self.error(
                    "clientAssertionKeyPath",
                    "is the same option as `clientAssertionPrivateKey`; write one of them",
                );
                return Err(());
            }
            (None, None) if wanted => {
                self.error(
                    "clientAssertionPrivateKey",
                    "or `clientAssertionKeyPath` is required by `private_key_jwt`",
                );
                return Err(());
            }
            (None, None) => return Ok(None),
            (Some(_), None) => ("clientAssertionPrivateKey", wanted || method.is_none()),
            (None, Some(_)) => ("clientAssertionKeyPath", wanted || method.is_none()),
        };
        if !has_key {
            self.warn(key, "has no effect: `clientAuthMethod` names another method");
            return Ok(None);
        }
        let key_id = block.client_assertion_key_id.clone().filter(|id| !id.is_empty());
        if key_id.is_none() {
            self.error("clientAssertionKeyID", "is required: the provider finds our public key by it");
        }
        let source = self.assertion_key(inline, path).ok_or(())?;
        Ok(Some(Assertion { key: source, key_id: Some(key_id.ok_or(())?) }))
    }

    fn assertion_key(&mut self, inline: Option<&SecretString>, path: Option<&str>) -> Option<KeySource> {
        let name =
            self.block.client_assertion_alg.as_deref().filter(|name| !name.is_empty()).unwrap_or("RS256");
        let algorithm = Signer::algorithm(name).map_err(|fault| fault.to_string());
        let algorithm = self.checked("clientAssertionAlg", algorithm)?;
        match (inline, path) {
            (Some(pem), _) => {
                let signer = Signer::from_pem(pem.expose_secret().as_bytes(), algorithm);
                let signer = signer.map_err(|fault| fault.to_string());
                self.checked("clientAssertionPrivateKey", signer)
                    .map(|signer| KeySource::Fixed(Arc::new(signer)))
            }
            (None, path) => path.map(|path| KeySource::file(path, algorithm)),
        }
    }

    fn assertion_audience(&mut self) -> Option<Audience> {
        match self.block.client_assertion_audience.as_deref().unwrap_or_default() {
            "" | "issuer" => Some(Audience::Issuer),
            "tokenEndpoint" => Some(Audience::TokenEndpoint),
            _ => {
                self.error("clientAssertionAudience", "must be issuer or tokenEndpoint");
                None
            }
        }
    }
}
