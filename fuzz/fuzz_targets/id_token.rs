//! ID tokens: any header and claims under the provider's signature (`header`, newline, `claims`), and any text as it
//! is. What is accepted is signed and says all that OpenID Connect Core, section 3.1.3.7, asks for.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use portcullis::oidc::id_token::{Expected, SKEW, validate_with};
use portcullis_fuzz::{CLIENT, ISSUER, NOW, SIGNER, Signer, names};
use serde_json::Value;

static AT_HASH: LazyLock<String> = LazyLock::new(|| Signer::half_hash("token"));

fuzz_target!(|text: &str| {
    let token = SIGNER.token(text);
    let expected =
        Expected { issuer: ISSUER, client_id: CLIENT, nonce: Some("nonce"), access_token: Some("token") };
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let Ok(accepted) = validate_with(&token, &SIGNER.keys, expected, now) else {
        return;
    };
    let (header, claims) = text.split_once('\n').expect("nobody else has the key");
    let header: Value = serde_json::from_str(header).unwrap();
    let claims: Value = serde_json::from_str(claims).unwrap();
    assert_eq!(header["alg"], "EdDSA");
    assert!(header.get("crit").is_none());
    assert_eq!(claims["iss"], ISSUER);
    assert!(names(&claims["aud"], CLIENT));
    assert_eq!(claims["nonce"], "nonce");
    assert!(claims["sub"].as_str().is_some_and(|sub| !sub.is_empty()));
    assert!(claims["exp"].is_number() && claims["iat"].is_number());
    assert!(claims.get("at_hash").is_none_or(|hash| *hash == **AT_HASH));
    assert!(accepted.expiry + SKEW > now);
});
