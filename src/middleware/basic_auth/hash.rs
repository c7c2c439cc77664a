//! Password hashes as `htpasswd` writes them.

use std::fmt;
use std::str::FromStr as _;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

/// A password hash.
pub(super) enum Hash {
    /// `$2a$`, `$2b$`, `$2x$`, `$2y$`
    Bcrypt(Box<str>),
    /// `{SHA}` and base64
    Sha1(Box<str>),
    /// `$apr1$salt$…`, `$1$salt$…`
    Md5Crypt { magic: &'static str, salt: Box<str>, encoded: Box<str> },
    /// Anything else: fits no password.
    Unknown,
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bcrypt(_) => "Bcrypt",
            Self::Sha1(_) => "Sha1",
            Self::Md5Crypt { .. } => "Md5Crypt",
            Self::Unknown => "Unknown",
        })
    }
}

impl Hash {
    pub(super) fn parse(hash: &str) -> Self {
        if let Some(encoded) = hash.strip_prefix("{SHA}") {
            return Self::Sha1(encoded.into());
        }
        if ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix)) {
            return match bcrypt::HashParts::from_str(hash) {
                Ok(_) => Self::Bcrypt(hash.into()),
                Err(_) => Self::Unknown,
            };
        }
        let md5_crypt = ["$apr1$", "$1$"].into_iter().find_map(|magic| {
            let (salt, encoded) = hash.strip_prefix(magic)?.split_once('$')?;
            Some(Self::Md5Crypt { magic, salt: salt.into(), encoded: encoded.into() })
        });
        md5_crypt.unwrap_or(Self::Unknown)
    }

    /// Whether `password` fits. Takes up to seconds with bcrypt: not for a runtime thread.
    pub(super) fn verify(&self, password: &str) -> bool {
        let computed = match self {
            Self::Bcrypt(hash) => return bcrypt::verify(password, hash).unwrap_or(false),
            Self::Unknown => return false,
            Self::Sha1(expected) => {
                let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
                (STANDARD.encode(digest), expected)
            }
            Self::Md5Crypt { magic, salt, encoded } => (md5_crypt(password.as_bytes(), salt, magic), encoded),
        };
        verify_slices_are_equal(computed.0.as_bytes(), computed.1.as_bytes()).is_ok()
    }
}

/// The last field of MD5 crypt, by Poul-Henning Kamp; Apache's variant differs in `magic` only.
fn md5_crypt(password: &[u8], salt: &str, magic: &str) -> String {
    let salt = salt.as_bytes();
    let salt = salt.get(..8).unwrap_or(salt);
    let alternate = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut context = Md5::new().chain_update(password).chain_update(magic).chain_update(salt);
    for chunk in password.chunks(16) {
        context.update(alternate.get(..chunk.len()).unwrap_or(&alternate));
    }
    let mut bits = password.len();
    while bits != 0 {
        context.update(if bits & 1 == 1 { &[0] } else { password.get(..1).unwrap_or_default() });
        bits >>= 1;
    }
    let mut digest = context.finalize();
    for round in 0..1000_u32 {
        let odd = round & 1 == 1;
        let mut context = Md5::new();
        context.update(if odd { password } else { &digest });
        if round % 3 != 0 {
            context.update(salt);
        }
        if round % 7 != 0 {
            context.update(password);
        }
        context.update(if odd { &digest } else { password });
        digest = context.finalize();
    }
    encode(&digest.into())
}

/// Crypt's own base 64: least significant digits first, bytes shuffled.
fn encode(digest: &[u8; 16]) -> String {
    const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *digest;
    let groups =
        [([a, g, m], 4), ([b, h, n], 4), ([c, i, o], 4), ([d, j, p], 4), ([e, k, f], 4), ([0, 0, l], 2)];
    let mut encoded = String::with_capacity(22);
    for ([high, middle, low], digits) in groups {
        let mut value = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        for _ in 0..digits {
            encoded.extend(DIGITS.get(value & 63).copied().map(char::from));
            value >>= 6;
        }
    }
    encoded
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_format() {
        let hashes = [
            ("$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00", "password"),
            ("$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/", "test"),
            ("$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", "password"),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "password"),
            ("$2y$05$nC6nErr9XZJuMJ57WyCob.EuZEjylDt2KaHfbfOtyb.EgL1I2jCVa", "password"),
        ];
        for (hash, password) in hashes {
            let hash = Hash::parse(hash);
            assert!(hash.verify(password), "{hash:?}");
            assert!(!hash.verify("wrong") && !hash.verify(""), "{hash:?}");
        }
    }

    #[test]
    fn bcrypt_under_every_prefix() {
        for prefix in ["$2a$", "$2b$", "$2y$", "$2x$"] {
            let hash =
                bcrypt::hash_with_result("secret", 4).unwrap().format_for_version(bcrypt::Version::TwoB);
            let hash = hash.replace("$2b$", prefix);
            assert!(Hash::parse(&hash).verify("secret"), "{hash}");
        }
    }

    #[test]
    fn what_is_no_hash_fits_nothing() {
        for hash in ["", "password", "$2y$05$short", "$apr1$", "$apr1$salt", "$6$salt$x", "{SHA}", "$2y$99$x"]
        {
            let hash = Hash::parse(hash);
            assert!(!hash.verify("password") && !hash.verify(""), "{hash:?}");
        }
    }
}
