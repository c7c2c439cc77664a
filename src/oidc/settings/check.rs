//! Limits of single options.

use std::net::IpAddr;
use std::time::Duration;

use url::{Host, Url};

/// Most seconds that fit the arithmetic of expiry times: 30 years.
const MAX_SECONDS: i64 = 30 * 365 * 24 * 3600;

/// An https URL; http only where the host is a loopback name or address, which is checked again,
/// by resolving it, before each use.
pub(super) fn provider_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|error| format!("is not a URL: {error}"))?;
    if url.host().is_none()
        || !url.username().is_empty()
        || url.password().is_some()
        || url.fragment().is_some()
    {
        return Err("must be a URL with a host, without user name, password or fragment".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) || matches!(url.host(), Some(Host::Domain(_))) => Ok(url),
        "http" => Err(HTTP.to_owned()),
        _ => Err("must be an https URL".to_owned()),
    }
}

const HTTP: &str = "must be https; http is accepted only for a loopback host";

/// An endpoint that stands instead of a discovered one: as [`provider_url`], but of names only those of loopback, and
/// that of the issuer, are good with http. Any other would close the policy once it is resolved.
pub(super) fn endpoint_url(text: &str, issuer: Option<&str>) -> Result<Url, String> {
    let url = provider_url(text)?;
    let issuer = issuer.and_then(|issuer| Url::parse(issuer.trim()).ok());
    let at_issuer = issuer.is_some_and(|issuer| issuer.scheme() == "http" && issuer.host() == url.host());
    if url.scheme() == "https" || is_loopback(&url) || at_issuer { Ok(url) } else { Err(HTTP.to_owned()) }
}

/// Where a browser lands: https, or http on this machine.
pub(super) fn landing_url(text: &str) -> Result<Url, String> {
    endpoint_url(text, None).map_err(|_| {
        "must be a plain path or an https URL; http is accepted only for a loopback host".to_owned()
    })
}

/// Loopback by what is written: an address, or a name that is reserved for it (RFC 6761, section 6.3).
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

/// Whether a browser sends cookies of this path to `place` (RFC 6265, section 5.1.4).
pub(super) fn is_within(path: &str, place: &str) -> bool {
    let rest = place.strip_prefix(path);
    rest.is_some_and(|rest| rest.is_empty() || path.ends_with('/') || rest.starts_with('/'))
}

/// A path of ours: where the middleware answers by itself.
pub(super) fn own_path(text: &str) -> Result<String, String> {
    if text.contains("://") || !text.starts_with('/') {
        return Err(format!("`{text}` must be a path that starts with `/`; the host is that of the request"));
    }
    if !crate::oidc::return_target::is_strict(text) || text.contains('?') {
        return Err(format!("`{text}` must be a plain path"));
    }
    Ok(text.to_owned())
}

/// A number of seconds; `zero` is what 0 stands for.
pub(super) fn seconds(value: i64, zero: Option<Duration>) -> Result<Duration, String> {
    match value {
        0 => zero.ok_or_else(|| "must be more than 0".to_owned()),
        1..=MAX_SECONDS => Ok(Duration::from_secs(value.unsigned_abs())),
        _ if value < 0 => Err("must not be negative".to_owned()),
        _ => Err(format!("must be at most {MAX_SECONDS} seconds")),
    }
}

/// An audience or resource: short, no wild card, no control character, no http URL but of loopback.
pub(super) fn audience(text: &str) -> Result<(), String> {
    if text.len() > 256 {
        return Err("must have at most 256 characters".to_owned());
    }
    if text.contains('*') || text.chars().any(char::is_control) {
        return Err("must not contain `*` or control characters".to_owned());
    }
    if Url::parse(text).is_ok_and(|url| url.scheme() == "http" && !is_loopback(&url)) {
        return Err("must not be an http URL, but for a loopback host".to_owned());
    }
    Ok(())
}

/// An absolute URI without fragment (RFC 8707, section 2).
pub(super) fn resource(text: &str) -> Result<(), String> {
    audience(text)?;
    let url = Url::parse(text).map_err(|_| "must be an absolute URI".to_owned())?;
    if url.fragment().is_some() {
        return Err("must not have a fragment".to_owned());
    }
    match url.scheme() {
        // Of http only loopback is left.
        "https" | "urn" | "http" => Ok(()),
        _ => Err("must be an https URL or a urn".to_owned()),
    }
}

/// The key in the examples of this project's documentation.
pub(super) const EXAMPLE_KEY: &str = "at-least-32-bytes-of-your-own-randomness";

/// A key that is long enough and not one that was published, or that repeats a few characters.
pub(super) fn key(text: &str) -> Result<(), String> {
    /// Beginnings of keys in the plugin's documentation; the last is what the plugin itself takes for none.
    const PUBLISHED: &[&str] = &[
        "potato-secret-is-at-least-32-bytes-long",
        "your-secure-encryption-key-min-32-chars",
        "0123456789abcdef0123456789abcdef",
    ];
    if text.len() < 32 {
        return Err(format!("must have at least 32 bytes, has {}", text.len()));
    }
    if PUBLISHED.iter().any(|published| text.starts_with(published)) || repeats_few_bytes(text) {
        return Err("is one that everybody knows or guesses; make your own, as with `openssl rand -hex 32`"
            .to_owned());
    }
    Ok(())
}

/// Whether `text` is a few characters, at most 16 bytes, again and again.
fn repeats_few_bytes(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=16).any(|unit| bytes.iter().zip(bytes.iter().skip(unit)).all(|(byte, later)| byte == later))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn provider_urls() {
        for good in
            ["https://id.example", "http://127.0.0.1:9400", "http://localhost/realms/x", "http://[::1]:1"]
        {
            assert!(provider_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://10.0.0.1",
            "ftp://x",
            "id.example",
            "https://u:p@x",
            "https://x/#f",
            "",
            "http://169.254.1.1",
        ] {
            assert!(provider_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn own_paths() {
        assert!(own_path("/oauth2/callback").is_ok());
        for bad in ["callback", "https://app/callback", "//x", "/a/../b", "/a?b", ""] {
            assert!(own_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(seconds(60, None), Ok(Duration::from_secs(60)));
        assert_eq!(seconds(0, Some(Duration::from_secs(5))), Ok(Duration::from_secs(5)));
        assert!(seconds(0, None).is_err() && seconds(-1, None).is_err() && seconds(i64::MAX, None).is_err());
    }

    /// The constant that the plugin uses where no key is written (its `main.go`).
    #[test]
    fn n62_a_key_that_everybody_knows_is_refused() {
        let unit = "0123456789abcdef";
        for known in [
            unit.repeat(4),
            unit.repeat(2),
            unit.repeat(3),
            unit.to_uppercase().repeat(4),
            format!("{}x", unit.repeat(4)),
            unit.repeat(4).chars().take(37).collect(),
            "secret".repeat(6),
            "change-me-".repeat(4),
            "potato-secret-is-at-least-32-bytes-long".to_owned(),
        ] {
            assert!(key(&known).is_err(), "{known}");
        }
        assert!(key(EXAMPLE_KEY).is_ok());
    }

    #[test]
    fn names_and_keys() {
        assert!(key("short").is_err() && key(&"x".repeat(40)).is_err());
        assert!(key("4f1c0be7a95d28e36b70d1f2c8a93e54").is_ok());
        assert!(audience("https://api").is_ok() && audience("a*").is_err() && resource("urn:x:y").is_ok());
        assert!(resource("api").is_err() && resource("https://a#b").is_err());
        for loopback in
            ["http://localhost:3000", "http://api.localhost/x", "http://127.0.0.2", "http://[::1]/"]
        {
            assert!(audience(loopback).is_ok() && resource(loopback).is_ok(), "{loopback}");
        }
        for elsewhere in [
            "http://api.example.com",
            "HTTP://api/",
            "http://localhost.example",
            "http://10.0.0.1",
            "http://a.b.",
        ] {
            assert!(audience(elsewhere).is_err() && resource(elsewhere).is_err(), "{elsewhere}");
        }
    }

    #[test]
    fn endpoints_and_landings_are_http_only_on_loopback_or_beside_the_issuer() {
        let issuer = Some("http://op:9400/realm");
        for good in ["https://x/r", "http://localhost:1/r", "http://127.0.0.1/r", "http://op:8080/r"] {
            assert!(endpoint_url(good, issuer).is_ok(), "{good}");
        }
        for bad in ["http://id.example/r", "http://op.example/r", "ftp://x", "r"] {
            assert!(endpoint_url(bad, issuer).is_err(), "{bad}");
        }
        assert!(endpoint_url("http://id.example/r", Some("https://id.example")).is_err());
        assert!(
            landing_url("https://app.example.com/bye").is_ok() && landing_url("http://localhost/").is_ok()
        );
        assert!(landing_url("http://app.example.com/bye").is_err());
    }

    #[test]
    fn cookies_go_to_their_path_and_what_is_below() {
        for (path, place) in [("/", "/cb"), ("/app", "/app"), ("/app", "/app/cb"), ("/app/", "/app/cb")] {
            assert!(is_within(path, place), "{path} {place}");
        }
        for (path, place) in [("/app", "/cb"), ("/app", "/apple/cb"), ("/app/", "/app")] {
            assert!(!is_within(path, place), "{path} {place}");
        }
    }
}
