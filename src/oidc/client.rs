//! Who we are at the provider: as configured, or as the client that has registered itself.

use std::sync::Arc;
use std::time::Duration;

use super::client_auth::Credentials;
use super::policy::Core;
use super::registration::Registration;
use super::token_endpoint::GrantError;

/// Where the client comes from.
pub(super) enum Client {
    /// The configuration.
    Fixed(Arc<Credentials>),
    /// It registers itself, so there may be none yet, and another one later.
    Registered(Arc<Registration>),
}

impl Client {
    /// The present one.
    pub(super) fn current(&self) -> Option<Arc<Credentials>> {
        match self {
            Self::Fixed(credentials) => Some(Arc::clone(credentials)),
            Self::Registered(registration) => registration.current(),
        }
    }

    /// The present one; waits while the first registration is under way, at most `patience`.
    pub(super) async fn within(&self, patience: Duration) -> Option<Arc<Credentials>> {
        match self {
            Self::Fixed(credentials) => Some(Arc::clone(credentials)),
            Self::Registered(registration) => registration.within(patience).await,
        }
    }
}

impl Core {
    /// Who we are now.
    pub(super) fn client(&self) -> Option<Arc<Credentials>> {
        self.client.current()
    }

    /// Passes an error of the provider on. One that says that it does not know this client starts another registration.
    pub(super) fn noted(&self, client: &Credentials, error: GrantError) -> GrantError {
        if let (Client::Registered(registration), true) = (&self.client, error.is_about_client()) {
            registration.refused(client);
        }
        error
    }
}
