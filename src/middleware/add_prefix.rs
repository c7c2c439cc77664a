//! `addPrefix`: puts a prefix in front of the path.

use super::target::{path, set_path};
use super::{Exchange, Flow, config};
use crate::config::Fault;
use crate::net::path::encode;

/// See the [module](self).
#[derive(Debug)]
pub struct AddPrefix {
    /// Percent-encoded, rooted.
    prefix: Box<str>,
}

impl AddPrefix {
    /// # Errors
    /// The prefix is empty.
    pub fn new(config: &config::AddPrefix) -> Result<Self, Fault> {
        if config.prefix.is_empty() {
            return Err(Fault::new("prefix", "cannot be empty"));
        }
        let slash = if config.prefix.starts_with('/') { "" } else { "/" };
        Ok(Self { prefix: [slash, &encode(&config.prefix)].concat().into() })
    }

    pub(super) fn on_request(&self, exchange: &mut Exchange<'_>) -> Flow {
        // A prefix that takes the place of another leads to `/new`, not to `/new/`.
        let rest = if exchange.state.path_is_empty { "" } else { path(exchange.request) };
        let path = [&*self.prefix, rest].concat();
        exchange.state.path_is_empty = false;
        set_path(exchange.request, &path)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::sync::Arc;

    use crate::middleware::testing::{Request, middleware, refused};
    use crate::middleware::{Chain, Flow};

    #[tokio::test]
    async fn it_takes_the_place_of_a_prefix() {
        let strip = Arc::new(middleware("stripPrefix: {prefixes: [/old]}"));
        let add = || Arc::new(middleware("addPrefix: {prefix: /new}"));
        let chain = Chain::new([Arc::clone(&strip), add(), add()]);
        for (target, expected) in [
            ("/old", "/new/new"),
            ("/old?q", "/new/new?q"),
            ("/old/", "/new/new/"),
            ("/old/x", "/new/new/x"),
            ("/", "/new/new/"),
        ] {
            let mut request = Request::get(target);
            assert!(matches!(request.run(&chain).await, Flow::Continue));
            assert_eq!(request.target(), expected, "{target}");
        }
        let mut alone = Request::get("/old");
        assert!(matches!(alone.run(&Chain::new([strip])).await, Flow::Continue));
        assert_eq!(alone.target(), "/");
    }

    #[tokio::test]
    async fn prefixes() {
        let cases = [
            ("/foo", "/bar", "/foo/bar"),
            ("foo", "/bar?q=1", "/foo/bar?q=1"),
            ("/foo/", "/b%2Fc", "/foo//b%2Fc"),
            ("/a b%", "/", "/a%20b%25/"),
        ];
        for (prefix, target, expected) in cases {
            let mut request = Request::get(target);
            request.passes(&format!("addPrefix: {{prefix: '{prefix}'}}")).await;
            assert_eq!(request.target(), expected);
        }
        assert!(refused("addPrefix: {prefix: ''}").contains("empty"));
    }
}
