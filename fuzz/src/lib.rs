//! What the targets share: a provider's signing key, so that claims get past the signature.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA512, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis::oidc::jwks::KeySet;
use serde_json::{Value, json};

/// The provider.
pub const ISSUER: &str = "https://op.example/realm";

/// Our client identifier.
pub const CLIENT: &str = "client";

/// The present, in seconds since 1970.
pub const NOW: u64 = 1_800_000_000;

/// The provider's key.
pub static SIGNER: LazyLock<Signer> = LazyLock::new(Signer::new);

/// Signs with EdDSA, the quickest that is accepted.
pub struct Signer {
    key: Ed25519KeyPair,
    /// The key as clients see it.
    pub keys: KeySet,
}

impl Signer {
    fn new() -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let x = URL_SAFE_NO_PAD.encode(key.public_key());
        let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]});
        Self { key, keys: KeySet::parse(set.to_string().as_bytes()).unwrap() }
    }

    /// `header`, newline, `payload` as a signed token; a text without newline as it is.
    pub fn token(&self, text: &str) -> String {
        let Some((header, payload)) = text.split_once('\n') else { return text.to_owned() };
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// `at_hash` of `token` beside a token signed with EdDSA.
    pub fn half_hash(token: &str) -> String {
        URL_SAFE_NO_PAD.encode(&digest(&SHA512, token.as_bytes()).as_ref()[..32])
    }
}

/// Whether `aud` is `client` or a list with it.
pub fn names(aud: &Value, client: &str) -> bool {
    aud == client || aud.as_array().is_some_and(|list| list.iter().any(|one| one == client))
}
