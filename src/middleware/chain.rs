//! The middlewares of a router, flattened.

use std::sync::Arc;

use pingora::http::ResponseHeader;

use super::{Exchange, Flow, Middleware, ResponseFacts, set_header};

/// Middlewares in order, the first outermost. Cheap to clone; a middleware that several routers use is shared.
#[derive(Debug, Clone)]
pub struct Chain(Arc<[Arc<Middleware>]>);

impl Default for Chain {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl Chain {
    /// The chain of these middlewares.
    pub fn new(middlewares: impl IntoIterator<Item = Arc<Middleware>>) -> Self {
        Self(middlewares.into_iter().collect())
    }

    /// These middlewares and then those of `inner`.
    #[must_use]
    pub fn then(&self, inner: &Self) -> Self {
        Self(self.0.iter().chain(inner.0.iter()).cloned().collect())
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sends a request through, up to the first middleware that answers it. After [`Flow::ReadBody`] it goes on with
    /// the middleware that asked.
    pub async fn on_request(&self, exchange: &mut Exchange<'_>) -> Flow {
        for middleware in self.0.iter().skip(exchange.state.passed) {
            exchange.state.last = exchange.state.passed + 1 == self.0.len();
            match middleware.on_request(exchange).await {
                Flow::Continue => exchange.state.passed += 1,
                stop @ (Flow::Respond(_) | Flow::ReadBody(_)) => return stop,
            }
        }
        Flow::Continue
    }

    /// Sends an answer back through the middlewares that let the request pass, last first, then adds what they left
    /// in [`super::State::response_headers`]. For every answer: the service's, a middleware's own and error pages.
    pub fn on_response(&self, response: &ResponseFacts<'_>, header: &mut ResponseHeader) {
        for middleware in self.0.iter().take(response.state.passed).rev() {
            middleware.on_response(response, header);
        }
        for (name, value) in &response.state.response_headers {
            set_header!(header, append_header, name, value.clone());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use http::header::{HeaderName, HeaderValue, SET_COOKIE};

    use super::*;
    use crate::middleware::testing::{Request, middleware};

    #[tokio::test]
    async fn answers_pass_only_what_the_request_passed() {
        let outer = middleware("headers: {customResponseHeaders: {X-Outer: '1', X-Order: outer}}");
        let redirect = middleware("redirectScheme: {scheme: https}");
        let inner = middleware("headers: {customResponseHeaders: {X-Inner: '1', X-Order: inner}}");
        let chain = Chain::new([outer, redirect, inner].map(Arc::new));

        let mut request = Request::get("/").header("Host", "h");
        assert!(matches!(request.run(&chain).await, Flow::Respond(_)));
        let response = request.answer(&chain, &[]);
        assert_eq!(response.headers["x-outer"], "1");
        assert!(!response.headers.contains_key("x-inner"));

        let mut request = Request::get("/").header("Host", "h").header("X-Forwarded-Proto", "https");
        assert!(matches!(request.run(&chain).await, Flow::Continue));
        let response = request.answer(&chain, &[]);
        assert_eq!(response.headers["x-order"], "outer");
        assert_eq!(response.headers["x-inner"], "1");
    }

    #[tokio::test]
    async fn what_is_left_for_the_answer_is_appended() {
        let chain = Chain::new([Arc::new(middleware("headers: {customResponseHeaders: {Set-Cookie: ''}}"))]);
        let mut request = Request::get("/");
        request.run(&chain).await;
        let ours: (HeaderName, HeaderValue) = (SET_COOKIE, HeaderValue::from_static("ours=1"));
        request.state.response_headers.push(ours);
        let response = request.answer(&chain, &[("Set-Cookie", "theirs=1")]);
        assert_eq!(response.headers.get_all(SET_COOKIE).iter().collect::<Vec<_>>(), ["ours=1"]);
    }
}
