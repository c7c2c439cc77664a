//! Logins that must be strong or recent enough (OpenID Connect Core, section 3.1.2.1: `acr_values`
//! and `max_age`; RFC 9470 for clients that are no browsers).

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use serde_json::Value;

use crate::oidc::claims::Claims;
use crate::oidc::clock::unix_millis;
use crate::oidc::id_token::{self, SKEW};

/// What a route asks of a login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepUp {
    acr_values: Vec<String>,
    max_age: Option<Duration>,
}

/// How strong a login was, and when it happened: what the provider says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Level {
    acr: Option<Box<str>>,
    /// In milliseconds since 1970.
    auth_time: Option<u64>,
}

impl Level {
    /// Nothing is known: not enough wherever anything is asked.
    pub const UNKNOWN: Self = Self { acr: None, auth_time: None };

    /// Reads `acr` and `auth_time`.
    pub fn of(claims: &Claims) -> Self {
        let auth_time = id_token::time(claims, "auth_time").ok().flatten();
        Self {
            acr: claims.members().get("acr").and_then(Value::as_str).map(Box::from),
            auth_time: auth_time.map(unix_millis),
        }
    }
}

impl StepUp {
    /// One of `acr_values` (none: any), and a login no older than `max_age`. `None` if neither is asked.
    pub fn new(acr_values: Vec<String>, max_age: Option<Duration>) -> Option<Self> {
        (!acr_values.is_empty() || max_age.is_some()).then_some(Self { acr_values, max_age })
    }

    /// Whether a login of that level is enough at `now`. A claim that is missing is not enough.
    pub fn is_met(&self, level: &Level, now: SystemTime) -> bool {
        let strong = self.acr_values.is_empty()
            || level.acr.as_deref().is_some_and(|acr| self.acr_values.iter().any(|wanted| wanted == acr));
        strong && self.max_age.is_none_or(|max_age| is_recent(level, max_age, now))
    }

    /// `acr_values` of the authorization request.
    pub fn acr_values(&self) -> Option<String> {
        (!self.acr_values.is_empty()).then(|| self.acr_values.join(" "))
    }

    /// `max_age` of the authorization request, in seconds.
    pub fn max_age(&self) -> Option<u64> {
        self.max_age.map(|age| age.as_secs())
    }

    /// `WWW-Authenticate` for a login that is not enough (RFC 9470, section 3).
    pub fn challenge(&self) -> Option<HeaderValue> {
        let mut text = "Bearer error=\"insufficient_user_authentication\", \
                        error_description=\"A stronger or more recent login is required\""
            .to_owned();
        // Writing to a String cannot fail.
        if let Some(values) = self.acr_values() {
            let _ = write!(text, ", acr_values=\"{values}\"");
        }
        if let Some(seconds) = self.max_age() {
            let _ = write!(text, ", max_age=\"{seconds}\"");
        }
        HeaderValue::try_from(text).ok()
    }

    /// As text, for a sealed login attempt.
    pub(in crate::oidc) fn to_text(&self) -> String {
        let age = self.max_age().map(|seconds| seconds.to_string()).unwrap_or_default();
        format!("{age} {}", self.acr_values.join(" "))
    }

    /// Reads what [`StepUp::to_text`] wrote.
    pub(in crate::oidc) fn from_text(text: &str) -> Option<Self> {
        let (age, values) = text.split_once(' ')?;
        let max_age = (!age.is_empty()).then(|| age.parse().map(Duration::from_secs)).transpose().ok()?;
        Self::new(values.split_whitespace().map(str::to_owned).collect(), max_age)
    }
}

fn is_recent(level: &Level, max_age: Duration, now: SystemTime) -> bool {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (now, skew) = (unix_millis(now), millis(SKEW));
    level.auth_time.is_some_and(|at| {
        let newest = now.saturating_add(skew);
        let oldest = now.saturating_sub(millis(max_age).saturating_add(skew));
        (oldest..=newest).contains(&at)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use serde_json::json;

    fn level(claims: Value) -> Level {
        Level::of(&Claims::new(claims.as_object().unwrap().clone()))
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn wants(acr_values: &[&str], max_age: Option<u64>) -> StepUp {
        let values = acr_values.iter().map(|value| (*value).to_owned()).collect();
        StepUp::new(values, max_age.map(Duration::from_secs)).unwrap()
    }

    #[test]
    fn one_of_the_values_exactly() {
        let step_up = wants(&["gold", "urn:mfa"], None);
        assert!(step_up.is_met(&level(json!({"acr": "urn:mfa"})), at(0)));
        for claims in
            [json!({}), json!({"acr": "Gold"}), json!({"acr": ["gold"]}), json!({"acr": "gold urn:mfa"})]
        {
            assert!(!step_up.is_met(&level(claims.clone()), at(0)), "{claims}");
        }
    }

    #[test]
    fn age_with_the_skew_of_clocks() {
        let step_up = wants(&[], Some(300));
        let login = level(json!({"auth_time": 1_000}));
        for (now, enough) in
            [(1_000, true), (1_300, true), (1_360, true), (1_361, false), (940, true), (939, false)]
        {
            assert_eq!(step_up.is_met(&login, at(now)), enough, "{now}");
        }
        // A NumericDate may have a fraction (RFC 7519, section 2).
        assert!(step_up.is_met(&level(json!({"auth_time": 1_000.5})), at(1_000)));
        for claims in [
            json!({}),
            json!({"auth_time": "1000"}),
            json!({"auth_time": 1e300}),
            json!({"auth_time": -1}),
            json!({"auth_time": u64::MAX}),
        ] {
            assert!(!step_up.is_met(&level(claims.clone()), at(1_000)), "{claims}");
        }
    }

    #[test]
    fn both_are_needed() {
        let step_up = wants(&["gold"], Some(60));
        assert!(step_up.is_met(&level(json!({"acr": "gold", "auth_time": 1_000})), at(1_000)));
        assert!(!step_up.is_met(&level(json!({"acr": "gold"})), at(1_000)));
        assert!(!step_up.is_met(&level(json!({"auth_time": 1_000})), at(1_000)));
        assert_eq!(StepUp::new(Vec::new(), None), None);
    }

    #[test]
    fn survives_a_login_attempt() {
        for step_up in [wants(&["a", "b"], Some(5)), wants(&[], Some(0)), wants(&["a"], None)] {
            assert_eq!(StepUp::from_text(&step_up.to_text()), Some(step_up));
        }
        assert_eq!(StepUp::from_text(""), None);
        assert_eq!(StepUp::from_text("x a"), None);
    }

    #[test]
    fn challenge_of_rfc_9470() {
        let challenge = wants(&["a", "b"], Some(5)).challenge().unwrap();
        let text = challenge.to_str().unwrap();
        assert!(text.starts_with("Bearer error=\"insufficient_user_authentication\""));
        assert!(text.ends_with("acr_values=\"a b\", max_age=\"5\""), "{text}");
    }
}
