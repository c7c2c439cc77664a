//! Any text as a redirect target: what passes stays on its origin for a browser's URL parser.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::oidc::return_target::{is_request_target, is_strict, remember};

fuzz_target!(|text: &str| {
    assert!(!is_strict(text) || is_request_target(text));
    if is_request_target(text) {
        let base = url::Url::parse("https://app.example.com/x/y").unwrap();
        let joined = base.join(text).unwrap();
        assert_eq!(joined.origin(), base.origin());
        assert_eq!(Some(joined.path()), text.split('?').next());
    }
    assert!(is_request_target(&remember(text, None)));
});
