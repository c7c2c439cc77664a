//! Scripted misbehaviour and the counting of what arrived.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::Semaphore;

use super::Shared;
use super::wire::Line;

/// Grants that the token endpoint knows.
const GRANT_TYPES: [&str; 3] = ["authorization_code", "refresh_token", "client_credentials"];

/// Largest request body that the provider reads.
pub(super) const MOST_BODY: usize = 64 * 1024;

/// The parts of the provider that a fault can be put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/.well-known/openid-configuration`
    Discovery,
    /// `/jwks`
    Jwks,
    /// `/authorize`
    Authorize,
    /// `/token`
    Token,
    /// `/userinfo`
    Userinfo,
    /// `/logout`
    EndSession,
    /// `/revoke`
    Revocation,
    /// `/introspect`
    Introspection,
    /// `/register`
    Registration,
}

impl Endpoint {
    const ALL: [Self; 9] = [
        Self::Discovery,
        Self::Jwks,
        Self::Authorize,
        Self::Token,
        Self::Userinfo,
        Self::EndSession,
        Self::Revocation,
        Self::Introspection,
        Self::Registration,
    ];

    /// Where it is, below the issuer.
    pub fn path(self) -> &'static str {
        match self {
            Self::Discovery => "/.well-known/openid-configuration",
            Self::Jwks => "/jwks",
            Self::Authorize => "/authorize",
            Self::Token => "/token",
            Self::Userinfo => "/userinfo",
            Self::EndSession => "/logout",
            Self::Revocation => "/revoke",
            Self::Introspection => "/introspect",
            Self::Registration => "/register",
        }
    }
}

/// What a fault answers instead of the truth.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The truth; only delay and gate apply.
    Genuine,
    /// This status and a line of text.
    Status(u16),
    /// This status, with `Retry-After` in seconds.
    RetryAfter(u16, u32),
    /// This status and an HTML page, as a load balancer in between would send.
    Html(u16),
    /// This status and an OAuth error (RFC 6749 section 5.2).
    OAuthError(u16, String),
    /// A 200 of this content type and body.
    Body(String, Bytes),
    /// Nothing: the connection closes, the request is not processed.
    Drop,
    /// The request is processed, then the connection closes without an answer.
    DropAfter,
}

/// One scripted misbehaviour.
#[derive(Debug, Clone)]
pub struct Fault {
    endpoint: Endpoint,
    grant_type: Option<String>,
    answer: Answer,
    delay: Duration,
    gate: Option<Arc<Semaphore>>,
    times: u32,
}

impl Fault {
    /// At `endpoint`, for every request from now on.
    pub fn at(endpoint: Endpoint, answer: Answer) -> Self {
        Self { endpoint, grant_type: None, answer, delay: Duration::ZERO, gate: None, times: u32::MAX }
    }

    /// Only for this `grant_type`.
    #[must_use]
    pub fn grant(mut self, grant_type: &str) -> Self {
        self.grant_type = Some(grant_type.to_owned());
        self
    }

    /// Waits this long first.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Only this often.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Waits until the returned gate is opened.
    pub fn gate(mut self) -> (Self, Gate) {
        let gate = Arc::new(Semaphore::new(0));
        self.gate = Some(Arc::clone(&gate));
        (self, Gate(gate))
    }
}

/// Holds requests back until it is opened or dropped.
#[derive(Debug)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// Lets all requests pass, those that wait and those to come.
    pub fn open(self) {}
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What arrived, by name: `POST /token`, `grant:refresh_token:ok`, `grant:refresh_token:invalid_grant`, ….
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters(pub(super) BTreeMap<String, u64>);

impl Counters {
    /// How often; 0 for what never happened.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Every name with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }
}

/// Takes the first fault that fits, and one of its times.
pub(super) fn take(faults: &mut Vec<Fault>, path: &str, grant_type: Option<&str>) -> Option<Fault> {
    let fits = |fault: &Fault| {
        fault.endpoint.path() == path
            && (fault.grant_type.is_none() || fault.grant_type.as_deref() == grant_type)
    };
    let fault = faults.iter_mut().find(|fault| fits(fault))?;
    let taken = fault.clone();
    if fault.times != u32::MAX {
        fault.times = fault.times.saturating_sub(1);
    }
    faults.retain(|fault| fault.times > 0);
    Some(taken)
}

/// Counts every request and lets a scripted fault have its way with it.
pub(super) async fn layer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    // Only names that exist are counted, so that a stranger cannot make up any number of them.
    match Endpoint::ALL.iter().find(|endpoint| endpoint.path() == path) {
        Some(_) if is_usual(request.method()) => shared.count(&format!("{} {path}", request.method())),
        _ => shared.count("other"),
    }
    let (request, grant_type) = match with_grant_type(request).await {
        Ok(read) => read,
        Err(refusal) => return *refusal,
    };
    if let Some(grant_type) = grant_type.as_deref().filter(|grant_type| GRANT_TYPES.contains(grant_type)) {
        shared.count(&format!("grant:{grant_type}"));
    }
    let Some(fault) = shared.take_fault(&path, grant_type.as_deref()) else {
        return next.run(request).await;
    };
    if !fault.delay.is_zero() {
        tokio::time::sleep(fault.delay).await;
    }
    if let Some(gate) = &fault.gate {
        // Nobody ever gives a permit: this ends when the gate closes the semaphore, that is, opens.
        let _ = gate.acquire().await;
    }
    match fault.answer {
        Answer::Genuine => next.run(request).await,
        Answer::Drop => {
            line.cut();
            StatusCode::NO_CONTENT.into_response()
        }
        Answer::DropAfter => {
            let answer = next.run(request).await;
            line.cut();
            answer
        }
        answer => instead(answer),
    }
}

fn is_usual(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::POST)
}

/// Reads the form of a token request for its `grant_type`, and puts it back.
async fn with_grant_type(request: Request) -> Result<(Request, Option<String>), Box<Response>> {
    if request.method() != Method::POST || request.uri().path() != Endpoint::Token.path() {
        return Ok((request, None));
    }
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MOST_BODY)
        .await
        .map_err(|_| Box::new(StatusCode::PAYLOAD_TOO_LARGE.into_response()))?;
    let grant_type = url::form_urlencoded::parse(&body)
        .find(|(name, _)| name == "grant_type")
        .map(|(_, value)| value.into_owned());
    Ok((Request::from_parts(parts, Body::from(body)), grant_type))
}

fn instead(answer: Answer) -> Response {
    let status = |code| StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match answer {
        Answer::Status(code) => (status(code), "scripted fault\n").into_response(),
        Answer::RetryAfter(code, seconds) => {
            (status(code), [(header::RETRY_AFTER, seconds.to_string())], "later\n").into_response()
        }
        Answer::Html(code) => {
            let page = "<!doctype html><title>Bad gateway</title><h1>Bad gateway</h1>";
            (status(code), [(header::CONTENT_TYPE, "text/html")], page).into_response()
        }
        Answer::OAuthError(code, error) => {
            (status(code), axum::Json(json!({ "error": error }))).into_response()
        }
        Answer::Body(content_type, body) => {
            let content_type = HeaderValue::from_str(&content_type)
                .unwrap_or(HeaderValue::from_static("application/octet-stream"));
            ([(header::CONTENT_TYPE, content_type)], body).into_response()
        }
        Answer::Genuine | Answer::Drop | Answer::DropAfter => StatusCode::NO_CONTENT.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_taken_as_often_as_it_says_and_only_where_it_fits() {
        let refresh = Fault::at(Endpoint::Token, Answer::Status(503)).grant("refresh_token").times(2);
        let mut faults = vec![refresh];
        assert!(take(&mut faults, "/token", Some("authorization_code")).is_none());
        assert!(take(&mut faults, "/jwks", None).is_none());
        assert!(take(&mut faults, "/token", Some("refresh_token")).is_some());
        assert!(take(&mut faults, "/token", Some("refresh_token")).is_some());
        assert!(take(&mut faults, "/token", Some("refresh_token")).is_none());
    }
}
