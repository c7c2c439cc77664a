//! Policies of one client share sessions, and not how long they let them last.

use super::carried::user;
use super::*;
use crate::oidc::clock::unix_millis;

const ENDPOINTS: (&str, &str) = ("sessionEndpoints", "/app");

/// One world for each place that sessions can live in.
async fn worlds() -> [World; 2] {
    [World::new().await, super::carried::world().await]
}

async fn status(browser: &mut Browser, world: &World, policy: &Policy, path: &str) -> u16 {
    browser.send(world, policy, "GET", path, API).await.status()
}

#[tokio::test]
async fn a_session_ends_at_each_policy_when_it_is_too_old_there() {
    for world in worlds().await {
        let long = world.policy(&[("sessionMaxAge", "28800"), ENDPOINTS]);
        let short = world.policy(&[("sessionMaxAge", "3600"), ENDPOINTS]);
        let mut browser = Browser::default();
        browser.login(&world, &long, "/").await;
        let began = unix_millis(world.clock.now());
        world.clock.advance(SECOND * 3599);
        for (policy, seconds) in [(&short, 3_600), (&long, 28_800)] {
            let outcome = browser.send(&world, policy, "GET", "/", API).await;
            let in_use = outcome.identity().session.as_ref().unwrap();
            assert_eq!(in_use.end, began + seconds * 1000, "that is when long answers end");
        }
        let told = browser.send(&world, &short, "GET", "/app/session", API).await;
        assert!(told.body().contains("\"expiresIn\":1,"), "{}", told.body());
        world.clock.advance(SECOND);
        assert_eq!(status(&mut browser, &world, &short, "/").await, 401);
        assert_eq!(status(&mut browser, &world, &short, "/app/session").await, 401);
        assert_eq!(browser.clone().get(&world, &short, "/").await.status(), 302);
        assert_eq!(status(&mut browser, &world, &long, "/app/session").await, 200);
        assert!(user(&mut browser, &world, &long).await.is_some());
    }
}

/// One login at the stricter policy, and both serve what it made.
#[tokio::test]
async fn a_login_at_the_stricter_policy_makes_a_session_for_both() {
    for world in worlds().await {
        let long = world.policy(&[("sessionMaxAge", "28800"), ("sessionIdleTimeout", "7200")]);
        let short = world.policy(&[("sessionMaxAge", "3600"), ("sessionIdleTimeout", "600")]);
        let mut browser = Browser::default();
        browser.login(&world, &long, "/").await;
        let before = browser.clone();
        world.clock.advance(SECOND * 5000);
        assert_eq!(browser.login(&world, &short, "/deep").await.location(), "/deep");
        for policy in [&short, &long] {
            assert!(user(&mut browser, &world, policy).await.is_some());
            assert!(user(&mut before.clone(), &world, policy).await.is_none(), "replaced");
        }
        // How long it lasts is decided by the policy that made it, and no other makes it longer.
        world.clock.advance(SECOND * 601);
        assert!(user(&mut browser.clone(), &world, &long).await.is_none());
        assert!(user(&mut browser, &world, &short).await.is_none());
    }
}

#[tokio::test]
async fn a_session_ends_at_each_policy_when_it_is_idle_for_too_long_there() {
    for world in worlds().await {
        let long = world.policy(&[("sessionIdleTimeout", "7200")]);
        let short = world.policy(&[("sessionIdleTimeout", "600"), ENDPOINTS]);
        let mut browser = Browser::default();
        browser.login(&world, &long, "/").await;
        for policy in [&short, &long, &short] {
            world.clock.advance(SECOND * 590);
            assert!(user(&mut browser, &world, policy).await.is_some());
        }
        let told = browser.send(&world, &short, "GET", "/app/session", API).await;
        assert!(told.body().contains("\"idleExpiresIn\":600,"), "{}", told.body());
        world.clock.advance(SECOND * 600);
        assert_eq!(status(&mut browser, &world, &short, "/app/session").await, 401);
        assert_eq!(status(&mut browser, &world, &short, "/").await, 401);
        assert!(user(&mut browser, &world, &long).await.is_some());
    }
}

/// Whoever wants to leave leaves everywhere.
#[tokio::test]
async fn a_logout_at_the_stricter_policy_ends_what_is_too_old_there() {
    for world in worlds().await {
        let long = world.policy(&[("sessionMaxAge", "28800")]);
        let short = world.policy(&[("sessionMaxAge", "3600")]);
        let mut browser = Browser::default();
        browser.login(&world, &long, "/").await;
        let before = browser.clone();
        world.clock.advance(SECOND * 5000);
        assert_eq!(browser.get(&world, &short, "/logout").await.status(), 302);
        assert!(user(&mut before.clone(), &world, &long).await.is_none());
    }
}
