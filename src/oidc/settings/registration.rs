//! How the client registers itself (RFC 7591).

use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest};
use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

/// What is registered, where, and by which right.
#[derive(Debug, Clone)]
pub struct RegistrationSettings {
    /// The endpoint, if not the one that discovery names.
    pub endpoint: Option<Url>,
    /// Proves that we may register.
    pub access_token: Option<InitialAccessToken>,
    /// The client's metadata (section 2). How the client authenticates is added once the provider says what it accepts,
    /// unless it is there.
    pub metadata: Map<String, Value>,
}

/// The initial access token (section 1.2).
#[derive(Debug, Clone)]
pub enum InitialAccessToken {
    /// In the configuration.
    Fixed(SecretString),
    /// In a file, which is read for each registration.
    File(PathBuf),
}

impl RegistrationSettings {
    /// The client's name before the provider gives it one: the same wherever the same is registered. Sessions and cookies
    /// belong to it.
    pub fn client_name(&self) -> String {
        let endpoint = self.endpoint.as_ref().map_or("", Url::as_str);
        let request = serde_json::json!([endpoint, self.metadata]).to_string();
        let digest = digest(&SHA256, request.as_bytes());
        let start = digest.as_ref().iter().take(16);
        start.fold("registered:".to_owned(), |name, byte| format!("{name}{byte:02x}"))
    }
}
