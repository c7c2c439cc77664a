use super::*;

#[tokio::test]
async fn authorization_request() {
    let world = World::new().await;
    let policy = world.policy(&[
        ("scopes", "[groups, email]"),
        ("audience", "https://api.example"),
        ("resource", "https://r.example"),
        ("extraAuthParams.prompt", "consent"),
        ("extraAuthParams.state", "forged"),
        ("extraAuthParams.audience", "forged"),
    ]);
    let outcome = Browser::default().get(&world, &policy, "/deep?x=1").await;
    assert_eq!(outcome.status(), 302);
    let parameters = parameters(&outcome.location());
    let expect = [
        ("realm", "x"),
        ("response_type", "code"),
        ("client_id", "client"),
        ("redirect_uri", "http://app.example.com/cb"),
        ("scope", "openid profile email groups offline_access"),
        ("code_challenge_method", "S256"),
        ("prompt", "consent"),
        ("audience", "https://api.example"),
        ("resource", "https://r.example"),
    ];
    for (name, value) in expect {
        assert_eq!(parameters[name], value, "{name}");
    }
    assert_ne!(parameters["state"], "forged");
    assert!(parameters["nonce"].len() >= 22 && parameters["code_challenge"].len() == 43);
    assert_eq!(outcome.location().matches("state=").count(), 1);
    assert!(!outcome.set_cookies[0].contains("Secure"), "plain http outside");
}

#[tokio::test]
async fn scopes() {
    let world = World::new().await;
    let scope = async |policy: &Policy| {
        parameters(&Browser::default().get(&world, policy, "/").await.location())["scope"].clone()
    };
    assert_eq!(
        scope(&world.policy(&[("overrideScopes", "true"), ("scopes", "[api, openid]")])).await,
        "openid api"
    );
    let other = World::new().await;
    other
        .provider
        .script()
        .metadata
        .insert("scopes_supported".into(), serde_json::json!(["openid", "email"]));
    let policy = other.policy(&[("scopes", "[custom]")]);
    let outcome = Browser::default().get(&other, &policy, "/").await;
    assert_eq!(parameters(&outcome.location())["scope"], "openid profile email custom");
}

#[tokio::test]
async fn who_is_not_sent_to_login() {
    let world = World::new().await;
    let policy = world.policy(&[("excludedURLs", "[/public, /]")]);
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);
    let refused: &[Case<'_>] = &[
        ("GET", "/private", API),
        ("POST", "/private", API),
        ("GET", "/private", &[("accept", "text/event-stream")]),
        ("GET", "/private", &[("accept", "text/html, text/event-stream")]),
        ("GET", "/private", &[("upgrade", "websocket"), ("connection", "upgrade")]),
        ("OPTIONS", "/private", &[("origin", "https://a.example"), ("access-control-request-method", "GET")]),
        ("GET", "/favicon.ico", &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")]),
        ("GET", "/private", &[("authorization", "Bearer junk"), ("sec-fetch-mode", "cors")]),
        ("GET", "/publicsecret", API),
        ("GET", "/public.css", API),
        ("GET", "/health", &[("sec-fetch-mode", "cors"), ("user-agent", "kube-probe/1.30")]),
    ];
    for (method, target, headers) in refused {
        let outcome = Browser::default().send(&world, &policy, method, target, headers).await;
        assert_eq!(outcome.status(), 401, "{method} {target} {headers:?}");
        assert!(outcome.set_cookies.is_empty());
        let body: serde_json::Value = serde_json::from_str(&outcome.body()).unwrap();
        assert_eq!(body["status_code"], 401);
    }
    for (method, target) in [("GET", "/public"), ("POST", "/public/x"), ("OPTIONS", "/public"), ("GET", "/")]
    {
        let mut browser = Browser::default();
        browser.cookies.insert(session_cookie(&policy), "junk".into());
        browser.cookies.insert("app".into(), "1".into());
        let outcome = browser.send(&world, &policy, method, target, API).await;
        let identity = outcome.identity();
        assert!(identity.headers.iter().next().is_none() && identity.user.is_none());
        let kept = crate::oidc::CookieEdit::Replace("app=1".parse().unwrap());
        assert_eq!(identity.cookie, kept);
    }
}

#[tokio::test]
async fn several_tabs_come_back_to_their_own_page() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    let mut callbacks = Vec::new();
    for tab in 0..8 {
        callbacks.push((tab, browser.start(&world, &policy, &format!("/tab/{tab}?q=%20{tab}")).await));
    }
    callbacks.reverse();
    callbacks.swap(1, 5);
    for (tab, callback) in callbacks {
        let outcome = browser.get(&world, &policy, &callback).await;
        assert_eq!((outcome.status(), outcome.location()), (302, format!("/tab/{tab}?q=%20{tab}")));
    }
}

#[tokio::test]
async fn attempts_stay_few_and_small() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    for n in 0..50 {
        world.clock.advance(SECOND);
        let outcome = browser.get(&world, &policy, &format!("/{}?n={n}", "long/".repeat(n * 4))).await;
        assert_eq!(outcome.status(), 302);
        assert!(browser.cookies.len() <= 8, "{}", browser.cookies.len());
        let bytes: usize = browser.cookies.iter().map(|(name, value)| name.len() + value.len() + 3).sum();
        assert!(bytes < 4_000, "{bytes}");
    }
    // A target that does not fit gives way to `/`, and the login still works.
    let outcome = browser.login(&world, &policy, &format!("/{}", "x".repeat(1_400))).await;
    assert_eq!((outcome.status(), outcome.location().as_str()), (302, "/"));
}

#[tokio::test]
async fn hostile_targets_fall_back() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    for target in ["//evil.example/%2e%2e", "/\\evil.example", "/a/%2e%2e/b", "/a//b"] {
        let outcome = Browser::default().login(&world, &policy, target).await;
        assert_eq!(outcome.location(), "/", "{target}");
    }
    let mut browser = Browser::default();
    let forwarded = [("sec-fetch-mode", "navigate"), ("x-forwarded-uri", "/elsewhere")];
    let outcome = browser
        .send(&world, &world.policy(&[("trustForwardedURI", "true")]), "GET", "/here", &forwarded)
        .await;
    let callback = callback_for(&world, &outcome.location());
    assert_eq!(browser.get(&world, &policy, &callback).await.location(), "/here", "an untrusted peer");
}

#[tokio::test]
async fn a_loop_ends_in_a_page() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    for round in 0..10 {
        let outcome = browser.login(&world, &policy, "/page").await;
        assert_eq!(outcome.status(), 302, "round {round}");
        assert!(browser.cookies.remove(&session_cookie(&policy)).is_some());
    }
    let outcome = browser.get(&world, &policy, "/page").await;
    assert_eq!(outcome.status(), 508);
    assert!(outcome.body().contains("request-1"));
    world.clock.advance(SECOND * 61);
    assert_eq!(browser.get(&world, &policy, "/page").await.status(), 302);
}

#[tokio::test]
async fn https_outside_makes_host_cookies() {
    let world = World::new().await;
    let policy = world.policy(&[("forceHTTPS", "true")]);
    let outcome = Browser::default().get(&world, &policy, "/").await;
    assert_eq!(parameters(&outcome.location())["redirect_uri"], "https://app.example.com/cb");
    let cookie = &outcome.set_cookies[0];
    assert!(cookie.starts_with("__Host-_oidc_raczylo_login_"), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Max-Age=4200; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
}

#[tokio::test]
async fn login_can_be_off() {
    let world = World::new().await;
    let policy = world.policy(&[("disableLogin", "true")]);
    assert_eq!(Browser::default().get(&world, &policy, "/").await.status(), 401);
}

/// Keycloak says so at the token endpoint to users without the role `offline_access`, and others at once to clients
/// without the scope.
#[tokio::test]
async fn users_who_may_not_have_offline_access_log_in_without_it() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let not_allowed =
        r#"{"error":"not_allowed","error_description":"Offline tokens not allowed for the user or client"}"#;
    for at_once in [false, true] {
        let mut browser = Browser::default();
        let callback = browser.start(&world, &policy, "/deep").await;
        let again = if at_once {
            let state = callback.split("state=").nth(1).unwrap();
            browser.get(&world, &policy, &format!("/cb?error=invalid_scope&state={state}")).await
        } else {
            world.provider.script().token_answer = Some((400, "application/json", not_allowed.to_owned()));
            let again = browser.get(&world, &policy, &callback).await;
            world.provider.script().token_answer = None;
            again
        };
        assert_eq!(again.status(), 302);
        assert_eq!(parameters(&again.location())["scope"], "openid profile email");
        assert_eq!(browser.cookies.len(), 1, "the first attempt is gone");
        let callback = callback_for(&world, &again.location());
        assert_eq!(browser.get(&world, &policy, &callback).await.location(), "/deep");
        assert!(browser.send(&world, &policy, "GET", "/", API).await.identity().user.is_some());
    }
}

#[tokio::test]
async fn a_refused_scope_is_asked_for_less_only_once_and_only_if_it_is_ours() {
    let world = World::new().await;
    let refuse = async |browser: &mut Browser, policy: &Policy, state: &str| {
        browser.get(&world, policy, &format!("/cb?error=invalid_scope&state={state}")).await
    };
    let state = |location: &str| parameters(location)["state"].clone();
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    let first = browser.get(&world, &policy, "/").await;
    let second = refuse(&mut browser, &policy, &state(&first.location())).await;
    let third = refuse(&mut browser, &policy, &state(&second.location())).await;
    assert_eq!(third.status(), 400, "no loop");
    assert!(third.body().contains("invalid_scope"));

    let asked = world.policy(&[("scopes", "[offline_access]")]);
    let first = browser.get(&world, &asked, "/").await;
    let second = refuse(&mut browser, &asked, &state(&first.location())).await;
    assert_eq!(second.status(), 400, "the operator wants it");
}

/// A person who has filled in a form for so long that the session is over.
#[tokio::test]
async fn a_posted_form_is_told_in_words_and_leads_to_a_login() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser { body: Some(b"a=1".to_vec()), ..Browser::default() };
    let form = [NAVIGATE, &[("content-type", "application/x-www-form-urlencoded")]].concat();
    let outcome = browser.send(&world, &policy, "POST", "/form?x=1", &form).await;
    assert_eq!(outcome.status(), 401);
    assert!(outcome.set_cookies.is_empty(), "no login has begun");
    let page = outcome.body();
    assert!(page.contains("was not taken") && page.contains("href=\"/form?x=1\""), "{page}");
    let off = world.policy(&[("disableLogin", "true")]);
    let page = browser.send(&world, &off, "POST", "/form", &form).await.body();
    assert!(page.contains("was not taken") && !page.contains("href"), "{page}");
}
