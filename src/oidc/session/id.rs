//! The names under which a session is known: to the browser, to the store, to the provider.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use crate::oidc::random::{RandomError, random_bytes};

/// Length of a [`SessionId`] as cookie text.
pub const SESSION_ID_TEXT: usize = 43;

/// The value of the session cookie: 192 random bits and a tag of 64, known to the browser alone.
///
/// The tag tells our ids from made-up ones without asking the store; secrecy rests on the random bits. The store
/// never sees an id; see [`SessionKey`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 32]);

impl SessionId {
    /// An id without a tag, which is nobody's.
    #[cfg(test)]
    pub(crate) fn random() -> Result<Self, RandomError> {
        random_bytes().map(Self)
    }

    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads a cookie value. Anything but the canonical base64url text of 32 bytes is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != SESSION_ID_TEXT {
            return None;
        }
        let mut bytes = [0; 33];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (id, _) = bytes.split_first_chunk::<32>()?;
        (length == 32).then_some(Self(*id))
    }

    /// The cookie value. A secret: whoever has it is logged in.
    #[must_use]
    pub fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId([redacted])")
    }
}

/// The key of a session in the store: a keyed hash of its id and scope.
///
/// With a copy of the store alone nobody can log in: the id cannot be computed from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(pub(super) [u8; 32]);

impl SessionKey {
    /// The bytes, as stores keep them.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Takes what [`SessionKey::bytes`] gave.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// In which part of a store it is, if that has parts: its first half-byte.
    #[must_use]
    pub fn part(&self) -> usize {
        let [first, ..] = self.0;
        usize::from(first >> 4)
    }
}

/// How many parts a store may have.
pub const PARTS: usize = 16;

/// Some of the parts of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts(u16);

impl Parts {
    /// Adds a part.
    pub fn add(&mut self, part: usize) {
        self.0 |= Self::bit(part);
    }

    /// Whether the part is among them.
    #[must_use]
    pub fn has(self, part: usize) -> bool {
        self.0 & Self::bit(part) != 0
    }

    fn bit(part: usize) -> u16 {
        u32::try_from(part).ok().and_then(|part| 1_u16.checked_shl(part)).unwrap_or_default()
    }
}

impl fmt::Debug for SessionKey {
    /// Four bytes are enough to follow one session through a log, and no use to anybody else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

/// Under which the store finds all sessions of one `sid` or one `sub`: a keyed hash of scope and value.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IndexKey(pub(super) [u8; 32]);

impl IndexKey {
    /// The bytes, as stores keep them.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Takes what [`IndexKey::bytes`] gave.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexKey")
    }
}

/// One OpenID provider and one client at it. A session of another scope counts as none.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScopeId([u8; 16]);

impl ScopeId {
    /// The scope of `client_id` at `issuer` (exactly as the provider's metadata spells it).
    #[must_use]
    pub fn new(issuer: &str, client_id: &str) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        // The length keeps (`a`, `bc`) and (`ab`, `c`) apart.
        hash.update(&u64::try_from(issuer.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(issuer.as_bytes());
        hash.update(client_id.as_bytes());
        let digest = hash.finish();
        Self(digest.as_ref().first_chunk::<16>().copied().unwrap_or_default())
    }

    /// A short name for it, eight letters and digits, the same in every process.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("{self:?}")
    }

    pub(super) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for ScopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_unique_and_never_shown() {
        let (a, b) = (SessionId::random().unwrap(), SessionId::random().unwrap());
        assert_ne!(a, b);
        let all: std::collections::HashSet<_> =
            (0..10_000).map(|_| SessionId::random().unwrap().to_text()).collect();
        assert!(all.len() == 10_000 && all.iter().all(|text| text.len() >= 22));
        assert!(!format!("{a:?}").contains(&a.to_text()));
    }

    #[test]
    fn scopes_do_not_run_together() {
        assert_ne!(ScopeId::new("a", "bc"), ScopeId::new("ab", "c"));
        assert_eq!(ScopeId::new("a", "b"), ScopeId::new("a", "b"));
    }

    #[test]
    fn only_the_canonical_text_is_an_id() {
        let text = SessionId([0xff; 32]).to_text();
        assert_eq!(SessionId::parse(&text), Some(SessionId([0xff; 32])));
        // The last character carries four bits; the other two must be zero.
        assert_eq!(SessionId::parse(&text.replace("_8", "_9")), None);
        assert_eq!(SessionId::parse(&format!("{text}=")), None);
        assert_eq!(SessionId::parse(&text[..42]), None);
        assert_eq!(SessionId::parse(""), None);
    }

    proptest! {
        #[test]
        fn text_round_trips(bytes: [u8; 32]) {
            prop_assert_eq!(SessionId::parse(&SessionId(bytes).to_text()), Some(SessionId(bytes)));
        }

        #[test]
        fn any_text_parses_or_not_without_panic(text in ".{0,60}") {
            if let Some(id) = SessionId::parse(&text) {
                prop_assert_eq!(id.to_text(), text);
            }
        }
    }
}
