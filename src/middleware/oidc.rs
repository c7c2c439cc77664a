//! `oidc` and the traefikoidc plugin: hands a request to the engine and carries its decision out.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, COOKIE, HOST, HeaderName, HeaderValue, LOCATION, SET_COOKIE, VARY,
};
use pingora::http::{RequestHeader, ResponseHeader};

use super::{Exchange, Facts, Flow, ResponseFacts, State, set_header};
use crate::net::headers::same_name;
use crate::oidc::{CookieEdit, Decision, Identity, IdentityHeaders, Policy, RequestParts};

/// The header that tells the service what the browser asked for.
const REQUEST_TARGET: &str = "X-Auth-Request-Redirect";

/// An OpenID Connect policy on a route.
#[derive(Debug)]
pub struct Oidc(Arc<Policy>);

impl Oidc {
    /// Asks `policy` about every request.
    pub fn new(policy: Policy) -> Self {
        Self(Arc::new(policy))
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.0
    }

    pub(super) async fn on_request(&self, exchange: &mut Exchange<'_>) -> Flow {
        let State { body, hide_query, hide_authorization, .. } = &mut *exchange.state;
        let parts = parts(exchange.request, exchange.facts, body.as_deref());
        *hide_query |= self.0.hides_query(&parts);
        // Where a bearer token is a login, it is as secret as our cookies.
        *hide_authorization |= self.0.takes_bearer_tokens();
        if let (None, Some(limit)) = (parts.body, self.0.wants_body(&parts)) {
            return Flow::ReadBody(limit);
        }
        match self.0.decide(&parts, SystemTime::now()).await {
            Decision::Respond(mut response) => {
                if let Some(location) = response.headers.get_mut(LOCATION) {
                    // Its query holds the state of a login, or an ID token.
                    location.set_sensitive(true);
                }
                if let Some(headers) = self.0.security_headers() {
                    headers.complete(&mut response, &exchange.request.headers, exchange.facts.scheme);
                }
                Flow::Respond(response)
            }
            Decision::Forward(identity) => {
                forward(exchange, identity);
                Flow::Continue
            }
        }
    }

    /// The service's copies are replaced. Our own answers never come here.
    pub(super) fn on_response(&self, response: &ResponseFacts<'_>, header: &mut ResponseHeader) {
        let Some(headers) = self.0.security_headers() else { return };
        for name in headers.removed() {
            header.remove_header(name);
        }
        for (name, value) in headers.of(&response.request.headers, response.facts.scheme) {
            set_header!(header, insert_header, name.title(), value);
        }
        if headers.lacks_vary(&header.headers) {
            set_header!(header, append_header, VARY, HeaderValue::from_static("Origin"));
        }
    }
}

fn parts<'a>(request: &'a RequestHeader, facts: &'a Facts, body: Option<&'a [u8]>) -> RequestParts<'a> {
    let host = || request.headers.get(HOST).and_then(|host| host.to_str().ok());
    RequestParts {
        method: &request.method,
        scheme: facts.scheme,
        authority: request
            .uri
            .authority()
            .map(|authority| authority.as_str())
            .or_else(host)
            .unwrap_or_default(),
        path: request.uri.path(),
        query: request.uri.query(),
        headers: &request.headers,
        body,
        client: facts.outside_client,
        peer_trusted: facts.peer_trusted,
        request_id: &facts.request_id,
    }
}

/// Headers that tell the service who the user is, and what the browser asked for.
#[derive(Debug)]
pub struct UserHeaders {
    identity: IdentityHeaders,
    target: Option<HeaderValue>,
}

impl UserHeaders {
    /// Sets them on a request, in place of what is there under their names.
    pub fn put_on(&self, request: &mut RequestHeader) {
        for (name, value) in self.identity.iter() {
            set_header!(request, insert_header, name.title(), value);
        }
        if let Some(target) = &self.target {
            set_header!(request, insert_header, REQUEST_TARGET, target);
        }
    }
}

/// Tells the service who the user is, in headers that no client can have sent.
///
/// The engine copies the request for the service. Where no other middleware looks at the headers before that, they need
/// not be copied: they are put on the copy.
fn forward(exchange: &mut Exchange<'_>, identity: Identity) {
    let request = &mut *exchange.request;
    if !identity.strip.is_empty() {
        let copies: Vec<HeaderName> =
            request.headers.keys().filter(|name| sets(&identity, name)).cloned().collect();
        for name in &copies {
            request.remove_header(name);
        }
    }
    if identity.strip_authorization {
        request.remove_header(&AUTHORIZATION);
    }
    match identity.cookie {
        CookieEdit::Keep => {}
        CookieEdit::Drop => drop(request.remove_header(&COOKIE)),
        CookieEdit::Replace(value) => set_header!(request, insert_header, COOKIE, value),
    }
    let headers = UserHeaders { identity: identity.headers, target: identity.request_target };
    if exchange.state.last {
        exchange.state.user_headers = Some(headers);
    } else {
        headers.put_on(request);
    }
    exchange.state.sessions.extend(identity.session);
    exchange.state.user = identity.user.or_else(|| exchange.state.user.take());
    if !identity.set_cookies.is_empty() {
        // The service may think that its answer is for everybody; no cache may keep it with a session in it.
        exchange.state.response_headers.push((CACHE_CONTROL, HeaderValue::from_static("no-store")));
    }
    exchange.state.response_headers.extend(identity.set_cookies.into_iter().map(|value| (SET_COOKIE, value)));
}

/// Whether the engine sets a header that a service could take for `name`.
fn sets(identity: &Identity, name: &HeaderName) -> bool {
    identity.strip.iter().any(|set| same_name(set.as_str(), name.as_str()))
}
