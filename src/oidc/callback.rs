//! The callback: the provider's answer, the exchange of the code, and the new session.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{ALLOW, SET_COOKIE};
use http::{HeaderValue, Method};
use secrecy::SecretString;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::asked::Asked;
use super::attempt::Attempt;
use super::authorize::Level;
use super::carry::SetCookies;
use super::cause::Cause;
use super::claims::Claims;
use super::client_auth::Credentials;
use super::establish::{Context, establish};
use super::fetch::MAX_TIME;
use super::gate::Denial;
use super::login::adds_offline_access;
use super::metadata::Metadata;
use super::policy::Policy;
use super::request_kind::RequestKind;
use super::session::{Lookup, SessionEntry, SessionId, SessionRecord, StoreError};
use super::token_endpoint::{self, Tokens};
use super::{AuditEvent, RequestParts, page};
use crate::net::LocalResponse;

/// Longest query of a callback. Codes of some providers have two thousand characters.
const MAX_QUERY: usize = 16 * 1024;

/// Longest text of the provider that is shown.
const MAX_SHOWN: usize = 200;

/// How often a login that took too long starts over by itself.
const MOST_RESTARTS: u8 = 3;

/// Claims that only matter while a token is validated.
const SPENT: &[&str] = &["nonce", "at_hash", "c_hash", "s_hash", "jti"];

/// Parameters of the authorization response (Core, section 3.1.2.5; RFC 9207).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CallbackQuery {
    state: Option<String>,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

impl CallbackQuery {
    /// Reads a query; every parameter of the protocol may occur once.
    ///
    /// # Errors
    /// What is malformed.
    pub fn parse(query: &str) -> Result<Self, &'static str> {
        if query.len() > MAX_QUERY {
            return Err("the query is too long");
        }
        let mut parsed = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let slot = match name.as_ref() {
                "state" => &mut parsed.state,
                "code" => &mut parsed.code,
                "iss" => &mut parsed.iss,
                "error" => &mut parsed.error,
                "error_description" => &mut parsed.error_description,
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                return Err("a parameter occurs twice");
            }
        }
        Ok(parsed)
    }
}

/// Who we are to the provider, and what it says of itself.
#[derive(Clone, Copy)]
struct Party<'a> {
    client: &'a Arc<Credentials>,
    metadata: &'a Metadata,
}

/// What a callback has used up so far.
#[derive(Default)]
struct Progress {
    /// The attempt's cookie, to be removed whatever comes.
    spent_cookie: Option<String>,
    /// The attempt; where it was going another one starts.
    attempt: Option<Attempt>,
}

impl Policy {
    /// Answers a request to the callback path.
    pub(super) async fn callback(&self, request: &Asked<'_>, now: SystemTime) -> LocalResponse {
        if request.method != Method::GET {
            let refusal = self.refuse(request, &Cause::Method, "/", SmallVec::new());
            return refusal.with_header(ALLOW, HeaderValue::from_static("GET"));
        }
        let mut progress = Progress::default();
        match self.try_callback(request, now, &mut progress).await {
            Ok(response) => response,
            Err(cause) => {
                self.core.events.callback_failed(&self.core.name, cause.label());
                let spent = progress.spent_cookie.and_then(|name| self.clear_cookie(request, &name));
                if let Some(attempt) = &progress.attempt
                    && let Some(response) =
                        self.try_without_offline_access(request, &cause, attempt, now).await
                {
                    return spent
                        .into_iter()
                        .fold(response, |response, cookie| response.with_header(SET_COOKIE, cookie));
                }
                self.audit(AuditEvent::LoginFailed, request, None, None, Some(cause.label()));
                let again = progress.attempt.as_ref().map_or("/", |attempt| attempt.target());
                self.refuse(request, &cause, again, spent.into_iter().collect())
            }
        }
    }

    /// Another login, if this one failed for a scope that nobody but us asked for.
    async fn try_without_offline_access(
        &self,
        request: &RequestParts<'_>,
        cause: &Cause,
        attempt: &Attempt,
        now: SystemTime,
    ) -> Option<LocalResponse> {
        let metadata = self.core.provider.metadata()?;
        if attempt.is_plain()
            || !cause.is_about_scope()
            || !adds_offline_access(&self.core.settings, &metadata)
        {
            return None;
        }
        tracing::info!(
            policy = %self.core.name, %cause, request_id = request.request_id, client = %request.client,
            "the provider refuses offline_access; the login goes on without it"
        );
        self.login_without_offline_access(request, &metadata, attempt.target(), now).await.ok()
    }

    async fn try_callback(
        &self,
        request: &Asked<'_>,
        now: SystemTime,
        progress: &mut Progress,
    ) -> Result<LocalResponse, Cause> {
        let query = CallbackQuery::parse(request.query.unwrap_or_default()).map_err(Cause::Callback)?;
        let state = query.state.as_deref().filter(|s| !s.is_empty()).ok_or(Cause::Callback("no state"))?;
        let (cookie, attempt) = match self.find_attempt(request, state) {
            Some(found) => found,
            None if self.used.contains(state) => return self.second_use(request, "/", now).await,
            None => return Err(Cause::NoAttempt),
        };
        progress.attempt = Some(attempt.clone());
        if attempt.is_spent() {
            return self.second_use(request, attempt.target(), now).await;
        }
        if attempt.is_over(now, self.core.settings.login_max_age) {
            progress.spent_cookie = Some(cookie);
            return self.too_late(request, &query, &attempt, now).await;
        }
        let metadata = self.core.provider.metadata().ok_or(Cause::Unavailable)?;
        let client = self.core.client().ok_or(Cause::Unavailable)?;
        self.rate.admit(request.client, now).map_err(Cause::TooMany)?;
        // Before the state is used up: who is refused here can come again with the same answer.
        let _seat = self.core.provider.exchanges().enter(request.client).await.map_err(Cause::TooMany)?;
        // From here on the state is used up, whatever comes.
        progress.spent_cookie = Some(cookie.clone());
        if !self.used.claim(state, now, self.core.settings.login_max_age) {
            return self.second_use(request, attempt.target(), now).await;
        }
        let code = authorized_code(&query, &metadata)?;
        let party = Party { client: &client, metadata: &metadata };
        let tokens = self.exchange(request, party, code, &attempt).await?;
        let refresh_token = tokens.refresh_token.clone();
        let done = self.use_tokens(request, party, tokens, &attempt, &cookie, now).await;
        if let (Err(_), Some(token)) = (&done, refresh_token)
            // Providers may end all that the user has of this client with it: nothing that still lives may pay for this.
            && matches!(self.find_session(request, now).await, Lookup::None)
        {
            self.revoke_later(Arc::clone(&client), token);
        }
        done
    }

    async fn use_tokens(
        &self,
        request: &Asked<'_>,
        party: Party<'_>,
        tokens: Tokens,
        attempt: &Attempt,
        cookie: &str,
        now: SystemTime,
    ) -> Result<LocalResponse, Cause> {
        let record = self.new_record(party, tokens, attempt, now).await?;
        self.finish_login(request, record, attempt, cookie, now).await
    }

    fn find_attempt(&self, request: &RequestParts<'_>, state: &str) -> Option<(String, Attempt)> {
        let name = self.cookies.login_name(self.is_https(request), Attempt::cookie_id(state)?);
        let attempt = self.attempts.open(&name, self.one_cookie(request, &name)?)?;
        attempt.has_state(state).then_some((name, attempt))
    }

    /// An answer that comes again, as by the back button or a double click: with a session it leads where it did.
    async fn second_use(
        &self,
        request: &Asked<'_>,
        target: &str,
        now: SystemTime,
    ) -> Result<LocalResponse, Cause> {
        match self.find_lasting_session(request, now).await {
            Lookup::Live(_) => page::redirect(target).ok_or(Cause::Internal("the target is no header value")),
            _ => Err(Cause::AlreadyUsed),
        }
    }

    /// An answer to an attempt that has expired: the login starts over, goes where it was going, and does so a few
    /// times only. The code is not used.
    async fn too_late(
        &self,
        request: &Asked<'_>,
        query: &CallbackQuery,
        attempt: &Attempt,
        now: SystemTime,
    ) -> Result<LocalResponse, Cause> {
        if let Lookup::Live(_) = self.find_lasting_session(request, now).await {
            return self.second_use(request, attempt.target(), now).await;
        }
        let navigates = RequestKind::of(request.method, request.headers) == RequestKind::Navigation;
        if !navigates || query.error.is_some() || attempt.restarts() >= MOST_RESTARTS {
            return Err(Cause::AttemptExpired);
        }
        self.core.events.callback_failed(&self.core.name, Cause::AttemptExpired.label());
        self.login_again(request, attempt, now).await
    }

    async fn exchange(
        &self,
        request: &RequestParts<'_>,
        party: Party<'_>,
        code: &str,
        attempt: &Attempt,
    ) -> Result<Tokens, Cause> {
        let Party { client, metadata } = party;
        let (settings, fetch) = (&self.core.settings, self.core.provider.fetch());
        let (redirect_uri, verifier) = (self.redirect_uri(request), attempt.verifier());
        let tokens =
            token_endpoint::exchange_code(settings, client, metadata, fetch, code, &verifier, &redirect_uri);
        Ok(tokens.await.map_err(|error| self.core.noted(client, error))?)
    }

    async fn new_record(
        &self,
        party: Party<'_>,
        tokens: Tokens,
        attempt: &Attempt,
        now: SystemTime,
    ) -> Result<SessionRecord, Cause> {
        let settings = &self.core.settings;
        let nonce = attempt.nonce();
        let Party { client, metadata } = party;
        let until = Instant::now() + MAX_TIME;
        let context = Context { core: &self.core, client, metadata, until, now };
        let established = establish(context, &tokens, Some(&nonce), None).await?;
        let claims = established.claims;
        let subject: Arc<str> = claims.subject().unwrap_or_default().into();
        let identifier = claims.identifier(&settings.gate.identifier_claim).unwrap_or_default().into();
        let refresh_token = tokens.refresh_token.filter(|_| settings.session.refresh);
        Ok(SessionRecord {
            scope: self.core.scope,
            subject,
            identifier,
            sid: claims.text("sid").map(Arc::from),
            claims: kept_claims(&claims),
            id_token: tokens.id_token.unwrap_or_else(|| SecretString::from(String::new())),
            access_token: tokens.access_token,
            refresh_token_issued: refresh_token.is_some().then_some(now),
            refresh_token,
            id_expiry: established.id_expiry,
            access_expiry: tokens.expires_in.map(|life| now + life),
            created: now,
            refreshed_at: None,
            absolute_expiry: now + settings.session.max_age,
            idle_lifetime: settings.session.idle_timeout,
            generation: 0,
        })
    }

    async fn finish_login(
        &self,
        request: &Asked<'_>,
        record: SessionRecord,
        attempt: &Attempt,
        cookie: &str,
        now: SystemTime,
    ) -> Result<LocalResponse, Cause> {
        // A new id at every login; what the browser had before is worth nothing afterwards.
        let old = self.find_session(request, now).await;
        let (id, entry) = self.sessions.create(record).await.map_err(not_stored)?;
        self.refuse_if_logged_out(&entry, attempt).await?;
        let session = self.session_cookies(request, id, &entry, now).await?;
        if let Lookup::Live(old) = old
            && let Err(error) = self.sessions.end(&old).await
        {
            tracing::warn!(session = ?old.key(), %error, "the session before this login is ended in memory only");
        }
        let principal = match self.principal(&entry).await {
            Ok(principal) => principal,
            Err(cause) => {
                // The browser does not get its id. In memory it ends in any case.
                let _ = self.sessions.end(&entry).await;
                return Err(cause);
            }
        };
        let user = principal.user();
        let verdict = principal.verdict.and(login_suffices(&entry, attempt, now));
        match verdict {
            Ok(()) => self.core.events.login_succeeded(&self.core.name),
            Err(_) => self.core.events.login_denied(&self.core.name),
        }
        self.tell_of_login(request, &entry, &user, attempt);
        let mut response = match verdict {
            Ok(()) => {
                page::redirect(attempt.target()).ok_or(Cause::Internal("the target is no header value"))?
            }
            Err(denial) => {
                self.audit(AuditEvent::Denied, request, Some(&entry), Some(&user), Some(denial.as_str()));
                self.deny(request, denial, &user)
            }
        };
        let others = [self.keep_target(request, cookie, attempt), self.count_round(request, now)];
        for cookie in session.into_iter().chain(others.into_iter().flatten()) {
            response = response.with_header(SET_COOKIE, cookie);
        }
        response.undo = Some(self.end_unread(entry));
        Ok(response)
    }

    fn tell_of_login(&self, request: &Asked<'_>, entry: &SessionEntry, user: &str, attempt: &Attempt) {
        tracing::info!(
            policy = %self.core.name, user = %user, session = ?entry.key(), request_id = request.request_id,
            client = %request.client, "logged in"
        );
        self.audit(AuditEvent::Login, request, Some(entry), Some(user), None);
        self.warn_if_not_refreshable(request, entry, attempt);
    }

    /// The cookies of a new session. If there can be none it is over.
    async fn session_cookies(
        &self,
        request: &Asked<'_>,
        id: SessionId,
        entry: &Arc<SessionEntry>,
        now: SystemTime,
    ) -> Result<SetCookies, Cause> {
        let Some(memo) = self.carry_memo(request) else {
            let name = self.cookies.session_name(self.is_https(request));
            let id = self.set_cookie(request, name, &id.to_text(), self.core.settings.session.max_age);
            return Ok(id.into_iter().chain(self.cleared_chunks(request, 0)).collect());
        };
        let carried = self.new_carried(request, id, entry, now, memo).await;
        if carried.is_err() {
            // In memory it ends in any case.
            let _ = self.sessions.end(entry).await;
        }
        carried
    }
}

/// Whether the login is as strong and recent as its attempt asked for. One try for each request: a provider that does not
/// give what was asked for is not asked again.
fn login_suffices(entry: &SessionEntry, attempt: &Attempt, now: SystemTime) -> Result<(), Denial> {
    match attempt.step_up() {
        // Of the claims: since the attempt began the policy may have been told to ask nothing.
        Some(step_up) if !step_up.is_met(&Level::of(&Claims::new(entry.profile().claims())), now) => {
            Err(Denial::Login)
        }
        _ => Ok(()),
    }
}

/// Without random numbers there is no session; that is a fault here, and not one of the store that may pass.
fn not_stored(error: StoreError) -> Cause {
    match error {
        StoreError::Crypto => Cause::Internal("the session has no id or cannot be sealed"),
        error => Cause::Store(error.to_string()),
    }
}

/// The code, if the answer is one of this provider and not an error.
fn authorized_code<'q>(query: &'q CallbackQuery, metadata: &Metadata) -> Result<&'q str, Cause> {
    match &query.iss {
        Some(iss) if *iss != metadata.issuer => return Err(Cause::Issuer),
        None if metadata.iss_in_answers => return Err(Cause::Issuer),
        _ => {}
    }
    if let Some(error) = &query.error {
        let shown = |text: &str| text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect();
        let description = query.error_description.as_deref().map(shown).unwrap_or_default();
        return Err(Cause::Provider { error: shown(error), description });
    }
    query.code.as_deref().filter(|code| !code.is_empty()).ok_or(Cause::Callback("no code"))
}

/// What a session keeps of the claims.
pub(super) fn kept_claims(claims: &Claims) -> serde_json::Map<String, serde_json::Value> {
    let mut kept = claims.members().clone();
    kept.retain(|name, _| !SPENT.contains(&name.as_str()));
    kept
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_parameter_once() {
        let query =
            CallbackQuery::parse("code=a%20b&state=s&session_state=x&session_state=y&iss=https%3A%2F%2Fi")
                .unwrap();
        assert_eq!(query.code.as_deref(), Some("a b"));
        assert_eq!(query.iss.as_deref(), Some("https://i"));
        for twice in
            ["code=a&code=a", "state=a&state=b", "iss=a&iss=a", "error=a&error=a", "st%61te=a&state=b"]
        {
            assert!(CallbackQuery::parse(twice).is_err(), "{twice}");
        }
        assert!(CallbackQuery::parse(&"a".repeat(MAX_QUERY + 1)).is_err());
    }

    proptest! {
        #[test]
        fn any_query_parses_or_not_without_panic(query in "\\PC{0,200}") {
            let _ = CallbackQuery::parse(&query);
        }
    }
}
