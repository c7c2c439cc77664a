//! Our cookies stay here: the `Cookie` header that a service gets has all others, byte for byte.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use memchr::memchr;
use smallvec::SmallVec;

use super::{Cookies, is_blank, parts};

/// Between what stood in two headers.
const SEPARATOR: &[u8] = b"; ";

/// What is to be done with the `Cookie` headers of a request before a service sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CookieEdit {
    /// Nothing: none of ours is in there.
    #[default]
    Keep,
    /// Remove: all are ours.
    Drop,
    /// One header with this value takes the place of all.
    Replace(HeaderValue),
}

/// Which cookies are ours: those of every policy, so that no service sees another policy's either. Those of a service
/// that is a Portcullis itself, with clients of its own, are not.
#[derive(Clone, Debug, Default)]
pub struct OwnCookies {
    policies: Box<[Own]>,
}

/// The names of one policy, without security prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Own {
    session: Box<[u8]>,
    plain_session: Box<[u8]>,
    /// How the names of login cookies begin.
    login: Box<[u8]>,
}

/// A cookie that is not ours, as it stands in its header.
struct Other<'a> {
    part: &'a [u8],
    /// Of those in it that are not ours.
    first_of_header: bool,
}

impl Own {
    fn is(&self, name: &[u8]) -> bool {
        let Some(rest) = name.strip_prefix(&*self.session) else {
            return *name == *self.plain_session || name.starts_with(&self.login);
        };
        // The cookie itself, or a chunk of it, whatever its number.
        rest.is_empty() || rest.strip_prefix(b"_").is_some_and(|number| number.iter().all(u8::is_ascii_digit))
    }
}

impl OwnCookies {
    /// The cookies of these policies.
    pub fn of<'a>(policies: impl IntoIterator<Item = &'a Cookies>) -> Self {
        let mut all: Vec<Own> = Vec::new();
        for cookies in policies {
            let names = &cookies.http;
            let bytes = |name: &str| name.as_bytes().into();
            let own = Own {
                session: bytes(&names.session),
                plain_session: bytes(&names.plain_session),
                login: bytes(&names.login),
            };
            if !all.contains(&own) {
                all.push(own);
            }
        }
        Self { policies: all.into() }
    }

    /// How the headers have to be rewritten. They are looked through once, for sessions in cookies are long. Allocates
    /// only if ours and others are in there, or very many.
    #[must_use]
    pub fn edit(&self, headers: &HeaderMap) -> CookieEdit {
        #[cfg(test)]
        super::LOOKS.set(super::LOOKS.get() + 1);
        let (mut ours, mut others) = (false, SmallVec::<[Other<'_>; 16]>::new());
        for header in headers.get_all(COOKIE) {
            let mut first_of_header = true;
            for part in parts(header.as_bytes()) {
                if self.is_ours(part) {
                    ours = true;
                } else {
                    others.push(Other { part, first_of_header });
                    first_of_header = false;
                }
            }
        }
        if !ours {
            CookieEdit::Keep
        } else if others.iter().all(|other| other.part.iter().copied().all(is_blank)) {
            CookieEdit::Drop
        } else {
            joined(&others)
        }
    }

    /// Goes by name alone, whatever the value; with or without a security prefix.
    fn is_ours(&self, part: &[u8]) -> bool {
        let name = memchr(b'=', part).and_then(|end| part.get(..end)).unwrap_or(part);
        let name = without_security_prefix(name.trim_ascii());
        self.policies.iter().any(|own| own.is(name))
    }
}

/// What is not ours. Several headers become one, as RFC 9113 8.2.3 joins them.
fn joined(others: &[Other<'_>]) -> CookieEdit {
    let room = others.iter().map(|other| other.part.len() + SEPARATOR.len()).sum();
    let mut kept = Vec::with_capacity(room);
    for Other { part, first_of_header } in others {
        if !first_of_header {
            kept.push(b';');
            kept.extend_from_slice(part);
            continue;
        }
        if !kept.is_empty() {
            kept.extend_from_slice(SEPARATOR);
        }
        // Blanks that stood after a separator which is gone.
        let start = part.iter().position(|b| !is_blank(*b)).unwrap_or(part.len());
        kept.extend_from_slice(part.get(start..).unwrap_or_default());
    }
    // Parts of valid header values make a valid one; if not, nothing of ours may slip through.
    HeaderValue::from_maybe_shared(bytes::Bytes::from(kept)).map_or(CookieEdit::Drop, CookieEdit::Replace)
}

/// Browsers take `__host-` for the same as `__Host-`.
pub(super) fn without_security_prefix(name: &[u8]) -> &[u8] {
    for prefix in ["__Host-", "__Secure-"] {
        if let Some((start, rest)) = name.split_at_checked(prefix.len())
            && start.eq_ignore_ascii_case(prefix.as_bytes())
        {
            return rest;
        }
    }
    name
}
