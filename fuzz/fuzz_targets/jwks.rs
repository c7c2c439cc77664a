//! Key sets: any bytes. A set that is accepted has keys, none of them for a shared secret, and none verifies a
//! signature that nobody made.
#![no_main]

use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::verify;
use libfuzzer_sys::fuzz_target;
use portcullis::oidc::jwks::KeySet;

const SECRET: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const PUBLIC: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

fuzz_target!(|json: &[u8]| {
    let Ok(keys) = KeySet::parse(json) else { return };
    assert!((1..=256).contains(&keys.len()));
    for algorithm in SECRET {
        assert_eq!(keys.candidates(None, algorithm).count(), 0);
    }
    for algorithm in PUBLIC {
        for key in keys.candidates(None, algorithm) {
            let verified = verify("c2lnbmF0dXJl", b"message", key, algorithm);
            assert!(!matches!(verified, Ok(true)), "{algorithm:?}");
        }
    }
});
