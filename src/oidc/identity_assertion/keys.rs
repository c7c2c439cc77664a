//! Keys of assertions: ES256, one for each day, derived from the secret that seals sessions.
//!
//! Every replica derives the same, so nothing is stored and any of them tells all keys. The keys of yesterday, today and
//! tomorrow are published: a key is known for a day before it signs, and for a day after.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::oidc::client_auth::{KeyFault, Signer};
use crate::oidc::clock::unix_millis;

/// How long a key signs, in seconds.
const PERIOD: u64 = 24 * 3600;

/// The keys of one deployment and client.
pub(super) struct SigningKeys {
    /// The one that signs first; the others are only published, so that secrets can be rotated.
    secrets: Vec<hkdf::Prk>,
    scope: String,
    present: ArcSwap<Day>,
}

/// The keys of one day.
pub(super) struct Day {
    number: u64,
    header: String,
    signer: Signer,
    jwks: Bytes,
}

impl SigningKeys {
    /// Derives what is needed now.
    pub(super) fn new(
        secret: &SecretString,
        previous: &[SecretString],
        scope: &str,
        now: SystemTime,
    ) -> Result<Self, KeyFault> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis assertion 1");
        let secrets = [secret].into_iter().chain(previous);
        let secrets: Vec<_> = secrets.map(|secret| salt.extract(secret.expose_secret().as_bytes())).collect();
        let day = Day::derive(&secrets, scope, unix_millis(now) / 1000 / PERIOD)?;
        Ok(Self { secrets, scope: scope.to_owned(), present: ArcSwap::from_pointee(day) })
    }

    /// The keys of a second since 1970.
    pub(super) fn at(&self, second: u64) -> Result<Arc<Day>, KeyFault> {
        let number = second / PERIOD;
        let present = self.present.load();
        if present.number == number {
            return Ok(Arc::clone(&present));
        }
        let day = Arc::new(Day::derive(&self.secrets, &self.scope, number)?);
        self.present.store(Arc::clone(&day));
        Ok(day)
    }
}

impl Day {
    fn derive(secrets: &[hkdf::Prk], scope: &str, number: u64) -> Result<Self, KeyFault> {
        let secret = secrets.first().ok_or(KeyFault::Missing)?;
        let signer = signer(secret, scope, number)?;
        let (kid, _) = public(&signer)?;
        let mut keys = Vec::new();
        for secret in secrets {
            for number in [number, number.saturating_add(1), number.saturating_sub(1)] {
                keys.push(public(&self::signer(secret, scope, number)?)?.1);
            }
        }
        let header = json!({ "alg": signer.name(), "kid": kid, "typ": "JWT" });
        Ok(Self {
            number,
            header: URL_SAFE_NO_PAD.encode(header.to_string()),
            signer,
            jwks: json!({ "keys": keys }).to_string().into(),
        })
    }

    /// The first part of every token.
    pub(super) fn header(&self) -> &str {
        &self.header
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        self.signer.sign(message)
    }

    /// The document of the public keys.
    pub(super) fn jwks(&self) -> &Bytes {
        &self.jwks
    }
}

/// HKDF gives 32 bytes; those that are no scalar of the curve, one in 2^32, are passed over.
fn signer(secret: &hkdf::Prk, scope: &str, number: u64) -> Result<Signer, KeyFault> {
    let (length, number) = ((scope.len() as u64).to_be_bytes(), number.to_be_bytes());
    for attempt in 0..=u8::MAX {
        let attempt = [attempt];
        let info: [&[u8]; 5] = [b"ES256", &length, scope.as_bytes(), &number, &attempt];
        let mut scalar = Zeroizing::new([0; 32]);
        let expanded = secret.expand(&info, hkdf::HKDF_SHA256).map_err(|_| KeyFault::Failed)?;
        expanded.fill(&mut *scalar).map_err(|_| KeyFault::Failed)?;
        if let Ok(signer) = Signer::from_p256_scalar(&scalar) {
            return Ok(signer);
        }
    }
    Err(KeyFault::Failed)
}

/// Key id and public key. The id is the key's thumbprint (RFC 7638).
fn public(signer: &Signer) -> Result<(String, Value), KeyFault> {
    let (x, y) = signer.p256_point().ok_or(KeyFault::Failed)?;
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let members = format!("{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"{x}\",\"y\":\"{y}\"}}");
    let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()));
    let key = json!({
        "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "use": "sig", "alg": "ES256", "key_ops": ["verify"],
    });
    Ok((kid, key))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::oidc::clock::from_unix_millis;

    const A: &str = "an example secret of 32 bytes, A";
    const B: &str = "an example secret of 32 bytes, B";

    fn keys(secret: &str, previous: &[&str], scope: &str) -> SigningKeys {
        let previous: Vec<SecretString> = previous.iter().map(|secret| (*secret).into()).collect();
        SigningKeys::new(&secret.into(), &previous, scope, from_unix_millis(0)).unwrap()
    }

    fn kids(keys: &SigningKeys, day: u64) -> Vec<String> {
        let document: Value = serde_json::from_slice(keys.at(day * PERIOD).unwrap().jwks()).unwrap();
        let list = document["keys"].as_array().unwrap();
        list.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    fn signs_with(keys: &SigningKeys, day: u64) -> String {
        let header = URL_SAFE_NO_PAD.decode(keys.at(day * PERIOD).unwrap().header()).unwrap();
        serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_key_is_published_before_and_after_its_day() {
        let keys = keys(A, &[], "scope");
        let (today, other) = (signs_with(&keys, 100), signs_with(&keys, 101));
        assert_ne!(today, other);
        for (day, known) in [(98, false), (99, true), (100, true), (101, true), (102, false)] {
            assert_eq!(kids(&keys, day).contains(&today), known, "{day}");
        }
        assert_eq!(kids(&keys, 100).len(), 3);
        let at = |second| signs_with_at(&keys, second);
        assert_eq!(at(100 * PERIOD), at(101 * PERIOD - 1));
    }

    fn signs_with_at(keys: &SigningKeys, second: u64) -> String {
        keys.at(second).unwrap().header().to_owned()
    }

    #[test]
    fn replicas_have_the_same_keys_and_others_have_not() {
        let here = keys(A, &[], "scope");
        assert_eq!(kids(&here, 7), kids(&keys(A, &[], "scope"), 7));
        for other in [keys(B, &[], "scope"), keys(A, &[], "other")] {
            assert!(kids(&here, 7).iter().all(|kid| !kids(&other, 7).contains(kid)));
        }
    }

    #[test]
    fn a_new_secret_is_published_before_it_signs() {
        let (old, both, new) = (keys(A, &[], "s"), keys(A, &[B], "s"), keys(B, &[A], "s"));
        assert_eq!(signs_with(&both, 7), signs_with(&old, 7));
        assert!(kids(&both, 7).contains(&signs_with(&new, 7)));
        assert!(kids(&new, 7).contains(&signs_with(&old, 7)));
    }

    #[test]
    fn ids_are_thumbprints() {
        // RFC 7638 has no example on this curve; the members and their order are section 3.2's.
        let signer = Signer::from_p256_scalar(&[1; 32]).unwrap();
        let (kid, key) = public(&signer).unwrap();
        let text = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, key["x"], key["y"]);
        assert_eq!(kid, URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes())));
    }

    #[test]
    fn scalars_outside_the_curve_are_no_keys() {
        assert!(Signer::from_p256_scalar(&[0; 32]).is_err());
        assert!(Signer::from_p256_scalar(&[0xff; 32]).is_err());
    }
}
