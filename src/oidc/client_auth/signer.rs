//! Signatures of JSON Web Signature (RFC 7518, section 3; RFC 8037) by a private key or a secret.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
};
use aws_lc_rs::{error, hmac};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// A key with the one algorithm that it signs by.
pub struct Signer {
    algorithm: &'static str,
    key: Key,
}

enum Key {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Hmac(Box<hmac::Key>),
}

/// Why a key cannot sign. Holds nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Neither PKCS#8 nor PKCS#1 nor SEC1 in PEM; encrypted keys are not read.
    #[error("is not a private key in PEM (PKCS#8, PKCS#1 or SEC1, without a password)")]
    Unreadable,
    /// Not an algorithm that we sign by.
    #[error("must be RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA")]
    Algorithm,
    /// A key of another kind, curve or size.
    #[error("is not a key for {0}")]
    Kind(&'static str),
    /// There is none.
    #[error("no private key")]
    Missing,
    /// The library refused.
    #[error("signing failed")]
    Failed,
}

impl Signer {
    /// The algorithm of that name, if it is one for private keys.
    ///
    /// # Errors
    /// [`KeyFault::Algorithm`].
    pub fn algorithm(name: &str) -> Result<&'static str, KeyFault> {
        const NAMES: [&str; 10] =
            ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];
        NAMES.into_iter().find(|known| *known == name).ok_or(KeyFault::Algorithm)
    }

    /// A private key in PEM that signs by `algorithm`.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub fn from_pem(pem: &[u8], algorithm: &str) -> Result<Self, KeyFault> {
        let algorithm = Self::algorithm(algorithm)?;
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| KeyFault::Unreadable)?;
        let key = match algorithm {
            "RS256" => rsa(&der, &RSA_PKCS1_SHA256),
            "RS384" => rsa(&der, &RSA_PKCS1_SHA384),
            "RS512" => rsa(&der, &RSA_PKCS1_SHA512),
            "PS256" => rsa(&der, &RSA_PSS_SHA256),
            "PS384" => rsa(&der, &RSA_PSS_SHA384),
            "PS512" => rsa(&der, &RSA_PSS_SHA512),
            "ES256" => ecdsa(&der, &ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ecdsa(&der, &ECDSA_P384_SHA384_FIXED_SIGNING),
            "ES512" => ecdsa(&der, &ECDSA_P521_SHA512_FIXED_SIGNING),
            _ => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_der()).ok().map(Key::Ed25519),
        };
        key.map(|key| Self { algorithm, key }).ok_or(KeyFault::Kind(algorithm))
    }

    /// A secret that authenticates by HS256, which every provider with `client_secret_jwt` has.
    pub fn from_secret(secret: &SecretString) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        Self { algorithm: "HS256", key: Key::Hmac(Box::new(key)) }
    }

    /// The key of ES256 with this private scalar (RFC 7518, section 3.4).
    ///
    /// # Errors
    /// [`KeyFault::Kind`]: it is 0 or not below the order of the curve.
    pub fn from_p256_scalar(scalar: &[u8; 32]) -> Result<Self, KeyFault> {
        // ECPrivateKey of RFC 5915: version 1, the scalar, prime256v1.
        const HEAD: [u8; 7] = [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
        const CURVE: [u8; 12] = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        let der = Zeroizing::new([HEAD.as_slice(), scalar, CURVE.as_slice()].concat());
        EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der)
            .map(|pair| Self { algorithm: "ES256", key: Key::Ecdsa(pair) })
            .map_err(|_| KeyFault::Kind("ES256"))
    }

    /// The coordinates of a public key on P-256; none for other keys.
    pub fn p256_point(&self) -> Option<([u8; 32], [u8; 32])> {
        let Key::Ecdsa(pair) = &self.key else { return None };
        // Uncompressed: 4, x, y (SEC 1, section 2.3.3).
        let (&[4], point) = pair.public_key().as_ref().split_first_chunk::<1>()? else { return None };
        let (x, y) = point.split_first_chunk::<32>()?;
        Some((*x, y.try_into().ok()?))
    }

    /// `alg` of what it signs.
    pub fn name(&self) -> &'static str {
        self.algorithm
    }

    /// The signature of `message`.
    ///
    /// # Errors
    /// [`KeyFault::Failed`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let random = SystemRandom::new();
        let failed = |_: error::Unspecified| KeyFault::Failed;
        match &self.key {
            Key::Rsa(key, padding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*padding, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Key::Ecdsa(key) => Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Key::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
            Key::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
        }
    }
}

fn rsa(der: &PrivateKeyDer<'_>, padding: &'static dyn RsaEncoding) -> Option<Key> {
    let pair = match der {
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        _ => return None,
    };
    Some(Key::Rsa(pair.ok()?, padding))
}

fn ecdsa(der: &PrivateKeyDer<'_>, algorithm: &'static EcdsaSigningAlgorithm) -> Option<Key> {
    if matches!(der, PrivateKeyDer::Pkcs1(_)) {
        return None;
    }
    EcdsaKeyPair::from_private_key_der(algorithm, der.secret_der()).ok().map(Key::Ecdsa)
}

/// Tells keys apart by what is public of them.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let public = match &self.key {
            Key::Rsa(key, _) => Some(digest(&SHA256, key.public_key().as_ref())),
            Key::Ecdsa(key) => Some(digest(&SHA256, key.public_key().as_ref())),
            Key::Ed25519(key) => Some(digest(&SHA256, key.public_key().as_ref())),
            Key::Hmac(_) => None,
        };
        f.debug_struct("Signer").field("algorithm", &self.algorithm).field("public", &public).finish()
    }
}
