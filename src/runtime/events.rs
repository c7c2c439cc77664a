//! What the OIDC engine reports, as metrics and audit log.

use std::sync::Arc;

use serde_json::Value;

use crate::observe::metrics::{LoginOutcome, RefreshOutcome};
use crate::observe::{AuditLog, Metrics};
use crate::oidc::{AuditRecord, Counter, Events};

/// Counts what happens, and writes the audit log where there is one.
pub struct Told {
    pub metrics: Arc<Metrics>,
    pub audit: Option<Arc<AuditLog>>,
}

impl Events for Told {
    fn audit(&self, record: &AuditRecord<'_>) {
        let Some(log) = &self.audit else { return };
        let session = record.session.map(|key| format!("{key:?}"));
        let client = record.client.map(|client| client.to_string());
        log.write([
            ("event", Some(record.event.as_str().into())),
            ("policy", record.policy.map(Value::from)),
            ("provider", record.provider.map(Value::from)),
            ("user", record.user.map(Value::from)),
            ("session", session.map(Value::from)),
            ("client", client.map(Value::from)),
            ("requestId", record.request_id.map(Value::from)),
            ("refreshable", record.refreshable.map(Value::from)),
            ("cause", record.cause.map(Value::from)),
        ]);
    }

    fn login_succeeded(&self, middleware: &str) {
        self.metrics.oidc().login(middleware, LoginOutcome::Success);
    }

    fn callback_failed(&self, middleware: &str, reason: &'static str) {
        self.metrics.oidc().login(middleware, LoginOutcome::Failed);
        self.metrics.oidc().callback_failed(reason);
    }

    fn login_denied(&self, middleware: &str) {
        self.metrics.oidc().login(middleware, LoginOutcome::Denied);
    }

    fn logged_out(&self, _: &str, how: &'static str) {
        self.metrics.oidc().logged_out(how);
    }

    fn bearer_counter(&self, middleware: &str, outcome: &'static str) -> Counter {
        Arc::new(self.metrics.oidc().bearer(middleware, outcome))
    }

    fn introspected(&self, issuer: &str, outcome: &'static str) {
        self.metrics.oidc().introspected(issuer, outcome);
    }

    fn client_registered(&self, issuer: &str, outcome: &'static str) {
        self.metrics.oidc().client_registered(issuer, outcome);
    }

    fn refreshed(&self, issuer: &str, outcome: &'static str) {
        let outcome = match outcome {
            "renewed" => RefreshOutcome::Renewed,
            "reused" => RefreshOutcome::Reused,
            "invalid_grant" => RefreshOutcome::InvalidGrant,
            "rejected" => RefreshOutcome::Rejected,
            _ => RefreshOutcome::Unavailable,
        };
        self.metrics.oidc().refresh(issuer, outcome);
    }

    fn provider_up(&self, issuer: &str, up: bool) {
        self.metrics.oidc().provider_up(issuer, up);
    }

    fn provider_unused(&self, issuer: &str) {
        self.metrics.oidc().provider_unused(issuer);
    }
}
