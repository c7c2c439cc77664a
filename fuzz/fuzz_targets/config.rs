//! Dynamic configuration: any text as YAML and as TOML is decoded or refused with a message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::config::decode_dynamic;
use portcullis::config::source::{toml, yaml};

fuzz_target!(|text: &str| {
    for parsed in [yaml::parse("dynamic.yml", text), toml::parse("dynamic.toml", text)] {
        let errors = match parsed {
            Ok(node) => decode_dynamic(&node).errors,
            Err(errors) => errors.0,
        };
        assert!(errors.iter().all(|error| !error.to_string().is_empty()));
    }
});
