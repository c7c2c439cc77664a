use super::*;
use proptest::prelude::*;

fn all(input: &[u8]) -> Result<Progress, RejectReason> {
    Scanner::default().advance(input, 4096)
}

fn lines(lines: &str) -> Result<Head, RejectReason> {
    judge(format!("POST /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes())
}

#[test]
fn ends_of_heads() {
    assert_eq!(all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody"), Ok(Progress::Complete { skip: 0, end: 27 }));
    assert_eq!(all(b"GET / HTTP/1.1\nHost: a\n\nbody"), Ok(Progress::Complete { skip: 0, end: 24 }));
    assert_eq!(all(b"\r\n\nGET / HTTP/1.1\r\n\r\n"), Ok(Progress::Complete { skip: 3, end: 21 }));
    for partial in [&b""[..], b"\r\n", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r"] {
        assert_eq!(all(partial), Ok(Progress::Partial));
    }
}

#[test]
fn limits() {
    let mut long = b"GET /".to_vec();
    long.resize(5000, b'a');
    assert_eq!(all(&long), Err(RejectReason::TargetTooLong));
    let mut large = b"GET / HTTP/1.1\r\nX: ".to_vec();
    large.resize(5000, b'a');
    assert_eq!(all(&large), Err(RejectReason::HeaderTooLarge));
    large.extend(b"\r\n\r\n");
    assert_eq!(all(&large), Err(RejectReason::HeaderTooLarge));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(256));
    assert_eq!(all(many.as_bytes()), Err(RejectReason::HeaderTooLarge));
    assert_eq!(all(&b"\r\n".repeat(3000)), Err(RejectReason::HeaderTooLarge));
}

#[test]
fn targets_get_the_escapes_that_they_lack() {
    let reworded = |target: &str| {
        let head = judge(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        head.reworded.map(|head| String::from_utf8(head).unwrap())
    };
    for target in ["/a?b=c", "/%22%3c", "/?a={b}|`^[\\]'", "/a?b`c"] {
        assert_eq!(reworded(target), None, "{target}");
    }
    for (target, expected) in [
        ("/?a=\"<b>\"`", "/?a=%22%3Cb%3E%22`"),
        ("/`<>\"", "/%60%3C%3E%22"),
        ("http://a/\"?\"", "http://a/%22?%22"),
    ] {
        assert_eq!(reworded(target).unwrap(), format!("GET {expected} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
}

#[test]
fn request_lines() {
    let line = |line: &str| judge(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()).map(|_| ());
    assert_eq!(line("GET /?q=%20 HTTP/1.1"), Ok(()));
    assert_eq!(line("PURGE http://a/ HTTP/1.0"), Ok(()));
    assert_eq!(line("GET / HTTP/2.0"), Err(RejectReason::Version));
    assert_eq!(line("GET / HTTP/0.9"), Err(RejectReason::Version));
    assert_eq!(line("PRI * HTTP/2.0"), Err(RejectReason::Version));
    assert_eq!(line("CONNECT a:443 HTTP/1.1"), Err(RejectReason::NotImplemented));
    for bad in [
        "GET /",
        "GET /a b HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET / http/1.1",
        "",
        "GET /\t HTTP/1.1",
        "G@T / HTTP/1.1",
        "GET http:/\\b/ HTTP/1.1",
        "GET http://u@a/ HTTP/1.1",
        "GET http://b/ HTTP/1.1",
    ] {
        assert_eq!(line(bad), Err(RejectReason::Malformed), "{bad}");
    }
    assert_eq!(judge(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"), Err(RejectReason::Malformed));
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(judge(old), Err(RejectReason::Malformed));
}

#[test]
fn framing() {
    assert_eq!(lines("").unwrap().framing, Framing::length(0));
    assert_eq!(lines("Content-Length: 5\r\n").unwrap().framing, Framing::length(5));
    assert_eq!(lines("content-length: 5\r\nContent-Length:5 \r\n").unwrap().framing, Framing::length(5));
    assert_eq!(lines("Transfer-Encoding: Chunked\r\n").unwrap().framing, Framing::chunked());
    for malformed in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5\r\nContent-Length: 05\r\n",
        "Content-Length: 9223372036854775808\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: \r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length : 5\r\n",
        " folded\r\n",
        "nothing\r\n",
        "host: a\r\n",
        ": empty\r\n",
        "X: a\0b\r\n",
        "X: a\rb\r\n",
        "X: a\r\r\n",
        "X:\u{c}a\r\n",
        "X\u{e9}: a\r\n",
    ] {
        assert_eq!(lines(malformed), Err(RejectReason::Malformed), "{malformed:?}");
    }
    for unknown in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ] {
        assert_eq!(lines(unknown), Err(RejectReason::NotImplemented), "{unknown:?}");
    }
}

#[test]
fn hosts() {
    for good in ["a", "a:80", "[::1]:80", ""] {
        assert!(judge(format!("GET / HTTP/1.1\r\nHost: {good}\r\n\r\n").as_bytes()).is_ok(), "{good}");
    }
    for bad in ["u@a", "a:xx", "[::1", "a b", "a/b", "a, b"] {
        let judged = judge(format!("GET / HTTP/1.1\r\nHost: {bad}\r\n\r\n").as_bytes());
        assert_eq!(judged, Err(RejectReason::Malformed), "{bad}");
    }
}

#[test]
fn what_may_not_go_on_as_it_came_is_put_in_other_words() {
    let reworded =
        |head: &str| judge(head.as_bytes()).unwrap().reworded.map(|bytes| String::from_utf8(bytes).unwrap());
    for usual in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
    ] {
        assert_eq!(reworded(usual), None, "{usual}");
    }
    for (head, expected) in [
        (
            "POST /x HTTP/1.1\r\nContent-Length: 05\r\nHost: a\r\n\r\n",
            "POST /x HTTP/1.1\r\nContent-Length: 5\r\nHost: a\r\n\r\n",
        ),
        (
            "POST /x HTTP/1.1\nhost: a\ncontent-length: 5\nX: y\nContent-Length: 5\n\n",
            "POST /x HTTP/1.1\r\nhost: a\r\nContent-Length: 5\r\nX: y\r\n\r\n",
        ),
        ("GET / HTTP/1.9\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            "GET http://a:80/x HTTP/1.1\r\nhost: A\r\nX: y\r\n\r\n",
            "GET http://a:80/x HTTP/1.1\r\nHost: a:80\r\nX: y\r\n\r\n",
        ),
        ("GET https://a/x HTTP/1.0\r\nHost: a:443\r\n\r\n", "GET https://a/x HTTP/1.0\r\nHost: a\r\n\r\n"),
    ] {
        assert_eq!(reworded(head).as_deref(), Some(expected), "{head}");
    }
}

#[test]
fn upgrades_need_both_fields() {
    assert!(lines("Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n").unwrap().upgrade);
    assert!(!lines("Upgrade: websocket\r\n").unwrap().upgrade);
    assert!(!lines("Connection: upgrade\r\n").unwrap().upgrade);
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        input in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'a'), Just(b':'), Just(b' ')], 0..200),
        cut in 0_usize..200,
    ) {
        let cut = cut.min(input.len());
        let mut scanner = Scanner::default();
        let first = scanner.advance(&input[..cut], 4096).unwrap();
        let whole = all(&input).unwrap();
        if first == Progress::Partial {
            prop_assert_eq!(scanner.advance(&input, 4096).unwrap(), whole);
        } else {
            prop_assert_eq!(first, whole);
        }
    }

    #[test]
    fn any_head_is_judged(input in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = judge(&input);
    }

    /// Nothing is left to put in other words, and it is framed as before.
    #[test]
    fn other_words_mean_the_same(
        minor in 1_u8..10,
        target in prop_oneof![Just("/x"), Just("http://a/x"), Just("HTTP://A:80/x")],
        host in prop_oneof![Just("a"), Just("A:80"), Just("a:")],
        length in proptest::option::of(prop_oneof![Just("5"), Just("005"), Just("0"), Just("00")]),
        lines in 1_usize..4,
    ) {
        let lengths = length.map_or(String::new(), |length| format!("Content-Length: {length}\r\n").repeat(lines));
        let head = format!("POST {target} HTTP/1.{minor}\r\nX: 1\r\nHost: {host}\r\n{lengths}Y: 2\r\n\r\n");
        let judged = judge(head.as_bytes()).unwrap();
        if let Some(reworded) = &judged.reworded {
            let again = judge(reworded).unwrap();
            prop_assert_eq!(&again.reworded, &None);
            prop_assert_eq!(again.framing, judged.framing);
            prop_assert_eq!(all(reworded).unwrap(), Progress::Complete { skip: 0, end: reworded.len() });
        }
    }
}
