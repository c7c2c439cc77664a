//! `redirectRegex`: redirects URLs that match an expression.

use super::target::{authority, target};
use super::{Exchange, Flow, config, redirect};
use crate::config::Fault;
use crate::net::{GoRegex, Scheme};

/// See the [module](self).
#[derive(Debug)]
pub struct RedirectRegex {
    regex: GoRegex,
    replacement: Box<str>,
    permanent: bool,
}

impl RedirectRegex {
    /// # Errors
    /// A bad expression.
    pub fn new(config: &config::RedirectRegex) -> Result<Self, Fault> {
        let regex =
            GoRegex::new(config.regex.trim()).map_err(|error| Fault::new("regex", error.to_string()))?;
        Ok(Self { regex, replacement: config.replacement.trim().into(), permanent: config.permanent })
    }

    pub(super) fn on_request(&self, exchange: &mut Exchange<'_>) -> Flow {
        let request = &*exchange.request;
        // Of the connection alone: X-Forwarded-Proto does not count here, in contrast to redirectScheme.
        let scheme = Scheme::of_connection(exchange.facts.tls);
        let old = [scheme.as_str(), "://", authority(request), target(request)].concat();
        match self.regex.replace_all(&old, &self.replacement) {
            Some(new) if new != old => redirect::to(&new, &request.method, self.permanent),
            _ => Flow::Continue,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use crate::middleware::testing::{Request, refused};

    const WWW: &str = r"redirectRegex: {regex: '^(https?)://www\.(.+)$', replacement: '$1://${2}'}";

    #[tokio::test]
    async fn redirects_the_absolute_url() {
        let mut request = Request::get("/a?b=%20").header("Host", "www.example.com:8080");
        let answer = request.answered(WWW).await;
        assert_eq!(answer.status, 302);
        assert_eq!(answer.headers["location"], "http://example.com:8080/a?b=%20");
        assert_eq!(answer.body, "Found");
    }

    #[tokio::test]
    async fn only_the_connection_decides_the_scheme() {
        let mut request = Request::get("/").header("Host", "www.h").header("X-Forwarded-Proto", "https");
        assert_eq!(request.answered(WWW).await.headers["location"], "http://h/");
        let mut request = Request::get("/").header("Host", "www.h").tls();
        assert_eq!(request.answered(WWW).await.headers["location"], "https://h/");
    }

    #[tokio::test]
    async fn no_match_and_no_change_go_on() {
        Request::get("/").header("Host", "example.com").passes(WWW).await;
        let same = "redirectRegex: {regex: '^(.*)$', replacement: '$1'}";
        Request::get("/").header("Host", "example.com").passes(same).await;
    }

    #[tokio::test]
    async fn statuses() {
        let permanent = WWW.replace("replacement", "permanent: true, replacement");
        for (method, config, status) in [
            ("GET", WWW, 302),
            ("HEAD", WWW, 307),
            ("POST", WWW, 307),
            ("GET", &*permanent, 301),
            ("HEAD", &*permanent, 308),
        ] {
            let answer = Request::new(method, "/").header("Host", "www.h").answered(config).await;
            assert_eq!(answer.status, status, "{method}");
        }
    }

    #[tokio::test]
    async fn a_target_that_is_no_url_is_502() {
        let config = "redirectRegex: {regex: '.*', replacement: 'https://[x/'}";
        assert_eq!(Request::get("/").header("Host", "h").answered(config).await.status, 502);
        assert!(refused("redirectRegex: {regex: '(', replacement: x}").contains("regular expression"));
    }
}
