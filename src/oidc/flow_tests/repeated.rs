//! Answers of the provider that come again, or too late.

use super::*;

/// A double click, the back button, another process: the state is used, and the session is there.
#[tokio::test]
async fn n29_an_answer_that_comes_again_leads_where_it_did() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    // Another process has no memory of the states that were used here.
    let elsewhere = Deps { used: Arc::new(UsedStates::default()), ..world.deps.clone() };
    let elsewhere = Policy::new("auth", settings(&world.provider.issuer, &[]), &elsewhere).unwrap();
    let mut browser = Browser::default();
    let callback = browser.start(&world, &policy, "/a?b=1").await;
    let before = browser.clone();
    assert_eq!(browser.get(&world, &policy, &callback).await.location(), "/a?b=1");
    for policy in [&policy, &elsewhere] {
        let again = browser.get(&world, policy, &callback).await;
        assert_eq!((again.status(), again.location().as_str()), (302, "/a?b=1"), "with a session");
    }
    let mut replay = before.clone();
    let refused = replay.get(&world, &policy, &callback).await;
    assert_eq!(refused.status(), 400, "without one");
    assert!(refused.body().contains("href=\"/a?b=1\""), "{}", refused.body());
    // The target is this browser's own: another's is not read, nor is one that was changed.
    let session = session_cookie(&policy);
    for change in [|_: &str| "x".to_owned(), |value: &str| format!("{value}A")] {
        let mut forged = browser.clone();
        for (name, value) in forged.cookies.iter_mut().filter(|(name, _)| **name != session) {
            if name.contains("login_") {
                *value = change(value);
            }
        }
        assert_eq!(forged.get(&world, &policy, &callback).await.location(), "/");
    }
    // Without its session the attempt is worth nothing any more, anywhere.
    browser.cookies.remove(&session);
    for policy in [&policy, &elsewhere] {
        assert_eq!(browser.get(&world, policy, &callback).await.status(), 400);
    }
    assert_eq!(world.provider.count("token"), 1);
}

#[tokio::test]
async fn what_is_remembered_of_a_login_goes_with_the_next_and_with_the_logout() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    let attempts = |browser: &Browser| {
        let logins = browser.cookies.keys().filter(|name| name.contains("login_"));
        logins.filter(|name| !name.ends_with("_rounds") && !name.ends_with("_logout")).count()
    };
    for _ in 0..3 {
        let outcome = browser.login(&world, &policy, "/a").await;
        let kept: Vec<_> = outcome.set_cookies.iter().filter(|line| line.contains("Max-Age=300")).collect();
        assert_eq!((kept.len(), attempts(&browser)), (1, 1), "{:?}", outcome.set_cookies);
        browser.cookies.remove(&session_cookie(&policy));
    }
    browser.login(&world, &policy, "/a").await;
    browser.get(&world, &policy, "/logout").await;
    assert_eq!(attempts(&browser), 0, "{:?}", browser.cookies);
}

#[tokio::test]
async fn n30_a_login_that_took_too_long_starts_over_three_times_at_most() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    let first = browser.get(&world, &policy, "/a?b=1").await;
    let mut callback = callback_for(&world, &first.location());
    // The browser must still have the cookie when the answer comes.
    assert!(first.set_cookies[0].contains("Max-Age=4200"), "{:?}", first.set_cookies);
    for restart in 0..3 {
        world.clock.advance(SECOND * 660);
        let outcome = browser.get(&world, &policy, &callback).await;
        assert_eq!(outcome.status(), 302, "restart {restart}: {}", outcome.body());
        assert!(outcome.location().starts_with(&world.provider.issuer), "{}", outcome.location());
        assert_eq!(browser.cookies.len(), 1, "one attempt, and not the old one");
        let next = callback_for(&world, &outcome.location());
        if restart == 1 {
            let mut in_time = browser.clone();
            assert_eq!(in_time.get(&world, &policy, &next).await.location(), "/a?b=1");
            assert!(in_time.get(&world, &policy, "/a").await.identity().user.is_some());
        }
        callback = next;
    }
    world.clock.advance(SECOND * 660);
    let outcome = browser.get(&world, &policy, &callback).await;
    assert_eq!(outcome.status(), 400);
    assert!(outcome.body().contains("expired") && outcome.body().contains("href=\"/a?b=1\""));
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
    assert_eq!(world.provider.count("token"), 1, "no code that came too late was used");
}

#[tokio::test]
async fn a_late_answer_starts_nothing_where_nobody_would_see_it() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    let callback = browser.start(&world, &policy, "/a").await;
    world.clock.advance(SECOND * 660);
    let late = browser.clone();
    let outcome = late.clone().send(&world, &policy, "GET", &callback, API).await;
    assert_eq!(outcome.status(), 400, "a script");
    let state = callback.split("state=").nth(1).unwrap();
    let outcome = late.clone().get(&world, &policy, &format!("/cb?error=access_denied&state={state}")).await;
    assert_eq!(outcome.status(), 400, "the person has said no");
    // Logged in by another tab meanwhile.
    browser.login(&world, &policy, "/b").await;
    browser.cookies.extend(late.cookies);
    assert_eq!(browser.get(&world, &policy, &callback).await.location(), "/a");
}

/// Logins that are under way at the change come back with what the old key has sealed.
#[tokio::test]
async fn a_new_key_costs_no_login_under_way() {
    const NEW: (&str, &str) = ("sessionEncryptionKey", "another-secret-of-32-bytes-length");
    let world = World::new().await;
    let (old, rotated) = (world.policy(&[]), world.policy(&[NEW, ("previousSessionEncryptionKeys", KEY)]));
    let mut browser = Browser::default();
    let callback = browser.start(&world, &old, "/page?x=1").await;
    // Another tab, after the change.
    let second = browser.start(&world, &rotated, "/other").await;
    assert_eq!(browser.get(&world, &rotated, &callback).await.location(), "/page?x=1");
    assert_eq!(browser.get(&world, &rotated, &second).await.location(), "/other");
    let mut late = Browser::default();
    let callback = late.start(&world, &old, "/").await;
    assert_eq!(late.get(&world, &world.policy(&[NEW]), &callback).await.status(), 400, "without the old one");
}
