//! `securityHeaders`: what every answer of a route carries, the service's and our own, and CORS.
//!
//! Compiled when the configuration is read; an answer only clones ready values.

mod cors;

use http::header::{
    CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, ORIGIN, SERVER, STRICT_TRANSPORT_SECURITY,
    VARY, X_FRAME_OPTIONS,
};

use crate::net::headers::TitledName;
use crate::net::{LocalResponse, Scheme};

pub use cors::{Cors, CorsOptions, OriginPattern};

const X_POWERED_BY: HeaderName = HeaderName::from_static("x-powered-by");

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct SecurityHeaders {
    fixed: Vec<(TitledName, HeaderValue)>,
    transport_security: Option<(TitledName, HeaderValue)>,
    removed: Vec<HeaderName>,
    cors: Option<Cors>,
}

impl SecurityHeaders {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a header of every answer; the last value of a name counts.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.fixed.retain(|(known, _)| *known.name() != name);
        self.fixed.push((TitledName::new(name), value));
    }

    /// `Strict-Transport-Security` (RFC 6797) with this value, on answers over https alone.
    pub fn set_transport_security(&mut self, value: HeaderValue) {
        self.transport_security = Some((TitledName::new(STRICT_TRANSPORT_SECURITY), value));
    }

    /// Removes the service's `Server`.
    pub fn remove_server(&mut self) {
        self.removed.push(SERVER);
    }

    /// Removes the service's `X-Powered-By`.
    pub fn remove_powered_by(&mut self) {
        self.removed.push(X_POWERED_BY);
    }

    /// Answers CORS for the service, whose own CORS headers vanish.
    pub fn set_cors(&mut self, cors: Cors) {
        self.removed.extend(Cors::NAMES);
        self.cors = Some(cors);
    }

    /// The answer to a pre-flight, if CORS is on and the request is one.
    pub fn preflight(&self, method: &http::Method, headers: &HeaderMap) -> Option<LocalResponse> {
        self.cors.as_ref()?.preflight(method, headers)
    }

    /// What goes from the service's answer before [`Self::of`] is set.
    pub fn removed(&self) -> &[HeaderName] {
        &self.removed
    }

    /// What an answer to a request carries, each name once. `scheme` is the one outside.
    pub fn of<'a>(
        &'a self,
        request: &'a HeaderMap,
        scheme: Scheme,
    ) -> impl Iterator<Item = (TitledName, HeaderValue)> + 'a {
        let transport = self.transport_security.as_ref().filter(|_| scheme == Scheme::Https);
        let cors = self.cors.as_ref().and_then(|cors| cors.allows(request.get(ORIGIN)?));
        let cors = cors.into_iter().flat_map(Cors::headers);
        let cors = cors.map(|(name, value)| (TitledName::new(name), value));
        transport.into_iter().chain(&self.fixed).cloned().chain(cors)
    }

    /// Whether caches must tell apart by `Origin`, for which `headers` do not provide yet.
    pub fn lacks_vary(&self, headers: &HeaderMap) -> bool {
        let names = |value: &HeaderValue| {
            value.to_str().is_ok_and(|text| {
                text.split(',')
                    .any(|name| matches!(name.trim(), "*") || name.trim().eq_ignore_ascii_case("origin"))
            })
        };
        self.cors.is_some() && !headers.get_all(VARY).iter().any(names)
    }

    /// Completes an answer of our own. What it says by itself is stricter and stays; an answer with
    /// a policy of its own also says itself who may frame it.
    pub fn complete(&self, answer: &mut LocalResponse, request: &HeaderMap, scheme: Scheme) {
        let has_policy = answer.headers.contains_key(CONTENT_SECURITY_POLICY);
        for (name, value) in self.of(request, scheme) {
            let name = name.name();
            if !(answer.headers.contains_key(name) || has_policy && *name == X_FRAME_OPTIONS) {
                answer.headers.insert(name, value);
            }
        }
        if self.lacks_vary(&answer.headers) {
            answer.headers.append(VARY, HeaderValue::from_static("Origin"));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
