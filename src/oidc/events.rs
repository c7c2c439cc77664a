//! What the engine tells an observer: counters, which name no user, and the audit trail. Nothing holds a token.

use std::sync::Arc;

use super::audit::AuditRecord;

/// Counts one more.
pub type Counter = Arc<dyn Fn() + Send + Sync>;

/// Hooks for metrics. Every method does nothing unless it is overridden.
///
/// `policy` is the name of the middleware, `provider` the issuer.
pub trait Events: Send + Sync {
    /// A browser was sent to the provider.
    fn login_started(&self, _policy: &str) {}

    /// A callback ended in a session of a user who may pass.
    fn login_succeeded(&self, _policy: &str) {}

    /// A callback ended in a session of a user who may not pass here.
    fn login_denied(&self, _policy: &str) {}

    /// A callback failed; `reason` is one of [`crate::oidc::Cause::label`]'s.
    fn callback_failed(&self, _policy: &str, _reason: &'static str) {}

    /// A request with a session was refused by a gate.
    fn denied(&self, _policy: &str) {}

    /// Sessions were ended: `rp_initiated` (by their user here), `back_channel` or `front_channel` (by the provider).
    fn logged_out(&self, _policy: &str, _how: &'static str) {}

    /// A refresh ended: `renewed`, `reused` (another process was faster), `invalid_grant`, `rejected`
    /// (the new tokens are not acceptable) or `unavailable`.
    fn refreshed(&self, _provider: &str, _outcome: &'static str) {}

    /// The counter of requests with a bearer token that ended so; asked for once for each policy, so that counting
    /// looks nothing up.
    fn bearer_counter(&self, _policy: &str, _outcome: &'static str) -> Counter {
        Arc::new(|| {})
    }

    /// The provider was asked about a token: `active`, `inactive` or `unavailable`.
    fn introspected(&self, _provider: &str, _outcome: &'static str) {}

    /// A registration of the client ended: `registered`, `refused`, `unavailable` (no answer), `unusable` (the answer),
    /// `impossible` (nothing was sent) or `session_store`.
    fn client_registered(&self, _provider: &str, _outcome: &'static str) {}

    /// Something that an audit asks for has happened.
    fn audit(&self, _record: &AuditRecord<'_>) {}

    /// The provider can be used, or cannot.
    fn provider_up(&self, _provider: &str, _up: bool) {}

    /// No policy uses the provider any more.
    fn provider_unused(&self, _provider: &str) {}

    /// Keys were fetched because a token named an unknown one.
    fn keys_fetched(&self, _provider: &str) {}
}

/// Counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvents;

impl Events for NoEvents {}
