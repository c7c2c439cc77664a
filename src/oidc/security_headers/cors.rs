//! Cross-origin resource sharing (the Fetch standard, section 3.3) by exact origins.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap,
    HeaderName, HeaderValue, ORIGIN,
};
use http::{Method, StatusCode};

use crate::net::LocalResponse;

/// Which origins may read answers, and what they may send.
#[derive(Debug, Clone)]
pub struct Cors {
    origins: Vec<OriginPattern>,
    methods: HeaderValue,
    headers: HeaderValue,
    credentials: bool,
    max_age: HeaderValue,
}

/// What [`Cors`] is made of.
#[derive(Debug)]
pub struct CorsOptions {
    /// Allowed origins.
    pub origins: Vec<OriginPattern>,
    /// Allowed methods, joined with commas.
    pub methods: HeaderValue,
    /// Allowed request headers, joined with commas.
    pub headers: HeaderValue,
    /// Whether named origins may send credentials.
    pub credentials: bool,
    /// How long a pre-flight holds, in seconds.
    pub max_age: u64,
}

/// An allowed origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// `*`: any, without credentials.
    Any,
    /// Scheme, host and port.
    Tuple {
        /// `https` or `http`.
        scheme: String,
        /// Host in lower case; with `sub_domains` what follows `*.`.
        host: String,
        /// Any host below `host`, and not `host` itself.
        sub_domains: bool,
        /// `None`: any.
        port: Option<u16>,
    },
}

/// What an allowed origin gets.
#[derive(Debug)]
pub(super) struct Allowed {
    origin: HeaderValue,
    credentials: bool,
}

impl Cors {
    /// The headers that only we set where CORS is on.
    pub(super) const NAMES: [HeaderName; 2] = [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_CREDENTIALS];

    /// Compiles `options`.
    pub fn new(options: CorsOptions) -> Self {
        let CorsOptions { origins, methods, headers, credentials, max_age } = options;
        Self { origins, methods, headers, credentials, max_age: HeaderValue::from(max_age) }
    }

    /// What `origin` gets. A named origin goes before `*`, which never comes with credentials.
    pub(super) fn allows(&self, origin: &HeaderValue) -> Option<Allowed> {
        let text = origin.to_str().ok()?;
        if self.origins.iter().any(|pattern| pattern.names(text)) {
            return Some(Allowed { origin: origin.clone(), credentials: self.credentials });
        }
        self.origins
            .contains(&OriginPattern::Any)
            .then(|| Allowed { origin: HeaderValue::from_static("*"), credentials: false })
    }

    pub(super) fn headers(allowed: Allowed) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let credentials = (ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        let credentials = allowed.credentials.then_some(credentials);
        std::iter::once((ACCESS_CONTROL_ALLOW_ORIGIN, allowed.origin)).chain(credentials)
    }

    /// The answer to a pre-flight: the service never sees it, whoever may send it. What an origin
    /// may do is told by what the answer holds.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<LocalResponse> {
        let origin = headers.get(ORIGIN)?;
        if method != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let mut answer = LocalResponse::new(StatusCode::NO_CONTENT).no_store();
        if self.allows(origin).is_some() {
            answer.headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
            answer.headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
            answer.headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        }
        Some(answer)
    }
}

impl OriginPattern {
    /// Reads `*`, `https://host`, `https://host:port`, `https://*.host` or `http://host:*`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = || {
            format!(
                "`{text}` must be `*` or an origin such as `https://app.example.com` or `https://*.example.com`"
            )
        };
        let text = text.trim();
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, authority) = text.split_once("://").ok_or_else(fault)?;
        let (scheme, authority) = (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase());
        let (authority, any_port) = match authority.strip_suffix(":*") {
            Some(host) => (host, true),
            None => (authority.as_str(), false),
        };
        let (rest, sub_domains) = match authority.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (authority, false),
        };
        let (host, port) = split(&scheme, rest).ok_or_else(fault)?;
        if any_port && host.len() != rest.len() {
            return Err(fault());
        }
        Ok(Self::Tuple { host: host.to_owned(), port: (!any_port).then_some(port), scheme, sub_domains })
    }

    /// Whether this pattern names `origin`; `*` names nobody.
    fn names(&self, origin: &str) -> bool {
        let Self::Tuple { scheme, host, sub_domains, port } = self else { return false };
        let Some((found, (other, other_port))) =
            origin.split_once("://").and_then(|(scheme, rest)| Some((scheme, split(scheme, rest)?)))
        else {
            return false;
        };
        let same_host = match sub_domains {
            false => other == host,
            true => other
                .strip_suffix(host.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|sub| !sub.is_empty()),
        };
        found == scheme && same_host && port.is_none_or(|port| port == other_port)
    }
}

/// Host and port of an origin's authority: lower case, nothing else in it. A scheme that no page
/// has is none.
fn split<'a>(scheme: &str, authority: &'a str) -> Option<(&'a str, u16)> {
    let default = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let end = authority.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match authority.get(end..)?.rfind(':').map(|at| at + end) {
        Some(at) => (authority.get(..at)?, authority.get(at + 1..)?.parse().ok().filter(|port| *port > 0)?),
        None => (authority, default),
    };
    let bracketed = host.starts_with('[');
    let legal = |b: u8| {
        b.is_ascii_lowercase()
            || b.is_ascii_digit()
            || b"-._".contains(&b)
            || bracketed && b"[:]".contains(&b)
    };
    (!host.is_empty() && host.bytes().all(legal)).then_some((host, port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn names(pattern: &str, origin: &str) -> bool {
        OriginPattern::parse(pattern).unwrap().names(origin)
    }

    #[test]
    fn scheme_host_and_port_are_compared() {
        assert!(names("https://app.example.com", "https://app.example.com"));
        assert!(names("https://App.Example.com:443", "https://app.example.com"));
        assert!(
            names("http://localhost:*", "http://localhost:5173")
                && names("http://localhost:*", "http://localhost")
        );
        assert!(names("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"));
        for other in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.example",
            "https://xapp.example.com",
            "https://app.example.com/",
            "https://u@app.example.com",
            "null",
            "",
        ] {
            assert!(!names("https://app.example.com", other), "{other}");
        }
    }

    #[test]
    fn sub_domains_keep_the_scheme_and_the_dot() {
        assert!(names("https://*.example.com", "https://a.example.com"));
        assert!(names("https://*.example.com", "https://a.b.example.com"));
        for other in [
            "https://example.com",
            "http://a.example.com",
            "https://evil-example.com",
            "https://.example.com",
            "https://a.example.com:444",
            "https://a.example.com.evil",
        ] {
            assert!(!names("https://*.example.com", other), "{other}");
        }
        assert!(!names("*", "https://a.example.com"), "`*` names nobody, so nobody gets credentials by it");
    }

    #[test]
    fn patterns_that_are_refused() {
        for bad in [
            "",
            "app.example.com",
            "https://",
            "ftp://x",
            "https://*",
            "https://a*b",
            "https://x/y",
            "https://x:0",
            "https://x:99999",
            "https://x:1:*",
        ] {
            assert!(OriginPattern::parse(bad).is_err(), "{bad}");
        }
    }
}
