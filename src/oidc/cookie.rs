//! Our cookies (RFC 6265, RFC 6265bis name prefixes): their names, reading them, setting them, and keeping them from
//! the services.

mod chunks;
mod edit;

use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use memchr::memchr;

pub use chunks::{CarriedCookies, ChunkError, Chunks, LONGEST_COOKIE, MOST_CHUNKS, Presented};
pub use edit::{CookieEdit, OwnCookies};

/// The part of a name after the prefix: the session.
const SESSION: &str = "session";

/// The same for login attempts; the attempt's id follows.
const LOGIN: &str = "login_";

/// How many values of one name are tried. A browser sends several when cookies of one name have different paths or
/// domains, and anybody can send as many as fit.
pub const MAX_SAME_NAME: usize = 4;

/// Why cookies cannot be made as configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CookieError {
    /// `cookiePrefix`.
    #[error(
        "a cookie prefix is 1 to 64 letters, digits, `_`, `-` or `.`, and does not begin with `__Host-` or `__Secure-`"
    )]
    Prefix,
    /// `cookieDomain`.
    #[error("a cookie domain is a bare host name, without scheme, port or path")]
    Domain,
    /// `cookiePath`.
    #[error("a cookie path begins with `/` and holds neither `;` nor control characters")]
    Path,
    /// A value that cannot be in a cookie.
    #[error("the value cannot be in a cookie")]
    Value,
}

/// The cookies of one policy.
#[derive(Clone, Debug)]
pub struct Cookies {
    prefix: Box<str>,
    domain: Option<Box<str>>,
    path: Box<str>,
    /// Names of the session cookie and beginnings of login cookies' names, for http and https outside.
    http: Names,
    https: Names,
}

#[derive(Clone, Debug)]
struct Names {
    session: Box<str>,
    login: Box<str>,
    /// The session's name before clients had names of their own.
    plain_session: Box<str>,
}

impl Cookies {
    /// Cookies with this `cookiePrefix`, `cookieDomain` (none: of this host only) and `cookiePath` (none: `/`).
    ///
    /// # Errors
    /// [`CookieError`] if one of them cannot be in a cookie.
    pub fn new(prefix: &str, domain: Option<&str>, path: Option<&str>) -> Result<Self, CookieError> {
        check_prefix(prefix)?;
        let domain = domain.filter(|domain| !domain.is_empty());
        let path = path.filter(|path| !path.is_empty()).unwrap_or("/");
        if domain.is_some_and(|domain| !is_domain(domain)) {
            return Err(CookieError::Domain);
        }
        if !path.starts_with('/') || !path.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b';') {
            return Err(CookieError::Path);
        }
        // Browsers refuse a `__Host-` cookie with a domain or another path.
        let secure = if domain.is_none() && path == "/" { "__Host-" } else { "__Secure-" };
        Ok(Self {
            prefix: prefix.into(),
            domain: domain.map(Into::into),
            path: path.into(),
            http: Names::new("", prefix, None),
            https: Names::new(secure, prefix, None),
        })
    }

    /// With names of their own for the client `tag` (letters and digits), so that two policies on one host with one
    /// `cookiePrefix` and different clients do not overwrite each other's.
    #[must_use]
    pub fn for_client(self, tag: &str) -> Self {
        let secure = if self.domain.is_none() && &*self.path == "/" { "__Host-" } else { "__Secure-" };
        let (http, https) =
            (Names::new("", &self.prefix, Some(tag)), Names::new(secure, &self.prefix, Some(tag)));
        Self { http, https, ..self }
    }

    /// The name of the session cookie, where the outside is `https` or not.
    #[must_use]
    pub fn session_name(&self, https: bool) -> &str {
        &self.names(https).session
    }

    /// The name that the session cookie had before clients had names of their own. It is read, and not set any more.
    #[must_use]
    pub fn plain_session_name(&self, https: bool) -> &str {
        &self.names(https).plain_session
    }

    /// The name of the cookie of the login attempt `id` (letters, digits, `_`, `-`).
    #[must_use]
    pub fn login_name(&self, https: bool, id: &str) -> String {
        format!("{}{id}", self.names(https).login)
    }

    /// The login attempts that a request brings: id and value. Allocates nothing.
    pub fn logins<'a>(
        &'a self,
        headers: &'a HeaderMap,
        https: bool,
    ) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
        let start = &*self.names(https).login;
        pairs(headers).filter_map(move |(name, value)| Some((name.strip_prefix(start)?, value)))
    }

    /// A `Set-Cookie` header: HttpOnly, SameSite=Lax, Secure where the outside is https. Without `max_age` it ends
    /// with the browser.
    ///
    /// # Errors
    /// [`CookieError::Value`] if name or value cannot be in a cookie.
    pub fn set(
        &self,
        name: &str,
        value: &str,
        max_age: Option<Duration>,
        https: bool,
    ) -> Result<HeaderValue, CookieError> {
        if name.is_empty() || !name.bytes().all(is_name_byte) || !value.bytes().all(is_value_byte) {
            return Err(CookieError::Value);
        }
        let mut text = format!("{name}={value}; Path={}", self.path);
        if let Some(domain) = &self.domain {
            text.push_str("; Domain=");
            text.push_str(domain);
        }
        if let Some(max_age) = max_age {
            text.push_str("; Max-Age=");
            text.push_str(itoa::Buffer::new().format(max_age.as_secs()));
            if max_age.is_zero() {
                // For clients that do not know Max-Age.
                text.push_str("; Expires=Thu, 01 Jan 1970 00:00:00 GMT");
            }
        }
        text.push_str("; HttpOnly; SameSite=Lax");
        if https {
            text.push_str("; Secure");
        }
        HeaderValue::try_from(text).map_err(|_| CookieError::Value)
    }

    /// The `Set-Cookie` header that removes a cookie; it has the attributes of the one that set it.
    ///
    /// # Errors
    /// As [`Cookies::set`].
    pub fn clear(&self, name: &str, https: bool) -> Result<HeaderValue, CookieError> {
        self.set(name, "", Some(Duration::ZERO), https)
    }

    fn names(&self, https: bool) -> &Names {
        if https { &self.https } else { &self.http }
    }
}

impl Names {
    fn new(secure: &str, prefix: &str, tag: Option<&str>) -> Self {
        let plain_session = format!("{secure}{prefix}{SESSION}");
        let (session, login) = match tag {
            None => (plain_session.clone(), format!("{secure}{prefix}{LOGIN}")),
            Some(tag) => (format!("{plain_session}_{tag}"), format!("{secure}{prefix}{LOGIN}{tag}_")),
        };
        Self { session: session.into(), login: login.into(), plain_session: plain_session.into() }
    }
}

/// All cookies of a request, in order, over all its `Cookie` headers. What is no `name=value` in ASCII is left out.
pub fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    byte_pairs(headers).filter_map(|(name, value)| text(name).zip(text(value)))
}

/// The values of the cookie `name`, [`MAX_SAME_NAME`] at most.
pub fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let of_name = byte_pairs(headers).filter(move |(found, _)| *found == name.as_bytes());
    of_name.filter_map(|(_, value)| text(value)).take(MAX_SAME_NAME)
}

#[cfg(test)]
thread_local! {
    /// How often the cookies of requests were looked through, on this thread.
    pub(super) static LOOKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

fn byte_pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    #[cfg(test)]
    LOOKS.set(LOOKS.get() + 1);
    headers.get_all(COOKIE).iter().flat_map(|header| parts(header.as_bytes())).filter_map(|part| {
        let (name, value) = part.split_at_checked(memchr(b'=', part)?)?;
        Some((without_blanks(name), without_blanks(value.get(1..)?)))
    })
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// What stands between the `;` of a `Cookie` header. Every request's cookies are looked through, and searching eight
/// bytes and more at once is several times faster than one by one.
fn parts(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(header);
    std::iter::from_fn(move || {
        let all = rest?;
        let (part, after) = match memchr(b';', all) {
            Some(at) => (all.get(..at)?, all.get(at + 1..)),
            None => (all, None),
        };
        rest = after;
        Some(part)
    })
}

fn without_blanks(bytes: &[u8]) -> &[u8] {
    let Some(start) = bytes.iter().position(|b| !is_blank(*b)) else { return &[] };
    let end = bytes.iter().rposition(|b| !is_blank(*b)).unwrap_or(start);
    bytes.get(start..=end).unwrap_or_default()
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn check_prefix(prefix: &str) -> Result<(), CookieError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let fits = (1..=64).contains(&prefix.len()) && prefix.bytes().all(plain);
    if fits && edit::without_security_prefix(prefix.as_bytes()) == prefix.as_bytes() {
        Ok(())
    } else {
        Err(CookieError::Prefix)
    }
}

fn is_domain(domain: &str) -> bool {
    let labels = domain.strip_prefix('.').unwrap_or(domain);
    labels.len() <= 253
        && labels.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

/// RFC 6265: a token.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 6265: cookie-octet.
fn is_value_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}

#[cfg(test)]
mod tests;
