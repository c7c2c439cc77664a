//! Claims that the ID token does not have.

use serde_json::{Value, json};

use super::*;
use crate::oidc::fake_provider::SigningKey;

#[tokio::test]
async fn userinfo_completes_the_claims() {
    let world = World::new().await;
    world.provider.script().claims = json!({"sub": "alice"}).as_object().unwrap().clone();
    world.provider.script().userinfo = (200, json!({"sub": "alice", "email": "alice@info", "groups": ["g"]}));
    let mut browser = Browser::default();
    let policy = world.policy(&[]);
    browser.login(&world, &policy, "/").await;
    let outcome = browser.get(&world, &policy, "/").await;
    assert_eq!(outcome.header("x-forwarded-user").unwrap(), "alice@info");
    assert_eq!(outcome.header("x-user-groups").unwrap(), "g");
    assert_eq!(world.provider.count("userinfo"), 1);

    world.provider.script().userinfo = (200, json!({"sub": "mallory", "email": "alice@info"}));
    let mut browser = Browser::default();
    assert_eq!(browser.login(&world, &policy, "/").await.status(), 502);
    assert!(!browser.cookies.contains_key(&session_cookie(&policy)));

    world.provider.script().userinfo = (200, json!({"email": "alice@info"}));
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 502, "of nobody");
    world.provider.script().userinfo = (503, json!({}));
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 502, "the name is not known");
    world.provider.script().userinfo = (403, json!({}));
    let mut browser = Browser::default();
    assert_eq!(browser.login(&world, &policy, "/").await.status(), 302);
    assert_eq!(
        browser.get(&world, &policy, "/").await.header("x-forwarded-user").unwrap(),
        "alice",
        "sub instead"
    );

    let calls = world.provider.count("userinfo");
    drop(policy);
    let never = world.policy(&[("userInfo", "never")]);
    assert_eq!(Browser::default().login(&world, &never, "/").await.status(), 302);
    assert_eq!(world.provider.count("userinfo"), calls);
}

#[tokio::test]
async fn userinfo_may_be_signed() {
    let world = World::new().await;
    world.provider.script().claims = json!({"sub": "alice"}).as_object().unwrap().clone();
    let policy = world.policy(&[]);
    let sign = |claims: Value| {
        let script = world.provider.script();
        script.keys[0].sign(json!({}), claims.as_object().unwrap())
    };
    let good =
        sign(json!({"sub": "alice", "email": "signed@x", "aud": "client", "iss": world.provider.issuer}));
    let wrong_aud = sign(json!({"sub": "alice", "email": "signed@x", "aud": "other"}));
    let forged = SigningKey::new("key-1")
        .sign(json!({}), json!({"sub": "alice", "email": "forged@x"}).as_object().unwrap());
    for (jwt, user) in [(good, "signed@x"), (wrong_aud, "alice"), (forged, "alice")] {
        world.provider.script().userinfo_jwt = Some(jwt);
        let mut browser = Browser::default();
        assert_eq!(browser.login(&world, &policy, "/").await.status(), 302);
        assert_eq!(browser.get(&world, &policy, "/").await.header("x-forwarded-user").unwrap(), user);
    }
}
