//! Options of bearer mode.

use std::time::Duration;

/// How access tokens of clients that are no browsers are judged.
#[derive(Debug, Clone)]
pub struct BearerSettings {
    /// The audience that a token must name.
    pub audience: String,
    /// Clients whose tokens are accepted, beside our own. If empty: any, if the audience is not our client.
    pub allowed_clients: Vec<String>,
    /// Claim that names the subject.
    pub identifier_claim: String,
    /// Longest name, in bytes.
    pub max_identifier: usize,
    /// Oldest token by `iat`.
    pub max_age: Option<Duration>,
    /// Only `typ: at+jwt` is an access token.
    pub require_typ: bool,
    /// Tokens that are no JWT are introspected.
    pub opaque: bool,
    /// `Authorization` does not go on to the service.
    pub strip_authorization: bool,
    /// `WWW-Authenticate` is sent.
    pub challenge: bool,
    /// A token wins over a session.
    pub overrides_cookie: bool,
    /// When a client that sends bad tokens is made to wait.
    pub failures: FailureSettings,
}

/// When a client that sends bad tokens is made to wait.
#[derive(Debug, Clone, Copy)]
pub struct FailureSettings {
    /// This many failures in a row; 0 is off.
    pub threshold: u32,
    /// In this time.
    pub window: Duration,
    /// Cost this much.
    pub penalty: Duration,
}
