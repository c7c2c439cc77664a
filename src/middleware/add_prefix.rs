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
        let path = [&*self.prefix, path(exchange.request)].concat();
        set_path(exchange.request, &path)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use crate::middleware::testing::{Request, refused};

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
