//! Headers for services, lives of sessions, and cookies.

use std::time::Duration;

use http::HeaderName;

use super::Builder;
use crate::oidc::cookie::{CookieError, Cookies};
use crate::oidc::identity_headers::same_header;
use crate::oidc::settings::{CookieSettings, SessionSettings, check};
use crate::oidc::template::Template;

/// The highest `perSourceLoginRateLimit`, one in a millisecond.
const MOST_LOGINS: u32 = 60_000;

/// The shortest idle lifetime: an open stream is looked at every few seconds.
const LEAST_IDLE: Duration = Duration::from_secs(60);

const SLIDING: &str =
    "is not supported: `expiry` is the absolute lifetime here; write `idleTimeout` for one that slides";

impl Builder<'_> {
    pub(super) fn headers(&mut self) -> Option<Vec<(HeaderName, Template)>> {
        self.refuse_headers_twice();
        let block = self.block;
        let mut headers: Vec<(HeaderName, Template)> = Vec::new();
        for header in &block.headers {
            let Some(name) = self.header_name("headers", &header.name) else { continue };
            let result = Template::compile(&header.value, &block.allowed_claims)
                .map_err(|error| format!("{}: {error}", header.name));
            headers.extend(self.checked("headers", result).map(|template| (name, template)));
        }
        for (name, claim) in &block.forward_headers {
            headers
                .extend(self.header_name("forwardHeaders", name).map(|name| (name, Template::claim(claim))));
        }
        Some(headers)
    }

    /// Of two that a service cannot tell apart only one would arrive.
    fn refuse_headers_twice(&mut self) {
        let block = self.block;
        let templates = block.headers.iter().map(|header| ("headers", header.name.as_str()));
        let claims = block.forward_headers.keys().map(|name| ("forwardHeaders", name.as_str()));
        let mut known: Vec<&str> = Vec::new();
        for (key, name) in templates.chain(claims) {
            match known.iter().find(|other| same_header(other, name)) {
                Some(other) => self.error(key, format!("`{name}` is set already, as `{other}`")),
                None => known.push(name),
            }
        }
    }

    pub(super) fn header_name(&mut self, key: &str, name: &str) -> Option<HeaderName> {
        /// Headers that steer the message itself.
        const FRAMING: &[&str] = &[
            "host",
            "cookie",
            "connection",
            "content-length",
            "transfer-encoding",
            "te",
            "trailer",
            "upgrade",
            "keep-alive",
            "proxy-connection",
            "expect",
        ];
        match HeaderName::try_from(name) {
            Ok(parsed) if !FRAMING.iter().any(|framing| same_header(framing, name)) => Some(parsed),
            _ => {
                self.error(key, format!("`{name}` cannot be set"));
                None
            }
        }
    }

    pub(super) fn session(&mut self) -> Option<SessionSettings> {
        const DAY: Duration = Duration::from_secs(86_400);
        let block = self.block;
        let native = block.session.as_ref();
        let (key, max_age) = match native.and_then(|session| session.expiry) {
            Some(expiry) => ("session.expiry", Some(expiry)),
            None => ("sessionMaxAge", block.session_max_age),
        };
        let max_age = self.checked(key, check::seconds(max_age.unwrap_or(0), Some(DAY)));
        let grace =
            check::seconds(block.refresh_grace_period_seconds.unwrap_or(0), Some(Duration::from_secs(60)));
        let grace = self.checked("refreshGracePeriodSeconds", grace);
        let age = block.max_refresh_token_age_seconds.unwrap_or(21_600);
        let age = self.checked("maxRefreshTokenAgeSeconds", check::seconds(age, Some(Duration::ZERO)));
        let idle_timeout = self.idle_timeout(max_age);
        Some(SessionSettings {
            max_age: max_age?,
            idle_timeout: idle_timeout?,
            refresh_grace: grace?,
            max_refresh_token_age: age.map(|age| (!age.is_zero()).then_some(age))?,
            refresh: native.is_none_or(|session| session.refresh),
        })
    }

    /// Outer none: it is faulty.
    fn idle_timeout(&mut self, max_age: Option<Duration>) -> Option<Option<Duration>> {
        let native = self.block.session.as_ref();
        if native.is_some_and(|session| session.sliding) {
            self.error("session.sliding", SLIDING);
        }
        let (key, seconds) = match native.and_then(|session| session.idle_timeout) {
            Some(seconds) => ("session.idleTimeout", seconds),
            None => ("sessionIdleTimeout", self.block.session_idle_timeout.unwrap_or(0)),
        };
        let idle = self.checked(key, check::seconds(seconds, Some(Duration::ZERO)))?;
        if idle.is_zero() {
            return Some(None);
        }
        if idle < LEAST_IDLE {
            self.error(key, format!("must be 0 (never) or at least {}", LEAST_IDLE.as_secs()));
            return None;
        }
        if max_age.is_some_and(|max_age| idle >= max_age) {
            self.warn(key, "has no effect: the session ends earlier in any case");
        }
        Some(Some(idle))
    }

    pub(super) fn cookies(&mut self) -> Option<CookieSettings> {
        let block = self.block;
        let native = block.session.as_ref();
        let domain = block
            .cookie_domain
            .clone()
            .or_else(|| native.and_then(|s| s.domain.clone()))
            .filter(|d| !d.is_empty());
        let path = block
            .cookie_path
            .clone()
            .or_else(|| native.and_then(|s| s.path.clone()))
            .filter(|p| !p.is_empty());
        let path = path.unwrap_or_else(|| "/".to_owned());
        let prefix = block
            .cookie_prefix
            .clone()
            .filter(|p| !p.is_empty())
            .unwrap_or_else(|| "_oidc_raczylo_".to_owned());
        if let Err(error) = Cookies::new(&prefix, domain.as_deref(), Some(&path)) {
            let key = match error {
                CookieError::Domain => "cookieDomain",
                CookieError::Path => "cookiePath",
                CookieError::Prefix | CookieError::Value => "cookiePrefix",
            };
            self.error(key, error.to_string());
            return None;
        }
        Some(CookieSettings { prefix, domain, path })
    }

    /// A negative limit is none, as in the plugin.
    pub(super) fn login_rate(&mut self) -> Option<u32> {
        let limit = self.block.per_source_login_rate_limit.max(0);
        let limit = u32::try_from(limit).ok().filter(|limit| *limit <= MOST_LOGINS);
        self.checked(
            "perSourceLoginRateLimit",
            limit.ok_or_else(|| format!("must not be above {MOST_LOGINS} a minute")),
        )
    }

    pub(super) fn login_max_age(&mut self) -> Option<Duration> {
        const TEN_MINUTES: Duration = Duration::from_secs(600);
        match self.block.state_cookie.as_ref().and_then(|state| state.max_age) {
            None => Some(TEN_MINUTES),
            Some(seconds) => {
                let age = self.checked("stateCookie.maxAge", check::seconds(seconds, None))?;
                Some(age.min(TEN_MINUTES))
            }
        }
    }
}
