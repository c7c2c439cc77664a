//! A signed assertion of identity: what a service gets, verifies and can rely on.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value, json};

use crate::harness::client::{Browser, NAVIGATION};
use crate::harness::idp::{Plan, World, dynamic};
use crate::harness::proxy::Setup;

const HEADER: &str = "x-portcullis-jwt-assertion";
const JWKS: &str = "/oauth2/jwks";
const LINES: &str = "identityAssertion:\n  issuer: https://edge.test\n  audience: [https://app.test]";

/// The keys that `base` publishes, to somebody without a session.
async fn keys(base: &str) -> JwkSet {
    let page = Browser::new().fetch(&format!("{base}{JWKS}")).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("application/jwk-set+json")));
    serde_json::from_str(&page.text).unwrap()
}

/// What a service does with a header, by the rules of its own library.
fn verified(keys: &JwkSet, token: &str) -> Map<String, Value> {
    let kid = decode_header(token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_issuer(&["https://edge.test"]);
    rules.set_audience(&["https://app.test"]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    rules.leeway = 0;
    decode(token, &key, &rules).unwrap().claims
}

/// Everything that a service could take for the assertion.
fn copies(world: &World) -> Vec<String> {
    let same = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-") == HEADER;
    let fields = world.origin.last().head.fields;
    fields.into_iter().filter(|(name, _)| same(name)).map(|(_, value)| value).collect()
}

#[tokio::test]
async fn a_service_verifies_who_comes_and_nobody_else_can_say_it() {
    let world = Plan::new().plugin(LINES).start().await;
    let browser = world.browser_of("alice").await;
    let page = browser.fetch(&world.at("/x")).await;
    assert!(World::is_from_service(&page));
    let [token] = copies(&world).try_into().unwrap();
    let keys = keys(&world.proxy.url()).await;
    let claims = verified(&keys, &token);
    assert_eq!((&claims["sub"], &claims["email"]), (&json!("alice"), &json!("alice@example.test")));
    assert_eq!(claims["groups"], json!(["dev/backend", "ops"]));
    assert_eq!(claims["roles"], json!(["admin", "user"]));

    let forged = [
        ("X-Portcullis-Jwt-Assertion", token.as_str()),
        ("X_Portcullis_Jwt_Assertion", "forged"),
        ("x-portcullis_jwt-assertion", "forged"),
    ];
    let fields: Vec<_> = NAVIGATION.iter().copied().chain(forged).collect();
    let url = |path: &str| url::Url::parse(&world.at(path)).unwrap();
    assert_eq!(browser.request("GET", &url("/y"), &fields, None).await.status, 200);
    let [only] = copies(&world).try_into().unwrap();
    assert_eq!(verified(&keys, &only)["sub"], "alice");
    assert_eq!(Browser::new().request("GET", &url("/public/z"), &fields, None).await.status, 200);
    assert_eq!(copies(&world), Vec::<String>::new(), "a stolen one gets nobody in");

    let bob = world.browser_of("bob").await;
    bob.fetch(&world.at("/x")).await;
    let [token] = copies(&world).try_into().unwrap();
    assert_eq!(verified(&keys, &token)["sub"], "bob");
    assert!(!world.proxy.log().contains(&token), "it is in no log");
}

#[tokio::test]
async fn every_replica_tells_the_keys_of_all_and_a_restart_keeps_them() {
    let mut world = Plan::new().plugin(LINES).start().await;
    let browser = world.browser_of("alice").await;
    browser.fetch(&world.at("/x")).await;
    let [token] = copies(&world).try_into().unwrap();
    let text = dynamic(&world.idp.issuer(), &world.origin, LINES, "");
    let other = Setup::new().dynamic(&text).start().await;
    assert_eq!(verified(&keys(&other.url()).await, &token)["sub"], "alice");
    world.proxy.kill_and_restart().await;
    assert_eq!(verified(&keys(&world.proxy.url()).await, &token)["sub"], "alice");
}
