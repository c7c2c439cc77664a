//! The matchers of the rule language, compiled.

use std::net::IpAddr;

use http::HeaderName;
use http::header::{HOST, TRAILER, TRANSFER_ENCODING};
use ipnet::{IpNet, Ipv4Net};

use super::{RequestView, query};
use crate::net::GoRegex;

/// Their names in Traefik v3.
pub(super) const NAMES: [&str; 11] = [
    "Host",
    "HostRegexp",
    "Path",
    "PathPrefix",
    "PathRegexp",
    "Header",
    "HeaderRegexp",
    "Method",
    "Query",
    "QueryRegexp",
    "ClientIP",
];

/// One condition on a request.
#[derive(Debug, Clone)]
pub(super) enum Matcher {
    /// The same for every request.
    Constant(bool),
    Host(HostPattern),
    /// A host was sent.
    HostPresent,
    HostRegexp(GoRegex),
    Path(Box<str>),
    PathPrefix(Box<str>),
    PathRegexp(GoRegex),
    Header(HeaderName, Box<str>),
    HeaderRegexp(HeaderName, GoRegex),
    Method(Box<str>),
    Query(Box<str>, Box<str>),
    QueryRegexp(Box<str>, GoRegex),
    ClientIp(IpNet),
}

/// The argument of `Host`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum HostPattern {
    /// `*`: any host, or none.
    Any,
    /// Lower-case, without a trailing dot.
    Exact(Box<str>),
    /// `*.parent`: exactly one label before the parent.
    OneLabel(Box<str>),
}

impl Matcher {
    /// Compiles the call of a matcher. `name` is one of [`NAMES`].
    pub(super) fn compile(name: &str, args: &[String]) -> Result<Self, String> {
        let (first, second) = match args {
            [first] if !name.starts_with("Header") => (first, None),
            [first, second] if name.starts_with("Header") || name.starts_with("Query") => {
                (first, Some(second))
            }
            _ => return Err(wrong_count(name, args.len())),
        };
        if args.iter().any(String::is_empty) {
            return Err(format!("an argument of {name} is empty"));
        }
        match (name, second) {
            ("Host", _) => host(first),
            ("HostRegexp", _) => host_regexp(first),
            ("Path", _) => Ok(Self::Path(rooted(first)?)),
            ("PathPrefix", _) => Ok(Self::PathPrefix(rooted(first)?)),
            ("PathRegexp", _) => Ok(Self::PathRegexp(regex(first)?)),
            ("Method", _) => Ok(Self::Method(first.to_uppercase().into())),
            ("ClientIP", _) => client_ip(first),
            // With one argument, QueryRegexp is Query.
            ("Query" | "QueryRegexp", None) => Ok(Self::Query(first.as_str().into(), "".into())),
            ("Query", Some(value)) => Ok(Self::Query(first.as_str().into(), value.as_str().into())),
            ("QueryRegexp", Some(value)) => Ok(Self::QueryRegexp(first.as_str().into(), regex(value)?)),
            ("Header", Some(value)) => header(first, |name| Ok(Self::Header(name, value.as_str().into()))),
            ("HeaderRegexp", Some(value)) => {
                header(first, |name| Ok(Self::HeaderRegexp(name, regex(value)?)))
            }
            _ => Err(format!("unsupported matcher {name}")),
        }
    }

    pub(super) fn matches(&self, request: &RequestView<'_>) -> bool {
        match self {
            Self::Constant(verdict) => *verdict,
            Self::Host(pattern) => pattern.matches(request.host),
            Self::HostPresent => !request.host.is_empty(),
            Self::HostRegexp(regex) => regex.is_match(request.host),
            Self::Path(path) => request.path == &**path,
            Self::PathPrefix(prefix) => request.path.starts_with(&**prefix),
            Self::PathRegexp(regex) => regex.is_match(request.path),
            Self::Header(name, value) => {
                request.headers.get_all(name).iter().any(|sent| sent.as_bytes() == value.as_bytes())
            }
            Self::HeaderRegexp(name, regex) => {
                request.headers.get_all(name).iter().any(|sent| regex.is_match(sent))
            }
            Self::Method(method) => request.method.as_str() == &**method,
            Self::Query(key, value) => query::has(request.query, key, value),
            Self::QueryRegexp(key, regex) => query::any(request.query, key, |value| regex.is_match(value)),
            Self::ClientIp(net) => net.contains(&request.client.to_canonical()),
        }
    }

    /// Roughly what an evaluation costs, for ordering.
    pub(super) fn cost(&self) -> u32 {
        match self {
            Self::Constant(_) | Self::HostPresent => 0,
            Self::Method(_) | Self::ClientIp(_) | Self::Host(_) | Self::Path(_) | Self::PathPrefix(_) => 1,
            Self::Header(..) => 2,
            Self::Query(..) => 4,
            Self::HostRegexp(_) | Self::PathRegexp(_) => 8,
            Self::HeaderRegexp(..) => 10,
            Self::QueryRegexp(..) => 12,
        }
    }
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => host == &**exact,
            Self::OneLabel(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == &**parent),
        }
    }
}

fn wrong_count(name: &str, got: usize) -> String {
    let expected = match name {
        "Header" | "HeaderRegexp" => "2",
        "Query" | "QueryRegexp" => "1 or 2",
        _ => "1",
    };
    format!("unexpected number of parameters for {name}: got {got}, expected {expected}")
}

fn regex(expression: &str) -> Result<GoRegex, String> {
    GoRegex::new(expression).map_err(|error| error.to_string())
}

fn ascii(value: &str, matcher: &str) -> Result<(), String> {
    match value.is_ascii() {
        true => Ok(()),
        false => {
            Err(format!("{value:?} in {matcher}: non-ASCII characters are not allowed, write the xn-- form"))
        }
    }
}

fn rooted(path: &str) -> Result<Box<str>, String> {
    match path.starts_with('/') {
        true => Ok(path.into()),
        false => Err(format!("path {path:?} does not start with a '/'")),
    }
}

fn host(value: &str) -> Result<Matcher, String> {
    ascii(value, "Host")?;
    let host = value.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let pattern = match host.strip_prefix("*.") {
        _ if host == "*" => HostPattern::Any,
        // Refused aloud: Traefik accepts such a value and never matches it.
        None if host.contains('*') => return Err(bad_wildcard(value)),
        Some(parent) if parent.is_empty() || parent.contains('*') => return Err(bad_wildcard(value)),
        Some(parent) => HostPattern::OneLabel(parent.into()),
        // `Host(".")`: a request without a host has no name that could equal it.
        None if host.is_empty() => return Ok(Matcher::Constant(false)),
        None => HostPattern::Exact(host.into()),
    };
    Ok(Matcher::Host(pattern))
}

fn bad_wildcard(value: &str) -> String {
    format!("host {value:?}: a `*` can only stand alone or for the whole first label, as in `*.example.com`")
}

/// Traefik tests the expression also on the host's flattened CNAME, which is empty unless `hostResolver` is on. So an
/// expression that matches the empty text matches every request.
fn host_regexp(expression: &str) -> Result<Matcher, String> {
    ascii(expression, "HostRegexp")?;
    let compiled = regex(expression)?;
    Ok(match expression {
        _ if compiled.is_match("") => Matcher::Constant(true),
        // What entry-point redirections use; a canonical host holds no newline.
        "^.+$" | ".+" => Matcher::HostPresent,
        _ => Matcher::HostRegexp(compiled),
    })
}

/// Go takes these three out of the header map before rules are judged, so a rule on them never matches.
fn header(
    name: &str,
    matcher: impl FnOnce(HeaderName) -> Result<Matcher, String>,
) -> Result<Matcher, String> {
    let name: HeaderName = name.parse().map_err(|_| format!("{name:?} is not a header name"))?;
    let compiled = matcher(name.clone())?;
    Ok(match [HOST, TRANSFER_ENCODING, TRAILER].contains(&name) {
        true => Matcher::Constant(false),
        false => compiled,
    })
}

fn client_ip(value: &str) -> Result<Matcher, String> {
    let net = match value.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address.to_canonical()),
        Err(_) => {
            value.parse::<IpNet>().map_err(|_| format!("{value:?} is neither an IP address nor a CIDR"))?
        }
    };
    Ok(Matcher::ClientIp(canonical_net(net)))
}

/// `::ffff:10.0.0.0/104` means `10.0.0.0/8`: mapped addresses compare as IPv4.
fn canonical_net(net: IpNet) -> IpNet {
    let mapped = |net: &IpNet| match net.addr().to_canonical() {
        IpAddr::V4(address) => Ipv4Net::new(address, net.prefix_len().checked_sub(96)?).ok(),
        IpAddr::V6(_) => None,
    };
    match net {
        IpNet::V6(_) => mapped(&net).map_or(net, IpNet::V4),
        IpNet::V4(_) => net,
    }
}
