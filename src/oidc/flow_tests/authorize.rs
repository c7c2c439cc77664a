use super::*;
use serde_json::{Value, json};

fn says(world: &World, claims: Value) {
    world.provider.script().claims.extend(claims.as_object().unwrap().clone());
}

fn auth_time(world: &World, ago: u64) -> u64 {
    let now = world.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    now.as_secs() - ago
}

#[tokio::test]
async fn an_expression_decides_and_a_denial_can_log_out() {
    let world = World::new().await;
    says(&world, json!({"realm_access": {"roles": ["ops"]}}));
    let allowed =
        world.policy(&[("claims", "Contains(`realm_access.roles`, `ops`) && Prefix(`email`, `alice@`)")]);
    let denied = world.policy(&[("claims", "Equals(`department`, `research`)")]);
    let mut browser = Browser::default();
    assert_eq!(browser.login(&world, &allowed, "/page").await.location(), "/page");
    assert_eq!(
        browser.get(&world, &allowed, "/page").await.header("x-forwarded-user").unwrap(),
        "alice@example.com"
    );

    // The other policy of this client knows the session, and has a gate of its own.
    let page = browser.get(&world, &denied, "/page").await;
    assert_eq!(page.status(), 403);
    assert!(page.body().contains("href=\"/logout\""), "{}", page.body());
    let script = browser.send(&world, &denied, "GET", "/page", API).await;
    let body: Value = serde_json::from_str(&script.body()).unwrap();
    assert_eq!((script.status(), body["logout_url"].as_str()), (403, Some("/logout")));
}

#[tokio::test]
async fn claims_that_only_userinfo_has_are_asked_for() {
    let world = World::new().await;
    world.provider.script().userinfo = (200, json!({"sub": "alice", "department": "research"}));
    let policy = world.policy(&[("claims", "Equals(`department`, `research`)")]);
    assert_eq!(Browser::default().login(&world, &policy, "/page").await.location(), "/page");
}

/// Policies of one client share their sessions, whichever of them has made one or refreshes it.
#[tokio::test]
async fn what_another_policy_needs_is_asked_for_too() {
    let world = World::new().await;
    world.provider.script().userinfo = (200, json!({"sub": "alice", "department": "research"}));
    let plain = world.policy(&[("userInfo", "never")]);
    let strict = world.policy(&[("claims", "Equals(`department`, `research`)")]);
    let mut browser = Browser::default();
    browser.login(&world, &plain, "/").await;
    browser.get(&world, &strict, "/").await.identity();
    world.clock.advance(Duration::from_secs(301));
    browser.get(&world, &plain, "/").await.identity();
    assert_eq!(world.provider.count("refreshed"), 1);
    browser.get(&world, &strict, "/").await.identity();
    drop(strict);
    let asked = world.provider.count("userinfo");
    Browser::default().login(&world, &plain, "/").await;
    assert_eq!(world.provider.count("userinfo"), asked, "nobody needs it any more");
}

/// An ID token with an address that does not say whether that is verified.
#[tokio::test]
async fn a_domain_does_not_pass_by_an_address_that_userinfo_calls_unverified() {
    let world = World::new().await;
    let policy = world.policy(&[("allowedUserDomains", "example.com")]);
    for (verified, status) in
        [(json!(false), 403), (json!("false"), 403), (json!(true), 302), (Value::Null, 302)]
    {
        world.provider.script().userinfo = (200, json!({"sub": "alice", "email_verified": verified}));
        assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), status, "{verified}");
    }
    let calls = world.provider.count("userinfo");
    says(&world, json!({"email_verified": true}));
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 302);
    assert_eq!(world.provider.count("userinfo"), calls, "the ID token has it");
}

#[tokio::test]
async fn a_weak_session_is_sent_to_a_stronger_login() {
    let world = World::new().await;
    let easy = world.policy(&[]);
    let strict = world.policy(&[
        ("acrValues", "[gold, urn:mfa]"),
        ("maxAge", "300"),
        ("extraAuthParams.acr_values", "bronze"),
    ]);
    let mut browser = Browser::default();
    browser.login(&world, &easy, "/").await;

    let script = browser.send(&world, &strict, "GET", "/admin", API).await;
    assert_eq!(script.status(), 401);
    let challenge = script.answer().headers["www-authenticate"].to_str().unwrap();
    for part in
        ["error=\"insufficient_user_authentication\"", "acr_values=\"gold urn:mfa\"", "max_age=\"300\""]
    {
        assert!(challenge.contains(part), "{challenge}");
    }
    assert!(script.set_cookies.is_empty());

    let start = browser.get(&world, &strict, "/admin").await;
    let asked = parameters(&start.location());
    assert_eq!((asked["acr_values"].as_str(), asked["max_age"].as_str()), ("gold urn:mfa", "300"));
    says(&world, json!({"acr": "gold", "auth_time": auth_time(&world, 10)}));
    // The callback may come to another policy of the same client.
    let callback = callback_for(&world, &start.location());
    assert_eq!(browser.get(&world, &easy, &callback).await.location(), "/admin");
    browser.get(&world, &strict, "/admin").await.identity();

    world.clock.advance(Duration::from_secs(400));
    assert_eq!(browser.get(&world, &strict, "/admin").await.status(), 302, "the login has become too old");
    browser.get(&world, &easy, "/").await.identity();
}

#[tokio::test]
async fn a_provider_that_ignores_the_wish_causes_no_loop() {
    let world = World::new().await;
    let (easy, strict) = (world.policy(&[]), world.policy(&[("acrValues", "[gold]")]));
    for owner in [&strict, &easy] {
        let mut browser = Browser::default();
        let callback = browser.start(&world, &strict, "/admin").await;
        let answer = browser.get(&world, owner, &callback).await;
        assert_eq!(answer.status(), 403);
        assert!(answer.body().contains("did not confirm"), "{}", answer.body());
    }
}

#[tokio::test]
async fn a_refresh_keeps_the_level_of_the_login() {
    let world = World::new().await;
    says(&world, json!({"acr": "gold"}));
    let strict = world.policy(&[("acrValues", "[gold]")]);
    let mut browser = Browser::default();
    browser.login(&world, &strict, "/admin").await;
    world.provider.script().claims.remove("acr");
    world.clock.advance(Duration::from_secs(301));
    browser.get(&world, &strict, "/admin").await.identity();
    assert_eq!(world.provider.count("refreshed"), 1);
}

/// Core, section 12.2: `auth_time` is that of the login, also where a provider takes a refresh for one.
#[tokio::test]
async fn a_refresh_makes_no_login_younger() {
    let world = World::new().await;
    says(&world, json!({"acr": "gold", "auth_time": auth_time(&world, 10)}));
    let strict = world.policy(&[("acrValues", "[gold]"), ("maxAge", "300")]);
    let mut browser = Browser::default();
    browser.login(&world, &strict, "/admin").await;
    world.clock.advance(Duration::from_secs(301));
    says(&world, json!({"auth_time": auth_time(&world, 1)}));
    browser.get(&world, &strict, "/admin").await.identity();
    world.clock.advance(Duration::from_secs(100));
    assert_eq!(browser.get(&world, &strict, "/admin").await.status(), 302, "411 s old");
    assert_eq!(world.provider.count("refreshed"), 1);
}

/// Policies of one client share sessions, and each has an audience of its own.
#[tokio::test]
async fn a_session_is_judged_by_the_audience_of_each_policy() {
    let world = World::new().await;
    let strict = [("strictAudienceValidation", "true"), ("audience", "https://api")];
    let (lax, strict) = (world.policy(&[]), world.policy(&strict));
    let mut browser = Browser::default();
    world.provider.script().access_audience = Some(json!(["https://other"]));
    browser.login(&world, &lax, "/").await;
    browser.get(&world, &lax, "/").await.identity();
    assert_eq!(browser.send(&world, &strict, "GET", "/", API).await.status(), 401);
    world.provider.script().access_audience = Some(json!(["https://other", "https://api"]));
    browser.login(&world, &strict, "/").await;
    for policy in [&strict, &lax] {
        browser.get(&world, policy, "/").await.identity();
    }
    // A refresh at the one that asks for more costs the other nothing.
    world.provider.script().access_audience = Some(json!("https://other"));
    world.clock.advance(Duration::from_secs(301));
    assert_eq!(browser.send(&world, &strict, "GET", "/", API).await.status(), 401);
    browser.get(&world, &lax, "/").await.identity();
    assert_eq!(world.provider.count("refreshed"), 1);
    // An opaque token names nobody.
    world.provider.script().access_audience = None;
    let mut another = Browser::default();
    another.login(&world, &lax, "/").await;
    another.get(&world, &strict, "/").await.identity();
}
