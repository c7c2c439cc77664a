//! Any text as a redirect target: what passes stays on its origin for a browser's URL parser.
#![no_main]

use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode_str;
use portcullis::oidc::return_target::{is_request_target, is_strict, remember};

fuzz_target!(|text: &str| {
    assert!(!is_strict(text) || is_request_target(text));
    if is_request_target(text) {
        let base = url::Url::parse("https://app.example.com/x/y").unwrap();
        let joined = base.join(text).unwrap();
        assert_eq!(joined.origin(), base.origin());
        // It escapes what a path must not hold (`"`, a backquote), and leaves the rest alone.
        let unescaped = |path: &str| percent_decode_str(path).collect::<Vec<_>>();
        assert_eq!(Some(unescaped(joined.path())), text.split('?').next().map(unescaped));
    }
    assert!(is_request_target(&remember(text, None)));
});
