//! Logout that the user asks for (OpenID Connect RP-Initiated Logout 1.0).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{ALLOW, SET_COOKIE};
use http::{HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};

use super::asked::Asked;
use super::client_auth::Credentials;
use super::fetch::MAX_TIME;
use super::metadata::Metadata;
use super::policy::Policy;
use super::request_kind::{RequestKind, is_cross_site, is_embedded, is_prefetch};
use super::session::{Lookup, SessionEntry, SessionRecord};
use super::settings::PostLogout;
use super::{AuditEvent, RequestParts, page};
use crate::net::LocalResponse;

/// Longest ID token that is sent as a hint: with more, the URL is too long for many servers.
pub(super) const MAX_HINT: usize = 4_096;

/// How long a logout may take before its return is not recognised any more.
const RETURN_TIME: Duration = Duration::from_secs(600);

impl Policy {
    /// Answers a request to the logout path.
    pub(super) async fn logout(&self, request: &Asked<'_>, now: SystemTime) -> LocalResponse {
        if ![Method::GET, Method::HEAD, Method::POST].contains(request.method) {
            let refusal =
                page::json(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "log out by GET or POST");
            return refusal.with_header(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
        }
        let headers = request.headers;
        if is_cross_site(headers, request.authority) || is_embedded(headers) || is_prefetch(headers) {
            return self.confirm(request);
        }
        let metadata = self.core.provider.metadata();
        let record = self.end_session(request, now).await;
        self.leave(request, metadata.as_deref(), record)
    }

    /// Another site's page asks, a part of a page, or the browser looks ahead: an image gets nothing, a person is asked.
    fn confirm(&self, request: &RequestParts<'_>) -> LocalResponse {
        if is_prefetch(request.headers)
            || RequestKind::of(request.method, request.headers) == RequestKind::Api
        {
            return page::json(
                StatusCode::FORBIDDEN,
                "forbidden",
                "only you can log out, by a visit to this address",
            );
        }
        page::Page {
            status: StatusCode::OK,
            title: "Log out?",
            paragraphs: &["Another site sent you here to log out."],
            link: Some(("Log out", &self.core.settings.logout_path)),
            request_id: request.request_id,
        }
        .response()
    }

    /// Ends the session of the request, if there is one, and revokes its refresh token.
    async fn end_session(&self, request: &Asked<'_>, now: SystemTime) -> Option<SessionRecord> {
        let entry = match self.find_session(request, now).await {
            Lookup::Live(entry) => entry,
            Lookup::StoreDown => match self.remembered_session(request) {
                Some(entry) => entry,
                None => {
                    self.end_unheard(request);
                    return None;
                }
            },
            Lookup::None => return None,
        };
        let record = match self.sessions.record(&entry).await {
            Ok(record) => record,
            // Memory has the refresh token, but no ID token.
            Err(_) => self.sessions.recall(&entry),
        };
        if let Err(error) = self.sessions.end(&entry).await {
            tracing::warn!(session = ?entry.key(), %error, "the session is ended; the store will be told later");
        }
        self.core.events.logged_out(&self.core.name, "rp_initiated");
        self.audit(AuditEvent::Logout, request, Some(&entry), None, None);
        tracing::info!(
            policy = %self.core.name, user = %entry.profile().identifier(), session = ?entry.key(),
            request_id = request.request_id, client = %request.client, "logged out"
        );
        let client = record.as_ref().and_then(|record| self.core.client_of(record));
        let refresh_token = record.as_ref().and_then(|record| newest_refresh_token(&entry, record));
        if let Some((token, client)) = refresh_token.zip(client) {
            self.revoke_later(client, token);
        }
        record
    }

    /// Revokes a refresh token. The browser does not wait for it, and its leaving does not stop it.
    pub(super) fn revoke_later(&self, client: Arc<Credentials>, token: SecretString) {
        let core = Arc::clone(&self.core);
        self.runtime.spawn(async move {
            if let Some(metadata) = core.provider.metadata_within(MAX_TIME).await {
                core.revoke(&client, &metadata, &token).await;
            }
        });
    }

    /// The session of a request while the store cannot be asked, as far as memory has it: to be ended.
    pub(super) fn remembered_session(&self, request: &RequestParts<'_>) -> Option<Arc<SessionEntry>> {
        self.sessions.remembered(&self.session_id(request)?, &self.core.scope)
    }

    /// Ends a session that memory does not have while the store cannot be asked whose it is.
    fn end_unheard(&self, request: &RequestParts<'_>) {
        let id = self.session_id(request);
        let Some(key) = id.and_then(|id| self.sessions.end_unheard(&id, &self.core.scope)) else { return };
        self.core.events.logged_out(&self.core.name, "rp_initiated");
        self.audit_key(AuditEvent::Logout, request, &key);
        tracing::info!(
            policy = %self.core.name, session = ?key, request_id = request.request_id, client = %request.client,
            "logged out; the store will be told when it works again"
        );
    }

    /// Sends the browser on, without its session.
    fn leave(
        &self,
        request: &Asked<'_>,
        metadata: Option<&Metadata>,
        record: Option<SessionRecord>,
    ) -> LocalResponse {
        let https = self.is_https(request);
        let state = new_state();
        let (landing, ours) = self.landing(request);
        let endpoint = metadata.and_then(|metadata| metadata.end_session_endpoint.clone());
        // Without a round by the provider only our own page needs the state, to be told from `/`.
        let comes_back = ours && (endpoint.is_some() || self.core.settings.post_logout.is_none());
        let location = match endpoint {
            Some(endpoint) => self.end_session_url(endpoint, record, &landing, &state),
            None if comes_back => format!("{landing}?state={state}"),
            None => landing,
        };
        let mut response = page::redirect(&location).unwrap_or_else(|| self.signed_out(request));
        let cookies = [
            self.clear_cookie(request, self.cookies.session_name(https)),
            self.clear_cookie(request, &self.rounds_name(request)),
            comes_back
                .then(|| self.set_cookie(request, &self.logout_name(request), &state, RETURN_TIME))
                .flatten(),
        ];
        let spent = self.spent_attempts(request).into_iter().map(|name| self.clear_cookie(request, &name));
        let chunks = self.cleared_chunks(request, 0);
        for cookie in cookies.into_iter().chain(spent).flatten().chain(chunks) {
            response = response.with_header(SET_COOKIE, cookie);
        }
        response
    }

    fn end_session_url(
        &self,
        mut endpoint: url::Url,
        record: Option<SessionRecord>,
        landing: &str,
        state: &str,
    ) -> String {
        let mut query = endpoint.query_pairs_mut();
        let hint = record
            .as_ref()
            .map(|record| record.id_token.expose_secret())
            .filter(|hint| !hint.is_empty() && hint.len() <= MAX_HINT);
        if let Some(hint) = hint {
            query.append_pair("id_token_hint", hint);
        }
        let client = match &record {
            Some(record) => self.core.client_of(record),
            None => self.core.client(),
        };
        if let Some(client) = client {
            query.append_pair("client_id", &client.id);
        }
        query.append_pair(self.core.settings.profile.landing_parameter(), landing);
        if !state.is_empty() {
            query.append_pair("state", state);
        }
        drop(query);
        endpoint.into()
    }

    /// Where the browser lands, absolute, and whether that is on this host.
    fn landing(&self, request: &RequestParts<'_>) -> (String, bool) {
        match &self.core.settings.post_logout {
            None => (format!("{}/", self.origin(request)), true),
            Some(PostLogout::Path(path)) => (format!("{}{path}", self.origin(request)), true),
            Some(PostLogout::Url(url)) => (url.to_string(), false),
        }
    }

    /// The browser comes back from a logout of this browser: the state is checked and removed from
    /// the address. Any other request is none of this.
    pub(super) fn returned_from_logout(&self, request: &RequestParts<'_>) -> Option<LocalResponse> {
        let state = self.logout_state(request)?;
        let (path, rest) = self.logout_landing()?;
        let landing = if rest.is_empty() { path } else { &format!("{path}?{rest}") };
        let name = self.logout_name(request);
        let expected = self.one_cookie(request, &name).filter(|state| !state.is_empty())?;
        aws_lc_rs::constant_time::verify_slices_are_equal(state.as_bytes(), expected.as_bytes()).ok()?;
        let response = match &self.core.settings.post_logout {
            None => self.signed_out(request),
            Some(_) if rest.is_empty() => page::redirect(path)?,
            Some(_) => page::redirect(landing)?,
        };
        Some(match self.clear_cookie(request, &name) {
            Some(cookie) => response.with_header(SET_COOKIE, cookie),
            None => response,
        })
    }

    /// The state of a request that may come back from a logout.
    pub(super) fn logout_state<'r>(&self, request: &RequestParts<'r>) -> Option<Cow<'r, str>> {
        let query = request.query.filter(|query| query.contains("state="))?;
        let (path, _) = self.logout_landing()?;
        if request.path != path {
            return None;
        }
        let (_, state) = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "state")?;
        Some(state)
    }

    /// Path and query where a browser lands after a logout, if that is here.
    fn logout_landing(&self) -> Option<(&str, &str)> {
        match &self.core.settings.post_logout {
            None => Some(("/", "")),
            Some(PostLogout::Path(path)) => Some(path.split_once('?').unwrap_or((path, ""))),
            Some(PostLogout::Url(_)) => None,
        }
    }

    /// The name of the cookie of a logout under way. Attempts have longer ids.
    fn logout_name(&self, request: &RequestParts<'_>) -> String {
        self.cookies.login_name(self.is_https(request), "logout")
    }

    fn signed_out(&self, request: &RequestParts<'_>) -> LocalResponse {
        page::Page {
            status: StatusCode::OK,
            title: "You are logged out",
            paragraphs: &["You can close this window."],
            link: Some(("Log in again", "/")),
            request_id: request.request_id,
        }
        .response()
    }
}

/// The refresh token of an ended session. A refresh may have landed after `record` was read, and before the end.
fn newest_refresh_token(entry: &SessionEntry, record: &SessionRecord) -> Option<SecretString> {
    let profile = entry.profile();
    if profile.generation > record.generation {
        profile.refresh_token()
    } else {
        record.refresh_token.clone()
    }
}

/// 192 random bits; empty if the generator fails, and then no return is recognised.
fn new_state() -> String {
    super::session::random_bytes::<24>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::oidc::session::MemoryStore;
    use crate::oidc::session::testing::{process, record};

    #[tokio::test]
    async fn a_refresh_that_lands_while_a_logout_reads_is_undone_too() {
        let (sessions, _) = process(Arc::new(MemoryStore::new(10)));
        let (_, entry) = sessions.create(record()).await.unwrap();
        let read = sessions.record(&entry).await.unwrap().unwrap();
        let token =
            |record: &SessionRecord| newest_refresh_token(&entry, record).unwrap().expose_secret().to_owned();
        assert_eq!(token(&read), "refresh-0");
        let mut next = SessionRecord { generation: 1, ..read.clone() };
        next.refresh_token = Some("refresh-1".into());
        sessions.commit(&entry, 0, next.clone()).await;
        sessions.end(&entry).await.unwrap();
        assert_eq!(token(&read), "refresh-1");
        // Of another process, and not heard of yet.
        next.generation = 2;
        next.refresh_token = Some("refresh-2".into());
        assert_eq!(token(&next), "refresh-2");
    }
}
