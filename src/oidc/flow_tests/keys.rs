//! What becomes of tokens whose key is not known, while strangers send tokens with keys that nobody has.

use secrecy::SecretString;
use serde_json::json;

use super::bearer::{at_jwt, on, show};
use super::channels::{BACK, back_channel, is_in, post};
use super::*;
use crate::oidc::clock::unix_millis;
use crate::oidc::establish::{Context, establish};
use crate::oidc::fake_provider::SigningKey;
use crate::oidc::session::SessionRecord;
use crate::oidc::token_endpoint::Tokens;

/// Tokens that anybody may send are judged, and one of them has just named a key that does not exist.
async fn after_noise(more: &[(&str, &str)]) -> (World, Policy) {
    let world = World::new().await;
    let policy = world.policy(&on(&[BACK, more].concat()));
    assert_eq!(Browser::default().get(&world, &policy, "/").await.status(), 302);
    let fetches = world.provider.count("jwks");
    assert_eq!(back_channel(&world, &policy, &junk(&world)).await, 400);
    assert_eq!(world.provider.count("jwks"), fetches + 1, "the provider was asked about it");
    (world, policy)
}

/// A logout token that only lacks a key.
fn junk(world: &World) -> String {
    world.logout_token(json!({"kid": "made up"}), |claims| drop(claims.insert("sub".into(), json!("alice"))))
}

fn rotate(world: &World, name: &str) {
    world.provider.script().keys.insert(0, SigningKey::new(name));
}

/// Lets ten seconds pass for lookups.
async fn rest() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(10)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn strangers_keep_no_key_from_sessions_and_logins() {
    let (world, policy) = after_noise(&[]).await;
    let mut browser = Browser::default();
    assert_eq!(browser.login(&world, &policy, "/").await.status(), 302);
    let fetches = world.provider.count("jwks");
    rotate(&world, "key-2");
    world.clock.advance(SECOND * 301);
    assert!(is_in(&world, &policy, &mut browser).await, "the refreshed token has a new key");
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 302);
    assert_eq!(world.provider.count("jwks"), fetches + 1);
    // At once again: the next lookup of this kind is waited for.
    rotate(&world, "key-3");
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 302);
    assert_eq!(world.provider.count("jwks"), fetches + 2);
}

#[tokio::test]
async fn a_bearer_token_with_a_new_key_is_put_off() {
    let (world, policy) = after_noise(&[("bearerFailureThreshold", "1")]).await;
    rotate(&world, "key-2");
    let token = at_jwt(&world, |_| {});
    for _ in 0..3 {
        let outcome = show(&world, &policy, &token).await;
        assert_eq!(outcome.status(), 503, "not a failure of the client's, or it were 429");
        assert!(outcome.answer().headers.contains_key("retry-after"));
    }
    rest().await;
    show(&world, &policy, &token).await.identity();
}

#[tokio::test]
async fn a_logout_token_with_a_new_key_is_put_off_and_not_lost() {
    let (world, policy) = after_noise(&[]).await;
    let mut browser = world.user(&policy, "alice", "s1").await;
    rotate(&world, "key-2");
    let token = world.logout_of("sid", "s1");
    let outcome = post(&world, &policy, &format!("logout_token={token}")).await;
    assert_eq!(outcome.status(), 503);
    assert!(outcome.answer().headers.contains_key("retry-after"), "the provider may try again");
    assert!(outcome.body().contains("temporarily_unavailable"));
    assert!(is_in(&world, &policy, &mut browser).await);
    rest().await;
    assert_eq!(back_channel(&world, &policy, &token).await, 200);
    assert!(!is_in(&world, &policy, &mut browser).await);
}

#[tokio::test]
async fn what_is_refused_whoever_signed_it_asks_for_no_key() {
    let world = World::new().await;
    let policy = world.policy(&on(&[BACK, &[("bearerFailureThreshold", "0")]].concat()));
    assert_eq!(Browser::default().get(&world, &policy, "/").await.status(), 302);
    let fetches = world.provider.count("jwks");
    let now = unix_millis(world.clock.now()) / 1000;
    for (name, value) in [("iss", json!("https://evil")), ("aud", json!("x")), ("exp", json!(now - 100))] {
        let claims = &mut super::bearer::claims(&world);
        claims.insert(name.into(), value.clone());
        let token = super::bearer::sign(&world, json!({"typ": "at+jwt", "kid": "made up"}), claims);
        assert_eq!(show(&world, &policy, &token).await.status(), 401, "{name}");
        let token = world.logout_token(json!({"kid": "made up"}), |claims| {
            claims.insert("sid".into(), json!("s1"));
            claims.insert(name.into(), value);
        });
        assert_eq!(back_channel(&world, &policy, &token).await, 400, "{name}");
    }
    assert_eq!(world.provider.count("jwks"), fetches);
}

/// Whoever causes a lookup may go away: it goes on, for all who wait for it.
#[tokio::test]
async fn a_lookup_outlives_the_request_that_caused_it() {
    let world = World::new().await;
    let policy = world.policy(&on(&[]));
    assert_eq!(Browser::default().get(&world, &policy, "/").await.status(), 302);
    let fetches = world.provider.count("jwks");
    rotate(&world, "key-2");
    let token = at_jwt(&world, |_| {});
    world.provider.script().jwks_delay = Duration::from_millis(100);
    {
        let mut impatient = std::pin::pin!(show(&world, &policy, &token));
        while world.provider.count("jwks") == fetches {
            tokio::select! {
                biased;
                _ = &mut impatient => panic!("the keys have not come yet"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    show(&world, &policy, &token).await.identity();
    assert_eq!(world.provider.count("jwks"), fetches + 1);
}

/// The refresh token is spent when the keys are asked for: that they do not come in time costs no session.
#[tokio::test]
async fn keys_that_hang_cost_no_session() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    assert_eq!(browser.login(&world, &policy, "/").await.status(), 302);
    let Decision::Forward(identity) = browser.get(&world, &policy, "/").await.decision else { panic!() };
    let entry = identity.session.unwrap().entry;
    let previous: SessionRecord = policy.sessions.record(&entry).await.unwrap().unwrap();
    rotate(&world, "key-2");
    world.provider.script().jwks_delay = Duration::from_secs(60);
    let id_token = world.provider.script().keys[0].sign(json!({}), &previous.claims);
    let tokens = Tokens {
        access_token: SecretString::from("access-9"),
        refresh_token: None,
        id_token: Some(SecretString::from(id_token)),
        expires_in: None,
    };
    let core = &policy.core;
    let (metadata, client) = (core.provider.metadata().unwrap(), core.client().unwrap());
    let context = Context {
        core,
        client: &client,
        metadata: &metadata,
        until: tokio::time::Instant::now() + Duration::from_millis(50),
        now: world.clock.now(),
    };
    let established = establish(context, &tokens, None, Some(&previous)).await;
    let established = established.unwrap_or_else(|cause| panic!("{cause}"));
    assert_eq!(established.claims.subject(), Some("alice"));
    assert_eq!(established.id_expiry, None, "the new ID token is not believed");
}

/// A user's name must not depend on whether the keys of a signed userinfo can be had.
#[tokio::test]
async fn a_userinfo_that_cannot_be_judged_names_nobody() {
    let world = World::new().await;
    world.provider.script().claims = json!({"sub": "alice"}).as_object().unwrap().clone();
    let policy = world.policy(&[]);
    assert_eq!(Browser::default().get(&world, &policy, "/").await.status(), 302);
    let claims = json!({"sub": "alice", "email": "alice@info"});
    let signed = SigningKey::new("key-2").sign(json!({}), claims.as_object().unwrap());
    {
        let mut script = world.provider.script();
        (script.userinfo_jwt, script.jwks) = (Some(signed), Some(json!("no keys today")));
    }
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 502);
}
