//! New connections take turns, so that those of one herd do not hold up all others.
//!
//! Thousands of clients connect in the same second after a restart, or send their first requests. To set a connection
//! up and to serve its first request costs several times what a further one costs. A worker would do that in the order
//! of arrival, and whoever comes last, or has been connected for long, would wait for all of it. Here each kind goes on
//! a few at a time: stochastic fair queueing (McKenney, 1990), by what can be told of a request before it is read.
//!
//! This is fairness and no defence: a client chooses its kind.

use std::array;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use memchr::memchr_iter;

use crate::net::Turns;

/// Kinds that share a queue share its turns. All of them together bound what goes on between two looks.
const QUEUES: usize = 32;

static TURNS: LazyLock<[Turns; QUEUES]> = LazyLock::new(|| array::from_fn(|_| Turns::new()));
/// Two kinds that share a queue do so until the next start.
static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// What is known about a new connection when its turn comes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'a> {
    /// The name that a TLS client asks for. Its handshake is still to come.
    ServerName(Option<&'a str>),
    /// The first bytes of HTTP.
    Head(&'a [u8]),
}

impl Kind<'_> {
    /// The turnstile to pass before the connection goes on.
    pub(super) fn turns(self) -> &'static Turns {
        let [first, ..] = &*TURNS;
        TURNS.get(self.queue()).unwrap_or(first)
    }

    pub(super) fn queue(self) -> usize {
        let mut hasher = KEYS.build_hasher();
        match self {
            Self::ServerName(name) => name.hash(&mut hasher),
            Self::Head(head) => {
                first_segment(head).hash(&mut hasher);
                host(head).for_each(|byte| hasher.write_u8(byte));
            }
        }
        usize::try_from(hasher.finish() % QUEUES as u64).unwrap_or_default()
    }
}

/// The path up to its second slash: `api` of `GET /api/x HTTP/1.1`. Nothing of anything else.
fn first_segment(head: &[u8]) -> &[u8] {
    let target = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let path = target.strip_prefix(b"/").unwrap_or_default();
    path.split(|byte| matches!(byte, b'/' | b'?' | b'\r' | b'\n')).next().unwrap_or_default()
}

/// The value of `Host` in lower case, as far as it has come.
fn host(head: &[u8]) -> impl Iterator<Item = u8> {
    let mut lines = memchr_iter(b'\n', head).filter_map(|end| head.get(end + 1..));
    let value = lines.find_map(|line| {
        let (name, value) = line.split_at_checked("host:".len())?;
        name.eq_ignore_ascii_case(b"host:").then_some(value)
    });
    let line = value.unwrap_or_default().split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.trim_ascii().iter().map(u8::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(head: &str) -> (&[u8], Vec<u8>) {
        (first_segment(head.as_bytes()), host(head.as_bytes()).collect())
    }

    #[test]
    fn a_kind_is_the_host_and_the_first_segment() {
        for target in ["/api/x", "/api", "/api/y/z?q", "/api?x/y"] {
            let head = format!("GET {target} HTTP/1.1\r\nA: b\r\nHost: A.test\r\n\r\n");
            assert_eq!(told(&head), (&b"api"[..], b"a.test".to_vec()), "{target}");
        }
        assert_eq!(told("POST / HTTP/1.1\r\nhOsT:a \r\nHost: b\r\n"), (&b""[..], b"a".to_vec()));
    }

    #[test]
    fn one_kind_has_one_queue() {
        let queue = |head: &str| Kind::Head(head.as_bytes()).queue();
        assert_eq!(
            queue("GET /a/b HTTP/1.1\r\nHost: A\r\n\r\n"),
            queue("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        );
        assert!(
            (0..100)
                .any(|n| queue(&format!("GET /{n} HTTP/1.1\r\n\r\n")) != queue("GET /a HTTP/1.1\r\n\r\n"))
        );
    }

    #[test]
    fn anything_has_a_kind() {
        for head in
            ["", " ", "GET", "GET ", "GET /", "GET /x HTTP/1.1\r\nHost", "\r\n\r\n", "PRI * HTTP/2.0\r\n\r\n"]
        {
            assert!(Kind::Head(head.as_bytes()).queue() < QUEUES);
        }
    }
}
