//! Bearer mode and introspection.

use std::time::Duration;

use super::Builder;
use crate::oidc::settings::check;
use crate::oidc::settings::{BearerSettings, FailureSettings};

impl Builder<'_> {
    pub(super) fn bearer(&mut self) -> Option<Option<BearerSettings>> {
        self.warn_idle_bearer();
        let block = self.block;
        if !block.enable_bearer_auth {
            return Some(None);
        }
        let audience = self.bearer_audience();
        let identifier_claim = self.bearer_identifier();
        let max_identifier = self.count("maxIdentifierLength", block.max_identifier_length, 256, 1..=8_192);
        let max_age = block.max_token_age_seconds.unwrap_or(86_400);
        let max_age = self.checked("maxTokenAgeSeconds", check::seconds(max_age, Some(Duration::ZERO)));
        let failures = self.failures();
        Some(Some(BearerSettings {
            audience: audience?,
            allowed_clients: block.bearer_allowed_clients.clone(),
            identifier_claim: identifier_claim?,
            max_identifier: max_identifier?.try_into().ok()?,
            max_age: max_age.map(|age| (!age.is_zero()).then_some(age))?,
            require_typ: block.bearer_require_at_jwt,
            opaque: block.allow_opaque_tokens == Some(true) && block.require_token_introspection,
            strip_authorization: block.strip_authorization_header.unwrap_or(true),
            challenge: block.bearer_emit_www_authenticate.unwrap_or(true),
            overrides_cookie: block.bearer_overrides_cookie.unwrap_or(false),
            failures: failures?,
        }))
    }

    fn bearer_audience(&mut self) -> Option<String> {
        let mut written = [&self.block.audience, &self.block.resource].into_iter().flatten();
        let audience = written.find(|audience| !audience.is_empty()).cloned();
        if audience.is_none() {
            self.error("audience", "is required with enableBearerAuth: whom tokens must be meant for");
        }
        audience
    }

    fn bearer_identifier(&mut self) -> Option<String> {
        match self.block.bearer_identifier_claim.as_deref() {
            None | Some("") => Some("sub".to_owned()),
            Some("email") => {
                self.error("bearerIdentifierClaim", "must not be email, which is no identity of a machine");
                None
            }
            Some(claim) => Some(claim.to_owned()),
        }
    }

    fn failures(&mut self) -> Option<FailureSettings> {
        let block = self.block;
        let threshold =
            self.count("bearerFailureThreshold", block.bearer_failure_threshold, 20, 0..=1_000_000);
        let window = check::seconds(block.bearer_failure_window_seconds.unwrap_or(60), None);
        let window = self.checked("bearerFailureWindowSeconds", window);
        let penalty = check::seconds(block.bearer_failure_penalty_seconds.unwrap_or(60), None);
        let penalty = self.checked("bearerFailurePenaltySeconds", penalty);
        Some(FailureSettings { threshold: threshold?.try_into().ok()?, window: window?, penalty: penalty? })
    }

    fn count(
        &mut self,
        key: &str,
        written: Option<i64>,
        default: i64,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let value = written.unwrap_or(default);
        if range.contains(&value) {
            return Some(value);
        }
        self.error(key, format!("must be between {} and {}", range.start(), range.end()));
        None
    }

    /// Options that say nothing without another one.
    fn warn_idle_bearer(&mut self) {
        let block = self.block;
        let of_bearer = [
            (block.bearer_identifier_claim.is_some(), "bearerIdentifierClaim"),
            (block.bearer_require_at_jwt, "bearerRequireAtJwt"),
            (!block.bearer_allowed_clients.is_empty(), "bearerAllowedClients"),
            (block.strip_authorization_header.is_some(), "stripAuthorizationHeader"),
            (block.bearer_emit_www_authenticate.is_some(), "bearerEmitWWWAuthenticate"),
            (block.bearer_overrides_cookie.is_some(), "bearerOverridesCookie"),
            (block.max_token_age_seconds.is_some(), "maxTokenAgeSeconds"),
            (block.max_identifier_length.is_some(), "maxIdentifierLength"),
            (block.bearer_failure_threshold.is_some(), "bearerFailureThreshold"),
            (block.bearer_failure_window_seconds.is_some(), "bearerFailureWindowSeconds"),
            (block.bearer_failure_penalty_seconds.is_some(), "bearerFailurePenaltySeconds"),
        ];
        for (_, key) in of_bearer.into_iter().filter(|(is, _)| *is && !block.enable_bearer_auth) {
            self.warn(key, "has no effect without enableBearerAuth");
        }
        if block.introspection_url.is_some() && !block.require_token_introspection {
            self.warn("introspectionURL", "has no effect without requireTokenIntrospection");
        }
        if block.allow_opaque_tokens == Some(true)
            && block.enable_bearer_auth
            && !block.require_token_introspection
        {
            self.warn(
                "allowOpaqueTokens",
                "has no effect without requireTokenIntrospection: nobody could judge them",
            );
        }
    }
}
