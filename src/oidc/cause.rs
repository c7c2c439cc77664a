//! Why a login, a logout or a request failed: one name for the log, the metric and the page.

use std::time::Duration;

use http::StatusCode;

use super::id_token::TokenError;
use super::token_endpoint::GrantError;
use super::userinfo::UserInfoError;

/// The cause of a failure that a person or a client sees.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The callback was called by another method than GET.
    #[error("method not allowed at the callback")]
    Method,
    /// A parameter of the callback occurs twice, or the query is too long.
    #[error("malformed callback: {0}")]
    Callback(&'static str),
    /// No attempt of this browser fits the state: cookies are blocked, or the link is somebody else's.
    #[error("no login attempt of this browser has this state")]
    NoAttempt,
    /// The attempt is too old.
    #[error("the login attempt has expired")]
    AttemptExpired,
    /// The state was used before.
    #[error("the login answer was used before")]
    AlreadyUsed,
    /// The provider answered with an error.
    #[error("the OpenID provider answered {error} ({description})")]
    Provider {
        /// `error`
        error: String,
        /// `error_description`
        description: String,
    },
    /// The answer comes from another issuer, or hides where it comes from.
    #[error("the answer's issuer is wrong or missing")]
    Issuer,
    /// The provider cannot be reached yet.
    #[error("the OpenID provider is not available")]
    Unavailable,
    /// The token endpoint gave no tokens.
    #[error("token endpoint: {0}")]
    Grant(#[from] GrantError),
    /// PKCE is asked for, and the provider says that it has no S256.
    #[error("the OpenID provider lists no PKCE method S256, which enablePKCE asks for")]
    Pkce,
    /// The authorization request could not be pushed.
    #[error("pushed authorization request: {0}")]
    Pushed(GrantError),
    /// No ID token came.
    #[error("no ID token in the answer of the token endpoint")]
    NoIdToken,
    /// The ID token is not accepted.
    #[error("ID token: {0}")]
    IdToken(#[from] TokenError),
    /// The access token is not accepted.
    #[error("access token: {0}")]
    AccessToken(TokenError),
    /// Userinfo gave no usable claims.
    #[error("{0}")]
    UserInfo(#[from] UserInfoError),
    /// The session store cannot be written or read.
    #[error("session store: {0}")]
    Store(String),
    /// The browser cannot carry a session of that size.
    #[error("{0} (fewer claims or smaller tokens, or another `session.store`)")]
    TooLarge(String),
    /// The provider has ended the session (back-channel logout) while the login was under way.
    #[error("the provider has logged the user out meanwhile")]
    LoggedOut,
    /// Too many logins of this client address, or of all; worth another try after this time.
    #[error("too many logins")]
    TooMany(Duration),
    /// The browser comes back logged-out again and again.
    #[error("login loop")]
    Loop,
    /// Sealing or the random generator failed.
    #[error("internal: {0}")]
    Internal(&'static str),
}

impl Cause {
    /// A short name for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Callback(_) => "malformed",
            Self::NoAttempt => "state",
            Self::AttemptExpired => "expired",
            Self::AlreadyUsed => "replayed",
            Self::Provider { .. } => "provider_error",
            Self::Issuer => "issuer",
            Self::Unavailable => "provider_unavailable",
            Self::Grant(GrantError::InvalidGrant) => "invalid_grant",
            Self::Grant(_) => "token_endpoint",
            Self::Pkce => "pkce",
            Self::Pushed(_) => "pushed_request",
            Self::NoIdToken => "no_id_token",
            Self::IdToken(TokenError::Nonce) => "nonce",
            Self::IdToken(_) => "id_token",
            Self::AccessToken(_) => "access_token",
            Self::UserInfo(_) => "userinfo",
            Self::Store(_) => "session_store",
            Self::TooLarge(_) => "session_too_large",
            Self::LoggedOut => "logged_out",
            Self::TooMany(_) => "rate_limited",
            Self::Loop => "loop",
            Self::Internal(_) => "internal",
        }
    }

    /// Whether many requests fail by it at the same time: in an outage of the provider or the store, or in a flood.
    pub fn is_widespread(&self) -> bool {
        match self {
            Self::Unavailable | Self::Store(_) | Self::TooMany(_) => true,
            Self::Grant(error) | Self::Pushed(error) => error.is_outage(),
            Self::UserInfo(error) => error.is_transient(),
            Self::IdToken(error) | Self::AccessToken(error) => *error == TokenError::KeysUnavailable,
            _ => false,
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Callback(_)
            | Self::NoAttempt
            | Self::AttemptExpired
            | Self::AlreadyUsed
            | Self::LoggedOut => StatusCode::BAD_REQUEST,
            Self::Provider { .. } | Self::Issuer | Self::IdToken(TokenError::Nonce) => {
                StatusCode::BAD_REQUEST
            }
            Self::Grant(GrantError::InvalidGrant) => StatusCode::BAD_REQUEST,
            Self::Unavailable | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Grant(error) | Self::Pushed(error) if error.is_timeout() => StatusCode::GATEWAY_TIMEOUT,
            Self::Grant(_)
            | Self::Pkce
            | Self::Pushed(_)
            | Self::NoIdToken
            | Self::IdToken(_)
            | Self::AccessToken(_)
            | Self::UserInfo(_) => StatusCode::BAD_GATEWAY,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::TooLarge(_) | Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Seconds after which another try may help.
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Unavailable | Self::Store(_) => Some(5),
            Self::TooMany(wait) => {
                Some(u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1))
            }
            _ => None,
        }
    }

    /// Whether the provider refuses a scope that was asked for, to this client (RFC 6749, section 4.1.2.1) or to this user
    /// (Keycloak, at the token endpoint).
    pub fn is_about_scope(&self) -> bool {
        match self {
            Self::Provider { error, .. } | Self::Grant(GrantError::Rejected(error)) => {
                matches!(error.as_str(), "invalid_scope" | "not_allowed")
            }
            _ => false,
        }
    }

    /// Heading of the page.
    pub fn title(&self) -> &'static str {
        match self {
            Self::Unavailable | Self::Store(_) => "Login is not available right now",
            Self::TooMany(_) => "Too many logins",
            Self::Loop => "The login does not stay",
            _ => "Login failed",
        }
    }

    /// What happened, for the person at the browser. No token, no address, nothing of the provider
    /// but what it says in `error` and `error_description`.
    pub fn explanation(&self) -> String {
        match self {
            Self::Method => "This address is only for coming back from the login page.".to_owned(),
            Self::Callback(_) => "The answer of the login page is incomplete or damaged.".to_owned(),
            Self::NoAttempt => "This browser has no login in progress that fits. Cookies may be blocked, the login may have \
                                been started in another browser, or it has expired."
                .to_owned(),
            Self::AttemptExpired => "The login took too long and has expired.".to_owned(),
            Self::AlreadyUsed => "This login answer was already used.".to_owned(),
            Self::Provider { error, description } if description.is_empty() => {
                format!("The login page reported: {error}.")
            }
            Self::Provider { error, description } => format!("The login page reported: {error} ({description})."),
            Self::Issuer | Self::IdToken(_) | Self::AccessToken(_) | Self::NoIdToken => {
                "The answer of the login service could not be verified.".to_owned()
            }
            Self::Unavailable => "The login service does not answer. It is tried again all the time; please try again in a \
                                  few seconds."
                .to_owned(),
            Self::Grant(GrantError::InvalidGrant) => "The login service no longer accepts this login answer.".to_owned(),
            Self::Grant(error) | Self::Pushed(error) if error.is_timeout() => "The login service took too long to answer.".to_owned(),
            Self::Grant(_) | Self::Pushed(_) | Self::UserInfo(_) => "The login service gave no usable answer.".to_owned(),
            Self::Pkce => "The login service cannot protect this login as it must be.".to_owned(),
            Self::Store(_) => "Sessions cannot be stored at the moment.".to_owned(),
            Self::TooLarge(_) => "The login service sends more about you than your browser can keep. Please tell the \
                                  administrator."
                .to_owned(),
            Self::LoggedOut => "You were logged out elsewhere while this login was under way.".to_owned(),
            Self::TooMany(_) => "There are too many logins from your network at the moment. Please try again in a few seconds."
                .to_owned(),
            Self::Loop => "You were logged in several times within a minute and each time came back logged out. The browser \
                           probably refuses our cookie: it may block cookies, or this site is opened by http where it \
                           expects https."
                .to_owned(),
            Self::Internal(_) => "Something went wrong here.".to_owned(),
        }
    }

    /// Whether the person can try again by a link.
    pub fn can_retry(&self) -> bool {
        !matches!(self, Self::Method)
    }

    /// `error` of the JSON form.
    pub fn code(&self) -> &'static str {
        match self.status() {
            StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
            StatusCode::BAD_REQUEST => "invalid_request",
            StatusCode::SERVICE_UNAVAILABLE => "temporarily_unavailable",
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => "provider_error",
            StatusCode::LOOP_DETECTED => "login_loop",
            StatusCode::TOO_MANY_REQUESTS => "too_many_requests",
            _ => "server_error",
        }
    }
}
