//! What a service's header says about its body, in one way that every reader understands alike.
//!
//! The engine reads the body by the last of the transfer codings and by any list of equal lengths, and hands the header
//! on as it came: who reads it after us could see another end of the body, and take the rest for the next answer.

use http::StatusCode;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};

/// Leaves one framing of the body, or none where there is no body.
///
/// # Errors
/// A transfer coding other than `chunked`, for which nobody has asked (RFC 9112, section 7.4).
pub(super) fn settle(response: &mut ResponseHeader) -> Result<()> {
    let mut codings = response.headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next()
        && !(coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none())
    {
        return refuse("the answer has a transfer coding other than chunked");
    }
    match response.status {
        StatusCode::NO_CONTENT => unframe(response),
        // Its length is that of the answer to a GET (RFC 9110, section 8.6).
        StatusCode::NOT_MODIFIED => drop(response.remove_header(&TRANSFER_ENCODING)),
        _ => {}
    }
    one_length(response)
}

/// Takes off what says where a body ends, for an answer that never has one (RFC 9110, section 8.6; RFC 9112, section 6.1).
pub(super) fn unframe(response: &mut ResponseHeader) {
    response.remove_header(&CONTENT_LENGTH);
    response.remove_header(&TRANSFER_ENCODING);
}

/// Puts a length that is said several times, which the engine has found to be the same each time, into one field of one
/// number (RFC 9110, section 8.6).
fn one_length(response: &mut ResponseHeader) -> Result<()> {
    let mut fields = response.headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = fields.next() else { return Ok(()) };
    if fields.next().is_none() && first.as_bytes().iter().all(u8::is_ascii_digit) {
        return Ok(());
    }
    let number =
        first.to_str().ok().and_then(|text| text.split(',').next()?.trim_ascii().parse::<u64>().ok());
    match number {
        Some(number) => response.insert_header(CONTENT_LENGTH, HeaderValue::from(number)),
        None => refuse("the answer has a length that is no number"),
    }
}

/// Whether a 101 is the answer to what the client has asked for.
///
/// # Errors
/// It has not asked, or for another protocol (RFC 9110, sections 7.8 and 15.2.2).
pub(super) fn agrees(asked: bool, request: &HeaderMap, response: &ResponseHeader) -> Result<()> {
    let protocols = |headers: &HeaderMap| -> Vec<String> {
        let fields = headers.get_all(UPGRADE).iter().filter_map(|value| value.to_str().ok());
        fields
            .flat_map(|value| value.split(','))
            .map(|token| token.trim_ascii().to_ascii_lowercase())
            .collect()
    };
    let (wanted, given) = (protocols(request), protocols(&response.headers));
    if asked && !given.is_empty() && given.iter().all(|protocol| wanted.contains(protocol)) {
        return Ok(());
    }
    refuse("the service switches to a protocol that nobody has asked for")
}

fn refuse<T>(reason: &'static str) -> Result<T> {
    Err(Error::explain(ErrorType::InvalidHTTPHeader, reason).into_up())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn settled(status: u16, fields: &[(&'static str, &str)]) -> Option<Vec<(String, String)>> {
        let mut response = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            response.append_header(*name, *value).unwrap();
        }
        settle(&mut response).ok()?;
        let left = response.headers.iter();
        Some(left.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect())
    }

    fn left(status: u16, fields: &[(&'static str, &str)]) -> String {
        let left = settled(status, fields).unwrap();
        left.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_length_is_one_number() {
        for fields in [
            &[("content-length", "5")][..],
            &[("content-length", "5"), ("content-length", "5")],
            &[("content-length", "5, 5")],
            &[("content-length", "5 ,5"), ("content-length", "5")],
        ] {
            assert_eq!(left(200, fields), "content-length: 5", "{fields:?}");
        }
        assert_eq!(settled(200, &[("content-length", "x")]), None);
    }

    #[test]
    fn only_one_coding_goes_on() {
        assert_eq!(left(200, &[("transfer-encoding", "Chunked")]), "transfer-encoding: Chunked");
        for fields in [
            &[("transfer-encoding", "identity")][..],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "chunked, chunked")],
            &[("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "")],
        ] {
            assert_eq!(settled(200, fields), None, "{fields:?}");
        }
    }

    #[test]
    fn an_answer_without_a_body_has_no_framing() {
        let framed = [("content-length", "5"), ("etag", "x")];
        assert_eq!(left(204, &framed), "etag: x");
        assert_eq!(left(204, &[("transfer-encoding", "chunked")]), "");
        assert_eq!(left(304, &framed), "content-length: 5; etag: x");
        assert_eq!(left(304, &[("transfer-encoding", "chunked")]), "");
    }

    #[test]
    fn only_what_was_asked_for_is_switched_to() {
        let verdict = |asked, wanted: &[&'static str], given: &[&'static str]| {
            let mut request = HeaderMap::new();
            for value in wanted {
                request.append(UPGRADE, HeaderValue::from_static(value));
            }
            let mut response = ResponseHeader::build(101, None).unwrap();
            for value in given {
                response.append_header(UPGRADE, *value).unwrap();
            }
            agrees(asked, &request, &response).is_ok()
        };
        assert!(verdict(true, &["websocket"], &["WebSocket"]));
        assert!(verdict(true, &["foo/1, bar"], &["bar"]));
        assert!(!verdict(false, &["websocket"], &["websocket"]), "not passed on");
        assert!(!verdict(true, &["websocket"], &["foo"]));
        assert!(!verdict(true, &["websocket"], &["websocket, foo"]));
        assert!(!verdict(true, &["websocket"], &[]));
    }
}
