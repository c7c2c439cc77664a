//! No Host is read as two: its canonical form is that of a URL parser where that takes it, has no capital letter, and
//! becomes another one by no second reading.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::net::canonical_host;

/// A name as it is in a Host field: letters, digits, hyphens, dots, and perhaps a port. A last label that is a number
/// makes a URL parser read an IPv4 address.
fn is_name(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        && last.starts_with(|first: char| first.is_ascii_alphabetic())
}

fuzz_target!(|authority: &str| {
    let host = canonical_host(authority);
    assert!(host.len() <= authority.len());
    assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase()));
    // Case and a port change nothing.
    assert_eq!(canonical_host(&authority.to_ascii_uppercase()), host);
    if is_name(authority) {
        assert_eq!(canonical_host(&format!("{authority}:443")), host);
        if let Ok(url) = url::Url::parse(&format!("http://{authority}/")) {
            let found = url.host_str().unwrap_or_default();
            assert_eq!(host, found.strip_suffix('.').unwrap_or(found));
        }
    }
});
