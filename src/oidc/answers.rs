//! What a policy answers by itself: 401, 403, 503, and failures of a login, each as page or JSON.

use std::time::{Duration, SystemTime};

use http::header::{RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use smallvec::SmallVec;

use super::authorize::StepUp;
use super::cause::Cause;
use super::gate::Denial;
use super::policy::Policy;
use super::request_kind::RequestKind;
use super::throttle::warn_or_debug;
use super::{RequestParts, page};
use crate::net::LocalResponse;

impl Policy {
    /// A login for a person at a browser, else 401.
    pub(super) async fn unauthenticated(&self, request: &RequestParts<'_>, now: SystemTime) -> LocalResponse {
        let navigates = RequestKind::of(request.method, request.headers) == RequestKind::Navigation;
        if navigates && !self.core.settings.disable_login {
            return self.start_login(request, now).await;
        }
        let status = StatusCode::UNAUTHORIZED;
        let response = match RequestKind::is_form(request.method, request.headers) {
            true => self.not_taken(request),
            false => page::json(status, "unauthorized", "a login is required"),
        };
        match self.challenges() {
            // Without a credential there is no error to name (RFC 6750, section 3.1).
            true => response.with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            false => response,
        }
    }

    /// A person has sent a form, and their session is over.
    fn not_taken(&self, request: &RequestParts<'_>) -> LocalResponse {
        let paragraphs = [
            "You are not logged in any more, so what you sent was not taken and is not kept.",
            "After a login you can go back and send it again.",
        ];
        let target = self.target(request);
        page::Page {
            status: StatusCode::UNAUTHORIZED,
            title: "Please log in again",
            paragraphs: &paragraphs,
            link: (!self.core.settings.disable_login).then_some(("Log in", target.as_str())),
            request_id: request.request_id,
        }
        .response()
    }

    /// There is a session, but its login is not strong or recent enough: another one for a person at
    /// a browser, else the challenge of RFC 9470.
    pub(super) async fn stronger_login(
        &self,
        request: &RequestParts<'_>,
        step_up: &StepUp,
        now: SystemTime,
    ) -> LocalResponse {
        let navigates = RequestKind::of(request.method, request.headers) == RequestKind::Navigation;
        if navigates && !self.core.settings.disable_login {
            return self.start_login(request, now).await;
        }
        let status = StatusCode::UNAUTHORIZED;
        let response = page::json(
            status,
            "insufficient_user_authentication",
            "a stronger or more recent login is required",
        );
        match step_up.challenge() {
            Some(challenge) => response.with_header(WWW_AUTHENTICATE, challenge),
            None => response,
        }
    }

    /// 503: there is a session, but it cannot be used now.
    pub(super) fn unavailable(&self, request: &RequestParts<'_>, retry_after: Duration) -> LocalResponse {
        let seconds = retry_after.as_secs().saturating_add(u64::from(retry_after.subsec_nanos() > 0)).max(1);
        warn_or_debug!(
            self.core.refusals.admit(self.core.clock.now()),
            policy = %self.core.name, request_id = request.request_id, client = %request.client, retry_after = seconds,
            "a session cannot be used now: its tokens have expired and cannot be renewed, or the store is away"
        );
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let response = if RequestKind::wants_page(request.headers) {
            let paragraphs = [
                "Your login cannot be renewed at the moment. You are still logged in; please try again shortly.",
            ];
            let title = "Temporarily unavailable";
            let again = self.target(request);
            let link = Some(("Try again", again.as_str()));
            page::Page { status, title, paragraphs: &paragraphs, link, request_id: request.request_id }
                .response()
        } else {
            page::json(status, "temporarily_unavailable", "the session cannot be renewed at the moment")
        };
        response.with_header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// 403: logged in, but not allowed here.
    pub(super) fn deny(&self, request: &RequestParts<'_>, denial: Denial, user: &str) -> LocalResponse {
        self.core.events.denied(&self.core.name);
        tracing::warn!(
            policy = %self.core.name, user, cause = denial.as_str(), request_id = request.request_id, client = %request.client,
            "access denied"
        );
        let (status, logout) = (StatusCode::FORBIDDEN, &self.core.settings.logout_path);
        if !RequestKind::wants_page(request.headers) {
            let description = "you are logged in, but may not use this";
            return page::json_with(status, "forbidden", description, &[("logout_url", logout)]);
        }
        let who = match denial {
            Denial::Login => format!(
                "You are logged in as {user}, but the login service did not confirm a login as strong or as recent \
                 as this page needs."
            ),
            _ => format!("You are logged in as {user}, and that account may not open this page."),
        };
        page::Page {
            status,
            title: "Access denied",
            paragraphs: &[&who, "If you have another account, log out first."],
            link: Some(("Log out", logout)),
            request_id: request.request_id,
        }
        .response()
    }

    /// The answer to a failure, with its log line; `again` is where another try starts.
    pub(super) fn refuse(
        &self,
        request: &RequestParts<'_>,
        cause: &Cause,
        again: &str,
        cookies: SmallVec<[HeaderValue; 2]>,
    ) -> LocalResponse {
        let always = Some(0);
        let told =
            if cause.is_widespread() { self.core.refusals.admit(self.core.clock.now()) } else { always };
        warn_or_debug!(
            told, policy = %self.core.name, issuer = self.core.provider.issuer(), %cause, reason = cause.label(),
            request_id = request.request_id, client = %request.client, "OIDC request refused"
        );
        let explanation = cause.explanation();
        let mut response = if RequestKind::wants_page(request.headers) {
            let link = cause.can_retry().then_some(("Try again", again));
            let paragraphs = [explanation.as_str()];
            page::Page {
                status: cause.status(),
                title: cause.title(),
                paragraphs: &paragraphs,
                link,
                request_id: request.request_id,
            }
            .response()
        } else {
            page::json(cause.status(), cause.code(), &explanation)
        };
        if let Some(seconds) = cause.retry_after() {
            response = response.with_header(RETRY_AFTER, HeaderValue::from(seconds));
        }
        for cookie in cookies {
            response = response.with_header(SET_COOKIE, cookie);
        }
        response
    }
}
