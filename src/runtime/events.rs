//! What the OIDC engine reports, as metrics.

use std::sync::Arc;

use crate::observe::Metrics;
use crate::observe::metrics::{LoginOutcome, RefreshOutcome};
use crate::oidc::Events;

/// Counts what happens.
pub struct Counted(pub Arc<Metrics>);

impl Events for Counted {
    fn login_succeeded(&self, middleware: &str) {
        self.0.oidc().login(middleware, LoginOutcome::Success);
    }

    fn callback_failed(&self, middleware: &str, reason: &'static str) {
        self.0.oidc().login(middleware, LoginOutcome::Failed);
        self.0.oidc().callback_failed(reason);
    }

    fn login_denied(&self, middleware: &str) {
        self.0.oidc().login(middleware, LoginOutcome::Denied);
    }

    fn logged_out(&self, _: &str, how: &'static str) {
        self.0.oidc().logged_out(how);
    }

    fn refreshed(&self, issuer: &str, outcome: &'static str) {
        let outcome = match outcome {
            "renewed" => RefreshOutcome::Renewed,
            "reused" => RefreshOutcome::Reused,
            "invalid_grant" => RefreshOutcome::InvalidGrant,
            "rejected" => RefreshOutcome::Rejected,
            _ => RefreshOutcome::Unavailable,
        };
        self.0.oidc().refresh(issuer, outcome);
    }

    fn provider_up(&self, issuer: &str, up: bool) {
        self.0.oidc().provider_up(issuer, up);
    }
}
