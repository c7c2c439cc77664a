//! N93: no input ends in a panic. `PROPTEST_CASES` makes it more of them; `fuzz/` has the millions.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::oidc::attempt::Attempt;
use crate::oidc::fake_provider::SigningKey;
use crate::oidc::id_token::{Expected, validate_with};
use crate::oidc::jwks::KeySet;
use crate::oidc::seal::Seal;

static SIGNER: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::new("key-1"));

static SEAL: LazyLock<Seal> = LazyLock::new(|| Seal::new(&KEY.into(), "login attempt", "x").unwrap());

/// Values of every type, in every place.
fn value() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!("client")),
        Just(json!("https://issuer")),
    ];
    plain.prop_recursive(3, 12, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from);
        let map = prop::collection::btree_map("[a-z]{1,4}", inner, 0..4);
        prop_oneof![list, map.prop_map(|map| json!(map))]
    })
}

/// An object with members of these names.
fn object(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::collection::btree_map(prop::sample::select(names), value(), 0..8).prop_map(|map| json!(map))
}

const CLAIMS: &[&str] = &[
    "iss",
    "aud",
    "azp",
    "exp",
    "nbf",
    "iat",
    "sub",
    "nonce",
    "at_hash",
    "auth_time",
    "acr",
    "sid",
    "events",
];

const HEADER: &[&str] = &["alg", "kid", "typ", "crit", "b64", "cty", "jku", "jwk", "x5c", "zip"];

const JWK: &[&str] = &["kty", "kid", "use", "alg", "key_ops", "crv", "x", "y", "n", "e", "k", "x5c"];

proptest! {
    #[test]
    fn n93_any_token_is_good_or_not_without_panic(header in object(HEADER), claims in object(CLAIMS), text in "\\PC{0,80}") {
        let keys = KeySet::parse(json!({"keys": [SIGNER.jwk]}).to_string().as_bytes()).unwrap();
        let expected = Expected {
            issuer: "https://issuer", client_id: "client", nonce: Some("nonce"), access_token: Some("token"),
        };
        let signed = SIGNER.sign_text(header, &claims.to_string());
        let odd = SIGNER.sign_text(json!({}), &text);
        let (start, _) = signed.split_at(signed.len() / 2);
        for token in [signed.as_str(), &odd, start, &text, &format!("{text}.{text}.{text}")] {
            prop_assert!(validate_with(token, &keys, expected, SystemTime::now()).is_err());
        }
    }

    #[test]
    fn n93_any_key_set_is_one_or_not_without_panic(key in object(JWK), text in "\\PC{0,80}", member in prop::sample::select(JWK), put in value()) {
        let mut changed = SIGNER.jwk.clone();
        changed[member] = put;
        for text in [
            json!({ "keys": [key, changed] }).to_string(),
            json!({ "keys": key }).to_string(),
            text,
        ] {
            if let Ok(keys) = KeySet::parse(text.as_bytes()) {
                let token = SIGNER.sign_text(json!({}), "{}");
                let expected = Expected { issuer: "i", client_id: "c", nonce: None, access_token: None };
                prop_assert!(validate_with(&token, &keys, expected, SystemTime::now()).is_err());
            }
        }
    }

    /// Of a login attempt: the state and the cookie.
    #[test]
    fn n93_any_state_and_attempt_is_one_or_not_without_panic(state in "\\PC{0,40}", cookie in "[A-Za-z0-9_=.-]{0,200}", sealed in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = Attempt::cookie_id(&state);
        prop_assert!(Attempt::open(&SEAL, "name", &cookie).is_none());
        // Even what is sealed with our key.
        if let Some(attempt) = Attempt::open(&SEAL, "name", &SEAL.seal(&sealed, "name").unwrap()) {
            prop_assert!(!attempt.has_state(&state));
            let _ = (attempt.is_over(SystemTime::now(), SECOND), attempt.verifier());
        }
    }
}
