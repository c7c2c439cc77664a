//! The provider's signing keys and the tokens they sign (JWS compact serialisation, RFC 7515 section 3.1).
//!
//! Signing is written here on bare aws-lc-rs and not with the crate that the edge verifies with, so that a
//! mistake there cannot hide behind the same mistake here.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use aws_lc_rs::{digest, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use serde_json::{Map, Value, json};

use super::options::Signing;

/// The crypto library refused; its errors say no more than that.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the crypto library failed")]
pub struct CryptoError;

impl From<aws_lc_rs::error::Unspecified> for CryptoError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self
    }
}

impl From<aws_lc_rs::error::KeyRejected> for CryptoError {
    fn from(_: aws_lc_rs::error::KeyRejected) -> Self {
        Self
    }
}

/// A wrong signature that the provider is asked to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    /// Signed with a key that is not published, under the published key's id.
    WrongKey,
    /// Signed with a key that is not published, under an id of its own.
    UnknownKey,
    /// `alg: none` and an empty signature.
    NoSignature,
    /// `alg: HS256`, the published key in PEM taken for the secret (RFC 8725 section 2.1).
    PublicKeyAsSecret,
}

/// A random value of 256 bits as text: codes, tokens, session ids.
pub(super) fn random_text() -> Result<String, CryptoError> {
    let mut bytes = [0_u8; 32];
    rand::fill(&mut bytes)?;
    Ok(BASE64.encode(bytes))
}

/// Base64url of SHA-256, as PKCE has it (RFC 7636 section 4.2).
pub(super) fn sha256_text(input: &str) -> String {
    BASE64.encode(digest::digest(&digest::SHA256, input.as_bytes()))
}

/// Base64url of the left half of SHA-256: `at_hash` (OpenID Connect Core 3.1.3.6).
pub(super) fn half_sha256_text(input: &str) -> String {
    let hash = digest::digest(&digest::SHA256, input.as_bytes());
    BASE64.encode(hash.as_ref().get(..16).unwrap_or_default())
}

enum Secret {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

/// One signing key.
pub(super) struct SigningKey {
    id: String,
    secret: Secret,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SigningKey {
    pub(super) fn generate(signing: Signing) -> Result<Self, CryptoError> {
        let secret = match signing {
            Signing::Rs256 => Secret::Rsa(RsaKeyPair::generate(KeySize::Rsa2048)?),
            Signing::Es256 => Secret::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?),
        };
        let id = random_text()?.get(..16).unwrap_or_default().to_owned();
        Ok(Self { id, secret })
    }

    /// Reads what [`Self::to_stored`] wrote.
    pub(super) fn from_stored(id: &str, signing: Signing, pkcs8: &str) -> Result<Self, CryptoError> {
        let der = BASE64.decode(pkcs8).map_err(|_| CryptoError)?;
        let secret = match signing {
            Signing::Rs256 => Secret::Rsa(RsaKeyPair::from_pkcs8(&der)?),
            Signing::Es256 => Secret::Ec(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der)?),
        };
        Ok(Self { id: id.to_owned(), secret })
    }

    /// Its id and its PKCS#8 form as base64url.
    pub(super) fn to_stored(&self) -> Result<(String, String), CryptoError> {
        let der = match &self.secret {
            Secret::Rsa(key) => BASE64.encode(AsDer::<Pkcs8V1Der<'_>>::as_der(key)?.as_ref()),
            Secret::Ec(key) => BASE64.encode(key.to_pkcs8v1()?),
        };
        Ok((self.id.clone(), der))
    }

    fn algorithm(&self) -> &'static str {
        match self.secret {
            Secret::Rsa(_) => "RS256",
            Secret::Ec(_) => "ES256",
        }
    }

    /// The public half (RFC 7517 section 4, RFC 7518 section 6).
    pub(super) fn jwk(&self) -> Value {
        let mut jwk = json!({ "kid": self.id, "use": "sig", "alg": self.algorithm() });
        let members = match &self.secret {
            Secret::Rsa(key) => {
                // RSAPublicKey of a 2048-bit key is always laid out alike: two headers of 4 and 5 bytes (the second
                // with the zero that keeps the number positive), 256 bytes of modulus, then the exponent 65537.
                let n = key.public_key().as_ref().get(9..265).unwrap_or_default();
                json!({ "kty": "RSA", "n": BASE64.encode(n), "e": "AQAB" })
            }
            Secret::Ec(key) => {
                // An uncompressed point: 4, x, y.
                let point = key.public_key().as_ref();
                let half = |range| BASE64.encode(point.get(range).unwrap_or_default());
                json!({ "kty": "EC", "crv": "P-256", "x": half(1..33), "y": half(33..65) })
            }
        };
        if let (Some(jwk), Value::Object(members)) = (jwk.as_object_mut(), members) {
            jwk.extend(members);
        }
        jwk
    }

    /// Signs `claims`, under `kid` where that is not the key's own id.
    fn sign_as(&self, kid: &str, typ: &str, claims: &Map<String, Value>) -> Result<String, CryptoError> {
        let header = json!({ "alg": self.algorithm(), "kid": kid, "typ": typ });
        let input = signing_input(&header, claims);
        let random = SystemRandom::new();
        let signature = match &self.secret {
            Secret::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, input.as_bytes(), &mut signature)?;
                BASE64.encode(signature)
            }
            Secret::Ec(key) => BASE64.encode(key.sign(&random, input.as_bytes())?),
        };
        Ok(format!("{input}.{signature}"))
    }

    /// What whoever verifies with this key, but believes the header's `alg`, would accept.
    fn confuse(&self, typ: &str, claims: &Map<String, Value>) -> Result<String, CryptoError> {
        let header = json!({ "alg": "HS256", "kid": self.id, "typ": typ });
        let input = signing_input(&header, claims);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, self.public_pem()?.as_bytes());
        Ok(format!("{input}.{}", BASE64.encode(hmac::sign(&secret, input.as_bytes()))))
    }

    fn public_pem(&self) -> Result<String, CryptoError> {
        let der = match &self.secret {
            Secret::Rsa(key) => AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key())?,
            Secret::Ec(key) => AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key())?,
        };
        let text = STANDARD.encode(der.as_ref());
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, behind) = rest.split_at_checked(64).unwrap_or((rest, ""));
            pem.push_str(line);
            pem.push('\n');
            rest = behind;
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        Ok(pem)
    }

    /// The claims of `token` if this key signed it; times are not looked at.
    pub(super) fn open(&self, token: &str) -> Option<Map<String, Value>> {
        let (input, signature) = token.rsplit_once('.')?;
        let (algorithm, public): (&'static dyn VerificationAlgorithm, &[u8]) = match &self.secret {
            Secret::Rsa(key) => (&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref()),
            Secret::Ec(key) => (&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref()),
        };
        let signature = BASE64.decode(signature).ok()?;
        UnparsedPublicKey::new(algorithm, public).verify(input.as_bytes(), &signature).ok()?;
        let (_, payload) = input.split_once('.')?;
        serde_json::from_slice(&BASE64.decode(payload).ok()?).ok()
    }
}

fn signing_input(header: &Value, claims: &Map<String, Value>) -> String {
    let claims = Value::Object(claims.clone());
    format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()))
}

/// The key that signs, and those before it that are still published.
#[derive(Debug)]
pub(super) struct KeyRing {
    pub(super) signing: Signing,
    pub(super) active: SigningKey,
    pub(super) retired: Vec<SigningKey>,
}

impl KeyRing {
    pub(super) fn generate(signing: Signing) -> Result<Self, CryptoError> {
        Ok(Self { signing, active: SigningKey::generate(signing)?, retired: Vec::new() })
    }

    /// A new active key. The old one stays published, or vanishes with everything that it signed.
    pub(super) fn rotate(&mut self, keep_old: bool) -> Result<(), CryptoError> {
        let old = std::mem::replace(&mut self.active, SigningKey::generate(self.signing)?);
        if keep_old {
            self.retired.push(old);
        } else {
            self.retired.clear();
        }
        Ok(())
    }

    pub(super) fn jwks(&self) -> Value {
        let keys: Vec<Value> = self.all().map(SigningKey::jwk).collect();
        json!({ "keys": keys })
    }

    /// Signs `claims` as a token of type `typ`, or makes the forgery that is asked for.
    pub(super) fn sign(
        &self,
        typ: &str,
        claims: &Map<String, Value>,
        forgery: Option<Forgery>,
    ) -> Result<String, CryptoError> {
        match forgery {
            None => self.active.sign_as(&self.active.id, typ, claims),
            Some(Forgery::WrongKey) => {
                SigningKey::generate(self.signing)?.sign_as(&self.active.id, typ, claims)
            }
            Some(Forgery::UnknownKey) => {
                let key = SigningKey::generate(self.signing)?;
                key.sign_as(&key.id, typ, claims)
            }
            Some(Forgery::NoSignature) => {
                let header = json!({ "alg": "none", "typ": typ });
                Ok(format!("{}.", signing_input(&header, claims)))
            }
            Some(Forgery::PublicKeyAsSecret) => self.active.confuse(typ, claims),
        }
    }

    /// The claims of a token that one of the published keys signed.
    pub(super) fn open(&self, token: &str) -> Option<Map<String, Value>> {
        self.all().find_map(|key| key.open(token))
    }

    fn all(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.active).chain(&self.retired)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn claims() -> Map<String, Value> {
        json!({ "sub": "alice", "exp": 4_102_444_800_u64 }).as_object().unwrap().clone()
    }

    /// The crate that the edge verifies with, which knows nothing of the code above.
    fn verify(token: &str, jwks: &Value, algorithm: jsonwebtoken::Algorithm) -> bool {
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwks["keys"][0].clone()).unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
        let rules = jsonwebtoken::Validation::new(algorithm);
        jsonwebtoken::decode::<Value>(token, &key, &rules).is_ok()
    }

    #[test]
    fn another_implementation_accepts_the_signatures() {
        for (signing, algorithm) in [
            (Signing::Rs256, jsonwebtoken::Algorithm::RS256),
            (Signing::Es256, jsonwebtoken::Algorithm::ES256),
        ] {
            let ring = KeyRing::generate(signing).unwrap();
            let token = ring.sign("JWT", &claims(), None).unwrap();
            assert!(verify(&token, &ring.jwks(), algorithm), "{signing:?}");
            let forged = ring.sign("JWT", &claims(), Some(Forgery::WrongKey)).unwrap();
            assert!(!verify(&forged, &ring.jwks(), algorithm), "{signing:?}");
        }
    }

    /// Against a verifier that lets the token choose the algorithm, so that a refusal elsewhere means something.
    #[test]
    fn the_confusion_of_algorithms_is_a_real_one() {
        for signing in [Signing::Rs256, Signing::Es256] {
            let ring = KeyRing::generate(signing).unwrap();
            let token = ring.sign("JWT", &claims(), Some(Forgery::PublicKeyAsSecret)).unwrap();
            let pem = ring.active.public_pem().unwrap();
            let key = jsonwebtoken::DecodingKey::from_secret(pem.as_bytes());
            let rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
            assert!(jsonwebtoken::decode::<Value>(&token, &key, &rules).is_ok(), "{signing:?}");
        }
        let ring = KeyRing::generate(Signing::Rs256).unwrap();
        let key = jsonwebtoken::DecodingKey::from_rsa_pem(ring.active.public_pem().unwrap().as_bytes());
        let rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
        let token = ring.sign("JWT", &claims(), None).unwrap();
        assert!(jsonwebtoken::decode::<Value>(&token, &key.unwrap(), &rules).is_ok());
    }

    #[test]
    fn a_ring_opens_what_its_published_keys_signed() {
        let mut ring = KeyRing::generate(Signing::Es256).unwrap();
        let token = ring.sign("JWT", &claims(), None).unwrap();
        ring.rotate(true).unwrap();
        assert_eq!(ring.open(&token), Some(claims()));
        ring.rotate(false).unwrap();
        assert_eq!(ring.open(&token), None);
    }

    #[test]
    fn a_stored_key_signs_as_before() {
        for signing in [Signing::Rs256, Signing::Es256] {
            let key = SigningKey::generate(signing).unwrap();
            let (id, pkcs8) = key.to_stored().unwrap();
            let read = SigningKey::from_stored(&id, signing, &pkcs8).unwrap();
            assert_eq!(read.jwk(), key.jwk());
            let token = read.sign_as(&id, "JWT", &claims()).unwrap();
            assert_eq!(key.open(&token), Some(claims()));
        }
    }

    /// RFC 7636 appendix B.
    #[test]
    fn pkce_challenge_of_the_rfc() {
        assert_eq!(
            sha256_text("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
