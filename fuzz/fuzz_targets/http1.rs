//! The head of an HTTP/1 request and the body behind it. However the bytes arrive they are judged alike, and a head
//! that is accepted has, for the parser that Pingora uses, the framing that we follow: the ground of request smuggling.
#![no_main]

use httparse::{EMPTY_HEADER, Request, Status};
use libfuzzer_sys::fuzz_target;
use portcullis::entrypoint::fuzzing::{Body, Http1, follow};

fuzz_target!(|input: (usize, &[u8])| {
    let (cut, bytes) = input;
    let whole = follow(&[bytes]);
    let (first, rest) = bytes.split_at(cut % (bytes.len() + 1));
    // What is refused may be refused earlier, for another reason.
    assert_eq!(follow(&[first, rest]).ok(), whole.clone().ok());
    let Ok(Some(Http1 { skip, end, body, taken, .. })) = whole else { return };
    assert!(skip < end && end + taken <= bytes.len());
    let mut headers = [EMPTY_HEADER; 256];
    let mut request = Request::new(&mut headers);
    // What it refuses never gets further.
    let Ok(Status::Complete(length)) = request.parse(&bytes[skip..end]) else { return };
    assert_eq!(length, end - skip);
    let values = |name: &str| {
        let of_name = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        of_name.map(|header| header.value.trim_ascii()).collect::<Vec<_>>()
    };
    let (lengths, encodings) = (values("content-length"), values("transfer-encoding"));
    match body {
        Body::Chunked => {
            assert!(lengths.is_empty());
            assert!(matches!(encodings[..], [value] if value.eq_ignore_ascii_case(b"chunked")));
        }
        Body::Length(length) => {
            assert!(encodings.is_empty());
            assert!(length == 0 || !lengths.is_empty());
            for value in lengths.iter().flat_map(|value| value.split(|byte| *byte == b',')) {
                let digits = std::str::from_utf8(value.trim_ascii()).unwrap();
                assert_eq!(digits.parse::<u64>(), Ok(length));
            }
        }
    }
});
