//! Our cookies: names, reading, setting, and removing them before a request goes to a service.

use http::header::{COOKIE, HeaderMap, HeaderValue};
use smallvec::SmallVec;

use super::settings::CookieSettings;

/// Names and attributes of one policy's cookies.
#[derive(Debug, Clone)]
pub struct Jar {
    prefix: String,
    domain: Option<String>,
    path: String,
    secure: Names,
    plain: Names,
}

/// Names under one scheme.
#[derive(Debug, Clone)]
struct Names {
    session: String,
    login: String,
    rounds: String,
    logout: String,
}

/// How the `Cookie` header of a request goes on to the service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CookieEdit {
    /// As it came: none of our cookies is in it.
    #[default]
    Keep,
    /// Without ours: these values instead; none at all removes the header.
    Replace(SmallVec<[HeaderValue; 1]>),
}

impl CookieEdit {
    /// Carries the edit out.
    pub fn apply(self, headers: &mut HeaderMap) {
        if let Self::Replace(values) = self {
            headers.remove(COOKIE);
            for value in values {
                headers.append(COOKIE, value);
            }
        }
    }
}

impl Jar {
    /// Makes the names.
    pub fn new(settings: &CookieSettings) -> Self {
        let host_only = settings.domain.is_none() && settings.path == "/";
        // RFC 6265bis, section 4.1.3: both prefixes need Secure, so plain http has none.
        let secure = if host_only { "__Host-" } else { "__Secure-" };
        Self {
            prefix: settings.prefix.clone(),
            domain: settings.domain.clone(),
            path: settings.path.clone(),
            secure: Names::new(secure, &settings.prefix),
            plain: Names::new("", &settings.prefix),
        }
    }

    fn names(&self, https: bool) -> &Names {
        if https { &self.secure } else { &self.plain }
    }

    /// Name of the session cookie.
    pub fn session(&self, https: bool) -> &str {
        &self.names(https).session
    }

    /// What the names of login attempts start with.
    pub fn login(&self, https: bool) -> &str {
        &self.names(https).login
    }

    /// Name of the cookie that counts logins that did not stay.
    pub fn rounds(&self, https: bool) -> &str {
        &self.names(https).rounds
    }

    /// Name of the cookie of a logout under way.
    pub fn logout(&self, https: bool) -> &str {
        &self.names(https).logout
    }

    /// A `Set-Cookie` value: HttpOnly, SameSite=Lax, Secure where the outside is https.
    pub fn set(&self, name: &str, value: &str, max_age: u64, https: bool) -> Option<HeaderValue> {
        let domain = self.domain.as_ref().map(|domain| format!("; Domain={domain}")).unwrap_or_default();
        let secure = if https { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path={}{domain}; Max-Age={max_age}; HttpOnly{secure}; SameSite=Lax", self.path);
        let mut header = HeaderValue::try_from(text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// A `Set-Cookie` value that removes the cookie; same attributes, or browsers keep it.
    pub fn remove(&self, name: &str, https: bool) -> Option<HeaderValue> {
        self.set(name, "", 0, https)
    }

    /// The request's cookies without ours, byte for byte.
    pub fn strip(&self, headers: &HeaderMap) -> CookieEdit {
        let ours = |pair: &&[u8]| self.is_ours(name_of(pair));
        if !headers.get_all(COOKIE).iter().any(|value| pairs(value).any(|pair| ours(&pair))) {
            return CookieEdit::Keep;
        }
        let mut kept = SmallVec::new();
        for value in headers.get_all(COOKIE) {
            let rest: Vec<&[u8]> = pairs(value).filter(|pair| !ours(pair)).collect();
            let joined = rest.join(&b';');
            let trimmed = joined.trim_ascii_start();
            if !trimmed.is_empty() {
                kept.extend(HeaderValue::from_bytes(trimmed));
            }
        }
        CookieEdit::Replace(kept)
    }

    fn is_ours(&self, name: &[u8]) -> bool {
        let bare = name.strip_prefix(b"__Host-").or_else(|| name.strip_prefix(b"__Secure-")).unwrap_or(name);
        bare.starts_with(self.prefix.as_bytes())
    }
}

impl Names {
    fn new(security: &str, prefix: &str) -> Self {
        let name = |what: &str| format!("{security}{prefix}{what}");
        Self { session: name("session"), login: name("login_"), rounds: name("rounds"), logout: name("logout") }
    }
}

/// The value of the cookie `name`; `None` also if there are two, for nobody can tell which is ours.
pub fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut found = cookies(headers).filter(|(n, _)| *n == name.as_bytes());
    let (_, value) = found.next()?;
    found.next().is_none().then(|| std::str::from_utf8(value).ok()).flatten()
}

/// All cookies whose name starts with `prefix`, as text.
pub fn starting<'a>(headers: &'a HeaderMap, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    cookies(headers)
        .filter(|(name, _)| name.starts_with(prefix.as_bytes()))
        .filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?)))
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(COOKIE).iter().flat_map(pairs).filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = memchr::memchr(b'=', pair)?;
        Some((pair.get(..at)?, pair.get(at + 1..)?))
    })
}

fn pairs(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b';')
}

fn name_of(pair: &[u8]) -> &[u8] {
    let pair = pair.trim_ascii();
    memchr::memchr(b'=', pair).and_then(|at| pair.get(..at)).unwrap_or(pair)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn jar(domain: Option<&str>, path: &str) -> Jar {
        Jar::new(&CookieSettings { prefix: "_p_".into(), domain: domain.map(str::to_owned), path: path.into() })
    }

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(COOKIE, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn names_follow_scheme_and_reach() {
        assert_eq!(jar(None, "/").session(true), "__Host-_p_session");
        assert_eq!(jar(Some("x.com"), "/").session(true), "__Secure-_p_session");
        assert_eq!(jar(None, "/app").session(true), "__Secure-_p_session");
        assert_eq!(jar(None, "/").session(false), "_p_session");
        let set = jar(Some("x.com"), "/app").set("n", "v", 60, true).unwrap();
        assert_eq!(set, "n=v; Path=/app; Domain=x.com; Max-Age=60; HttpOnly; Secure; SameSite=Lax");
        assert_eq!(jar(None, "/").remove("n", false).unwrap(), "n=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn ours_are_cut_out_and_nothing_else_changes() {
        let jar = jar(None, "/");
        let cases: &[(&[&str], CookieEdit)] = &[
            (&["a=1; ; b=2; c="], CookieEdit::Keep),
            (&["a=1; _p_session=x; ; b=\"q\";c="], CookieEdit::Replace(["a=1; ; b=\"q\";c=".parse().unwrap()].into_iter().collect())),
            (&["__Host-_p_session=x"], CookieEdit::Replace(SmallVec::new())),
            (&["__Secure-_p_login_ab=x; a=1", "_p_rounds=1"], CookieEdit::Replace(["a=1".parse().unwrap()].into_iter().collect())),
            (&["_p_=; xx_p_=1"], CookieEdit::Replace(["xx_p_=1".parse().unwrap()].into_iter().collect())),
        ];
        for (values, expected) in cases {
            assert_eq!(jar.strip(&headers(values)), *expected, "{values:?}");
        }
    }

    #[test]
    fn two_of_a_name_are_none() {
        assert_eq!(one(&headers(&["a=1; b=2"]), "b"), Some("2"));
        assert_eq!(one(&headers(&["b=1; b=2"]), "b"), None);
        assert_eq!(one(&headers(&["b=1", "b=1"]), "b"), None);
        assert_eq!(one(&headers(&["b"]), "b"), None);
    }

    proptest! {
        #[test]
        fn what_is_left_has_none_of_ours(text in "[a-c_p=; -]{0,40}") {
            let jar = jar(None, "/");
            let before = headers(&[&text]);
            let mut after = before.clone();
            jar.strip(&before).apply(&mut after);
            prop_assert_eq!(jar.strip(&after), CookieEdit::Keep);
            let others = |h: &HeaderMap| -> Vec<Vec<u8>> {
                cookies(h).filter(|(n, _)| !jar.is_ours(n)).map(|(n, v)| [n, b"=", v].concat()).collect()
            };
            prop_assert_eq!(others(&before), others(&after));
        }
    }
}
