//! What an onlooker of the provider is told.

use std::fmt;

/// One thing that happened at the provider. Its text is one line for a console; it never holds a token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A code was exchanged for tokens.
    Login {
        /// Who logged in.
        user: String,
    },
    /// A refresh token was exchanged for new tokens.
    Refresh {
        /// Whose session it is.
        user: String,
    },
    /// A client got an access token for itself.
    Machine {
        /// Which one.
        client: String,
    },
    /// A grant was refused.
    Refused {
        /// `authorization_code`, `refresh_token` or `client_credentials`.
        grant_type: String,
        /// Why, in words.
        reason: String,
    },
    /// The login at the provider ended.
    Logout {
        /// Whose it was.
        user: String,
    },
    /// A client handed a token back (RFC 7009).
    Revocation {
        /// Whose it was.
        user: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login { user } => write!(f, "login    {user} logged in; the code was exchanged for tokens"),
            Self::Refresh { user } => {
                write!(f, "refresh  {user} got a new access token; the old refresh token is spent")
            }
            Self::Machine { client } => write!(f, "machine  {client} got an access token for itself"),
            Self::Refused { grant_type, reason } => write!(f, "refused  {grant_type}: {reason}"),
            Self::Logout { user } => write!(f, "logout   {user} logged out at the provider"),
            Self::Revocation { user } => write!(f, "revoked  the refresh token of {user} was handed back"),
        }
    }
}
