//! Login attempts, which the browser keeps sealed: no value that is not ours opens, what is sealed comes back, and
//! whatever is in a seal of ours is read without a panic.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use portcullis::oidc::attempt::Attempt;
use portcullis::oidc::return_target::remember;
use portcullis::oidc::seal::Seal;
use portcullis_fuzz::NOW;
use secrecy::SecretString;

static SEAL: LazyLock<Seal> = LazyLock::new(|| {
    Seal::new(&SecretString::from("0123456789abcdef0123456789abcdef"), "login", "scope").unwrap()
});

fuzz_target!(|data: &[u8]| {
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    if let Ok(text) = std::str::from_utf8(data) {
        assert_eq!(Attempt::open(&SEAL, "name", text), None);
        if let Some(id) = Attempt::cookie_id(text) {
            assert!(id.len() == 8 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        }
        // Targets have passed the grammar.
        assert_returns(&Attempt::new(remember(text, None), now).unwrap());
    }
    let sealed = SEAL.seal(data, "name").unwrap();
    assert_eq!(Attempt::open(&SEAL, "other", &sealed), None);
    if let Some(attempt) = Attempt::open(&SEAL, "name", &sealed) {
        // After the seed, the time and the flags.
        assert!(data[41..].starts_with(attempt.target().as_bytes()));
        let _ = attempt.is_over(now, Duration::from_secs(600));
        assert_returns(&attempt);
    }
});

fn assert_returns(attempt: &Attempt) {
    let sealed = attempt.seal(&SEAL, "name").unwrap();
    assert_eq!(Attempt::open(&SEAL, "name", &sealed).as_ref(), Some(attempt));
    let state = attempt.state();
    assert!(attempt.has_state(&state) && !attempt.has_state(&attempt.nonce()));
    assert!(Attempt::cookie_id(&state).is_some());
}
