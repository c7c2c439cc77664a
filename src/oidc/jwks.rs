//! A provider's signing keys, each with the algorithms that it may verify.
//!
//! The algorithm is a property of the key, never of the token (RFC 8725, section 3.1), so a token
//! cannot choose `none`, an HMAC, or another family.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

/// Most keys that are kept.
const MAX_KEYS: usize = 256;

/// Verification keys of one provider.
#[derive(Debug, Default)]
pub struct KeySet(Vec<VerifyKey>);

/// One key.
#[derive(Debug)]
pub struct VerifyKey {
    kid: Option<String>,
    algorithms: &'static [Algorithm],
    key: DecodingKey,
}

/// Why a key set cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not a JWK set.
    #[error("not a JWK set")]
    Malformed,
    /// No key in it verifies signatures that we know.
    #[error("no usable signing key")]
    Empty,
}

impl KeySet {
    /// Reads a JWK set (RFC 7517, section 5) and keeps the keys that can verify.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        #[derive(serde::Deserialize)]
        struct Document {
            keys: Vec<serde_json::Value>,
        }
        let document: Document = serde_json::from_slice(json).map_err(|_| KeySetError::Malformed)?;
        let keys: Vec<_> =
            document.keys.into_iter().filter_map(VerifyKey::from_json).take(MAX_KEYS).collect();
        if keys.is_empty() { Err(KeySetError::Empty) } else { Ok(Self(keys)) }
    }

    /// Keys that may verify a token with this header: those named `kid`, or all if it names none.
    pub fn candidates<'a>(
        &'a self,
        kid: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a DecodingKey> {
        /// A token without a key id is tried against this many keys.
        const MAX_TRIES: usize = 8;
        self.0
            .iter()
            .filter(move |key| kid.is_none_or(|kid| key.kid.as_deref() == Some(kid)))
            .filter(move |key| key.algorithms.contains(&algorithm))
            .map(|key| &key.key)
            .take(MAX_TRIES)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl VerifyKey {
    /// A key that we cannot use is left out: others of the set still serve (RFC 7517, section 5).
    fn from_json(value: serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let common = &jwk.common;
        let for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
        let may_verify =
            common.key_operations.as_ref().is_none_or(|ops| ops.contains(&KeyOperations::Verify));
        if !for_signatures || !may_verify {
            return None;
        }
        let algorithms = algorithms(&jwk)?;
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { kid: jwk.common.key_id, algorithms, key })
    }
}

/// What the key may verify: its `alg`, where it fits the key, else all of its kind.
fn algorithms(jwk: &Jwk) -> Option<&'static [Algorithm]> {
    const RSA: &[Algorithm] = &[
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
    ];
    let of_kind: &'static [Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => RSA,
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            // ES512 is named here so that nobody looks for it: no library of ours verifies it.
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => return None,
    };
    match jwk.common.key_algorithm {
        None => Some(of_kind),
        Some(alg) => {
            of_kind.iter().position(|a| KeyAlgorithm::from(*a) == alg).and_then(|at| of_kind.get(at..=at))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn ec(kid: Option<&str>) -> Value {
        let mut key = json!({"kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
        if let Some(kid) = kid {
            key["kid"] = json!(kid);
        }
        key
    }

    fn set(keys: Vec<Value>) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn unusable_keys_are_left_out() {
        let mut encrypting = ec(Some("enc"));
        encrypting["use"] = json!("enc");
        let mut wrong_alg = ec(Some("wrong"));
        wrong_alg["alg"] = json!("RS256");
        let odd = json!({"kty": "XYZ", "kid": "odd"});
        let symmetric = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "oct"});
        let junk = json!(5);
        let keys = set(vec![encrypting, wrong_alg, odd, symmetric, junk, ec(None), ec(None)]).unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys.candidates(None, Algorithm::ES256).count(), 2);
        assert_eq!(keys.candidates(None, Algorithm::HS256).count(), 0);
        assert_eq!(keys.candidates(Some("enc"), Algorithm::ES256).count(), 0);
    }

    #[test]
    fn a_set_without_bounds_is_cut() {
        let many: Vec<_> = (0..10_000).map(|number| ec(Some(&number.to_string()))).collect();
        let keys = set(many).unwrap();
        assert_eq!(keys.len(), MAX_KEYS);
        assert!(keys.candidates(None, Algorithm::ES256).count() <= 8, "a token without a key id tries few");
        let deep = format!("{{\"keys\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(KeySet::parse(deep.as_bytes()).unwrap_err(), KeySetError::Malformed);
    }

    /// A token of nobody, signed by `alg`.
    fn signed(pem: &str, alg: &str) -> String {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
        let signer = crate::oidc::client_auth::Signer::from_pem(pem.as_bytes(), alg).unwrap();
        let message = format!("{}.{}", BASE64.encode(json!({ "alg": alg }).to_string()), BASE64.encode("{}"));
        format!("{message}.{}", BASE64.encode(signer.sign(message.as_bytes()).unwrap()))
    }

    /// Private keys as PEM with their JWKs: RSA of 2048 bits, P-256, P-384, Ed25519.
    fn pairs() -> [(String, Value); 4] {
        use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
        use aws_lc_rs::signature::KeyPair as _;
        use base64::Engine;
        use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
        let pem = |der: &[u8]| {
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
        };
        let rsa = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        // RSAPublicKey of RFC 8017: 9 bytes, the modulus, and 65537.
        let modulus = BASE64.encode(&rsa.public_key().as_ref()[9..265]);
        let rsa_pem = pem(AsDer::<Pkcs8V1Der<'_>>::as_der(&rsa).unwrap().as_ref());
        let other = |alg: &'static rcgen::SignatureAlgorithm, kind: &str, curve: &str| {
            let pair = rcgen::KeyPair::generate_for(alg).unwrap();
            let public = pair.public_key_raw();
            let jwk = match kind {
                "EC" => {
                    let (x, y) = public[1..].split_at((public.len() - 1) / 2);
                    json!({"kty": "EC", "crv": curve, "x": BASE64.encode(x), "y": BASE64.encode(y)})
                }
                _ => json!({"kty": "OKP", "crv": curve, "x": BASE64.encode(public)}),
            };
            (pair.serialize_pem(), jwk)
        };
        [
            (rsa_pem, json!({"kty": "RSA", "n": modulus, "e": "AQAB"})),
            other(&rcgen::PKCS_ECDSA_P256_SHA256, "EC", "P-256"),
            other(&rcgen::PKCS_ECDSA_P384_SHA384, "EC", "P-384"),
            other(&rcgen::PKCS_ED25519, "OKP", "Ed25519"),
        ]
    }

    #[test]
    fn each_algorithm_is_verified_by_keys_of_its_kind_alone() {
        use crate::oidc::id_token::{TokenError, verify_with};
        let pairs = pairs();
        let all = set(pairs.iter().map(|(_, jwk)| jwk.clone()).collect()).unwrap();
        let by_key: [&[&str]; 4] =
            [&["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"], &["ES256"], &["ES384"], &["EdDSA"]];
        for (at, algs) in by_key.iter().enumerate() {
            let (pem, jwk) = &pairs[at];
            for alg in *algs {
                let token = signed(pem, alg);
                assert!(verify_with(&token, &all).is_ok(), "{alg}");
                let mut pinned = jwk.clone();
                pinned["alg"] = json!(alg);
                assert!(verify_with(&token, &set(vec![pinned.clone()]).unwrap()).is_ok(), "{alg}");
                // Every other kind of key, and this one for another algorithm, is none for the token.
                let mut others: Vec<Value> = pairs.iter().map(|(_, jwk)| jwk.clone()).collect();
                others.remove(at);
                if at == 0 {
                    pinned["alg"] = json!(if *alg == "PS256" { "RS256" } else { "PS256" });
                    others.push(pinned);
                }
                let refused = verify_with(&token, &set(others).unwrap()).map(drop);
                assert_eq!(refused.unwrap_err(), TokenError::NoKey, "{alg}");
            }
        }
    }

    #[test]
    fn weak_and_odd_keys_verify_nothing() {
        use crate::oidc::id_token::verify_with;
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
        let [(rsa, jwk), (ec, _), ..] = pairs();
        let modulus = BASE64.decode(jwk["n"].as_str().unwrap()).unwrap();
        for (n, e) in
            [(&modulus[..128], "AQAB"), (&modulus[..], "AQ"), (&modulus[..], "Ag"), (b"".as_slice(), "AQAB")]
        {
            let weak = json!({"kty": "RSA", "n": BASE64.encode(n), "e": e});
            let keys = set(vec![weak, ec_off_curve()]).unwrap_or_default();
            assert!(verify_with(&signed(&rsa, "RS256"), &keys).is_err(), "{} bits, {e}", n.len() * 8);
            assert!(verify_with(&signed(&ec, "ES256"), &keys).is_err());
        }
    }

    fn ec_off_curve() -> Value {
        let mut key = ec(None);
        key["y"] = key["x"].clone();
        key
    }

    #[test]
    fn a_set_without_keys_is_an_error() {
        assert_eq!(set(vec![]).unwrap_err(), KeySetError::Empty);
        assert_eq!(KeySet::parse(b"<html>").unwrap_err(), KeySetError::Malformed);
        assert_eq!(KeySet::parse(b"[]").unwrap_err(), KeySetError::Malformed);
    }
}
