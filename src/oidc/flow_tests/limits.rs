//! Too many logins: 429, and nothing is lost by it.

use futures_util::future::join_all;

use super::*;

#[tokio::test]
async fn logins_of_one_address_are_limited_where_that_is_asked_for() {
    let world = World::new().await;
    let policy = world.policy(&[("perSourceLoginRateLimit", "4")]);
    let mut browser = Browser::default();
    // A start and a callback each.
    assert_eq!(browser.login(&world, &policy, "/").await.status(), 302);
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 302);
    let refused = Browser::default().get(&world, &policy, "/").await;
    assert_eq!(refused.status(), 429, "{}", refused.body());
    assert_eq!(refused.answer().headers["retry-after"], "15");
    assert!(
        browser.send(&world, &policy, "GET", "/", API).await.identity().user.is_some(),
        "a session is no login"
    );
    world.clock.advance(SECOND * 15);
    let callback = Browser::default().start(&world, &policy, "/").await;
    assert_eq!(world.provider.count("token"), 2);
    let refused = Browser::default().get(&world, &policy, &callback).await;
    assert_eq!(refused.status(), 400, "no attempt of this browser: not counted");
    world.clock.advance(SECOND * 60);
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 302);
}

#[tokio::test]
async fn a_flood_of_callbacks_makes_no_flood_of_token_calls() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    world.provider.script().token_delay = SECOND / 2;
    let mut started = Vec::new();
    for _ in 0..120 {
        let mut browser = Browser::default();
        let callback = browser.start(&world, &policy, "/").await;
        started.push((browser, callback));
    }
    let answers = join_all(started.into_iter().map(|(mut browser, callback)| async {
        let outcome = browser.get(&world, &policy, &callback).await;
        (browser, callback, outcome)
    }))
    .await;
    // Five rounds of 16 at a time; the others are not even let into the queue.
    assert_eq!(world.provider.count("token"), 80);
    let (served, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|(_, _, outcome)| outcome.status() == 302);
    assert_eq!(served.len(), 80);
    world.provider.script().token_delay = std::time::Duration::ZERO;
    for (mut browser, callback, outcome) in refused {
        assert_eq!(outcome.status(), 429);
        assert!(outcome.answer().headers.contains_key("retry-after"));
        // The answer of the provider was not used up.
        assert_eq!(browser.get(&world, &policy, &callback).await.status(), 302);
    }
}
