use serde_json::json;

use super::*;

#[tokio::test]
async fn cookies_that_are_none() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    let session = session_cookie(&policy);
    let good = browser.cookies[&session].clone();
    let odd = [
        "",
        "x",
        &good[1..],
        &format!("{good}="),
        &"A".repeat(43),
        "\u{1F36A}",
        &"x".repeat(8000),
        &format!("{good}; {session}={good}"),
    ];
    for value in odd {
        let mut browser = Browser::default();
        let header = format!("{session}={value}");
        let outcome = browser
            .send(&world, &policy, "GET", "/", &[("cookie", header.as_str()), ("sec-fetch-mode", "cors")])
            .await;
        assert_eq!(outcome.status(), 401, "{value}");
    }
    assert_eq!(
        browser.send(&world, &policy, "GET", "/", API).await.header("x-forwarded-user").unwrap(),
        "alice@example.com"
    );
}

#[tokio::test]
async fn a_session_belongs_to_its_client_and_secret() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    let same_client = world.policy(&[("minimalHeaders", "true")]);
    let outcome = browser.send(&world, &same_client, "GET", "/", API).await;
    assert_eq!(outcome.identity().headers.iter().count(), 1);
    for other in [[("clientID", "other")], [("sessionEncryptionKey", "another-secret-of-32-bytes-length")]] {
        let other = world.policy(&other);
        assert_eq!(browser.send(&world, &other, "GET", "/", API).await.status(), 401);
        let mut moved = session_attacks::moved(&browser, &policy, &other);
        assert_eq!(moved.send(&world, &other, "GET", "/", API).await.status(), 401, "under its name");
    }
}

#[tokio::test]
async fn a_new_key_logs_nobody_out_while_the_previous_one_is_known() {
    const NEW: (&str, &str) = ("sessionEncryptionKey", "another-secret-of-32-bytes-length");
    let world = World::new().await;
    let old = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &old, "/").await;
    let rotated = world.policy(&[NEW, ("previousSessionEncryptionKeys", KEY)]);
    let outcome = browser.send(&world, &rotated, "GET", "/", API).await;
    assert_eq!(outcome.header("x-forwarded-user").unwrap(), "alice@example.com");
    // What is sealed now is sealed with the new one.
    let mut later = Browser::default();
    later.login(&world, &rotated, "/").await;
    let done = world.policy(&[NEW]);
    assert_eq!(
        later.send(&world, &done, "GET", "/", API).await.header("x-forwarded-user").unwrap(),
        "alice@example.com"
    );
    assert_eq!(browser.send(&world, &done, "GET", "/", API).await.status(), 401);
    assert_eq!(later.send(&world, &old, "GET", "/", API).await.status(), 401);
}

#[tokio::test]
async fn a_login_gives_a_new_id_and_ends_the_old() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    let mut old = browser.clone();
    let callback = browser.clone();
    let mut again = callback;
    // A second tab that was opened before the first login finished.
    again.cookies.remove(&session_cookie(&policy));
    let target = again.start(&world, &policy, "/b").await;
    again.cookies.insert(session_cookie(&policy), browser.cookies[&session_cookie(&policy)].clone());
    assert_eq!(again.get(&world, &policy, &target).await.location(), "/b");
    assert_ne!(again.cookies[&session_cookie(&policy)], old.cookies[&session_cookie(&policy)]);
    assert_eq!(old.send(&world, &policy, "GET", "/", API).await.status(), 401);
    assert!(again.send(&world, &policy, "GET", "/", API).await.identity().user.is_some());
}

#[tokio::test]
async fn the_absolute_end() {
    let world = World::new().await;
    let policy = world.policy(&[("sessionMaxAge", "100"), ("refreshGracePeriodSeconds", "1")]);
    let mut browser = Browser::default();
    let outcome = browser.login(&world, &policy, "/").await;
    assert!(
        outcome
            .set_cookies
            .iter()
            .any(|c| c.starts_with(&session_cookie(&policy)) && c.contains("Max-Age=100;"))
    );
    world.clock.advance(SECOND * 99);
    assert!(browser.send(&world, &policy, "GET", "/", API).await.identity().user.is_some());
    world.clock.advance(SECOND);
    assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.status(), 401);
    assert_eq!(browser.get(&world, &policy, "/").await.status(), 302);
}

#[tokio::test]
async fn the_idle_end() {
    let world = World::new().await;
    let policy = world.policy(&[
        ("sessionIdleTimeout", "600"),
        ("sessionEndpoints", "/app"),
        ("excludedURLs", "[/open]"),
    ]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    for _ in 0..3 {
        world.clock.advance(SECOND * 590);
        assert!(browser.send(&world, &policy, "GET", "/", API).await.identity().user.is_some());
    }
    // Neither a look at the session nor what needs none prolongs it.
    world.clock.advance(SECOND * 590);
    let told = browser.send(&world, &policy, "GET", "/app/session", API).await;
    assert!(told.body().contains("\"idleExpiresIn\":10,"), "{}", told.body());
    browser.send(&world, &policy, "GET", "/open", API).await;
    world.clock.advance(SECOND * 10);
    assert_eq!(browser.send(&world, &policy, "GET", "/app/session", API).await.status(), 401);
    assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.status(), 401);
    assert_eq!(browser.get(&world, &policy, "/").await.status(), 302);
}

#[tokio::test]
async fn gates() {
    let world = World::new().await;
    let policy = world.policy(&[("allowedRolesAndGroups", "[admin]")]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    assert!(browser.send(&world, &policy, "GET", "/", API).await.identity().user.is_some());
    // The same session at another gate, and at a gate changed by reload.
    let closed = world.policy(&[("allowedUserDomains", "[other.example]")]);
    let outcome = browser.send(&world, &closed, "GET", "/", API).await;
    assert_eq!(outcome.status(), 403);
    let page = browser.get(&world, &closed, "/").await;
    assert_eq!(page.status(), 403);
    assert!(page.body().contains("href=\"/logout\"") && page.body().contains("request-1"));
    // A login of somebody who may not pass: 403, and still a session that can log out.
    let mut browser = Browser::default();
    assert_eq!(browser.login(&world, &closed, "/").await.status(), 403);
    assert!(browser.cookies.contains_key(&session_cookie(&closed)));
    let logout = browser.get(&world, &closed, "/logout").await;
    assert!(logout.location().contains("id_token_hint="));
}

#[tokio::test]
async fn templates_and_claim_headers() {
    let world = World::new().await;
    world.provider.script().claims.insert("email".into(), json!("a\r\nX-Admin: 1"));
    let mut settings = settings(
        &world.provider.issuer,
        &[
            ("userIdentifierClaim", "sub"),
            ("forwardHeaders.X-Mail", "email"),
            ("forwardHeaders.X-Sub", "sub"),
        ],
    );
    let template = |text: &str| super::super::template::Template::compile(text, &[]).unwrap();
    settings.headers.push((HeaderName::from_static("x-token"), template("Bearer {{.AccessToken}}")));
    settings.headers.push((HeaderName::from_static("x-none"), template("{{.Claims.picture}}")));
    let policy = Policy::new("auth", settings, &world.deps).unwrap();
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    let outcome = browser.send(&world, &policy, "GET", "/", API).await;
    assert_eq!(outcome.header("x-sub").unwrap(), "alice");
    assert!(outcome.header("x-token").unwrap().starts_with("Bearer access-"));
    assert_eq!((outcome.header("x-mail"), outcome.header("x-none")), (None, None));
    assert_eq!(outcome.identity().strip.len(), 4);
}

#[tokio::test]
async fn refresh_by_the_same_rules() {
    let world = World::new().await;
    let policy = world.policy(&[("allowedRolesAndGroups", "[ops]"), ("userIdentifierClaim", "nickname")]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    assert_eq!(
        browser.send(&world, &policy, "GET", "/", API).await.header("x-forwarded-user").unwrap(),
        "alice",
        "sub"
    );
    // Past the end: one grant, whoever asks.
    world.clock.advance(SECOND * 301);
    let many = (0..50).map(|_| {
        let (mut browser, world, policy) = (browser.clone(), &world, &policy);
        async move { browser.send(world, policy, "GET", "/", API).await.header("x-forwarded-user") }
    });
    for user in futures_util::future::join_all(many).await {
        assert_eq!(user.as_deref(), Some("alice"), "sub, as at login");
    }
    assert_eq!(world.provider.count("refreshed"), 1);
    // A group that is taken away shows after the next refresh.
    world.provider.script().claims.insert("groups".into(), json!(["dev"]));
    world.clock.advance(SECOND * 301);
    assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.status(), 403);
}

#[tokio::test]
async fn a_refresh_that_fails() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    world.clock.advance(SECOND * 301);
    world.provider.script().token_answer = Some((503, "text/html", "<html>".into()));
    let outcome = browser.send(&world, &policy, "GET", "/", API).await;
    assert_eq!(outcome.status(), 503);
    assert!(outcome.answer().headers.contains_key("retry-after"));
    assert_eq!(browser.get(&world, &policy, "/").await.status(), 503);
    world.provider.script().token_answer = None;
    world.clock.advance(SECOND * 6);
    assert!(
        browser.send(&world, &policy, "GET", "/", API).await.identity().user.is_some(),
        "the session was kept"
    );

    world.provider.script().token_answer =
        Some((400, "application/json", r#"{"error":"invalid_grant"}"#.into()));
    world.clock.advance(SECOND * 301);
    assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.status(), 401);
    assert_eq!(browser.get(&world, &policy, "/").await.status(), 302);
}

#[tokio::test]
async fn a_refreshed_token_of_somebody_else_ends_the_session() {
    let faults: &[fn(&mut serde_json::Map<String, serde_json::Value>)] = &[
        |c| drop(c.insert("sub".into(), json!("mallory"))),
        |c| drop(c.insert("iss".into(), json!("https://evil.example"))),
        |c| drop(c.insert("aud".into(), json!("other"))),
    ];
    for fault in faults {
        let world = World::new().await;
        let policy = world.policy(&[]);
        let mut browser = Browser::default();
        browser.login(&world, &policy, "/").await;
        world.provider.script().change = Some(Box::new(*fault));
        world.clock.advance(SECOND * 301);
        assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.status(), 401);
        world.provider.script().change = None;
        assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.status(), 401, "for good");
    }
}

#[tokio::test]
async fn keys_that_cannot_be_had_cost_no_session() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    {
        let mut script = world.provider.script();
        script.keys.insert(0, crate::oidc::fake_provider::SigningKey::new("key-2"));
        script.jwks = Some(json!("no keys today"));
    }
    world.clock.advance(SECOND * 301);
    let outcome = browser.send(&world, &policy, "GET", "/", API).await;
    assert_eq!(outcome.header("x-forwarded-user").unwrap(), "alice@example.com");
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 502, "a login needs them");
    // One that the provider does not know, asked for it now, is a wrong one.
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    world.provider.script().header = json!({"kid": "unknown"});
    world.clock.advance(SECOND * 301);
    assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.status(), 401);
}

/// What userinfo said stays while it says nothing: the user and their groups are the same, whatever the failure.
#[tokio::test]
async fn userinfo_that_fails_at_a_refresh_changes_nobody() {
    for wanted in ["auto", "always"] {
        let world = World::new().await;
        world.provider.script().claims = json!({"sub": "alice"}).as_object().unwrap().clone();
        let good = |group: &str| (200, json!({"sub": "alice", "email": "alice@info", "groups": [group]}));
        world.provider.script().userinfo = good("g");
        let policy = world.policy(&[("userInfo", wanted), ("allowedRolesAndGroups", "[g, h]")]);
        let mut browser = Browser::default();
        assert_eq!(browser.login(&world, &policy, "/").await.status(), 302);
        let nobody = json!({"error": "none"});
        for (status, body) in [
            (401, json!({})),
            (403, json!({})),
            (404, json!({})),
            (500, json!({})),
            (200, json!("<html>")),
            (200, nobody),
        ] {
            world.provider.script().userinfo = (status, body);
            world.clock.advance(SECOND * 301);
            let outcome = browser.send(&world, &policy, "GET", "/", API).await;
            assert_eq!(outcome.header("x-forwarded-user").unwrap(), "alice@info", "{wanted} {status}");
            assert_eq!(outcome.header("x-user-groups").unwrap(), "g", "{wanted} {status}");
        }
        world.provider.script().userinfo = good("h");
        world.clock.advance(SECOND * 301);
        let outcome = browser.send(&world, &policy, "GET", "/", API).await;
        assert_eq!(outcome.header("x-user-groups").unwrap(), "h");
        // A good answer about somebody else is no failure.
        world.provider.script().userinfo = (200, json!({"sub": "mallory", "email": "alice@info"}));
        world.clock.advance(SECOND * 301);
        assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.status(), 401);
    }
}

#[tokio::test]
async fn a_refresh_without_id_token_keeps_the_identity() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    world.provider.script().no_id_token = true;
    world.clock.advance(SECOND * 301);
    let outcome = browser.send(&world, &policy, "GET", "/", API).await;
    assert_eq!(outcome.header("x-forwarded-user").unwrap(), "alice@example.com");
    assert_eq!(outcome.header("x-user-groups").unwrap(), "dev,ops");
}

#[tokio::test]
async fn an_outage_touches_no_living_session() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    // A process that has never reached the provider finds the session all the same.
    let (away, _) = FakeProvider::stopped().await;
    let mut other = settings(&world.provider.issuer, &[]);
    other.provider.allow_private = true;
    drop(away);
    world.provider.script().discovery_status = Some(503);
    let cold = Policy::new("cold", other, &world.deps).unwrap();
    assert!(browser.send(&world, &cold, "GET", "/", API).await.identity().user.is_some());
}

/// Prints what a session check costs. Run by hand, with `--release --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn cost_of_a_session_check() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    let mut headers = HeaderMap::new();
    let cookies: Vec<String> =
        browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    headers.insert(COOKIE, cookies.join("; ").parse().unwrap());
    let request = RequestParts {
        method: &Method::GET,
        scheme: Scheme::Http,
        authority: "app.example.com",
        path: "/a/page",
        query: Some("x=1"),
        headers: &headers,
        body: None,
        client: "203.0.113.9".parse().unwrap(),
        peer_trusted: false,
        request_id: "request-1",
    };
    let now = world.clock.now();
    const ROUNDS: u32 = 200_000;
    let started = std::time::Instant::now();
    for _ in 0..ROUNDS {
        assert!(matches!(policy.decide(&request, now).await, Decision::Forward(_)));
    }
    println!("{:?} for each request", started.elapsed() / ROUNDS);
}

#[tokio::test]
async fn two_clients_on_one_host_do_not_disturb_each_other() {
    let world = World::new().await;
    let (a, b) = (world.policy(&[]), world.policy(&[("clientID", "other"), ("callbackURL", "/cb2")]));
    let mut browser = Browser::default();
    // Two logins under way at once, too.
    let from_a = browser.start(&world, &a, "/a").await;
    let from_b = browser.start(&world, &b, "/b").await.replace("/cb?", "/cb2?");
    for (policy, callback, target, client) in [(&a, from_a, "/a", "client"), (&b, from_b, "/b", "other")] {
        world.provider.script().change = Some(Box::new(move |claims| {
            claims.insert("aud".into(), client.into());
        }));
        let outcome = browser.get(&world, policy, &callback).await;
        assert_eq!((outcome.status(), outcome.location().as_str()), (302, target), "{}", outcome.body());
    }
    for policy in [&a, &b, &a] {
        let outcome = browser.send(&world, policy, "GET", "/", API).await;
        assert!(outcome.identity().user.is_some());
    }
}

#[tokio::test]
async fn a_cookie_of_the_name_before_clients_had_their_own_still_counts() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    let value = browser.cookies.remove(&session_cookie(&policy)).unwrap();
    browser.cookies.insert("_oidc_raczylo_session".into(), value);
    assert!(browser.send(&world, &policy, "GET", "/", API).await.identity().user.is_some());
    browser.get(&world, &policy, "/logout").await;
    assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.status(), 401);
}

/// Entra answers a refresh so when a rule of its own asks for another proof: only the user can go on.
#[tokio::test]
async fn a_provider_that_wants_the_user_back_gets_them() {
    for error in ["interaction_required", "login_required", "consent_required"] {
        let world = World::new().await;
        let policy = world.policy(&[]);
        let mut browser = Browser::default();
        browser.login(&world, &policy, "/").await;
        world.clock.advance(SECOND * 301);
        let answer = format!(r#"{{"error":"{error}"}}"#);
        world.provider.script().token_answer = Some((400, "application/json", answer));
        assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.status(), 401, "{error}");
        assert_eq!(browser.get(&world, &policy, "/").await.status(), 302);
        assert_eq!(world.provider.count("token"), 2);
    }
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    world.clock.advance(SECOND * 301);
    let answer = r#"{"error":"invalid_client"}"#.into();
    world.provider.script().token_answer = Some((400, "application/json", answer));
    assert_eq!(browser.get(&world, &policy, "/").await.status(), 503, "no fault of the user");
}
