//! What is derived from the deployment's session secret: store keys, index keys, and the sealing of records.
//!
//! Two properties are wanted. A copy of the store reveals nothing and logs nobody in: rows are named by keyed
//! hashes, and each value is sealed with a key that takes the session id, which only the browser's cookie holds.
//! And a value cannot be moved or rolled back: its row and its generation are authenticated with it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest, hkdf, hmac};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::id::{IndexKey, RandomError, ScopeId, SessionId, SessionKey, random_bytes};
use super::realm::Realms;

/// The shortest secret that is taken, in bytes (as the traefikoidc plugin: `sessionEncryptionKey`).
pub const MIN_SECRET: usize = 32;

/// Layout of a sealed value: this byte, the nonce, the ciphertext with its tag.
const LAYOUT: u8 = 1;

/// Why a secret cannot be used, or a value not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No secret at all.
    #[error("no session secret is configured")]
    Empty,
    /// The secret is too short to resist guessing.
    #[error("a session secret needs at least {MIN_SECRET} bytes")]
    TooShort,
    /// The crypto library or the random generator refused.
    #[error("the session secret could not be used")]
    Crypto,
}

/// The ring of session secrets: the first one seals new sessions, all of them open.
///
/// Remove an old secret only after the longest session life, else its sessions end.
pub struct SessionKeys {
    ring: Vec<Arc<RingKey>>,
}

impl SessionKeys {
    /// Derives the keys of each secret, in order.
    ///
    /// # Errors
    /// [`KeyError`] if there is none, one is too short, or derivation fails.
    pub fn new(secrets: &[SecretString]) -> Result<Self, KeyError> {
        if secrets.is_empty() {
            return Err(KeyError::Empty);
        }
        let ring =
            secrets.iter().map(|secret| RingKey::derive(secret).map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Self { ring })
    }

    /// The key for new sessions.
    pub(super) fn newest(&self) -> Option<&Arc<RingKey>> {
        self.ring.first()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<RingKey>> {
        self.ring.iter()
    }

    /// Whether this key, or another one of the same secret, is in the ring.
    pub(super) fn has(&self, key: &RingKey) -> bool {
        self.ring.iter().any(|member| member.mark == key.mark)
    }
}

/// Which secret a session belongs to, without telling the secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct KeyMark([u8; 16]);

/// All that is derived from one secret.
pub(super) struct RingKey {
    mark: KeyMark,
    lookup: hmac::Key,
    seal: hkdf::Prk,
    pub(super) realms: Realms,
}

impl RingKey {
    fn derive(secret: &SecretString) -> Result<Self, KeyError> {
        let secret = secret.expose_secret().as_bytes();
        if secret.len() < MIN_SECRET {
            return Err(KeyError::TooShort);
        }
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis sessions 1").extract(secret);
        let algorithm = hkdf::HKDF_SHA256.hmac_algorithm();
        let lookup = hmac::Key::from(expand(&root, &[b"lookup"], algorithm)?);
        let mark = hmac::sign(&lookup, b"mark");
        Ok(Self {
            mark: KeyMark(mark.as_ref().first_chunk().copied().ok_or(KeyError::Crypto)?),
            lookup,
            seal: hkdf::Prk::from(expand(&root, &[b"seal"], hkdf::HKDF_SHA256)?),
            realms: Realms::default(),
        })
    }

    /// A new session id: random bits and a tag, so that made-up cookies are told from ours without the store.
    pub(super) fn new_id(&self, scope: &ScopeId) -> Result<SessionId, RandomError> {
        let random = random_bytes::<24>()?;
        let mut id = [0; 32];
        let (bits, tag) = id.split_at_mut(24);
        bits.copy_from_slice(&random);
        tag.copy_from_slice(&self.tag(scope, &random));
        Ok(SessionId::from_bytes(id))
    }

    /// Whether the id was made with this key for this scope (or guessed: 1 in 2^64).
    pub(super) fn made(&self, scope: &ScopeId, id: &SessionId) -> bool {
        let (random, tag) = id.bytes().split_at(24);
        constant_time::verify_slices_are_equal(&self.tag(scope, random), tag).is_ok()
    }

    fn tag(&self, scope: &ScopeId, random: &[u8]) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = self.hash(b"tag\0", scope, random);
        [a, b, c, d, e, f, g, h]
    }

    /// The store key of a session.
    pub(super) fn session_key(&self, scope: &ScopeId, id: &SessionId) -> SessionKey {
        SessionKey(self.hash(b"id\0\0", scope, id.bytes()))
    }

    /// The index key of a provider's session id.
    pub(super) fn sid_key(&self, scope: &ScopeId, sid: &str) -> IndexKey {
        IndexKey(self.hash(b"sid\0", scope, sid.as_bytes()))
    }

    /// The index key of a subject.
    pub(super) fn sub_key(&self, scope: &ScopeId, sub: &str) -> IndexKey {
        IndexKey(self.hash(b"sub\0", scope, sub.as_bytes()))
    }

    /// The store key of a mark: a row that is no session.
    pub(super) fn mark_key(&self, purpose: &[u8; 4], scope: &ScopeId, name: &str) -> SessionKey {
        SessionKey(self.hash(purpose, scope, name.as_bytes()))
    }

    /// Purpose and scope have a fixed length, so the parts cannot run together.
    fn hash(&self, purpose: &[u8; 4], scope: &ScopeId, value: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.lookup);
        context.update(purpose);
        context.update(scope.bytes());
        context.update(value);
        context.sign().as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// Seals `plain` for its row and generation.
    ///
    /// # Errors
    /// [`KeyError::Crypto`].
    pub(super) fn seal(&self, place: &Place<'_>, plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        let nonce = random_bytes::<NONCE_LEN>().map_err(|_| KeyError::Crypto)?;
        let mut text = Zeroizing::new(Vec::with_capacity(plain.len() + 16));
        text.extend_from_slice(plain);
        self.aead(place)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.authenticated()),
                &mut *text,
            )
            .map_err(|_| KeyError::Crypto)?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + text.len());
        sealed.push(LAYOUT);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// Opens a sealed value; none if it is damaged, or was sealed for another place or with another secret.
    pub(super) fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (&[LAYOUT], rest) = sealed.split_first_chunk::<1>()? else {
            return None;
        };
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self
            .aead(place)
            .ok()?
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place.authenticated()), &mut text)
            .ok()?
            .len();
        text.truncate(length);
        Some(text)
    }

    /// A key of this session's own, so that a nonce can only ever meet the few generations of one session.
    fn aead(&self, place: &Place<'_>) -> Result<LessSafeKey, KeyError> {
        let info: [&[u8]; 3] = [place.scope.bytes(), place.id.bytes(), place.name.as_bytes()];
        let key = self.seal.expand(&info, &AES_256_GCM).map_err(|_| KeyError::Crypto)?;
        Ok(LessSafeKey::new(UnboundKey::from(key)))
    }
}

/// Where a sealed value belongs.
pub(super) struct Place<'a> {
    pub(super) scope: &'a ScopeId,
    pub(super) id: &'a SessionId,
    pub(super) key: &'a SessionKey,
    pub(super) generation: u64,
    /// Name of the cookie that holds it; empty in a store.
    pub(super) name: &'a str,
}

impl Place<'_> {
    fn authenticated(&self) -> [u8; digest::SHA256_OUTPUT_LEN + 8] {
        let mut bytes = [0; 40];
        let (key, generation) = bytes.split_at_mut(32);
        key.copy_from_slice(self.key.bytes());
        generation.copy_from_slice(&self.generation.to_be_bytes());
        bytes
    }
}

fn expand<'a, L: hkdf::KeyType>(
    prk: &'a hkdf::Prk,
    info: &'a [&'a [u8]],
    length: L,
) -> Result<hkdf::Okm<'a, L>, KeyError> {
    prk.expand(info, length).map_err(|_| KeyError::Crypto)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn keys(secrets: &[&str]) -> SessionKeys {
        let secrets: Vec<_> = secrets.iter().map(|s| SecretString::from(*s)).collect();
        SessionKeys::new(&secrets).unwrap()
    }

    const A: &str = "an example secret of 32 bytes, A";
    const B: &str = "an example secret of 32 bytes, B";

    #[test]
    fn short_and_missing_secrets_are_refused() {
        assert!(matches!(SessionKeys::new(&[]), Err(KeyError::Empty)));
        let short = [SecretString::from(&A[..31])];
        assert!(matches!(SessionKeys::new(&short), Err(KeyError::TooShort)));
    }

    #[test]
    fn a_value_opens_only_where_it_belongs() {
        let keys = keys(&[A]);
        let key = keys.newest().unwrap();
        let (scope, id) = (ScopeId::new("i", "c"), SessionId::random().unwrap());
        let row = key.session_key(&scope, &id);
        let place = Place { scope: &scope, id: &id, key: &row, generation: 1, name: "" };
        let sealed = key.seal(&place, b"tokens").unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"tokens"));
        assert_eq!(key.open(&place, &sealed).unwrap().as_slice(), b"tokens");

        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(key.open(&place, &damaged).is_none(), "byte {at}");
            assert!(key.open(&place, &sealed[..at]).is_none(), "cut at {at}");
        }
        let other = SessionId::random().unwrap();
        assert!(key.open(&Place { generation: 2, ..place }, &sealed).is_none());
        assert!(key.open(&Place { name: "cookie", ..place }, &sealed).is_none());
        let place = Place { scope: &scope, id: &other, key: &row, generation: 1, name: "" };
        assert!(key.open(&place, &sealed).is_none());
    }

    #[test]
    fn another_secret_scope_or_purpose_gives_another_key() {
        let (a, b) = (keys(&[A]), keys(&[B]));
        let (a, b) = (a.newest().unwrap(), b.newest().unwrap());
        let id = SessionId::random().unwrap();
        let (one, two) = (ScopeId::new("i", "1"), ScopeId::new("i", "2"));
        assert_ne!(a.mark, b.mark);
        assert_ne!(a.session_key(&one, &id), b.session_key(&one, &id));
        assert_ne!(a.session_key(&one, &id), a.session_key(&two, &id));
        assert_ne!(a.sid_key(&one, "x"), a.sub_key(&one, "x"));
    }

    #[test]
    fn the_ring_finds_each_member() {
        let (old, new) = (keys(&[A]), keys(&[B, A]));
        assert!(new.has(old.newest().unwrap()));
        assert!(!old.has(new.newest().unwrap()));
    }

    #[test]
    fn an_id_shows_its_maker() {
        let (a, b, scope) = (keys(&[A]), keys(&[B]), ScopeId::new("i", "c"));
        let (a, b) = (a.newest().unwrap(), b.newest().unwrap());
        let id = a.new_id(&scope).unwrap();
        assert!(a.made(&scope, &id));
        assert!(!b.made(&scope, &id));
        assert!(!a.made(&ScopeId::new("i", "d"), &id));
        assert_ne!(id, a.new_id(&scope).unwrap());
        for at in 0..32 {
            let mut bytes = *id.bytes();
            bytes[at] ^= 1;
            assert!(!a.made(&scope, &SessionId::from_bytes(bytes)));
        }
    }
}
