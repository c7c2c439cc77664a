//! What a block makes of the assertion of identity.

use std::time::Duration;

use super::{AssertionSettings, Dialect, decode};
use crate::config::Decoder;
use crate::oidc::flow_tests::{KEY, block};

const BASE: &[(&str, &str)] = &[
    ("issuer", "https://id.example"),
    ("clientID", "client"),
    ("clientSecret", "secret"),
    ("sessionEncryptionKey", KEY),
    ("redirectUrl", "/oauth2/callback"),
    ("logoutURL", "/oauth2/logout"),
    ("identityAssertion.issuer", "https://edge.example"),
    ("identityAssertion.audience", "[https://app.example]"),
];

/// Settings, or the first fault.
fn read(more: &[(&str, &str)]) -> Result<AssertionSettings, (String, String)> {
    let mut lines = BASE.to_vec();
    lines.retain(|(key, _)| more.iter().all(|(other, _)| other != key));
    lines.extend(more.iter().filter(|(_, value)| *value != "-"));
    let mut decoder = Decoder::new();
    let settings = decode(&block(&lines), Dialect::Native, &mut decoder);
    match decoder.finish(settings) {
        Ok((settings, _)) => Ok(settings.identity_assertion.unwrap()),
        Err(errors) => Err(errors.0.into_iter().map(|e| (e.path, e.message)).next().unwrap()),
    }
}

#[test]
fn two_keys_are_enough() {
    let found = read(&[]).unwrap();
    assert_eq!(found.header, "x-portcullis-jwt-assertion");
    assert_eq!((found.life, found.jwks_path.as_str()), (Duration::from_secs(60), "/oauth2/jwks"));
    let other = read(&[
        ("identityAssertion.header", "X-Who"),
        ("identityAssertion.lifetime", "300"),
        ("identityAssertion.jwksPath", "/keys.json"),
        ("redirectUrl", "/cb"),
    ])
    .unwrap();
    assert_eq!((other.header.as_str(), other.jwks_path.as_str()), ("x-who", "/keys.json"));
    assert_eq!(read(&[("redirectUrl", "/cb")]).unwrap().jwks_path, "/jwks");
}

#[test]
fn what_cannot_work_is_refused_at_its_key() {
    let bad = [
        ("identityAssertion.issuer", "-"),
        ("identityAssertion.audience", "-"),
        ("identityAssertion.issuer", " "),
        ("identityAssertion.audience", "[*]"),
        ("identityAssertion.header", "Host"),
        ("identityAssertion.header", "Authorization"),
        ("identityAssertion.header", "X_Forwarded_User"),
        ("identityAssertion.header", "X Y"),
        ("identityAssertion.lifetime", "5"),
        ("identityAssertion.lifetime", "86400"),
        ("identityAssertion.claims", "[sub]"),
        ("identityAssertion.jwksPath", "/oauth2/callback"),
        ("identityAssertion.jwksPath", "https://edge/keys"),
        ("identityAssertion.keys", "x"),
    ];
    for (key, value) in bad {
        let (path, _) = read(&[(key, value)]).unwrap_err();
        assert!(key == path || path == "identityAssertion", "{key} {value}: {path}");
    }
    let taken = [("forwardHeaders.X-Who", "email"), ("identityAssertion.header", "x_who")];
    assert_eq!(read(&taken).unwrap_err().0, "identityAssertion.header");
}
