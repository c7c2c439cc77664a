//! Any lines as `Authorization` headers: a token is taken from one header only, byte for byte what is behind the scheme,
//! and every token of RFC 6750 is taken.
#![no_main]

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use portcullis::oidc::fuzzing::bearer_token;

fuzz_target!(|data: &[u8]| {
    let values: Vec<HeaderValue> =
        data.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    let mut all = HeaderMap::new();
    for value in &values {
        all.append(AUTHORIZATION, value.clone());
    }
    let bearers = values.iter().filter(|value| is_bearer(value.as_bytes())).count();
    match bearer_token(&all) {
        None => assert_eq!(bearers, 0),
        Some(None) => assert!(bearers > 0),
        Some(Some(token)) => {
            assert_eq!((bearers, values.len()), (1, 1));
            assert!(is_b64token(token));
            let text = values[0].to_str().unwrap();
            assert_eq!(text[6..].trim_start_matches(' '), token);
        }
    }
    // A token that can be one, alone.
    let token: String =
        data.iter().map(|byte| char::from(*byte)).filter(|c| is_b64token(&c.to_string())).collect();
    if !token.is_empty() && token.len() <= 32 * 1024 - 2 {
        let mut alone = HeaderMap::new();
        alone.insert(AUTHORIZATION, format!("Bearer {token}==").parse().unwrap());
        assert_eq!(bearer_token(&alone), Some(Some(format!("{token}==").as_str())));
    }
});

/// `Bearer`, and nothing or a blank behind it.
fn is_bearer(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value).to_ascii_lowercase();
    text == "bearer" || text.starts_with("bearer ")
}

/// RFC 6750, section 2.1.
fn is_b64token(token: &str) -> bool {
    let (mut letters, mut ends) = (0, false);
    token.chars().all(|c| match c {
        '=' => {
            ends = true;
            letters > 0
        }
        c => {
            letters += 1;
            !ends && (c.is_ascii_alphanumeric() || "-._~+/".contains(c))
        }
    }) && letters > 0
}
