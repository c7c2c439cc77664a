//! Metrics of the OIDC engine. Never labelled by user, session or `sid`.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{counter_vec, gauge, gauge_vec, names};

/// How a login ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginOutcome {
    /// A session was made.
    Success,
    /// The user is known but not allowed in.
    Denied,
    /// The callback failed; [`OidcMetrics::callback_failed`] says why.
    Failed,
}

/// How a token refresh ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// New tokens were stored.
    Renewed,
    /// Another process or an earlier flight had already renewed; its result was taken.
    Reused,
    /// The OpenID provider refused the refresh token for good.
    InvalidGrant,
    /// The OpenID provider could not be reached in time or answered 5xx.
    Unavailable,
    /// The new ID token did not verify or belongs to somebody else.
    Rejected,
}

impl LoginOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

impl RefreshOutcome {
    const ALL: [Self; 5] =
        [Self::Renewed, Self::Reused, Self::InvalidGrant, Self::Unavailable, Self::Rejected];

    fn as_str(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::Reused => "reused",
            Self::InvalidGrant => "invalid_grant",
            Self::Unavailable => "unavailable",
            Self::Rejected => "rejected",
        }
    }
}

/// The `portcullis_oidc_*` metrics. Clones count into the same series.
#[derive(Debug, Clone)]
pub struct OidcMetrics {
    logins: IntCounterVec,
    callback_errors: IntCounterVec,
    refreshes: IntCounterVec,
    logouts: IntCounterVec,
    bearer: IntCounterVec,
    introspections: IntCounterVec,
    registrations: IntCounterVec,
    sessions: IntGauge,
    provider_up: IntGaugeVec,
    store_errors: IntCounterVec,
}

impl OidcMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            logins: counter_vec(registry, &names::OIDC_LOGINS)?,
            callback_errors: counter_vec(registry, &names::OIDC_CALLBACK_ERRORS)?,
            refreshes: counter_vec(registry, &names::OIDC_REFRESHES)?,
            logouts: counter_vec(registry, &names::OIDC_LOGOUTS)?,
            bearer: counter_vec(registry, &names::OIDC_BEARER)?,
            introspections: counter_vec(registry, &names::OIDC_INTROSPECTIONS)?,
            registrations: counter_vec(registry, &names::OIDC_REGISTRATIONS)?,
            sessions: gauge(registry, &names::OIDC_SESSIONS)?,
            provider_up: gauge_vec(registry, &names::OIDC_PROVIDER_UP)?,
            store_errors: counter_vec(registry, &names::OIDC_STORE_ERRORS)?,
        })
    }

    /// Counts a login that came back to a middleware.
    pub fn login(&self, middleware: &str, outcome: LoginOutcome) {
        self.logins.with_label_values(&[middleware, outcome.as_str()]).inc();
    }

    /// Counts a refresh at an issuer.
    pub fn refresh(&self, issuer: &str, outcome: RefreshOutcome) {
        self.refreshes.with_label_values(&[issuer, outcome.as_str()]).inc();
    }

    /// Tells whether metadata and keys of an issuer could be fetched. Every outcome of a refresh is there from then
    /// on with 0, so that a rate sees the first one.
    pub fn provider_up(&self, issuer: &str, up: bool) {
        self.provider_up.with_label_values(&[issuer]).set(up.into());
        for outcome in RefreshOutcome::ALL {
            let _ = self.refreshes.with_label_values(&[issuer, outcome.as_str()]);
        }
    }

    /// Nobody asks about this issuer any more. (What was counted of it stays.)
    pub fn provider_unused(&self, issuer: &str) {
        // It fails when there is nothing to remove.
        let _ = self.provider_up.remove_label_values(&[issuer]);
    }

    /// Counts a callback without a session. `reason` is one of a fixed set of words, such as `state_mismatch`.
    pub fn callback_failed(&self, reason: &'static str) {
        self.callback_errors.with_label_values(&[reason]).inc();
    }

    /// Counts a logout. `kind` is one of a fixed set of words, such as `rp_initiated`.
    pub fn logged_out(&self, kind: &'static str) {
        self.logouts.with_label_values(&[kind]).inc();
    }

    /// Counts requests with a bearer token at a middleware. `outcome` is one of a fixed set of words, such as `accepted`.
    pub fn bearer(&self, middleware: &str, outcome: &'static str) -> impl Fn() + Send + Sync + use<> {
        let counter = self.bearer.with_label_values(&[middleware, outcome]);
        move || counter.inc()
    }

    /// Counts a call about a token. `outcome` is one of a fixed set of words, such as `active`.
    pub fn introspected(&self, issuer: &str, outcome: &'static str) {
        self.introspections.with_label_values(&[issuer, outcome]).inc();
    }

    /// Counts an attempt to register a client. `outcome` is one of a fixed set of words, such as `registered`.
    pub fn client_registered(&self, issuer: &str, outcome: &'static str) {
        self.registrations.with_label_values(&[issuer, outcome]).inc();
    }

    /// Counts a failed operation of the session store, such as `load`.
    pub fn store_failed(&self, operation: &'static str) {
        self.store_errors.with_label_values(&[operation]).inc();
    }

    /// Sets how many sessions are held.
    pub fn set_sessions(&self, count: usize) {
        self.sessions.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
