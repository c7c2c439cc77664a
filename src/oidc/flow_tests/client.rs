use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn assertions_at_both_grants_and_at_revocation() {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let der = STANDARD.encode(pair.to_pkcs8v1().unwrap().as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
    let world = World::new().await;
    let policy = world.policy(&[
        ("clientAuthMethod", "private_key_jwt"),
        ("clientAssertionPrivateKey", &pem),
        ("clientAssertionKeyID", "our-key"),
        ("clientAssertionAlg", "ES256"),
        ("resource", "https://r.example"),
    ]);
    let mut browser = Browser::default();
    assert_eq!(browser.login(&world, &policy, "/").await.status(), 302);
    let mut seen = Vec::new();
    let mut check = |form: std::collections::HashMap<String, String>| {
        assert!(!form.contains_key("client_secret"), "{form:?}");
        assert_eq!(form["client_id"], "client");
        assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        let parts: Vec<&str> = form["client_assertion"].split('.').collect();
        let decode =
            |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
        assert_eq!(decode(parts[0]), json!({"alg": "ES256", "typ": "JWT", "kid": "our-key"}));
        assert_eq!(decode(parts[1])["aud"], json!(world.provider.issuer));
        seen.push(decode(parts[1])["jti"].clone());
    };
    let form = world.provider.script().last_form.clone();
    assert_eq!(
        (form["grant_type"].as_str(), form["resource"].as_str()),
        ("authorization_code", "https://r.example")
    );
    check(form);
    world.clock.advance(Duration::from_secs(301));
    assert!(browser.get(&world, &policy, "/").await.identity().user.is_some());
    let form = world.provider.script().last_form.clone();
    assert_eq!(
        (form["grant_type"].as_str(), form["resource"].as_str()),
        ("refresh_token", "https://r.example")
    );
    check(form);
    assert_ne!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_key_file_that_cannot_be_read_closes_the_policy() {
    let world = World::new().await;
    let more = [
        ("clientAuthMethod", "private_key_jwt"),
        ("clientAssertionKeyPath", "/nonexistent/key.pem"),
        ("clientAssertionKeyID", "k"),
    ];
    let error = Policy::new("auth", settings(&world.provider.issuer, &more), &world.deps).unwrap_err();
    assert!(
        error.to_string().starts_with("clientAssertionKeyPath: cannot read /nonexistent/key.pem"),
        "{error}"
    );
}

/// The authorization request in the browser's address, and the one that was pushed.
async fn pushed(
    world: &World,
    policy: &Policy,
) -> (BTreeMap<String, String>, std::collections::HashMap<String, String>) {
    let outcome = Browser::default().get(world, policy, "/deep").await;
    assert_eq!(outcome.status(), 302, "{}", outcome.body());
    (parameters(&outcome.location()), world.provider.script().last_form.clone())
}

#[tokio::test]
async fn requests_are_pushed_when_required_or_asked_for() {
    let world = World::new().await;
    let endpoint = json!(format!("{}/par", world.provider.issuer));
    world.provider.script().metadata.insert("pushed_authorization_request_endpoint".into(), endpoint);
    let unasked = world.policy(&[]);
    let (address, _) = pushed(&world, &unasked).await;
    assert!(address.contains_key("code_challenge") && !address.contains_key("request_uri"));

    let asked = world.policy(&[("pushedAuthorization", "always"), ("resource", "https://r.example")]);
    let (address, form) = pushed(&world, &asked).await;
    let names: Vec<_> = address.keys().map(String::as_str).collect();
    assert_eq!(names, ["client_id", "realm", "request_uri"], "the endpoint keeps its own query");
    assert_eq!(address["request_uri"], "urn:example:1");
    for name in ["state", "nonce", "code_challenge", "redirect_uri", "scope", "response_type"] {
        assert!(form.contains_key(name), "{name}: {form:?}");
    }
    assert_eq!((form["client_id"].as_str(), form["client_secret"].as_str()), ("client", "secret/+ä"));
    assert_eq!((form["resource"].as_str(), form.contains_key("realm")), ("https://r.example", false));

    let world = World::new().await;
    let endpoint = json!(format!("{}/par", world.provider.issuer));
    let mut required = serde_json::Map::new();
    required.insert("pushed_authorization_request_endpoint".into(), endpoint);
    required.insert("require_pushed_authorization_requests".into(), json!(true));
    world.provider.script().metadata = required;
    let policy = world.policy(&[]);
    assert!(pushed(&world, &policy).await.0.contains_key("request_uri"));
}

#[tokio::test]
async fn a_refused_push_is_a_page_and_not_a_login_without_it() {
    for (status, body) in [
        (400, json!({"error": "invalid_request"})),
        (500, json!({})),
        (201, json!({"request_uri": ""})),
        (302, json!({})),
    ] {
        let world = World::new().await;
        let endpoint = json!(format!("{}/par", world.provider.issuer));
        world.provider.script().metadata.insert("pushed_authorization_request_endpoint".into(), endpoint);
        world.provider.script().pushed_answer = Some((status, body));
        let policy = world.policy(&[("pushedAuthorization", "always")]);
        assert_eq!(Browser::default().get(&world, &policy, "/").await.status(), 502, "{status}");
    }
    let world = World::new().await;
    let policy = world.policy(&[("pushedAuthorization", "always")]);
    assert_eq!(Browser::default().get(&world, &policy, "/").await.status(), 502, "no endpoint");
}
