//! New connections take turns, so that those of one herd do not hold up all others.
//!
//! Thousands of clients connect in the same second after a restart, or send what they have waited with when a session or
//! an outage ends. To set a connection up and to hear its first request costs many times what a further one costs. A
//! worker would do that in the order of arrival, and whoever comes last, or has been connected for long, would wait for
//! all of it. Here each kind of request goes on a few at a time: stochastic fair queueing (McKenney, 1990), by what can
//! be told of a request before it is read.

use std::hash::{DefaultHasher, Hash, Hasher};

use memchr::memchr_iter;

use crate::net::Turns;

/// Queues. Kinds of requests that share one share its turns.
const QUEUES: usize = 32;
/// Of one queue at once.
const AT_ONCE: usize = 4;

static TURNS: [Turns; QUEUES] = [const { Turns::new(AT_ONCE) }; QUEUES];

/// What is known about a new connection when its turn comes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'a> {
    /// The name that a TLS client asks for. Its handshake is still to come.
    ServerName(Option<&'a str>),
    /// The first bytes of HTTP.
    Head(&'a [u8]),
}

impl Kind<'_> {
    /// Returns when the connection may go on.
    pub(super) async fn take_turn(self) {
        let queue = self.hash() % QUEUES as u64;
        if let Some(turns) = usize::try_from(queue).ok().and_then(|queue| TURNS.get(queue)) {
            turns.take().await;
        }
    }

    fn hash(self) -> u64 {
        let mut hasher = DefaultHasher::new();
        match self {
            Self::ServerName(name) => name.hash(&mut hasher),
            Self::Head(head) => {
                first_segment(head).hash(&mut hasher);
                host(head).to_ascii_lowercase().hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

/// The path up to its second slash: `/api` of `GET /api/x HTTP/1.1`. Nothing of anything else.
fn first_segment(head: &[u8]) -> &[u8] {
    let target = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let path = target.strip_prefix(b"/").unwrap_or_default();
    path.split(|byte| matches!(byte, b'/' | b'?' | b'\r' | b'\n')).next().unwrap_or_default()
}

/// The value of `Host`, as far as it has come.
fn host(head: &[u8]) -> &[u8] {
    let lines = memchr_iter(b'\n', head).filter_map(|end| head.get(end + 1..));
    let values = lines.filter_map(|line| {
        let (name, value) = line.split_at_checked("host:".len())?;
        name.eq_ignore_ascii_case(b"host:").then_some(value)
    });
    let value = values.take(1).next().unwrap_or_default();
    value.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_one_kind(one: &str, other: &str) -> bool {
        Kind::Head(one.as_bytes()).hash() == Kind::Head(other.as_bytes()).hash()
    }

    #[test]
    fn requests_of_one_host_and_first_segment_are_of_one_kind() {
        let request =
            |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nA: b\r\nHost: {host}\r\n\r\n");
        let api = request("/api/x", "a.test");
        for other in ["/api", "/api/y/z?q", "/api?x/y"] {
            assert!(is_one_kind(&api, &request(other, "a.test")), "{other}");
        }
        assert!(is_one_kind(&api, "POST /api HTTP/1.1\r\nhOsT:A.TEST \r\nHost: b\r\n"));
        assert!(!is_one_kind(&api, &request("/apis/x", "a.test")));
        assert!(!is_one_kind(&api, &request("/api/x", "b.test")));
    }

    #[test]
    fn anything_has_a_kind() {
        for head in
            ["", " ", "GET", "GET ", "GET /", "GET /x HTTP/1.1\r\nHost", "\r\n\r\n", "PRI * HTTP/2.0\r\n\r\n"]
        {
            Kind::Head(head.as_bytes()).hash();
        }
    }
}
