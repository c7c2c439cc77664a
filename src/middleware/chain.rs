//! The middlewares of a router, flattened.

use std::sync::Arc;

use pingora::http::ResponseHeader;

use super::{Exchange, Flow, Middleware, ResponseFacts, set_header};

/// More middlewares than this on one router is a mistake.
const MAX_LENGTH: usize = 256;

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

/// What a name stands for, see [`flatten`].
#[derive(Debug, Clone, Copy)]
pub enum Lookup<'a> {
    /// A `chain` of these names.
    Chain(&'a [String]),
    /// Any other middleware.
    Single,
    /// Nothing.
    Unknown,
}

/// Replaces every `chain` among `names` by what it holds, in order. Names in the result are qualified.
///
/// `provider` is where `names` were written: an unqualified name belongs to the provider of its referrer.
///
/// # Errors
/// An unknown name, a cycle of chains, more than 256 middlewares.
pub fn flatten<'a>(
    names: &'a [String],
    provider: &str,
    lookup: &dyn Fn(&str) -> Lookup<'a>,
) -> Result<Vec<String>, String> {
    let mut flat = Vec::new();
    expand(names, provider, lookup, &mut Vec::new(), &mut flat)?;
    Ok(flat)
}

fn expand<'a>(
    names: &'a [String],
    provider: &str,
    lookup: &dyn Fn(&str) -> Lookup<'a>,
    open: &mut Vec<String>,
    flat: &mut Vec<String>,
) -> Result<(), String> {
    for name in names {
        let qualified = if name.contains('@') { name.clone() } else { format!("{name}@{provider}") };
        match lookup(&qualified) {
            Lookup::Single if flat.len() == MAX_LENGTH => {
                return Err(format!("more than {MAX_LENGTH} middlewares"));
            }
            Lookup::Single => flat.push(qualified),
            Lookup::Chain(_) if open.contains(&qualified) => {
                return Err(format!("chains form a cycle: {} -> {qualified}", open.join(" -> ")));
            }
            Lookup::Chain(inner) => {
                let (_, provider) = qualified.rsplit_once('@').unwrap_or((&qualified, provider));
                open.push(qualified.clone());
                expand(inner, provider, lookup, open, flat)?;
                open.pop();
            }
            Lookup::Unknown => return Err(format!("middleware {qualified:?} does not exist")),
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use http::header::{HeaderName, HeaderValue, SET_COOKIE};

    use super::*;
    use crate::middleware::testing::{Request, middleware};

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn chains_are_flattened_in_their_own_provider() {
        let (outer, inner, looped) =
            (names(&["a", "inner@other", "b"]), names(&["c", "d@file"]), names(&["looped"]));
        let lookup = |name: &str| match name {
            "outer@file" => Lookup::Chain(&outer),
            "inner@other" => Lookup::Chain(&inner),
            "looped@file" => Lookup::Chain(&looped),
            "a@file" | "b@file" | "c@other" | "d@file" | "a@x" => Lookup::Single,
            _ => Lookup::Unknown,
        };
        let roots = [names(&["outer", "a@x"]), names(&["looped"]), names(&["nobody"])];
        let expected = ["a@file", "c@other", "d@file", "b@file", "a@x"];
        assert_eq!(flatten(&roots[0], "file", &lookup).unwrap(), expected);
        assert!(flatten(&roots[1], "file", &lookup).unwrap_err().contains("cycle"));
        assert!(flatten(&roots[2], "file", &lookup).unwrap_err().contains("\"nobody@file\" does not exist"));
    }

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
