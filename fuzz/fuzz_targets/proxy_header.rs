//! PROXY protocol headers: any bytes are decided without a panic and within bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::net::proxy_protocol::{MAX_HEADER, Parsed, parse};

fuzz_target!(|input: &[u8]| {
    match parse(input) {
        Ok(Parsed::Header { len, .. }) => assert!(len <= input.len() && len <= MAX_HEADER),
        Ok(Parsed::Incomplete) => assert!(input.len() < MAX_HEADER),
        Ok(Parsed::Absent) | Err(_) => {}
    }
});
