//! The session store is away: nobody is let in or logged out by it, and an end counts all the same.

use serde_json::json;

use super::channels::{BACK, FRONT, back_channel, front, is_in};
use super::introspection::needing_active_tokens;
use super::*;
use crate::oidc::session::testing::{Faulty, owes};
use crate::oidc::session::{DEFAULT_OUTAGE_TOLERANCE, StoreError};

/// A process whose store can be made to fail.
async fn faulty(tolerance: Option<Duration>) -> (World, Arc<Faulty>) {
    let (store, clock) = (Faulty::new(tolerance), Arc::new(ManualClock::new(SystemTime::now())));
    let world = World::process(FakeProvider::start().await, Arc::clone(&store) as _, clock);
    (world, store)
}

fn away() -> Option<StoreError> {
    Some(StoreError::Full("disk".to_owned()))
}

/// A provider does not send every token again, and where a disk is full sessions go on from memory without end.
#[tokio::test]
async fn a_logout_counts_in_memory_while_the_store_is_away() {
    let (world, store) = faulty(None).await;
    let policy = world.policy(BACK);
    let mut alice = world.user(&policy, "alice", "s1").await;
    let mut other = world.user(&policy, "alice", "s2").await;
    let mut bob = world.user(&policy, "bob", "s3").await;
    store.fails(away());
    let token = world.logout_of("sid", "s1");
    assert_eq!(back_channel(&world, &policy, &token).await, 400, "not durable");
    assert!(!is_in(&world, &policy, &mut alice).await);
    assert!(is_in(&world, &policy, &mut other).await && is_in(&world, &policy, &mut bob).await);
    assert_eq!(back_channel(&world, &policy, &world.logout_of("sub", "alice")).await, 400);
    assert!(!is_in(&world, &policy, &mut other).await && is_in(&world, &policy, &mut bob).await);
    store.fails(None);
    policy.sessions.save_unsaved().await;
    assert!(!owes(&policy.sessions));
    assert_eq!(policy.sessions.count().await.unwrap(), 1, "bob's");
    assert_eq!(back_channel(&world, &policy, &token).await, 200, "sent again");
}

#[tokio::test]
async fn a_used_token_ends_no_later_session_in_an_outage() {
    let (world, store) = faulty(None).await;
    let policy = world.policy(BACK);
    let token = world.logout_token(json!({}), |claims| {
        let late = claims["iat"].as_u64().unwrap() + 600;
        claims.extend([("sid".into(), json!("s1")), ("exp".into(), json!(late))]);
    });
    assert_eq!(back_channel(&world, &policy, &token).await, 200);
    world.clock.advance(SECOND * 120);
    let mut later = world.user(&policy, "alice", "s1").await;
    store.fails(away());
    assert_eq!(back_channel(&world, &policy, &token).await, 400);
    assert!(is_in(&world, &policy, &mut later).await);
}

#[tokio::test]
async fn a_token_that_is_refused_ends_nothing_in_an_outage() {
    let (world, store) = faulty(None).await;
    let policy = world.policy(&[BACK, &[("backchannelLogoutSessionsRequired", "true")]].concat());
    let mut alice = world.user(&policy, "alice", "s1").await;
    store.fails(away());
    assert_eq!(back_channel(&world, &policy, &world.logout_of("sub", "alice")).await, 400);
    assert!(is_in(&world, &policy, &mut alice).await);
}

#[tokio::test]
async fn the_front_channel_ends_what_memory_has_while_the_store_is_away() {
    let (world, store) = faulty(Some(DEFAULT_OUTAGE_TOLERANCE)).await;
    let other = World::process(world.provider.clone(), Arc::clone(&store) as _, Arc::clone(&world.clock));
    let (policy, there) = (world.policy(FRONT), other.policy(FRONT));
    let mut alice = world.user(&policy, "alice", "s1").await;
    let mut bob = other.user(&there, "bob", "s2").await;
    policy.sessions.poll_changes().await;
    store.fails(away());
    policy.sessions.poll_changes().await;
    world.clock.advance(DEFAULT_OUTAGE_TOLERANCE);
    let (of_alice, of_bob) = (front(&world, None, Some("s1")), front(&world, None, Some("s2")));
    let refused = bob.send(&world, &policy, "GET", &of_bob, API).await;
    assert_eq!(refused.status(), 503, "whose it is only the store knows");
    assert!(refused.answer().headers.contains_key("retry-after"));
    assert_eq!(alice.send(&world, &policy, "GET", &of_bob, API).await.status(), 400, "another session");
    let mut old = alice.clone();
    assert_eq!(alice.send(&world, &policy, "GET", &of_alice, API).await.status(), 200);
    store.fails(None);
    policy.sessions.poll_changes().await;
    assert!(!is_in(&world, &policy, &mut old).await);
    policy.sessions.save_unsaved().await;
    assert_eq!(policy.sessions.count().await.unwrap(), 1, "bob's");
}

/// A login that comes to nothing leaves no refresh token behind.
#[tokio::test]
async fn tokens_that_no_session_has_are_revoked() {
    let (world, store) = faulty(None).await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    let callback = browser.start(&world, &policy, "/").await;
    store.fails(away());
    assert_eq!(browser.get(&world, &policy, &callback).await.status(), 503);
    world.until("revoke", 1).await;
    assert!(world.provider.script().revoked[0].starts_with("refresh-"));
    // Keycloak ends what the browser has of this client with any of its tokens.
    store.fails(None);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    let mut other_tab = browser.clone();
    other_tab.cookies.retain(|name, _| *name == session_cookie(&policy));
    let attempt = other_tab.get(&world, &world.policy(&[("acrValues", "[gold]")]), "/").await;
    let callback = callback_for(&world, &attempt.location());
    store.fails(away());
    assert_eq!(other_tab.get(&world, &policy, &callback).await.status(), 503);
    world.clock.advance(SECOND);
    assert!(is_in(&world, &policy, &mut browser).await);
    assert_eq!(world.provider.count("revoke"), 1);
}

/// Nobody knows whether the token is active, and the session is not over: no login.
#[tokio::test]
async fn a_session_whose_token_the_store_cannot_give_waits() {
    let (world, store) = faulty(None).await;
    let policy = needing_active_tokens(&world);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    browser.get(&world, &policy, "/").await.identity();
    store.fails(away());
    browser.get(&world, &policy, "/").await.identity();
    world.clock.advance(Duration::from_secs(301));
    let outcome = browser.get(&world, &policy, "/").await;
    assert_eq!(outcome.status(), 503);
    assert!(outcome.answer().headers.contains_key("retry-after") && outcome.set_cookies.is_empty());
    store.fails(None);
    browser.get(&world, &policy, "/").await.identity();
}
