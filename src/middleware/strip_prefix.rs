//! `stripPrefix`: takes the first prefix that fits off the path.

use http::{HeaderValue, StatusCode};

use super::target::{path, plain, set_path};
use super::{Exchange, Flow, config, set_header};
use crate::config::Fault;
use crate::net::path::{clean, decode, escaped_len};

const FORWARDED_PREFIX: &str = "X-Forwarded-Prefix";

/// See the [module](self).
#[derive(Debug)]
pub struct StripPrefix {
    prefixes: Box<[Prefix]>,
    force_slash: bool,
}

/// A prefix of decoded paths, and what tells the service about it.
#[derive(Debug)]
struct Prefix {
    text: Box<str>,
    header: HeaderValue,
}

impl StripPrefix {
    /// # Errors
    /// A prefix that cannot be put into a header.
    pub fn new(config: &config::StripPrefix) -> Result<Self, Fault> {
        let prefixes = config.prefixes.iter().enumerate().map(|(index, prefix)| {
            let text = prefix.trim();
            let bad = |_| {
                Fault::new(
                    format!("prefixes[{index}]"),
                    format!("{text:?} holds characters that a header cannot"),
                )
            };
            let header = HeaderValue::from_str(text).map_err(bad)?;
            Ok(Prefix { text: text.into(), header })
        });
        Ok(Self { prefixes: prefixes.collect::<Result<_, Fault>>()?, force_slash: config.force_slash })
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        let deprecated = "stripPrefix.forceSlash is deprecated: a path always keeps its leading slash";
        self.force_slash.then(|| deprecated.to_owned()).into_iter().collect()
    }

    pub(super) fn on_request(&self, exchange: &mut Exchange<'_>) -> Flow {
        let path = path(exchange.request);
        let decoded = decode(path).unwrap_or(path.as_bytes().into());
        let Some(prefix) = self.prefixes.iter().find(|prefix| decoded.starts_with(prefix.text.as_bytes()))
        else {
            return Flow::Continue;
        };
        let rest = path.get(escaped_len(path, prefix.text.len())..).unwrap_or_default();
        exchange.state.path_is_empty = rest.is_empty();
        let rest = if rest.starts_with('/') { rest.to_owned() } else { ["/", rest].concat() };
        // `/api../admin` without `/api` must not become `/../admin`.
        if clean(&rest) != rest {
            return Flow::Respond(plain(StatusCode::BAD_REQUEST));
        }
        if let Flow::Respond(response) = set_path(exchange.request, &rest) {
            return Flow::Respond(response);
        }
        set_header!(exchange.request, append_header, FORWARDED_PREFIX, prefix.header.clone());
        Flow::Continue
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use crate::middleware::testing::Request;

    const CONFIG: &str = "stripPrefix: {prefixes: [' /stat ', /api, /a/b, /api/v1]}";

    #[tokio::test]
    async fn the_first_that_fits_is_removed() {
        let cases = [
            ("/status/x", "/us/x", "/stat"),
            ("/stat", "/", "/stat"),
            ("/stat?q=1", "/?q=1", "/stat"),
            ("/api/v1/x", "/v1/x", "/api"),
            ("/api/", "/", "/api"),
            ("/a%2Fb/c%2Fd", "/c%2Fd", "/a/b"),
            ("/%61pi/x", "/x", "/api"),
        ];
        for (target, expected, header) in cases {
            let mut request = Request::get(target);
            request.passes(CONFIG).await;
            assert_eq!(request.target(), expected, "{target}");
            assert_eq!(request.headers("X-Forwarded-Prefix"), [header]);
        }
    }

    #[tokio::test]
    async fn nothing_changes_without_a_match() {
        let mut request = Request::get("/other").header("X-Forwarded-Prefix", "/mine");
        request.passes(CONFIG).await;
        assert_eq!(request.target(), "/other");
        assert_eq!(request.headers("X-Forwarded-Prefix"), ["/mine"]);
    }

    #[tokio::test]
    async fn the_header_is_added() {
        let mut request = Request::get("/api/x").header("X-Forwarded-Prefix", "/outer");
        request.passes(CONFIG).await;
        assert_eq!(request.headers("X-Forwarded-Prefix"), ["/outer", "/api"]);
    }

    #[tokio::test]
    async fn a_rest_that_climbs_is_refused() {
        for target in ["/api../admin", "/api./x", "/api//x"] {
            assert_eq!(Request::get(target).answered(CONFIG).await.status, 400, "{target}");
        }
    }
}
