//! A signed assertion of identity for the service.

use std::time::Duration;

use http::HeaderName;

/// How a service is told, signed, who the user is.
#[derive(Debug, Clone)]
pub struct AssertionSettings {
    /// Header that it is sent in.
    pub header: HeaderName,
    /// `iss`.
    pub issuer: String,
    /// `aud`, at least one.
    pub audience: Vec<String>,
    /// How long one holds.
    pub life: Duration,
    /// Claims beside the usual ones.
    pub claims: Vec<String>,
    /// Where the public keys are.
    pub jwks_path: String,
}
