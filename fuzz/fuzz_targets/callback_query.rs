//! Any text as the query of a login callback: nothing panics, and no parameter counts twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::oidc::CallbackQuery;

fuzz_target!(|query: &str| {
    if CallbackQuery::parse(query).is_ok() {
        for name in ["state", "code", "iss", "error", "error_description"] {
            let times = url::form_urlencoded::parse(query.as_bytes()).filter(|(n, _)| n == name).count();
            assert!(times <= 1, "{name}");
        }
    }
});
