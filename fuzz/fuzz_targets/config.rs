//! Dynamic configuration: any text as YAML and as TOML is decoded or refused with a message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::config::decode_dynamic;
use portcullis::config::source::{toml, yaml};

fuzz_target!(|text: &str| {
    for parsed in [yaml::parse("dynamic.yml", text), toml::parse("dynamic.toml", text)] {
        match parsed.and_then(|node| decode_dynamic(&node)) {
            Ok((config, _)) => drop(config),
            Err(errors) => assert!(!errors.to_string().is_empty()),
        }
    }
});
