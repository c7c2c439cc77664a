//! The endpoints for single-page applications.

use serde_json::{Value, json};

use super::*;

const ON: &[(&str, &str)] = &[("sessionEndpoints", "auto"), ("callbackURL", "/oauth2/cb")];
const SCRIPT: &[(&str, &str)] = &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")];

async fn logged_in(world: &World, policy: &Policy) -> Browser {
    let mut browser = Browser::default();
    let callback = browser.start(world, policy, "/").await.replace("/cb?", "/oauth2/cb?");
    assert_eq!(browser.get(world, policy, &callback).await.status(), 302);
    browser
}

fn body(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.body()).unwrap()
}

#[tokio::test]
async fn a_page_learns_who_and_until_when_and_no_token() {
    let world = World::new().await;
    let policy = world.policy(ON);
    let mut browser = logged_in(&world, &policy).await;
    let outcome = browser.send(&world, &policy, "GET", "/oauth2/session", SCRIPT).await;
    assert_eq!(outcome.status(), 200);
    let told = body(&outcome);
    assert_eq!((&told["user"], &told["refreshable"]), (&json!("alice@example.com"), &json!(true)));
    assert_eq!((&told["expiresIn"], told["tokensExpireIn"].as_u64().unwrap() / 10), (&json!(86_400), 29));
    assert!(told["expires"].as_str().unwrap().ends_with('Z'));
    assert_eq!(told.as_object().unwrap().len(), 6);
    let says_no_token = |text: &str| ["access-", "refresh-", "eyJ"].iter().all(|start| !text.contains(start));
    assert!(says_no_token(&outcome.body()), "{}", outcome.body());
    for (method, target) in
        [("POST", "/oauth2/refresh"), ("GET", "/oauth2/cb"), ("GET", "/oauth2/cb?error=x&state=y")]
    {
        let outcome = browser.send(&world, &policy, method, target, SCRIPT).await;
        assert!(says_no_token(&outcome.body()), "{target}: {}", outcome.body());
    }

    world.clock.advance(SECOND * 400);
    let outcome = browser.send(&world, &policy, "GET", "/oauth2/session", SCRIPT).await;
    assert_eq!((outcome.status(), &body(&outcome)["tokensExpireIn"]), (200, &json!(0)));
    assert_eq!(world.provider.count("refreshed"), 0, "asking renews nothing");

    assert_eq!(
        Browser::default().send(&world, &policy, "GET", "/oauth2/session", NAVIGATE).await.status(),
        401
    );
    assert_eq!(browser.send(&world, &policy, "POST", "/oauth2/session", SCRIPT).await.status(), 405);
    let cross = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")];
    assert_eq!(browser.send(&world, &policy, "GET", "/oauth2/session", &cross).await.status(), 403);
}

#[tokio::test]
async fn a_page_of_this_origin_renews_the_tokens() {
    let world = World::new().await;
    let policy = world.policy(ON);
    let mut browser = logged_in(&world, &policy).await;
    world.clock.advance(SECOND * 160);
    for _ in 0..3 {
        let outcome = browser.send(&world, &policy, "POST", "/oauth2/refresh", SCRIPT).await;
        assert_eq!(outcome.status(), 200);
        assert!(body(&outcome)["tokensExpireIn"].as_u64().unwrap() > 290);
    }
    assert_eq!(world.provider.count("refreshed"), 1, "once in half of the tokens' life");
    world.clock.advance(SECOND * 200);
    let own = [("origin", "http://app.example.com")];
    assert_eq!(browser.send(&world, &policy, "POST", "/oauth2/refresh", &own).await.status(), 200);
    assert_eq!(world.provider.count("refreshed"), 2);

    world.clock.advance(SECOND * 200);
    for headers in [
        &[][..],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site"), ("origin", "http://app.example.com")],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "same-origin"), ("origin", "http://evil.example")],
        &[("origin", "https://app.example.com")],
        &[("origin", "http://app.example.com:81")],
        &[("origin", "null")],
    ] {
        let outcome = browser.send(&world, &policy, "POST", "/oauth2/refresh", headers).await;
        assert_eq!(outcome.status(), 403, "{headers:?}");
    }
    assert_eq!(browser.send(&world, &policy, "GET", "/oauth2/refresh", SCRIPT).await.status(), 405);
    assert_eq!(
        Browser::default().send(&world, &policy, "POST", "/oauth2/refresh", SCRIPT).await.status(),
        401
    );
    assert_eq!(world.provider.count("refreshed"), 2);
}

#[tokio::test]
async fn a_provider_that_fails_costs_no_session_and_one_that_refuses_does() {
    let world = World::new().await;
    let policy = world.policy(ON);
    let mut browser = logged_in(&world, &policy).await;
    world.clock.advance(SECOND * 160);
    world.provider.script().token_answer = Some((503, "text/html", "away".into()));
    let outcome = browser.send(&world, &policy, "POST", "/oauth2/refresh", SCRIPT).await;
    assert_eq!(outcome.status(), 503);
    assert!(outcome.answer().headers.contains_key("retry-after"));
    let outcome = browser.send(&world, &policy, "POST", "/oauth2/refresh", SCRIPT).await;
    assert_eq!(outcome.status(), 200, "the tokens are good; no second try within the pause");
    assert_eq!(world.provider.count("token"), 2);
    world.clock.advance(SECOND * 10);
    world.provider.script().token_answer =
        Some((400, "application/json", r#"{"error":"invalid_grant"}"#.into()));
    assert_eq!(browser.send(&world, &policy, "POST", "/oauth2/refresh", SCRIPT).await.status(), 401);
    assert_eq!(browser.send(&world, &policy, "GET", "/oauth2/session", SCRIPT).await.status(), 401);
}

#[tokio::test]
async fn the_page_of_an_outage_leads_to_another_try() {
    let world = World::new().await;
    let policy = world.policy(ON);
    let mut browser = logged_in(&world, &policy).await;
    world.clock.advance(SECOND * 400);
    world.provider.script().token_answer = Some((503, "text/html", "away".into()));
    for (target, link) in [("/a?b=1", "/a?b=1"), ("//evil.example/", "/")] {
        let outcome = browser.get(&world, &policy, target).await;
        assert_eq!(outcome.status(), 503);
        assert!(outcome.body().contains(&format!("<a href=\"{link}\">Try again</a>")), "{}", outcome.body());
    }
}

#[tokio::test]
async fn they_are_off_unless_asked_for() {
    let world = World::new().await;
    let policy = world.policy(&[("callbackURL", "/oauth2/cb")]);
    let mut browser = logged_in(&world, &policy).await;
    let outcome = browser.send(&world, &policy, "GET", "/oauth2/session", SCRIPT).await;
    assert!(outcome.identity().user.is_some());
    let policy = world.policy(&[("sessionEndpoints", "/app/auth/")]);
    assert_eq!(
        Browser::default().send(&world, &policy, "GET", "/app/auth/session", SCRIPT).await.status(),
        401
    );
}
