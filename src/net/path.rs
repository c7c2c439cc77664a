//! The request target before routing: refused, normalised or passed through.
//!
//! Follows what Traefik does ahead of its routers: a target that is not rooted, holds a raw `#` or a
//! broken escape is refused; `%XX` of unreserved characters is decoded and the other escapes get
//! upper-case digits (RFC 3986, sections 6.2.2.1 and 6.2.2.2); dot segments and repeated slashes are
//! removed; semicolons in the query become `&` or `%3B`. The path that the router judges is derived
//! from the path that the service receives, so the two cannot disagree.
//!
//! Deliberate difference: where Go meets a byte that a path must not hold (`{`, `"`, anything beyond
//! ASCII) it decodes and encodes the whole path again, which turns `%2F` into `/`. Here only that
//! byte is encoded.

use std::borrow::Cow;

use thiserror::Error;

mod encoded;
mod escape;
mod segments;

pub use encoded::EncodedCharacters;
pub use escape::{complete, decode, encode, escaped_len, routing_path};
pub use segments::clean;

use escape::{Class, class, hex_value, push_escape};

/// How an entry point treats request targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathPolicy {
    /// `http.sanitizePath`: remove dot segments and repeated slashes. Default true.
    pub sanitize: bool,
    /// `http.encodeQuerySemicolons`: `;` in the query becomes `%3B`, otherwise `&`. Default false.
    pub encode_query_semicolons: bool,
}

impl Default for PathPolicy {
    fn default() -> Self {
        Self { sanitize: true, encode_query_semicolons: false }
    }
}

/// Why a request target is refused. Each is a 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TargetError {
    /// Neither origin-form nor absolute-form (RFC 9112, section 3.2): rootless, opaque, `*`, empty.
    #[error("the request target has no rooted path")]
    NotRooted,
    /// A raw `#`: a fragment is never part of a request target.
    #[error("the request target holds a fragment")]
    Fragment,
    /// `%` without two hexadecimal digits behind it.
    #[error("the request target holds a bad percent escape")]
    BadEscape,
    /// A control character (NUL among them) or a space.
    #[error("the request target holds a control character or a space")]
    ControlCharacter,
    /// The authority of an absolute-form target is empty or not text.
    #[error("the request target holds a bad authority")]
    BadAuthority,
}

/// A request target that passed: what is forwarded, and what the router judges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    path: Cow<'a, str>,
    /// `None`: the same as `path`, which is the usual request.
    routing_path: Option<String>,
    query: Option<Cow<'a, str>>,
    authority: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Checks and normalises a request target as it came in the request line or in `:path`.
    ///
    /// Borrows from `target` wherever nothing has to change.
    ///
    /// # Errors
    /// [`TargetError`], to be answered with 400.
    pub fn parse(target: &'a [u8], policy: PathPolicy) -> Result<Self, TargetError> {
        let (authority, rest) = split_authority(target)?;
        let (path, query) = match memchr::memchr(b'?', rest).and_then(|at| rest.split_at_checked(at)) {
            Some((path, query)) => (path, query.get(1..)),
            None => (rest, None),
        };
        // `http://host` and `http://host?q` ask for the root (RFC 9112, section 3.2.1).
        let path = if path.is_empty() { b"/" } else { path };
        let path = normalise_path(path, policy.sanitize)?;
        let query = query.map(|query| normalise_query(query, policy)).transpose()?;
        let routing_path = match routing_path(&path) {
            Cow::Borrowed(_) => None,
            Cow::Owned(decoded) => Some(decoded),
        };
        Ok(Self { path, routing_path, query, authority })
    }

    /// The path as the service receives it: rooted, percent-encoded, ASCII.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path that rules are judged on: [`Target::path`] with every escape decoded but those of
    /// reserved characters and of `%`.
    pub fn routing_path(&self) -> &str {
        self.routing_path.as_deref().unwrap_or(&self.path)
    }

    /// The query without its `?`, as the service receives it. `Some("")` for a target that ends in `?`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The authority of an absolute-form target; it takes the place of `Host` (RFC 9112, section 3.2.2).
    pub fn authority(&self) -> Option<&'a str> {
        self.authority
    }

    /// Whether [`Target::origin_form`] is, byte for byte, what was parsed.
    pub fn is_unchanged(&self) -> bool {
        self.authority.is_none()
            && matches!(self.path, Cow::Borrowed(_))
            && !matches!(self.query, Some(Cow::Owned(_)))
    }

    /// Path and query as they go to the service.
    pub fn origin_form(&self) -> String {
        origin_form(&self.path, self.query())
    }
}

/// `path`, and `?query` where there is one.
pub fn origin_form(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => [path, "?", query].concat(),
        None => path.to_owned(),
    }
}

/// Takes the authority off an absolute-form target, leaving path and query.
fn split_authority(target: &[u8]) -> Result<(Option<&str>, &[u8]), TargetError> {
    if target.first() == Some(&b'/') {
        return Ok((None, target));
    }
    let rest = strip_scheme(target).ok_or(TargetError::NotRooted)?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).ok_or(TargetError::NotRooted)?;
    // User information in a request target has no use and misleads readers of logs (RFC 9110, 4.2.4).
    if authority.is_empty() || !authority.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'@') {
        return Err(TargetError::BadAuthority);
    }
    let authority = std::str::from_utf8(authority).map_err(|_| TargetError::BadAuthority)?;
    Ok((Some(authority), rest))
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (head, rest) = target.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

fn normalise_path(raw: &[u8], sanitize: bool) -> Result<Cow<'_, str>, TargetError> {
    let path = normalise_escapes(raw)?;
    if !sanitize {
        return Ok(path);
    }
    Ok(match path {
        Cow::Borrowed(path) => clean(path),
        Cow::Owned(path) => match clean(&path) {
            Cow::Borrowed(_) => Cow::Owned(path),
            Cow::Owned(cleaned) => Cow::Owned(cleaned),
        },
    })
}

fn normalise_escapes(raw: &[u8]) -> Result<Cow<'_, str>, TargetError> {
    if raw.iter().all(|&byte| matches!(class(byte), Class::Unreserved | Class::PathOnly | Class::Dot)) {
        // Every byte of those classes is ASCII.
        return Ok(String::from_utf8_lossy(raw));
    }
    let mut out = String::with_capacity(raw.len() + 8);
    let mut bytes = raw.iter().copied();
    while let Some(byte) = bytes.next() {
        match class(byte) {
            Class::Unreserved | Class::PathOnly | Class::Dot => out.push(char::from(byte)),
            Class::Encode => push_escape(&mut out, byte),
            Class::Percent => {
                let decoded = escaped_byte(bytes.next(), bytes.next())?;
                match class(decoded) {
                    Class::Unreserved | Class::Dot => out.push(char::from(decoded)),
                    _ => push_escape(&mut out, decoded),
                }
            }
            Class::Hash => return Err(TargetError::Fragment),
            Class::Refuse => return Err(TargetError::ControlCharacter),
        }
    }
    if out.as_bytes() == raw {
        // Escapes that were already in their normal form: keep borrowing.
        return Ok(String::from_utf8_lossy(raw));
    }
    Ok(Cow::Owned(out))
}

fn escaped_byte(high: Option<u8>, low: Option<u8>) -> Result<u8, TargetError> {
    let high = high.and_then(hex_value).ok_or(TargetError::BadEscape)?;
    let low = low.and_then(hex_value).ok_or(TargetError::BadEscape)?;
    Ok(high << 4 | low)
}

fn normalise_query(raw: &[u8], policy: PathPolicy) -> Result<Cow<'_, str>, TargetError> {
    let mut plain = true;
    for &byte in raw {
        match byte {
            b'#' => return Err(TargetError::Fragment),
            0..=b' ' | 0x7f => return Err(TargetError::ControlCharacter),
            b';' | b'"' | b'<' | b'>' | 0x80.. => plain = false,
            _ => {}
        }
    }
    if plain {
        return Ok(String::from_utf8_lossy(raw));
    }
    let mut out = String::with_capacity(raw.len() + 8);
    for &byte in raw {
        match byte {
            b';' if policy.encode_query_semicolons => out.push_str("%3B"),
            b';' => out.push('&'),
            // Not allowed in a query (RFC 3986, section 3.4) and refused by most URI parsers.
            b'"' | b'<' | b'>' | 0x80.. => push_escape(&mut out, byte),
            _ => out.push(char::from(byte)),
        }
    }
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests;
