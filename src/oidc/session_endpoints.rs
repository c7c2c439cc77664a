//! What a single-page application asks about its session: who, until when; and a refresh when it wants one.
//!
//! No token leaves here. A page of another origin gets nothing: the answers have no CORS headers, and the refresh
//! looks at where the request comes from (RFC 10017 and the Fetch standard, `Sec-Fetch-Site` and `Origin`).

use std::time::{Duration, SystemTime};

use http::header::{ALLOW, HeaderName, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::asked::Asked;
use super::clock::unix_millis;
use super::policy::Policy;
use super::refresh::{Freshness, Outlook, outlook};
use super::request_kind::is_cross_site;
use super::session::{Lookup, SessionEntry, Timing};
use super::{RequestParts, page};
use crate::net::LocalResponse;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionEndpoint {
    /// Who is logged in, and until when.
    Session,
    /// New tokens.
    Refresh,
}

impl Policy {
    /// The endpoint at `path`.
    pub(super) fn session_endpoint(&self, path: &str) -> Option<SessionEndpoint> {
        let endpoints = self.core.settings.session_endpoints.as_ref()?;
        match path {
            path if path == endpoints.session => Some(SessionEndpoint::Session),
            path if path == endpoints.refresh => Some(SessionEndpoint::Refresh),
            _ => None,
        }
    }

    /// Answers a request to one of the endpoints.
    pub(super) async fn answer_endpoint(
        &self,
        endpoint: SessionEndpoint,
        request: &Asked<'_>,
        now: SystemTime,
    ) -> LocalResponse {
        match endpoint {
            SessionEndpoint::Session => self.tell_session(request, now).await,
            SessionEndpoint::Refresh => self.refresh_session(request, now).await,
        }
    }

    async fn tell_session(&self, request: &Asked<'_>, now: SystemTime) -> LocalResponse {
        if ![Method::GET, Method::HEAD].contains(request.method) {
            return wrong_method("GET, HEAD");
        }
        if is_cross_site(request.headers, request.authority) {
            return elsewhere();
        }
        match self.find_lasting_session(request, now).await {
            Lookup::Live(entry) => self.describe(&entry, now),
            Lookup::None => no_session(),
            Lookup::StoreDown => self.unavailable(request, Duration::from_secs(1)),
        }
    }

    async fn refresh_session(&self, request: &Asked<'_>, now: SystemTime) -> LocalResponse {
        if request.method != Method::POST {
            return wrong_method("POST");
        }
        if !self.is_same_origin(request) {
            return elsewhere();
        }
        let entry = match self.find_lasting_session(request, now).await {
            Lookup::Live(entry) => entry,
            Lookup::None => return no_session(),
            Lookup::StoreDown => return self.unavailable(request, Duration::from_secs(1)),
        };
        self.sessions.used(&entry, &self.lifetimes, now);
        match self.refresher(request).renew(&entry, now).await {
            Freshness::Valid | Freshness::ValidRefreshing | Freshness::Renewed => {
                self.describe(&entry, self.core.clock.now())
            }
            Freshness::Unavailable { retry_after } => self.unavailable(request, retry_after),
            Freshness::Ended => no_session(),
        }
    }

    fn describe(&self, entry: &SessionEntry, now: SystemTime) -> LocalResponse {
        let Outlook { over, refreshable, tokens_end } = outlook(entry, now, &self.refresh);
        if over {
            return no_session();
        }
        let (profile, now) = (entry.profile(), unix_millis(now));
        let mut body = json!({ "user": &*profile.identifier(), "refreshable": refreshable });
        tell_time(&mut body, ["expires", "expiresIn"], entry.absolute_end(&self.lifetimes), now);
        tell_time(&mut body, ["idleExpires", "idleExpiresIn"], entry.idle_end_at(&self.lifetimes), now);
        tell_time(&mut body, ["tokensExpire", "tokensExpireIn"], tokens_end, now);
        LocalResponse::new(StatusCode::OK)
            .with_body("application/json", body.to_string())
            .no_store()
            .with_header(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
    }

    /// Whether a page of this very origin sends the request. A browser says so; whoever says nothing is none.
    fn is_same_origin(&self, request: &RequestParts<'_>) -> bool {
        let own = url::Url::parse(&self.origin(request)).map(|url| url.origin());
        let text = |name: &HeaderName| request.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let by_origin = text(&ORIGIN).map(|origin| {
            own.as_ref().is_ok_and(|own| url::Url::parse(origin).is_ok_and(|url| url.origin() == *own))
        });
        let by_site = text(&SEC_FETCH_SITE).map(|site| site == "same-origin");
        match (by_site, by_origin) {
            (None, None) => false,
            (by_site, by_origin) => by_site.unwrap_or(true) && by_origin.unwrap_or(true),
        }
    }
}

/// A time by the clock, and in seconds from now for those whose clock is wrong; nothing if there is none.
fn tell_time(body: &mut Value, names: [&str; 2], time: u64, now: u64) {
    if time == Timing::NEVER {
        return;
    }
    let millis = i64::try_from(time).unwrap_or(i64::MAX);
    let [at, within] = names;
    if let (Value::Object(members), Ok(text)) = (body, jiff::Timestamp::from_millisecond(millis)) {
        members.insert(at.to_owned(), json!(text.to_string()));
        members.insert(within.to_owned(), json!(time.saturating_sub(now) / 1000));
    }
}

fn wrong_method(allowed: &'static str) -> LocalResponse {
    let refusal =
        page::json(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "another method is needed");
    refusal.with_header(ALLOW, HeaderValue::from_static(allowed))
}

fn elsewhere() -> LocalResponse {
    page::json(StatusCode::FORBIDDEN, "forbidden", "only for pages of this origin")
}

fn no_session() -> LocalResponse {
    page::json(StatusCode::UNAUTHORIZED, "unauthorized", "a login is required")
}
