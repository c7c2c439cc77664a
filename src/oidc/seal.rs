//! Sealing of what the browser keeps for us between two requests (AES-256-GCM).
//!
//! One key for each purpose and scope, derived from the configured secret, so that the state of
//! one client's login never opens as another's. The associated data binds a value to its cookie.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

use super::random::random_bytes;

/// Seals and opens values of one purpose.
pub struct Seal(LessSafeKey);

/// The crypto library or the random generator refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value could not be sealed")]
pub struct SealError;

impl Seal {
    /// A key for `purpose` and `scope`, derived from `secret` (HKDF, RFC 5869).
    ///
    /// # Errors
    /// [`SealError`].
    pub fn new(secret: &SecretString, purpose: &str, scope: &str) -> Result<Self, SealError> {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis oidc 1")
            .extract(secret.expose_secret().as_bytes());
        // The length keeps the two parts apart.
        let length = u64::try_from(purpose.len()).unwrap_or(u64::MAX).to_be_bytes();
        let info: [&[u8]; 3] = [&length, purpose.as_bytes(), scope.as_bytes()];
        let key = root.expand(&info, &AES_256_GCM).map_err(|_| SealError)?;
        Ok(Self(LessSafeKey::new(UnboundKey::from(key))))
    }

    /// Base64url of nonce, ciphertext and tag.
    ///
    /// # Errors
    /// [`SealError`]: the random generator failed.
    pub fn seal(&self, plain: &[u8], bound_to: &str) -> Result<String, SealError> {
        let nonce = random_bytes::<NONCE_LEN>().map_err(|_| SealError)?;
        let mut text = plain.to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bound_to.as_bytes()),
                &mut text,
            )
            .map_err(|_| SealError)?;
        let mut sealed = nonce.to_vec();
        sealed.extend_from_slice(&text);
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The plain value; `None` if it is damaged, foreign, or was sealed for another place.
    pub fn open(&self, sealed: &str, bound_to: &str) -> Option<Vec<u8>> {
        let mut bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_first_chunk_mut::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.0.open_in_place(nonce, Aad::from(bound_to.as_bytes()), text).ok()?;
        Some(plain.to_vec())
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal([redacted])")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn seal(purpose: &str, scope: &str) -> Seal {
        Seal::new(&SecretString::from("0123456789abcdef0123456789abcdef"), purpose, scope).unwrap()
    }

    #[test]
    fn opens_only_unchanged_and_in_place() {
        let seal_a = seal("login", "a");
        let sealed = seal_a.seal(b"value", "cookie").unwrap();
        assert_eq!(seal_a.open(&sealed, "cookie").unwrap(), b"value");
        assert_eq!(seal_a.open(&sealed, "other"), None);
        assert_eq!(seal("login", "b").open(&sealed, "cookie"), None);
        assert_eq!(seal("logi", "na").open(&sealed, "cookie"), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(seal_a.open(std::str::from_utf8(&changed).unwrap(), "cookie"), None, "byte {at}");
        }
        for cut in 0..sealed.len() {
            assert_eq!(seal_a.open(&sealed[..cut], "cookie"), None);
        }
        assert_ne!(sealed, seal_a.seal(b"value", "cookie").unwrap());
    }
}
