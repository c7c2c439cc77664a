//! Requests made sane before anything is decided on them: what the router judges is, byte for
//! byte, what the service receives.

use http::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderName, HeaderValue, UPGRADE,
};
use http::{Method, StatusCode, Uri, Version};
use pingora::http::RequestHeader;
use smallvec::SmallVec;

use super::snapshot::{AliasHeaders, EntryPoint};
use crate::net::forwarded::{self, Forwarding};
use crate::net::headers::{
    Nomination, connection_members, connection_names, is_alias_name, nomination, same_name,
};
use crate::net::path::Target;
use crate::net::{LocalResponse, is_authority};
use crate::oidc::CookieEdit;
use crate::oidc::identity_headers::IDENTITY_HEADERS;

/// A request that is answered here.
pub(super) type Refusal = Box<LocalResponse>;

/// Plain text with the status' own words, as Go's `http.Error` writes it.
pub(super) fn refuse(status: StatusCode) -> Refusal {
    let reason = status.canonical_reason().unwrap_or_default();
    Box::new(text(status, reason))
}

/// Plain text that no browser takes for anything else.
pub(super) fn text(status: StatusCode, body: &'static str) -> LocalResponse {
    LocalResponse::text(status, body)
        .with_header(http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
}

/// What is not proxied: `CONNECT`, `*`, and expectations that nobody knows.
pub(super) fn method(request: &RequestHeader) -> Result<(), Refusal> {
    if request.method == Method::CONNECT {
        // RFC 9110, section 15.6.2, as Traefik does; an HTTP/2 stream gets the answer for a method
        // that the resource does not have.
        return Err(match request.version {
            Version::HTTP_2 => {
                let allow = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
                Box::new(refuse(StatusCode::METHOD_NOT_ALLOWED).with_header(ALLOW, allow))
            }
            _ => refuse(StatusCode::NOT_IMPLEMENTED),
        });
    }
    if request.method == Method::OPTIONS && request.raw_path() == b"*" {
        // A question about the server as a whole (RFC 9110, section 9.3.7), answered as Go does.
        return Err(Box::new(LocalResponse::new(StatusCode::OK)));
    }
    match request.headers.get(EXPECT) {
        Some(expect) if !expect.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            // RFC 9110, section 10.1.1, as Go does.
            Err(refuse(StatusCode::EXPECTATION_FAILED))
        }
        _ => Ok(()),
    }
}

/// `431` for a header that is larger than `limit` bytes, counted as HTTP/1.1 would write it.
pub(super) fn size(request: &RequestHeader, limit: usize) -> Result<(), Refusal> {
    // Names, values, `: ` and the line end; the request line with its two spaces and version.
    let fields: usize =
        request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let line = request.method.as_str().len() + request.raw_path().len() + 12;
    if fields + line > limit {
        return Err(refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    }
    Ok(())
}

/// Normalises the request target and leaves origin-form. Returns the path to route on when it is
/// not simply the path of the request.
///
/// # Errors
/// 400, with the reason in the debug log.
pub(super) fn target(request: &mut RequestHeader, entry: &EntryPoint) -> Result<Option<String>, Refusal> {
    let bad = |reason: &dyn std::fmt::Display| {
        tracing::debug!(%reason, "request target refused");
        refuse(StatusCode::BAD_REQUEST)
    };
    let parsed = Target::parse(request.raw_path(), entry.path).map_err(|reason| bad(&reason))?;
    let routing = (parsed.routing_path() != parsed.path()).then(|| parsed.routing_path().to_owned());
    if parsed.is_unchanged() {
        return Ok(routing);
    }
    let origin_form = parsed.origin_form();
    let authority = parsed.authority().and_then(|authority| HeaderValue::from_str(authority).ok());
    if let Some(authority) = authority.filter(|_| !request.headers.contains_key(HOST)) {
        request.insert_header(HOST, authority).map_err(|reason| bad(&reason))?;
    }
    replace_target(request, &origin_form).map_err(|reason| bad(&reason))?;
    Ok(routing)
}

/// Sets path and query, keeping scheme and authority of an HTTP/2 request.
pub(super) fn replace_target(request: &mut RequestHeader, origin_form: &str) -> pingora::Result<()> {
    if request.uri.authority().is_none() {
        return request.set_raw_path(origin_form.as_bytes());
    }
    let mut parts = http::uri::Parts::default();
    parts.scheme = request.uri.scheme().cloned();
    parts.authority = request.uri.authority().cloned();
    parts.path_and_query = origin_form.parse().ok();
    match Uri::from_parts(parts) {
        Ok(uri) => {
            request.set_uri(uri);
            Ok(())
        }
        Err(error) => {
            pingora::Error::e_because(pingora::ErrorType::InvalidHTTPHeader, "request target", error)
        }
    }
}

/// The authority of a request: `:authority`, else `Host`.
///
/// # Errors
/// 400 when HTTP/1.1 or HTTP/2 come without one (RFC 9112, section 3.2; RFC 9113, section 8.3.1),
/// or with one that no host name can have.
pub(super) fn authority(request: &RequestHeader) -> Result<HeaderValue, Refusal> {
    let value = match request.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => request.headers.get(HOST).cloned(),
    };
    match value {
        Some(value) if is_authority(value.as_bytes()) => Ok(value),
        None if request.version < Version::HTTP_11 => Ok(HeaderValue::from_static("")),
        _ => Err(refuse(StatusCode::BAD_REQUEST)),
    }
}

/// Puts the length of an HTTP/2 request into one field of one number: the service might believe another (RFC 9110,
/// section 8.6). HTTP/1 requests have it so already.
///
/// # Errors
/// 400 for fields that differ, and for what is no number.
pub(super) fn length(request: &mut RequestHeader) -> Result<(), Refusal> {
    let mut fields = request.headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = fields.next() else { return Ok(()) };
    let (mut lines, bad) = (1, || refuse(StatusCode::BAD_REQUEST));
    for other in fields {
        if other != first {
            return Err(bad());
        }
        lines += 1;
    }
    let digits = first.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    if lines > 1 || digits.first() == Some(&b'0') {
        let length: u64 = first.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(bad)?;
        request.insert_header(CONTENT_LENGTH, HeaderValue::from(length)).map_err(|_| bad())?;
    }
    Ok(())
}

/// Removes headers that the client must not send: identity headers in every spelling, forwarding
/// headers unless the peer is `trusted`, and aliases as the entry point says.
///
/// # Errors
/// 400 for an alias where the entry point rejects them.
pub(super) fn headers(request: &mut RequestHeader, entry: &EntryPoint, trusted: bool) -> Result<(), Refusal> {
    let mut unwanted = SmallVec::<[HeaderName; 4]>::new();
    for name in request.headers.keys() {
        if entry.own.headers.iter().any(|own| same_name(own.as_str(), name.as_str())) {
            unwanted.push(name.clone());
            continue;
        }
        match judge(name.as_str(), entry.alias_headers, trusted) {
            Verdict::Keep => {}
            Verdict::Remove => unwanted.push(name.clone()),
            Verdict::Reject => return Err(refuse(StatusCode::BAD_REQUEST)),
        }
    }
    for name in &unwanted {
        request.remove_header(name);
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    Remove,
    Reject,
}

fn judge(name: &str, aliases: AliasHeaders, trusted: bool) -> Verdict {
    match forwarded::classify(name) {
        Forwarding::Alias => return Verdict::Remove,
        Forwarding::Named if !trusted => return Verdict::Remove,
        Forwarding::Named | Forwarding::Other => {}
    }
    if IDENTITY_HEADERS.iter().any(|known| same_name(known, name)) {
        return Verdict::Remove;
    }
    match aliases {
        AliasHeaders::Delete if is_alias_name(name) => Verdict::Remove,
        AliasHeaders::Reject if is_alias_name(name) => Verdict::Reject,
        _ => Verdict::Keep,
    }
}

/// Takes off the headers that the client's `Connection` names, before any middleware looks.
///
/// The engine would do so on the way to the service, that is after the chain: a client could have
/// it remove what a middleware has set, an identity header for instance. Afterwards `Connection`
/// names only `Upgrade` and headers that the entry point lets middlewares see.
///
/// # Errors
/// 400 for a name that is none, or that a client must not take off.
pub(super) fn connection(request: &mut RequestHeader, entry: &EntryPoint) -> Result<(), Refusal> {
    if connection_members(&request.headers).all(|member| nomination(member) == Nomination::Option) {
        return Ok(());
    }
    let mut unwanted = SmallVec::<[HeaderName; 4]>::new();
    let mut left = SmallVec::<[&str; 4]>::new();
    if connection_names(&request.headers, "upgrade") {
        left.push("Upgrade");
    }
    for member in connection_members(&request.headers) {
        let name: HeaderName = match nomination(member) {
            Nomination::Option => continue,
            Nomination::Protected => return Err(refuse(StatusCode::BAD_REQUEST)),
            Nomination::Header => member.parse().map_err(|_| refuse(StatusCode::BAD_REQUEST))?,
        };
        if let Some(kept) = entry.connection_headers.iter().find(|kept| **kept == name) {
            left.push(kept.as_str());
        } else if forwarded::classify(name.as_str()) == Forwarding::Other {
            unwanted.push(name);
        }
    }
    let left = left.join(", ");
    for name in &unwanted {
        request.remove_header(name);
    }
    request.remove_header(&CONNECTION);
    if !left.is_empty() {
        // Joined from header names, so it is a header value.
        let _ = request.insert_header(CONNECTION, left);
    }
    Ok(())
}

/// Puts the cookies of an HTTP/2 request, which may come in many fields, into one (RFC 9113,
/// section 8.2.3): services and middlewares read the first only.
pub(super) fn join_cookies(request: &mut RequestHeader) {
    let mut fields = request.headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (fields.next(), fields.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for field in std::iter::once(second).chain(fields) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(field.as_bytes());
    }
    // Joined from header values, so it is one.
    if let Ok(joined) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        let _ = request.insert_header(COOKIE, joined);
    }
}

/// Takes our cookies off before a service sees them, whatever route it is behind.
pub(super) fn own_cookies(request: &mut RequestHeader, entry: &EntryPoint) {
    match entry.own.cookies.edit(&request.headers) {
        CookieEdit::Keep => {}
        CookieEdit::Drop => drop(request.remove_header(&COOKIE)),
        CookieEdit::Replace(value) => {
            if request.insert_header(COOKIE, value).is_err() {
                // Not ours to pass on is better than not all of the others.
                request.remove_header(&COOKIE);
            }
        }
    }
}

/// Removes an `Upgrade` that is not passed on.
pub(super) fn drop_upgrade(request: &mut RequestHeader) {
    request.remove_header(&UPGRADE);
    if request.version != Version::HTTP_11 {
        request.remove_header(&CONNECTION);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn request(version: Version, target: &[u8], headers: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build(Method::GET, target, None).unwrap();
        request.set_version(version);
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    fn status<T: std::fmt::Debug>(result: Result<T, Refusal>) -> u16 {
        result.unwrap_err().status.as_u16()
    }

    #[test]
    fn http_1_1_needs_a_host_and_http_1_0_does_not() {
        assert_eq!(status(authority(&request(Version::HTTP_11, b"/", &[]))), 400);
        assert_eq!(authority(&request(Version::HTTP_10, b"/", &[])).unwrap(), "");
        let named = request(Version::HTTP_11, b"/", &[("Host", "a.test:80")]);
        assert_eq!(authority(&named).unwrap(), "a.test:80");
        for bad in ["a test", "a:xx", "[::1"] {
            assert_eq!(status(authority(&request(Version::HTTP_11, b"/", &[("Host", bad)]))), 400, "{bad}");
        }
    }

    #[test]
    fn a_length_is_one_number() {
        let length = |fields: &[&str]| {
            let fields: Vec<_> = fields.iter().map(|value| ("content-length", *value)).collect();
            let mut request = request(Version::HTTP_2, b"/", &fields);
            super::length(&mut request).map(|()| {
                let values = request.headers.get_all(CONTENT_LENGTH).iter();
                values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
            })
        };
        assert!(length(&[]).unwrap().is_empty());
        for good in [&["5"][..], &["5", "5"], &["05"]] {
            assert_eq!(length(good).unwrap(), ["5"], "{good:?}");
        }
        assert_eq!(length(&["0"]).unwrap(), ["0"]);
        for bad in [&["5", "6"][..], &["5, 5"], &[""], &["+5"], &["099999999999999999999"]] {
            assert_eq!(status(length(bad)), 400, "{bad:?}");
        }
    }

    #[test]
    fn the_service_receives_the_path_that_was_judged() {
        let entry = EntryPoint::new("web");
        let mut dotted = request(Version::HTTP_11, b"/a/%2e%2e/b//c?x=1;y=2", &[("Host", "a.test")]);
        assert_eq!(target(&mut dotted, &entry).unwrap(), None);
        assert_eq!(dotted.raw_path(), b"/b/c?x=1&y=2");
        let mut absolute = request(Version::HTTP_10, b"http://a.test/x?y", &[]);
        target(&mut absolute, &entry).unwrap();
        assert_eq!(absolute.raw_path(), b"/x?y");
        assert_eq!(absolute.headers[HOST], "a.test");
    }

    #[test]
    fn an_http_2_request_keeps_its_authority() {
        let mut h2 = request(Version::HTTP_2, b"/", &[]);
        h2.set_uri("https://a.test/x/../y".parse().unwrap());
        target(&mut h2, &EntryPoint::new("web")).unwrap();
        assert_eq!(h2.uri, "https://a.test/y");
        assert_eq!(authority(&h2).unwrap(), "a.test");
    }

    #[test]
    fn identity_headers_go_in_every_spelling() {
        for name in [
            "X-Forwarded-User",
            "x_forwarded_user",
            "X.Forwarded.User",
            "X-User_Groups",
            "x-auth-request.user",
        ] {
            for trusted in [true, false] {
                assert_eq!(
                    judge(&name.to_lowercase(), AliasHeaders::Keep, trusted),
                    Verdict::Remove,
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn forwarding_headers_stay_only_from_a_trusted_peer() {
        assert_eq!(judge("x-forwarded-for", AliasHeaders::Keep, true), Verdict::Keep);
        assert_eq!(judge("x-forwarded-for", AliasHeaders::Keep, false), Verdict::Remove);
        assert_eq!(judge("forwarded", AliasHeaders::Keep, false), Verdict::Remove);
        assert_eq!(judge("x_forwarded_for", AliasHeaders::Keep, true), Verdict::Remove);
    }

    #[test]
    fn other_aliases_go_as_configured() {
        assert_eq!(judge("x_custom", AliasHeaders::Keep, false), Verdict::Keep);
        assert_eq!(judge("x_custom", AliasHeaders::Delete, false), Verdict::Remove);
        assert_eq!(judge("x_custom", AliasHeaders::Reject, false), Verdict::Reject);
        assert_eq!(judge("x-custom", AliasHeaders::Reject, false), Verdict::Keep);
    }

    #[test]
    fn a_client_cannot_have_headers_of_middlewares_removed() {
        let mut entry = EntryPoint::new("web");
        entry.connection_headers = vec![HeaderName::from_static("x-seen")];
        let mut named = request(
            Version::HTTP_11,
            b"/",
            &[
                ("Connection", "keep-alive, X-User-Groups, X-Hop, X-Real-Ip"),
                ("Connection", "X-Seen, upgrade"),
                ("X-Hop", "1"),
                ("X-Seen", "1"),
                ("X-Real-Ip", "192.0.2.1"),
            ],
        );
        connection(&mut named, &entry).unwrap();
        assert_eq!(named.headers[CONNECTION], "Upgrade, x-seen");
        assert!(!named.headers.contains_key("x-hop"));
        assert!(named.headers.contains_key("x-seen") && named.headers.contains_key("x-real-ip"));
        let mut usual = request(Version::HTTP_11, b"/", &[("Connection", "keep-alive")]);
        connection(&mut usual, &entry).unwrap();
        assert_eq!(usual.headers[CONNECTION], "keep-alive");
        for member in ["Host", "X-Forwarded-For", "a b", "\"x\""] {
            let mut bad = request(Version::HTTP_11, b"/", &[("Connection", member)]);
            assert_eq!(status(connection(&mut bad, &entry)), 400, "{member}");
        }
    }

    #[test]
    fn cookies_of_several_fields_become_one() {
        let mut many =
            request(Version::HTTP_2, b"/", &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        join_cookies(&mut many);
        assert_eq!(many.headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }

    #[test]
    fn methods_that_are_not_proxied() {
        let mut connect = request(Version::HTTP_11, b"a.test:443", &[]);
        connect.set_method(Method::CONNECT);
        assert_eq!(status(method(&connect)), 501);
        connect.set_version(Version::HTTP_2);
        assert_eq!(status(method(&connect)), 405);
        let mut options = request(Version::HTTP_11, b"*", &[]);
        options.set_method(Method::OPTIONS);
        assert_eq!(status(method(&options)), 200);
        assert!(method(&request(Version::HTTP_11, b"/", &[])).is_ok());
        assert!(method(&request(Version::HTTP_11, b"/", &[("Expect", "100-Continue")])).is_ok());
        assert_eq!(status(method(&request(Version::HTTP_11, b"/", &[("Expect", "tea")]))), 417);
    }

    #[test]
    fn a_large_header_is_431() {
        let big = request(Version::HTTP_11, b"/", &[("x", &"y".repeat(200))]);
        assert_eq!(status(size(&big, 200)), 431);
        assert!(size(&big, 400).is_ok());
    }
}
