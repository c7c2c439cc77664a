//! Logout tokens: any header and claims under the provider's signature (`header`, newline, `claims`), and any text as
//! it is. What is accepted is signed and says all that Back-Channel Logout 1.0, section 2.6, asks for.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use portcullis::oidc::id_token::{Expected, SKEW, validate_with};
use portcullis::oidc::logout_token::{self, Target};
use portcullis_fuzz::{CLIENT, ISSUER, NOW, SIGNER, names};
use serde_json::Value;

fuzz_target!(|text: &str| {
    let token = SIGNER.token(text);
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let Ok(accepted) = logout_token::validate_with(&token, &SIGNER.keys, ISSUER, CLIENT, now) else {
        return;
    };
    let (_, claims) = text.split_once('\n').expect("nobody else has the key");
    let claims: Value = serde_json::from_str(claims).unwrap();
    assert_eq!(claims["iss"], ISSUER);
    assert!(names(&claims["aud"], CLIENT));
    assert!(claims["events"]["http://schemas.openid.net/event/backchannel-logout"].is_object());
    assert!(claims.get("nonce").is_none());
    assert!(!accepted.jti.is_empty() && claims["jti"] == *accepted.jti);
    match &accepted.target {
        Target::Session(sid) => assert_eq!(claims["sid"], **sid),
        Target::Subject(sub) => assert!(claims["sub"] == **sub && claims.get("sid").is_none()),
    }
    assert!(accepted.expiry + SKEW > now);
    // It has no nonce, so it never logs anybody in.
    let expected = Expected { issuer: ISSUER, client_id: CLIENT, nonce: Some("nonce"), access_token: None };
    assert!(validate_with(&token, &SIGNER.keys, expected, now).is_err());
});
