//! One login attempt: what binds the provider's answer to the browser that asked.
//!
//! The browser keeps the attempt in a sealed cookie of its own, so that several tabs do not
//! disturb each other and no login costs memory here (RFC 9700, section 4.7). State, nonce and
//! PKCE verifier are derived from one random seed, which keeps the cookie small.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{constant_time, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

use super::authorize::StepUp;
use super::random::random_bytes;
use super::seal::{Seal, SealError};

/// Random bytes of an attempt.
const SEED: usize = 32;

/// Characters of the state that name the attempt's cookie; the others are its secret.
pub(super) const NAME: usize = 8;

/// The largest count of restarts that fits beside the flags.
const MOST_COUNTED: u8 = 63;

/// A login attempt.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    seed: [u8; SEED],
    /// When it started, in seconds since 1970.
    started: u64,
    /// Whether `offline_access` is left out, because the provider has refused it.
    plain: bool,
    /// Whether it has led to a session: all that is left of it is where that was.
    spent: bool,
    /// How many attempts before it expired, for the same target.
    restarts: u8,
    /// Where the browser goes afterwards.
    target: String,
    /// What was asked of the login.
    step_up: Option<StepUp>,
}

impl Attempt {
    /// A new attempt that returns to `target`, which has passed the grammar.
    ///
    /// # Errors
    /// [`SealError`]: the random generator failed; there are no weaker random bits.
    pub fn new(target: String, now: SystemTime) -> Result<Self, SealError> {
        let seed = random_bytes::<SEED>().map_err(|_| SealError)?;
        Ok(Self {
            seed,
            started: seconds(now),
            plain: false,
            spent: false,
            restarts: 0,
            target,
            step_up: None,
        })
    }

    /// `state` of the authorization request: 192 bits.
    pub fn state(&self) -> String {
        self.derive(b"state", 24)
    }

    /// `nonce` of the authorization request: 192 bits.
    pub fn nonce(&self) -> String {
        self.derive(b"nonce", 24)
    }

    /// PKCE `code_verifier` (RFC 7636, section 4.1): 256 bits.
    pub fn verifier(&self) -> String {
        self.derive(b"pkce", 32)
    }

    /// Where the browser goes afterwards.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The same attempt with another target.
    pub fn with_target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// The same attempt, asking for no `offline_access`.
    pub fn without_offline_access(self) -> Self {
        Self { plain: true, ..self }
    }

    /// Whether it asks for no `offline_access` even where that is on offer.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// What stays of an attempt that has led to a session.
    pub fn into_spent(self) -> Self {
        Self { spent: true, ..self }
    }

    /// Whether it has led to a session. It never does so again.
    pub fn is_spent(&self) -> bool {
        self.spent
    }

    /// The same attempt, in place of `expired`.
    pub fn instead_of(self, expired: &Self) -> Self {
        Self { plain: expired.plain, restarts: expired.restarts.saturating_add(1), ..self }
    }

    /// How many attempts before it expired.
    pub fn restarts(&self) -> u8 {
        self.restarts
    }

    /// The same attempt, asking for a strong or recent login.
    pub fn with_step_up(self, step_up: Option<StepUp>) -> Self {
        Self { step_up, ..self }
    }

    /// What was asked of the login.
    pub fn step_up(&self) -> Option<&StepUp> {
        self.step_up.as_ref()
    }

    /// When it started, in seconds since 1970.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// Whether it has ended by `now`, or claims to come from the future.
    pub fn is_over(&self, now: SystemTime, max_age: Duration) -> bool {
        let now = seconds(now);
        now >= self.started.saturating_add(max_age.as_secs()) || self.started > now.saturating_add(60)
    }

    /// Whether `state` is this attempt's.
    pub fn has_state(&self, state: &str) -> bool {
        constant_time::verify_slices_are_equal(self.state().as_bytes(), state.as_bytes()).is_ok()
    }

    /// The id in the name of the cookie for `state`; `None` if no state looks so.
    pub fn cookie_id(state: &str) -> Option<&str> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (state.len() == 32 && state.bytes().all(legal)).then(|| state.get(..NAME)).flatten()
    }

    /// The cookie value, bound to the cookie's name.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&self, seal: &Seal, cookie_name: &str) -> Result<String, SealError> {
        let mut plain = Vec::with_capacity(SEED + 8 + 1 + self.target.len());
        plain.extend_from_slice(&self.seed);
        plain.extend_from_slice(&self.started.to_be_bytes());
        plain.push(u8::from(self.plain) | u8::from(self.spent) << 1 | self.restarts.min(MOST_COUNTED) << 2);
        plain.extend_from_slice(self.target.as_bytes());
        if let Some(step_up) = &self.step_up {
            // No target holds a NUL.
            plain.push(0);
            plain.extend_from_slice(step_up.to_text().as_bytes());
        }
        seal.seal(&plain, cookie_name)
    }

    /// Reads a cookie value.
    pub fn open(seal: &Seal, cookie_name: &str, value: &str) -> Option<Self> {
        let plain = seal.open(value, cookie_name)?;
        let (seed, rest) = plain.split_first_chunk::<SEED>()?;
        let (started, rest) = rest.split_first_chunk::<8>()?;
        let (flags, rest) = rest.split_first()?;
        let rest = std::str::from_utf8(rest).ok()?;
        let (target, step_up) = rest.split_once('\0').map_or((rest, None), |(t, s)| (t, Some(s)));
        let step_up = step_up.map(|text| StepUp::from_text(text).ok_or(())).transpose().ok()?;
        let (started, target) = (u64::from_be_bytes(*started), target.to_owned());
        let (plain, spent, restarts) = (flags & 1 != 0, flags & 2 != 0, flags >> 2);
        Some(Self { seed: *seed, started, plain, spent, restarts, target, step_up })
    }

    fn derive(&self, purpose: &[u8], bytes: usize) -> String {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.seed), purpose);
        URL_SAFE_NO_PAD.encode(tag.as_ref().get(..bytes).unwrap_or_default())
    }
}

/// What seals the attempts of a client: its newest key, and those before it, with which logins under way have begun.
pub(super) struct AttemptSeals {
    newest: Seal,
    older: Vec<Seal>,
}

impl AttemptSeals {
    /// `ring` has the newest key first.
    ///
    /// # Errors
    /// [`SealError`]: the crypto library refuses, or there is no key.
    pub(super) fn new<'a>(
        ring: impl Iterator<Item = &'a SecretString>,
        scope: &str,
    ) -> Result<Self, SealError> {
        let mut seals = ring.map(|key| Seal::new(key, "login attempt", scope));
        let newest = seals.next().ok_or(SealError)??;
        Ok(Self { newest, older: seals.collect::<Result<_, _>>()? })
    }

    /// See [`Attempt::seal`].
    pub(super) fn seal(&self, attempt: &Attempt, cookie_name: &str) -> Result<String, SealError> {
        attempt.seal(&self.newest, cookie_name)
    }

    /// See [`Attempt::open`].
    pub(super) fn open(&self, cookie_name: &str, value: &str) -> Option<Attempt> {
        let mut seals = [&self.newest].into_iter().chain(&self.older);
        seals.find_map(|seal| Attempt::open(seal, cookie_name, value))
    }
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt").field("started", &self.started).finish_non_exhaustive()
    }
}

/// Seconds since 1970; 0 before.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn survives_the_browser() {
        let seal = Seal::new(&SecretString::from("0123456789abcdef0123456789abcdef"), "login", "x").unwrap();
        let attempt = Attempt::new("/a?b=1".into(), at(1_000)).unwrap();
        let attempt = attempt.without_offline_access();
        let value = attempt.seal(&seal, "name").unwrap();
        assert_eq!(Attempt::open(&seal, "name", &value), Some(attempt.clone()));
        assert_eq!(Attempt::open(&seal, "other", &value), None);
        let second = Attempt::new("/a".into(), at(1_000)).unwrap().instead_of(&attempt).into_spent();
        assert!(second.is_spent() && second.is_plain() && second.restarts() == 1);
        let sealed = second.seal(&seal, "name").unwrap();
        assert_eq!(Attempt::open(&seal, "name", &sealed), Some(second));
        let strong = attempt.clone().with_step_up(StepUp::new(vec!["mfa".into()], None));
        let sealed = strong.seal(&seal, "name").unwrap();
        assert_eq!(Attempt::open(&seal, "name", &sealed), Some(strong));
        assert!(attempt.has_state(&attempt.state()));
        assert!(!attempt.has_state(&attempt.nonce()));
        assert_eq!(Attempt::cookie_id(&attempt.state()), attempt.state().get(..8));
    }

    /// A NUL stands between the target and what was asked of the login: the grammar lets none into a target.
    #[test]
    fn targets_with_a_nul_are_not_remembered() {
        let seal = Seal::new(&SecretString::from("0123456789abcdef0123456789abcdef"), "login", "x").unwrap();
        for path in ["\0", "/a\0b", "/\0", "/a?\0"] {
            let attempt = Attempt::new(crate::oidc::return_target::remember(path, None), at(1)).unwrap();
            assert_eq!(attempt.target(), "/", "{path:?}");
            let sealed = attempt.seal(&seal, "name").unwrap();
            assert_eq!(Attempt::open(&seal, "name", &sealed), Some(attempt));
        }
    }

    #[test]
    fn ends_after_its_time() {
        let attempt = Attempt::new("/".into(), at(1_000)).unwrap();
        let ten_minutes = Duration::from_secs(600);
        assert!(!attempt.is_over(at(1_599), ten_minutes));
        assert!(attempt.is_over(at(1_600), ten_minutes));
        assert!(attempt.is_over(at(900), ten_minutes));
    }

    #[test]
    fn values_differ_between_attempts_and_purposes() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let attempt = Attempt::new("/".into(), at(1)).unwrap();
            for value in [attempt.state(), attempt.nonce(), attempt.verifier()] {
                // 128 bits are 22 characters.
                assert!(value.len() >= 22 && seen.insert(value));
            }
        }
        assert_eq!(Attempt::new("/".into(), at(1)).unwrap().verifier().len(), 43);
    }

    #[test]
    fn odd_states_name_no_cookie() {
        for state in ["", "short", "; Path=/; x=y; aaaaaaaaaaaaaaaa", &"a".repeat(31), &"é".repeat(16)] {
            assert_eq!(Attempt::cookie_id(state), None, "{state}");
        }
    }
}
