//! No expression makes the translation from Go's dialect panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::net::GoRegex;

fuzz_target!(|input: (&str, &str, &str)| {
    let (expression, text, replacement) = input;
    if let Ok(regex) = GoRegex::new(expression) {
        assert_eq!(regex.is_match(text), regex.replace_all(text, replacement).is_some());
    }
});
