//! `http` or `https`.

/// How the client reaches the edge, as the outside sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// Reads `X-Forwarded-Proto`: `ws` counts as `http` and `wss` as `https`, in any case.
    pub fn from_forwarded_proto(value: &[u8]) -> Option<Self> {
        let is = |name: &str| value.eq_ignore_ascii_case(name.as_bytes());
        if is("https") || is("wss") {
            Some(Self::Https)
        } else if is("http") || is("ws") {
            Some(Self::Http)
        } else {
            None
        }
    }

    /// `https` if and only if the connection is TLS.
    pub fn of_connection(tls: bool) -> Self {
        if tls { Self::Https } else { Self::Http }
    }

    /// As it is written in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}
