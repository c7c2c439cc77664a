//! Logout by the provider, server to server (OpenID Connect Back-Channel Logout 1.0).
//!
//! The provider posts a signed logout token. What it names has ended durably, and is marked as ended for a login
//! that is under way, before the provider is told so.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::attempt::Attempt;
use super::cause::Cause;
use super::clock::unix_millis;
use super::id_token::{SKEW, TokenError};
use super::logout_token::{self, LogoutToken, Target};
use super::policy::Policy;
use super::provider::Source;
use super::session::{Mark, SessionEntry, StoreError};
use super::{AuditEvent, RequestParts, page};
use crate::net::LocalResponse;

/// Longest body of a request, as in the plugin.
const MAX_BODY: usize = 64 * 1024;

/// Logouts that one policy works on at once; more of them wait.
pub(super) const MOST_AT_ONCE: usize = 32;

/// How long one of those waits for its turn, and for the provider's metadata at the start of the process.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a logout was not done.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the body is not one form of {MAX_BODY} bytes at most")]
    Body,
    #[error("the form has no logout_token, or several")]
    NoToken,
    #[error("logout token: {0}")]
    Token(#[from] TokenError),
    #[error("logout token: it names no session (sid), which the configuration asks for")]
    NoSession,
    #[error("logout token: it was used before")]
    Replayed,
    #[error("the OpenID provider was never reached, the client is not registered, or too much is going on")]
    Unavailable,
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl Refusal {
    /// `error` for the provider, and whether it says more than that.
    fn code(&self) -> &'static str {
        match self {
            Self::Unavailable | Self::Store(_) | Self::Token(TokenError::KeysUnavailable) => {
                "temporarily_unavailable"
            }
            _ => "invalid_request",
        }
    }
}

impl Policy {
    /// Whether the request is a back-channel logout, whose body the engine has to see, if it is not longer than this.
    pub fn wants_body(&self, request: &RequestParts<'_>) -> Option<usize> {
        (request.method == Method::POST && self.is_backchannel(request.path)).then_some(MAX_BODY)
    }

    /// Whether `path` is where back-channel logouts arrive.
    pub(super) fn is_backchannel(&self, path: &str) -> bool {
        self.core.settings.channels.back.as_deref() == Some(path)
    }

    /// Answers a request to the back-channel logout path.
    pub(super) async fn backchannel_logout(
        &self,
        request: &RequestParts<'_>,
        now: SystemTime,
    ) -> LocalResponse {
        if request.method != Method::POST {
            let refusal =
                page::json(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "post a logout token");
            return refusal.with_header(ALLOW, HeaderValue::from_static("POST"));
        }
        match self.try_backchannel(request, now).await {
            Ok(ended) => {
                self.core.events.logged_out(&self.core.name, "back_channel");
                tracing::info!(
                    policy = %self.core.name, sessions = ended, request_id = request.request_id, client = %request.client,
                    "back-channel logout"
                );
                LocalResponse::new(StatusCode::OK).no_store()
            }
            Err(refusal) => {
                tracing::warn!(
                    policy = %self.core.name, issuer = self.core.provider.issuer(), cause = %refusal,
                    request_id = request.request_id, client = %request.client, "back-channel logout refused"
                );
                refuse(&refusal)
            }
        }
    }

    /// How many sessions the request has ended.
    async fn try_backchannel(&self, request: &RequestParts<'_>, now: SystemTime) -> Result<usize, Refusal> {
        let body = request.body.filter(|body| body.len() <= MAX_BODY && is_form(request.headers));
        let token = logout_token(body.ok_or(Refusal::Body)?).ok_or(Refusal::NoToken)?;
        let turn = tokio::time::timeout(PATIENCE, self.backchannel_turns.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or(Refusal::Unavailable)?;
        let provider = &self.core.provider;
        let metadata = provider.metadata_within(PATIENCE).await.ok_or(Refusal::Unavailable)?;
        let mut valid = Err(Refusal::Unavailable);
        for client in self.core.clients() {
            let judged = logout_token::validate(&token, provider, &metadata.issuer, &client.id, now).await;
            valid = judged.map_err(Refusal::from);
            if !matches!(valid, Err(Refusal::Token(TokenError::Audience))) {
                break;
            }
        }
        let token = valid?;
        if self.core.settings.channels.sid_required && matches!(token.target, Target::Subject(_)) {
            return Err(Refusal::NoSession);
        }
        let done = self.carry_out(&token, now).await;
        if matches!(done, Err(Refusal::Store(_))) {
            self.end_remembered(request, &token);
        }
        let ended = done?;
        self.audit_backchannel(request, &token.target, &format!("{ended} here"));
        Ok(ended)
    }

    /// The store cannot say which sessions the token names, nor keep their end: those that are in memory end at once, and
    /// the store is told of them later. The provider is not told that it is done, as there may be others. A token that was
    /// used before cannot be told from a new one, so what began after it lives.
    fn end_remembered(&self, request: &RequestParts<'_>, token: &LogoutToken) {
        let (scope, latest) = (&self.core.scope, unix_millis(token.issued + SKEW));
        let ended = self.sessions.end_known(|entry| {
            let profile = entry.profile();
            let is_named = || match &token.target {
                Target::Session(sid) => profile.sid().as_deref() == Some(sid.as_str()),
                Target::Subject(subject) => *profile.subject() == **subject,
            };
            entry.scope() == scope && profile.timing.created <= latest && is_named()
        });
        if !ended.is_empty() {
            self.core.events.logged_out(&self.core.name, "back_channel");
            let ended = format!("{} in memory; the store is away", ended.len());
            self.audit_backchannel(request, &token.target, &ended);
        }
    }

    fn audit_backchannel(&self, request: &RequestParts<'_>, target: &Target, ended: &str) {
        let (named, cause) = match target {
            Target::Session(_) => (None, format!("one session at the provider: {ended}")),
            Target::Subject(subject) => {
                (Some(subject.as_str()), format!("all sessions of the subject: {ended}"))
            }
        };
        self.audit(AuditEvent::BackchannelLogout, request, None, named, Some(&cause));
    }

    /// In an order that a stop at any point leaves safe: the token counts as used only once everything is done, so
    /// that the provider may send it again.
    async fn carry_out(&self, token: &LogoutToken, now: SystemTime) -> Result<usize, Refusal> {
        let (sessions, scope) = (&self.sessions, &self.core.scope);
        if sessions.mark(Mark::Token, scope, &token.jti).await?.is_some() {
            return Err(Refusal::Replayed);
        }
        // Logins that began before now must have ended by then; sessions that only browsers have, too, whichever policy
        // of the client has made them.
        let life = self.core.settings.login_max_age.max(sessions.longest_unlisted());
        let until = now + life + SKEW;
        let ended = match &token.target {
            Target::Session(sid) => {
                sessions.set_mark(Mark::Session, scope, sid, now, until).await?;
                sessions.end_by_sid(scope, sid).await?
            }
            Target::Subject(sub) => {
                sessions.set_mark(Mark::Subject, scope, sub, now, until).await?;
                sessions.end_by_sub(scope, sub).await?
            }
        };
        sessions.set_mark(Mark::Token, scope, &token.jti, now, token.expiry + SKEW + SKEW).await?;
        Ok(ended)
    }

    /// Ends the session of a login that began before the provider logged its user out. The session is in the store
    /// by now: either the logout has found it there, or its mark is found here.
    ///
    /// # Errors
    /// [`Cause::LoggedOut`], [`Cause::Store`].
    pub(super) async fn refuse_if_logged_out(
        &self,
        entry: &Arc<SessionEntry>,
        attempt: &Attempt,
    ) -> Result<(), Cause> {
        let profile = Arc::clone(&entry.profile());
        let mut ended = self.sessions.mark(Mark::Subject, entry.scope(), &profile.subject()).await;
        if let (Ok(by_subject), Some(sid)) = (&ended, profile.sid()) {
            let by_subject = *by_subject;
            let of_session = self.sessions.mark(Mark::Session, entry.scope(), &sid).await;
            ended = of_session.map(|by_session| by_session.max(by_subject));
        }
        let cause = match ended {
            // The attempt knows its second only; one of the same second may have begun afterwards.
            Ok(Some(time)) if time / 1000 > attempt.started() => Cause::LoggedOut,
            Ok(_) => return Ok(()),
            Err(error) => Cause::Store(error.to_string()),
        };
        // The store may fail; the session is over here, and the store hears of it later.
        let _ = self.sessions.end(entry).await;
        Err(cause)
    }
}

/// Section 2.8: 400 also where only the logout failed. A token that could not be judged is neither: the provider may send it
/// again.
fn refuse(refusal: &Refusal) -> LocalResponse {
    let not_judged = matches!(refusal, Refusal::Token(TokenError::KeysUnavailable));
    let status = if not_judged { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_REQUEST };
    let answer = page::json(status, refusal.code(), &public(refusal));
    if not_judged {
        answer.with_header(RETRY_AFTER, HeaderValue::from(Source::Anybody.pause().as_secs()))
    } else {
        answer
    }
}

/// What the provider is told; the log says more.
fn public(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Store(_) => "the sessions cannot be ended at the moment".to_owned(),
        refusal => refusal.to_string(),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else { return false };
    let media_type = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The form's only `logout_token`.
fn logout_token(body: &[u8]) -> Option<String> {
    let mut tokens = url::form_urlencoded::parse(body).filter(|(name, _)| name == "logout_token");
    let (_, token) = tokens.next()?;
    tokens.next().is_none().then(|| token.into_owned())
}
