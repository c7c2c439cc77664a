//! Logout by the provider through the browser (OpenID Connect Front-Channel Logout 1.0).
//!
//! The provider's logout page loads our address in a frame, in the browser of the user. Our cookies are
//! `SameSite=Lax`: the browser sends them from a frame only if provider and application are of one site (such as
//! `id.example.com` and `app.example.com`). For others there is the back channel.

use std::time::{Duration, SystemTime};

use http::header::{ALLOW, CONTENT_SECURITY_POLICY, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode};

use super::asked::Asked;
use super::metadata::Metadata;
use super::policy::Policy;
use super::session::Lookup;
use super::{AuditEvent, page};
use crate::net::LocalResponse;

/// Longest query that is read.
const MAX_QUERY: usize = 8 * 1024;

/// Why a logout was not done.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Wrong(&'static str),
    #[error("the session store is away")]
    StoreDown,
}

impl Policy {
    /// Whether `path` is where front-channel logouts arrive.
    pub(super) fn is_frontchannel(&self, path: &str) -> bool {
        self.core.settings.channels.front.as_deref() == Some(path)
    }

    /// Answers a request to the front-channel logout path.
    pub(super) async fn frontchannel_logout(&self, request: &Asked<'_>, now: SystemTime) -> LocalResponse {
        if request.method != Method::GET {
            let refusal =
                page::json(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "only GET logs out here");
            return refusal.with_header(ALLOW, HeaderValue::from_static("GET"));
        }
        match self.try_frontchannel(request, now).await {
            Ok(()) => self.framed(request),
            Err(refusal) => {
                tracing::info!(
                    policy = %self.core.name, cause = %refusal, request_id = request.request_id, client = %request.client,
                    "front-channel logout refused"
                );
                match refusal {
                    Refusal::StoreDown => self.unavailable(request, Duration::from_secs(1)),
                    Refusal::Wrong(reason) => page::json(StatusCode::BAD_REQUEST, "invalid_request", reason),
                }
            }
        }
    }

    /// Ends the session of the browser, if the parameters name it. Its tokens are the provider's affair.
    async fn try_frontchannel(&self, request: &Asked<'_>, now: SystemTime) -> Result<(), Refusal> {
        let (issuer, sid) = named(request.query.unwrap_or_default())
            .ok_or(Refusal::Wrong("one iss and one sid are needed"))?;
        if !self.is_issuer(&issuer) {
            return Err(Refusal::Wrong("another issuer"));
        }
        let entry = match self.find_session(request, now).await {
            Lookup::Live(entry) => entry,
            Lookup::None => return Err(Refusal::Wrong("this browser has no session")),
            // Which session at the provider it belongs to only memory can tell.
            Lookup::StoreDown => self.remembered_session(request).ok_or(Refusal::StoreDown)?,
        };
        if entry.profile().sid().as_deref() != Some(sid.as_str()) {
            return Err(Refusal::Wrong("this browser has another session"));
        }
        if let Err(error) = self.sessions.end(&entry).await {
            tracing::warn!(session = ?entry.key(), %error, "the session is ended; the store will be told later");
        }
        self.core.events.logged_out(&self.core.name, "front_channel");
        self.audit(AuditEvent::FrontchannelLogout, request, Some(&entry), None, None);
        tracing::info!(
            policy = %self.core.name, user = %entry.profile().identifier(), session = ?entry.key(),
            request_id = request.request_id, client = %request.client, "front-channel logout"
        );
        Ok(())
    }

    fn is_issuer(&self, issuer: &str) -> bool {
        match self.core.provider.metadata() {
            Some(metadata) => metadata.issuer == issuer,
            None => self.core.provider.issuer() == issuer,
        }
    }

    /// An empty page that the provider's own pages may frame.
    fn framed(&self, request: &Asked<'_>) -> LocalResponse {
        let response = LocalResponse::new(StatusCode::OK)
            .with_body("text/html; charset=utf-8", "<!DOCTYPE html><title>Logged out</title>\n")
            .no_store()
            .with_header(CONTENT_SECURITY_POLICY, self.framed_by())
            .with_header(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
            .with_header(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        let session = self.clear_cookie(request, self.cookies.session_name(self.is_https(request)));
        let cookies = session.into_iter().chain(self.cleared_chunks(request, 0));
        cookies.fold(response, |response, cookie| response.with_header(SET_COOKIE, cookie))
    }

    fn framed_by(&self) -> HeaderValue {
        let metadata = self.core.provider.metadata();
        let ancestors = ancestors(self.core.provider.issuer(), metadata.as_deref());
        HeaderValue::try_from(format!("default-src 'none'; frame-ancestors {ancestors}"))
            .unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"))
    }
}

/// The origins of the issuer and of its logout page.
fn ancestors(issuer: &str, metadata: Option<&Metadata>) -> String {
    let issuer = url::Url::parse(issuer).ok();
    let page = metadata.and_then(|metadata| metadata.end_session_endpoint.clone());
    let mut origins: Vec<String> =
        [issuer, page].into_iter().flatten().map(|url| url.origin().ascii_serialization()).collect();
    origins.dedup();
    origins.join(" ")
}

/// The only `iss` and the only `sid` of a query.
fn named(query: &str) -> Option<(String, String)> {
    if query.len() > MAX_QUERY {
        return None;
    }
    let only = |wanted: &str| {
        let mut values = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == wanted);
        let (_, value) = values.next()?;
        (values.next().is_none() && !value.is_empty()).then(|| value.into_owned())
    };
    Some((only("iss")?, only("sid")?))
}
