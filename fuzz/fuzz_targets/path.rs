//! No request target gets a dot segment past the normalisation, and normalising twice changes nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::net::path::{PathPolicy, Target};

fuzz_target!(|input: (&[u8], bool, bool)| {
    let (raw, sanitize, encode_query_semicolons) = input;
    let policy = PathPolicy { sanitize, encode_query_semicolons };
    let Ok(target) = Target::parse(raw, policy) else { return };
    assert!(target.path().starts_with('/') && target.path().is_ascii());
    if sanitize {
        assert!(!target.path().contains("//"));
        assert!(target.path().split('/').all(|segment| segment != "." && segment != ".."));
    }
    let form = target.origin_form();
    assert_eq!(target.is_unchanged(), form.as_bytes() == raw);
    let again = Target::parse(form.as_bytes(), policy).expect("a normal target is accepted");
    assert!(again.is_unchanged());
    assert_eq!(again.routing_path(), target.routing_path());
});
