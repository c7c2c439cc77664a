//! What a client without a good token is answered (RFC 6750, section 3; RFC 9470).

use std::time::Duration;

use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use super::{Bearer, Refusal};
use crate::net::LocalResponse;
use crate::oidc::authorize::StepUp;
use crate::oidc::gate::Denial;
use crate::oidc::id_token::TokenError;
use crate::oidc::policy::Policy;
use crate::oidc::throttle::warn_or_debug;
use crate::oidc::{AuditEvent, RequestParts, page};

/// Seconds after which introspection is worth another try.
const RETRY: u64 = 5;

impl Policy {
    /// The answer to a token that is not accepted. The log has the cause; the client learns no more
    /// than that it expired.
    pub(super) fn refuse_token(
        &self,
        request: &RequestParts<'_>,
        bearer: &Bearer,
        refusal: &Refusal,
    ) -> LocalResponse {
        let unavailable = matches!(refusal, Refusal::Unavailable(_));
        let told = if unavailable { self.core.refusals.admit(self.core.clock.now()) } else { Some(0) };
        warn_or_debug!(
            told, policy = %self.core.name, cause = %refusal, request_id = request.request_id, client = %request.client,
            "bearer token refused"
        );
        let (status, error, description) = match refusal {
            Refusal::Malformed => {
                (StatusCode::BAD_REQUEST, "invalid_request", "the Authorization header is malformed")
            }
            Refusal::Unavailable(_) => {
                let description = "the access token cannot be checked at the moment";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return page::json(status, "temporarily_unavailable", description)
                    .with_header(RETRY_AFTER, HeaderValue::from(RETRY));
            }
            Refusal::Token(TokenError::Expired) => {
                (StatusCode::UNAUTHORIZED, "invalid_token", "the access token has expired")
            }
            _ => (StatusCode::UNAUTHORIZED, "invalid_token", "the access token is not accepted"),
        };
        challenged(page::json(status, error, description), bearer.settings.challenge, error, description)
    }

    /// 403: the token is good, but not for this.
    pub(super) fn deny_client(
        &self,
        request: &RequestParts<'_>,
        bearer: &Bearer,
        denial: Denial,
        user: &str,
    ) -> LocalResponse {
        self.core.events.denied(&self.core.name);
        self.audit(AuditEvent::Denied, request, None, Some(user), Some(denial.as_str()));
        tracing::warn!(
            policy = %self.core.name, user, cause = denial.as_str(), request_id = request.request_id,
            client = %request.client, "access denied to a bearer token"
        );
        let (error, description) = ("insufficient_scope", "the access token does not allow this");
        let response = page::json(StatusCode::FORBIDDEN, error, description);
        challenged(response, bearer.settings.challenge, error, description)
    }
}

/// 401: the user behind the token must log in more strongly or again.
pub(super) fn stronger(step_up: &StepUp, challenge: bool) -> LocalResponse {
    let description = "a stronger or more recent login is required";
    let response = page::json(StatusCode::UNAUTHORIZED, "insufficient_user_authentication", description);
    match step_up.challenge().filter(|_| challenge) {
        Some(challenge) => response.with_header(WWW_AUTHENTICATE, challenge),
        None => response,
    }
}

/// 429: too many bad tokens from there.
pub(super) fn slow_down(wait: Duration) -> LocalResponse {
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
    page::json(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "too many access tokens were refused")
        .with_header(RETRY_AFTER, HeaderValue::from(seconds))
}

fn challenged(response: LocalResponse, challenge: bool, error: &str, description: &str) -> LocalResponse {
    let value = format!("Bearer error=\"{error}\", error_description=\"{description}\"");
    match HeaderValue::try_from(value) {
        Ok(value) if challenge => response.with_header(WWW_AUTHENTICATE, value),
        _ => response,
    }
}
