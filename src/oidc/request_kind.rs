//! Who is sent to log in, and who is told "401".
//!
//! Only a top-level navigation starts a login: a login started by an image, a script's call or a
//! frame would overwrite the one in the address bar, and its answer could not be shown.
//! Nothing here opens a route; it only chooses between two refusals.

use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, ORIGIN, UPGRADE};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// What a request without a session is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// The browser navigates its window: redirect to the provider, errors as a page.
    Navigation,
    /// Anything else: 401, errors as JSON.
    Api,
}

impl RequestKind {
    /// Judges a request by its method and headers.
    ///
    /// A browser that only looks ahead would start a login that nobody has asked for. It drops an answer that is no
    /// success, and asks again when its user really comes (Speculation Rules, "prefetch" and "prerender").
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        if (method == Method::GET || method == Method::HEAD) && navigates(headers) && !speculates(headers) {
            Self::Navigation
        } else {
            Self::Api
        }
    }

    /// Whether a person has sent a form. A program that posts takes anything as an answer, or says nothing of it.
    pub fn is_form(method: &Method, headers: &HeaderMap) -> bool {
        let says_so = headers.contains_key(SEC_FETCH_MODE) || accepts(headers, "text/html");
        method == Method::POST && says_so && navigates(headers)
    }

    /// Whether a refusal is shown as a page. A form that is posted has no login to go to, but its
    /// sender is a person.
    pub fn wants_page(headers: &HeaderMap) -> bool {
        navigates(headers)
    }
}

/// Whether the request was caused by a page of another site, as far as the browser says so.
/// `authority` is our own.
pub fn is_cross_site(headers: &HeaderMap, authority: &str) -> bool {
    match text(headers, &SEC_FETCH_SITE) {
        Some(site) => site == "cross-site",
        None => [ORIGIN, http::header::REFERER]
            .iter()
            .filter_map(|name| text(headers, name))
            .any(|source| !has_authority(source, authority)),
    }
}

/// Whether a part of a page asks, and nobody who clicked: an image or a frame, wherever the page is from, or a script
/// of a sibling host (`same-site`), for which cookies with `SameSite=Lax` come along.
pub fn is_embedded(headers: &HeaderMap) -> bool {
    let part = text(headers, &SEC_FETCH_DEST).is_some_and(|dest| !matches!(dest, "document" | "empty"));
    let sibling = text(headers, &SEC_FETCH_SITE) == Some("same-site")
        && text(headers, &SEC_FETCH_MODE).is_some_and(|mode| mode != "navigate");
    part || sibling
}

/// Whether the browser only looks ahead: nobody has asked for the page yet.
pub fn is_prefetch(headers: &HeaderMap) -> bool {
    const NAMES: [HeaderName; 2] = [SEC_PURPOSE, HeaderName::from_static("purpose")];
    NAMES.iter().filter_map(|name| text(headers, name)).any(|value| value.starts_with("prefetch"))
}

/// As [`is_prefetch`], but only by the header of the Fetch standard: what sends the older one may show the answer.
fn speculates(headers: &HeaderMap) -> bool {
    text(headers, &SEC_PURPOSE).is_some_and(|purpose| purpose.starts_with("prefetch"))
}

fn has_authority(source: &str, authority: &str) -> bool {
    let rest = source.split_once("://").map_or("", |(_, rest)| rest);
    let host = rest.split_once(['/', '?', '#']).map_or(rest, |(host, _)| host);
    host.eq_ignore_ascii_case(authority)
}

fn navigates(headers: &HeaderMap) -> bool {
    if headers.contains_key(UPGRADE) {
        return false;
    }
    match text(headers, &SEC_FETCH_MODE) {
        Some(mode) => mode == "navigate" && matches!(text(headers, &SEC_FETCH_DEST), None | Some("document")),
        // A destination without a mode is no browser's request; believe what it says.
        None => {
            matches!(text(headers, &SEC_FETCH_DEST), None | Some("document"))
                && looks_like_navigation(headers)
        }
    }
}

/// For browsers and tools that send no `Sec-Fetch-*`.
fn looks_like_navigation(headers: &HeaderMap) -> bool {
    let script = text(headers, &X_REQUESTED_WITH).is_some_and(|v| v.eq_ignore_ascii_case("XMLHttpRequest"))
        || text(headers, &CONTENT_TYPE).is_some_and(|v| media_type(v).ends_with("json"));
    if script || accepts(headers, "text/event-stream") {
        return false;
    }
    !headers.contains_key(ACCEPT)
        || accepts(headers, "text/html")
        || accepts(headers, "application/xhtml+xml")
        || accepts(headers, "*/*") && !prefers_resource(headers)
}

/// `image/avif,image/webp,*/*;q=0.8` is an image's request although it ends in `*/*`.
fn prefers_resource(headers: &HeaderMap) -> bool {
    accept_types(headers).any(|t| {
        t.starts_with("image/")
            || t.starts_with("font/")
            || t == "text/css"
            || t.contains("javascript")
            || t.ends_with("json")
    })
}

fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    accept_types(headers).any(|t| t == wanted)
}

fn accept_types(headers: &HeaderMap) -> impl Iterator<Item = String> + '_ {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(media_type)
        .filter(|t| !t.is_empty())
}

fn media_type(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    // A value that is not text is no value that a browser sends; it must not count as absent.
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn kind(method: &str, headers: &[(&str, &str)]) -> RequestKind {
        let map =
            headers.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse().unwrap())).collect();
        RequestKind::of(&method.parse().unwrap(), &map)
    }

    #[test]
    fn table() {
        use RequestKind::{Api, Navigation};
        type Case = (&'static str, &'static [(&'static str, &'static str)], RequestKind);
        let cases: &[Case] = &[
            ("GET", &[("sec-fetch-mode", "navigate"), ("accept", "image/png")], Navigation),
            ("HEAD", &[("sec-fetch-mode", "navigate")], Navigation),
            ("GET", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], Navigation),
            (
                "GET",
                &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe"), ("accept", "text/html")],
                Api,
            ),
            ("GET", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "object")], Api),
            ("GET", &[("sec-fetch-mode", "cors"), ("accept", "text/html")], Api),
            ("GET", &[("sec-fetch-mode", "no-cors"), ("accept", "text/html")], Api),
            ("GET", &[("sec-fetch-mode", "same-origin"), ("accept", "text/html")], Api),
            ("GET", &[("sec-fetch-mode", "websocket")], Api),
            ("GET", &[("x-requested-with", "XMLHttpRequest"), ("accept", "text/html")], Api),
            ("GET", &[("content-type", "application/json"), ("accept", "*/*")], Api),
            ("GET", &[("accept", "application/json")], Api),
            ("GET", &[("accept", "image/avif,image/webp,*/*;q=0.8")], Api),
            ("GET", &[("accept", "text/css,*/*;q=0.1")], Api),
            ("GET", &[("accept", "font/woff2")], Api),
            ("GET", &[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")], Navigation),
            ("GET", &[("accept", "application/json, text/html")], Navigation),
            ("GET", &[("accept", "application/xhtml+xml")], Navigation),
            ("GET", &[("accept", "application/xhtml+xml, text/event-stream")], Api),
            ("GET", &[("accept", "*/*")], Navigation),
            ("GET", &[], Navigation),
            ("POST", &[("accept", "text/html")], Api),
            ("POST", &[("sec-fetch-mode", "navigate")], Api),
            ("DELETE", &[], Api),
            ("OPTIONS", &[("origin", "https://a"), ("access-control-request-method", "GET")], Api),
            ("OPTIONS", &[("accept", "text/html")], Api),
            ("GET", &[("accept", "text/event-stream")], Api),
            ("GET", &[("accept", "text/html, text/event-stream")], Api),
            ("GET", &[("accept", "text/html"), ("upgrade", "websocket"), ("connection", "upgrade")], Api),
            ("GET", &[("sec-fetch-mode", "navigate"), ("accept", "text/event-stream")], Navigation),
            ("GET", &[("sec-fetch-mode", "cors"), ("accept", "text/event-stream")], Api),
            ("GET", &[("sec-fetch-mode", "navigate"), ("upgrade", "websocket")], Api),
            ("GET", &[("sec-fetch-mode", "navigate"), ("sec-purpose", "prefetch")], Api),
            ("GET", &[("sec-fetch-mode", "navigate"), ("sec-purpose", "prefetch;prerender")], Api),
            ("GET", &[("sec-fetch-mode", "navigate"), ("purpose", "prefetch")], Navigation),
        ];
        for (method, headers, expected) in cases {
            assert_eq!(kind(method, headers), *expected, "{method} {headers:?}");
        }
    }

    #[test]
    fn cross_site_needs_a_witness() {
        let map = |name: &str, value: &str| {
            let mut map = HeaderMap::new();
            map.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            map
        };
        let own = "app.example.com:8443";
        assert!(is_cross_site(&map("sec-fetch-site", "cross-site"), own));
        assert!(!is_cross_site(&map("sec-fetch-site", "same-site"), own));
        assert!(is_cross_site(&map("origin", "https://evil.example"), own));
        assert!(is_cross_site(&map("origin", "null"), own));
        assert!(is_cross_site(&map("referer", "https://app.example.com:8443.evil.example/"), own));
        assert!(!is_cross_site(&map("referer", "https://APP.example.com:8443/page?x"), own));
        assert!(!is_cross_site(&HeaderMap::new(), own));
    }
}
