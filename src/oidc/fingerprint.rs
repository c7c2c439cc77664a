//! Whether a text is the very one that was proven before: at a small part of what the proof costs, and without keeping it.
//!
//! A fingerprint is the tag of AES-GCM over a text that is authenticated, with nothing to encrypt (GMAC, NIST SP 800-38D),
//! under a random key. Processors have instructions for it.
//!
//! The number stands in for the nonce, so nonces repeat, and two tags under one nonce would help whoever sees them to the
//! key. Nobody does: tags stay in this type, and are compared in constant time. That leaves a keyed universal hash, of which
//! an outsider learns only whether a text is the one. A text of n blocks of 16 bytes that is another one passes with a
//! probability of (n + 1) / 2^128 at most; the longest in cookies with 2^-117.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::constant_time;
use smallvec::SmallVec;
use zeroize::Zeroizing;

use super::random::random_bytes;
use super::seal::SealError;

/// Bytes of a fingerprint: a whole tag.
const LENGTH: usize = 16;

/// More than all chunks of a session.
const ON_STACK: usize = 0x8000;

/// The key of some fingerprints. Those of another key say nothing of these.
pub(super) struct Fingerprints(LessSafeKey);

/// What stands for one text and number. It is never shown: see the module.
#[derive(Clone, Copy)]
pub(super) struct Fingerprint([u8; LENGTH]);

impl Fingerprints {
    /// With a new key.
    ///
    /// # Errors
    /// [`SealError`]: the random generator failed.
    pub(super) fn new() -> Result<Self, SealError> {
        let key = Zeroizing::new(random_bytes::<32>().map_err(|_| SealError)?);
        let key = UnboundKey::new(&AES_256_GCM, &*key).map_err(|_| SealError)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// That of a text under a number, however it is parted; none if the crypto library refuses.
    pub(super) fn of(&self, number: u64, parts: &[&[u8]]) -> Option<Fingerprint> {
        match parts {
            [whole] => self.of_whole(number, whole),
            parts => self.of_joined(number, parts),
        }
    }

    /// Apart, as only few texts need so much of the stack.
    #[inline(never)]
    fn of_joined(&self, number: u64, parts: &[&[u8]]) -> Option<Fingerprint> {
        let mut whole = SmallVec::<[u8; ON_STACK]>::new();
        parts.iter().for_each(|part| whole.extend_from_slice(part));
        self.of_whole(number, &whole)
    }

    fn of_whole(&self, number: u64, text: &[u8]) -> Option<Fingerprint> {
        let mut nonce = [0; NONCE_LEN];
        *nonce.first_chunk_mut()? = number.to_be_bytes();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(text), &mut []).ok()?;
        tag.as_ref().first_chunk().copied().map(Fingerprint)
    }
}

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for Fingerprint {}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn one_text_and_number_has_one_and_every_other_has_another() {
        let prints = Fingerprints::new().unwrap();
        let of = |number, text: &[u8]| prints.of(number, &[text]).unwrap();
        let text: Vec<u8> = (0..2_700).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect();
        let known = of(3, &text);
        assert!(known == of(3, &text.clone()));
        for bit in 0..text.len() * 8 {
            let mut other = text.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(known != of(3, &other), "bit {bit}");
        }
        for at in 0..text.len() {
            assert!(known != of(3, &text[..at]), "cut at {at}");
            assert!(known != of(3, &text[at + 1..]), "from {at}");
        }
        for at in [0, 1, 16, 1_000, 2_699, 2_700] {
            let (one, two) = text.split_at(at);
            assert!(known == prints.of(3, &[one, two]).unwrap(), "parted at {at}");
            assert!(
                [0, 2_700].contains(&at) || known != prints.of(3, &[two, one]).unwrap(),
                "turned at {at}"
            );
        }
        // Blocks in another order, and what GCM itself appends to fill the last one.
        let mut other = text.clone();
        other[..32].rotate_left(16);
        assert!(known != of(3, &other));
        assert!(known != of(3, &[&text[..], &[0]].concat()));
        assert!(known != of(2, &text) && known != of(u64::MAX, &text));
        assert!(known != Fingerprints::new().unwrap().of(3, &[&text[..]]).unwrap(), "another process");
    }
}
