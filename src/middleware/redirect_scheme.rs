//! `redirectScheme`: redirects to another scheme or port.

use super::target::{authority, target};
use super::{Exchange, Flow, config, redirect};
use crate::config::Fault;
use crate::net::Scheme;

/// See the [module](self).
#[derive(Debug)]
pub struct RedirectScheme {
    scheme: Box<str>,
    /// With its colon; empty when it is the scheme's default.
    port: Box<str>,
    permanent: bool,
}

impl RedirectScheme {
    /// # Errors
    /// No scheme, or a port that is no number.
    pub fn new(config: &config::RedirectScheme) -> Result<Self, Fault> {
        if config.scheme.is_empty() {
            return Err(Fault::new("scheme", "cannot be empty"));
        }
        let port = match config.port.as_deref().unwrap_or_default() {
            "" => String::new(),
            port => {
                let number: u16 =
                    port.parse().map_err(|_| Fault::new("port", format!("{port:?} is not a port")))?;
                without_default(&config.scheme, &format!(":{number}")).to_owned()
            }
        };
        Ok(Self { scheme: config.scheme.as_str().into(), port: port.into(), permanent: config.permanent })
    }

    pub(super) fn on_request(&self, exchange: &mut Exchange<'_>) -> Flow {
        let request = &*exchange.request;
        // Read from the request rather than from the facts: a headers middleware before this one may have set it.
        let scheme = request
            .headers
            .get("x-forwarded-proto")
            .and_then(|value| Scheme::from_forwarded_proto(value.as_bytes()))
            .unwrap_or(Scheme::of_connection(exchange.facts.tls))
            .as_str();
        let (host, port) = split_port(authority(request));
        let target = target(request);
        let old = [scheme, "://", host, without_default(scheme, port), target].concat();
        let new = [&self.scheme, "://", host, &self.port, target].concat();
        if new == old { Flow::Continue } else { redirect::to(&new, &request.method, self.permanent) }
    }
}

/// Host with its brackets, and port with its colon.
fn split_port(authority: &str) -> (&str, &str) {
    match authority.rfind(':') {
        Some(at) if !authority.ends_with(']') => authority.split_at_checked(at).unwrap_or((authority, "")),
        _ => (authority, ""),
    }
}

fn without_default<'a>(scheme: &str, port: &'a str) -> &'a str {
    match (scheme, port) {
        ("http", ":80") | ("https", ":443") => "",
        _ => port,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use crate::middleware::testing::{Request, refused};

    async fn location(config: &str, host: &str, forwarded: &str) -> Option<String> {
        let mut request = Request::get("/a?b").header("Host", host);
        if !forwarded.is_empty() {
            request = request.header("X-Forwarded-Proto", forwarded);
        }
        request
            .maybe_answered(config)
            .await
            .map(|answer| answer.headers["location"].to_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn locations() {
        let https = "redirectScheme: {scheme: https}";
        let port = "redirectScheme: {scheme: https, port: '8443'}";
        let default = "redirectScheme: {scheme: https, port: '443'}";
        let http = "redirectScheme: {scheme: http, port: '8080'}";
        let cases = [
            (https, "h", "", Some("https://h/a?b")),
            (https, "h:80", "", Some("https://h/a?b")),
            (https, "h:8080", "", Some("https://h/a?b")),
            (https, "[::1]:80", "", Some("https://[::1]/a?b")),
            (https, "[::1]", "", Some("https://[::1]/a?b")),
            (https, "h", "https", None),
            (https, "h", "WSS", None),
            (https, "h", "ws", Some("https://h/a?b")),
            (https, "h:443", "https", None),
            (https, "h:8443", "https", Some("https://h/a?b")),
            (port, "h", "", Some("https://h:8443/a?b")),
            (port, "h:8443", "https", None),
            (default, "h", "", Some("https://h/a?b")),
            (http, "h", "", Some("http://h:8080/a?b")),
            (http, "h:8080", "", None),
        ];
        for (config, host, forwarded, expected) in cases {
            assert_eq!(
                location(config, host, forwarded).await.as_deref(),
                expected,
                "{config} {host} {forwarded}"
            );
        }
    }

    #[tokio::test]
    async fn tls_needs_no_redirect() {
        Request::get("/").header("Host", "h").tls().passes("redirectScheme: {scheme: https}").await;
    }

    #[tokio::test]
    async fn statuses() {
        let answer =
            Request::new("POST", "/").header("Host", "h").answered("redirectScheme: {scheme: https}").await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (307, &b"Temporary Redirect"[..]));
        let permanent = "redirectScheme: {scheme: https, permanent: true}";
        assert_eq!(Request::get("/").header("Host", "h").answered(permanent).await.status, 301);
        assert_eq!(Request::new("PUT", "/").header("Host", "h").answered(permanent).await.status, 308);
    }

    #[test]
    fn refusals() {
        assert!(refused("redirectScheme: {scheme: ''}").contains("scheme"));
        assert!(refused("redirectScheme: {scheme: https, port: x}").contains("port"));
    }
}
