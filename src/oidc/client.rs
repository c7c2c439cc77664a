//! Who we are at the provider: as configured, or as the client that has registered itself.

use std::sync::Arc;
use std::time::Duration;

use super::client_auth::Credentials;
use super::establish::stored_claims;
use super::policy::Core;
use super::registration::Registration;
use super::session::SessionRecord;
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

impl Client {
    /// The one before the present one, if it can still be used.
    fn former(&self) -> Option<Arc<Credentials>> {
        match self {
            Self::Fixed(_) => None,
            Self::Registered(registration) => registration.former(),
        }
    }
}

impl Core {
    /// Whom the tokens of a session were issued to: the present client, or the one before it.
    pub(super) fn client_of(&self, record: &SessionRecord) -> Option<Arc<Credentials>> {
        let is_its = |client: &Arc<Credentials>| is_issued_to(record, &client.id);
        self.client.former().filter(is_its).or_else(|| self.client())
    }

    /// Everybody whom the provider may still mean: the present client first.
    pub(super) fn clients(&self) -> impl Iterator<Item = Arc<Credentials>> {
        self.client().into_iter().chain(self.client.former())
    }

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

/// The audience tells. Browsers and memory have sessions without their ID token, but never without its claims.
fn is_issued_to(record: &SessionRecord, client_id: &str) -> bool {
    stored_claims(record).strings("aud").contains(&client_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oidc::session::testing::record;

    #[test]
    fn a_session_without_its_id_token_is_still_its_clients() {
        let mut record = record();
        record.id_token = "".into();
        record.claims.insert("aud".to_owned(), "client-1".into());
        assert!(is_issued_to(&record, "client-1"));
        assert!(!is_issued_to(&record, "client-2"));
        record.claims.remove("aud");
        assert!(!is_issued_to(&record, "client-1"));
    }
}
