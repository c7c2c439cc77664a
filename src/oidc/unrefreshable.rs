//! Logins without a refresh token: they end with their tokens, and nothing else would tell the operator why.

use std::sync::atomic::Ordering;

use super::RequestParts;
use super::attempt::Attempt;
use super::login::adds_offline_access;
use super::policy::Policy;
use super::refresh::outlook;
use super::session::SessionEntry;

/// The scope was asked for.
const DESPITE_SCOPE: &str = "offline_access was asked for: allow this client refresh tokens at the provider, or set extraAuthParams \
                             (native: authParams) to {prompt: consent}";

/// The scope was not asked for.
const NOT_ASKED: &str =
    "add offline_access to the scopes, or allow this client refresh tokens at the provider";

/// The provider does not give the scope, so the login went on without it.
const REFUSED: &str = "the provider refuses offline_access: allow it to this client and its users there";

impl Policy {
    /// Whether the tokens of a new session can be renewed.
    pub(super) fn is_refreshable(&self, entry: &SessionEntry) -> bool {
        outlook(entry, self.core.clock.now(), &self.refresh).refreshable
    }

    /// One line for each policy and load of the configuration, at the first login that should be renewed and cannot.
    pub(super) fn warn_if_not_refreshable(
        &self,
        request: &RequestParts<'_>,
        entry: &SessionEntry,
        attempt: &Attempt,
    ) {
        let wanted = self.core.settings.session.refresh;
        if !wanted || self.is_refreshable(entry) || self.core.told_unrefreshable.swap(true, Ordering::Relaxed)
        {
            return;
        }
        let client = self.core.client();
        tracing::warn!(
            policy = %self.core.name, issuer = self.core.provider.issuer(),
            client_id = client.as_ref().map(|client| client.id.as_str()), request_id = request.request_id,
            advice = self.advice(attempt),
            "the provider gives no refresh token: logins end with their tokens (docs/providers.md, \"No refresh token\")"
        );
    }

    fn advice(&self, attempt: &Attempt) -> &'static str {
        let settings = &self.core.settings;
        let added =
            self.core.provider.metadata().is_some_and(|metadata| adds_offline_access(settings, &metadata));
        if added && attempt.is_plain() {
            REFUSED
        } else if added || settings.scopes.iter().any(|scope| scope == "offline_access") {
            DESPITE_SCOPE
        } else {
            NOT_ASKED
        }
    }
}
