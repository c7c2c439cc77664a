//! `replacePath`: replaces the path and tells the service the old one.

use super::target::{path, set_path};
use super::{Exchange, Flow, config, set_header};
use crate::config::Fault;
use crate::net::path::{complete, decode};

const REPLACED_PATH: &str = "X-Replaced-Path";

/// See the [module](self).
#[derive(Debug)]
pub struct ReplacePath {
    /// Percent-encoded, rooted.
    path: Box<str>,
}

impl ReplacePath {
    /// # Errors
    /// A path with a broken escape. (Traefik finds out when a request comes, and answers 500.)
    pub fn new(config: &config::ReplacePath) -> Result<Self, Fault> {
        if decode(&config.path).is_none() {
            return Err(Fault::new("path", format!("{:?} holds a bad percent escape", config.path)));
        }
        let slash = if config.path.starts_with('/') { "" } else { "/" };
        Ok(Self { path: [slash, &complete(&config.path)].concat().into() })
    }

    pub(super) fn on_request(&self, exchange: &mut Exchange<'_>) -> Flow {
        let old = path(exchange.request).to_owned();
        exchange.state.path_is_empty = false;
        if let Flow::Respond(response) = set_path(exchange.request, &self.path) {
            return Flow::Respond(response);
        }
        set_header!(exchange.request, append_header, REPLACED_PATH, old);
        Flow::Continue
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use crate::middleware::testing::{Request, refused};

    #[tokio::test]
    async fn replaces_and_tells() {
        let cases = [
            ("/new", "/old%2Fx?q=%20", "/new?q=%20", "/old%2Fx"),
            ("/a%20b", "/", "/a%20b", "/"),
            ("/a b?c", "/o", "/a%20b%3Fc", "/o"),
            ("new", "/o", "/new", "/o"),
            ("", "/o", "/", "/o"),
        ];
        for (path, target, expected, header) in cases {
            let mut request = Request::get(target);
            request.passes(&format!("replacePath: {{path: '{path}'}}")).await;
            assert_eq!(request.target(), expected);
            assert_eq!(request.headers("X-Replaced-Path"), [header]);
        }
        assert!(refused("replacePath: {path: '/%zz'}").contains("percent escape"));
    }
}
