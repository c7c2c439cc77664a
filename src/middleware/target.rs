//! The target and the authority of a request, read and rewritten.

use http::header::{HOST, X_CONTENT_TYPE_OPTIONS};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, StatusCode};
use pingora::http::RequestHeader;

use super::{Flow, set_header};
use crate::net::LocalResponse;
use crate::net::path::origin_form;

/// Host and port as the client sent them; `""` for none.
pub(super) fn authority(request: &RequestHeader) -> &str {
    match request.headers.get(HOST) {
        Some(host) => host.to_str().unwrap_or_default(),
        None => request.uri.authority().map_or("", |authority| authority.as_str()),
    }
}

/// Replaces the authority: `Host`, and what HTTP/2 keeps in the URI.
pub(super) fn set_authority(request: &mut RequestHeader, value: &HeaderValue) {
    set_header!(request, insert_header, HOST, value.clone());
    if request.uri.authority().is_none() {
        return;
    }
    let mut parts = request.uri.clone().into_parts();
    parts.authority = value.as_bytes().try_into().ok();
    if parts.authority.is_none() {
        parts.scheme = None;
    }
    if let Ok(uri) = Uri::from_parts(parts) {
        request.set_uri(uri);
    }
}

/// The percent-encoded path.
pub(super) fn path(request: &RequestHeader) -> &str {
    request.uri.path()
}

/// Path and query.
pub(super) fn target(request: &RequestHeader) -> &str {
    request.uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

/// Replaces the path, keeping the query and, for HTTP/2, scheme and authority.
///
/// `path` is percent-encoded and rooted. The answer would be a 500, which no path that was encoded
/// brings about.
pub(super) fn set_path(request: &mut RequestHeader, path: &str) -> Flow {
    let target = origin_form(path, request.uri.query());
    let replaced = match request.uri.authority() {
        // `set_raw_path` would drop the authority that HTTP/2 keeps in the URI.
        Some(_) => target.parse().ok().and_then(|target| {
            let mut parts = request.uri.clone().into_parts();
            parts.path_and_query = Some(target);
            Uri::from_parts(parts).ok().map(|uri| request.set_uri(uri))
        }),
        None => request.set_raw_path(target.as_bytes()).ok(),
    };
    match replaced {
        Some(()) => Flow::Continue,
        None => Flow::Respond(plain(StatusCode::INTERNAL_SERVER_ERROR)),
    }
}

/// A refusal whose body is the text of its status, as Go's `http.Error` writes it.
pub(super) fn plain(status: StatusCode) -> LocalResponse {
    LocalResponse::text(status, status.canonical_reason().unwrap_or_default())
        .with_header(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn h2() -> RequestHeader {
        let mut request = RequestHeader::build_no_case("GET", b"/", None).unwrap();
        request.set_uri("https://a.example/x?q".parse().unwrap());
        request
    }

    #[test]
    fn http2_keeps_its_authority() {
        let mut request = h2();
        assert_eq!(authority(&request), "a.example");
        assert!(matches!(set_path(&mut request, "/y"), Flow::Continue));
        assert_eq!(request.uri, "https://a.example/y?q");
        set_authority(&mut request, &HeaderValue::from_static("b.example"));
        assert_eq!(request.uri, "https://b.example/y?q");
        assert_eq!(authority(&request), "b.example");
    }

    #[test]
    fn http1_keeps_its_query() {
        let mut request = RequestHeader::build("GET", b"/x?a=%2F", None).unwrap();
        assert!(matches!(set_path(&mut request, "/y%20z"), Flow::Continue));
        assert_eq!(request.raw_path(), b"/y%20z?a=%2F");
        assert_eq!(target(&request), "/y%20z?a=%2F");
    }
}
