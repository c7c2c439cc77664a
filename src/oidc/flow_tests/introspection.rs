use serde_json::{Value, json};

use super::bearer::{at_jwt, claims, ready, show};
use super::*;

const OPAQUE: &[(&str, &str)] = &[("requireTokenIntrospection", "true"), ("allowOpaqueTokens", "true")];

/// What the provider says of every token: active, with the claims of a good one, changed by `change`.
fn says(world: &World, change: Value) {
    let mut answer = claims(world);
    answer.insert("active".into(), json!(true));
    answer.extend(change.as_object().unwrap().clone());
    answer.retain(|_, value| !value.is_null());
    world.provider.script().introspection = (200, Value::Object(answer));
}

#[tokio::test]
async fn opaque_tokens_by_introspection() {
    let world = World::new().await;
    let policy = ready(&world, OPAQUE).await;
    says(&world, json!({}));
    for _ in 0..3 {
        let outcome = show(&world, &policy, "opaque-token").await;
        assert_eq!(outcome.header("x-forwarded-user").unwrap(), "machine-1");
    }
    assert_eq!(world.provider.count("introspect"), 1);
    let script = world.provider.script();
    assert_eq!(script.last_form["token"], "opaque-token");
    assert_eq!(
        script.last_form["client_secret"], "secret/+ä",
        "the client proves itself as at the token endpoint"
    );
}

#[tokio::test]
async fn opaque_tokens_need_both_options() {
    let world = World::new().await;
    says(&world, json!({}));
    for options in [&[][..], &[("allowOpaqueTokens", "true")], &[("requireTokenIntrospection", "true")]] {
        let policy = ready(&world, options).await;
        assert_eq!(show(&world, &policy, "opaque-token").await.status(), 401, "{options:?}");
    }
    assert_eq!(world.provider.count("introspect"), 0);
}

#[tokio::test]
async fn what_introspection_says_must_be_for_us() {
    let world = World::new().await;
    let policy = ready(&world, OPAQUE).await;
    let now = claims(&world)["iat"].as_u64().unwrap();
    for (n, (change, passes)) in [
        (json!({"active": false}), false),
        (json!({"aud": "https://other"}), false),
        (json!({"aud": null}), false),
        (json!({"aud": null, "client_id": "client", "token_type": "Bearer"}), true),
        (json!({"aud": null, "client_id": "client", "token_type": "bearer"}), true),
        (json!({"aud": null, "token_type": "Bearer"}), false),
        // Other things that a provider knows by introspection, and what is not for its bearer alone.
        (json!({"aud": null, "client_id": "client"}), false),
        (json!({"token_use": "access_token", "token_type": "Bearer"}), true),
        (json!({"token_use": "refresh_token"}), false),
        (json!({"token_use": ["access_token"]}), false),
        (json!({"typ": "Bearer"}), true),
        (json!({"typ": "Refresh"}), false),
        (json!({"typ": "Offline"}), false),
        (json!({"token_type": "N_A"}), false),
        (json!({"token_type": "DPoP"}), false),
        (json!({"cnf": {"jkt": "thumbprint"}}), false),
        (json!({"iss": "https://other"}), false),
        (json!({"iss": null}), true),
        (json!({"exp": now - 1}), false),
        (json!({"exp": null}), true),
        (json!({"exp": "soon"}), false),
        (json!({"nbf": now + 300}), false),
        (json!({"sub": null}), false),
    ]
    .into_iter()
    .enumerate()
    {
        says(&world, change.clone());
        let outcome = show(&world, &policy, &format!("token-{n}")).await;
        let passed = matches!(outcome.decision, Decision::Forward(_));
        assert_eq!(passed, passes, "{change}");
    }
}

#[tokio::test]
async fn n54_answers_are_believed_for_a_while_only() {
    let world = World::new().await;
    let policy = ready(&world, OPAQUE).await;
    says(&world, json!({"exp": null}));
    show(&world, &policy, "t").await.identity();
    says(&world, json!({"active": false}));
    world.clock.advance(Duration::from_secs(299));
    show(&world, &policy, "t").await.identity();
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(show(&world, &policy, "t").await.status(), 401);
    says(&world, json!({}));
    assert_eq!(show(&world, &policy, "t").await.status(), 401, "a no is believed for seconds");
    world.clock.advance(Duration::from_secs(11));
    show(&world, &policy, "t").await.identity();
    assert_eq!(world.provider.count("introspect"), 3);
}

/// What one endpoint says counts for it alone, and what it says is judged by each policy for itself.
#[tokio::test]
async fn n53_an_answer_belongs_to_the_endpoint_that_gave_it() {
    let (world, other) = (World::new().await, World::new().await);
    says(&world, json!({}));
    other.provider.script().introspection = (200, json!({"active": false}));
    let at_other = format!("{}/introspect", other.provider.issuer);
    let here = ready(&world, OPAQUE).await;
    let there = ready(&world, &[OPAQUE, &[("introspectionURL", at_other.as_str())]].concat()).await;
    let scope = [("claims", "SplitContains(`scope`, ` `, `deploy`)")];
    let scoped = ready(&world, &[OPAQUE, &scope].concat()).await;
    let audience = ready(&world, &[OPAQUE, &[("audience", "https://other")]].concat()).await;
    for _ in 0..2 {
        show(&world, &here, "shared").await.identity();
        assert_eq!(show(&world, &there, "shared").await.status(), 401);
        assert_eq!(show(&world, &scoped, "shared").await.status(), 403);
        assert_eq!(show(&world, &audience, "shared").await.status(), 401);
    }
    assert_eq!((world.provider.count("introspect"), other.provider.count("introspect")), (1, 1));
}

#[tokio::test]
async fn many_who_show_one_token_cause_one_call() {
    let world = World::new().await;
    let policy = ready(&world, OPAQUE).await;
    let other_router = ready(&world, OPAQUE).await;
    says(&world, json!({}));
    world.provider.script().introspection_delay = Duration::from_millis(100);
    let all = (0..50).map(|n| show(&world, if n % 2 == 0 { &policy } else { &other_router }, "shared"));
    for outcome in futures_util::future::join_all(all).await {
        outcome.identity();
    }
    assert_eq!(world.provider.count("introspect"), 1);
}

#[tokio::test]
async fn the_call_goes_on_when_the_first_one_who_asked_has_left() {
    let world = World::new().await;
    let policy = ready(&world, OPAQUE).await;
    says(&world, json!({}));
    world.provider.script().introspection_delay = Duration::from_millis(100);
    let asked = async {
        while world.provider.count("introspect") == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = show(&world, &policy, "shared") => panic!("answered at once"),
        () = asked => {}
    }
    show(&world, &policy, "shared").await.identity();
    assert_eq!(world.provider.count("introspect"), 1);
}

#[tokio::test]
async fn no_answer_is_503_and_no_failure_of_the_client() {
    let world = World::new().await;
    let policy = ready(&world, &[OPAQUE, &[("bearerFailureThreshold", "1")]].concat()).await;
    for answer in
        [(500, json!({})), (200, json!({"sub": "x"})), (200, json!({"active": "true"})), (401, json!({}))]
    {
        world.provider.script().introspection = answer.clone();
        let outcome = show(&world, &policy, "t").await;
        assert_eq!(outcome.status(), 503, "{answer:?}");
        assert!(outcome.answer().headers.contains_key("retry-after"));
        world.clock.advance(Duration::from_secs(2));
    }
    says(&world, json!({}));
    show(&world, &policy, "t").await.identity();
}

#[tokio::test]
async fn a_jwt_needs_both_its_signature_and_the_answer() {
    let world = World::new().await;
    let policy = ready(&world, &[("requireTokenIntrospection", "true")]).await;
    says(&world, json!({"sub": "somebody-else"}));
    let token = at_jwt(&world, |_| {});
    assert_eq!(show(&world, &policy, &token).await.header("x-forwarded-user").unwrap(), "machine-1");
    let expired = at_jwt(&world, |c| c["exp"] = json!(1));
    assert_eq!(show(&world, &policy, &expired).await.status(), 401);
    for (jti, answer) in [("2", json!({"active": false})), ("3", json!({"cnf": {"x5t#S256": "digest"}}))] {
        says(&world, answer);
        assert_eq!(show(&world, &policy, &at_jwt(&world, |c| c["jti"] = json!(jti))).await.status(), 401);
    }
}

/// A policy whose sessions need active access tokens, which live for an hour and are active.
pub(super) fn needing_active_tokens(world: &World) -> Policy {
    let mut script = world.provider.script();
    script.expires_in = json!(3600);
    script.change = Some(Box::new(|c| c["exp"] = json!(c["iat"].as_u64().unwrap() + 3600)));
    script.introspection = (200, json!({"active": true}));
    drop(script);
    world.policy(&[("requireTokenIntrospection", "true")])
}

#[tokio::test]
async fn sessions_live_on_active_tokens() {
    let world = World::new().await;
    let policy = needing_active_tokens(&world);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    for _ in 0..3 {
        browser.get(&world, &policy, "/").await.identity();
    }
    assert_eq!(world.provider.count("introspect"), 1);

    world.provider.script().introspection = (500, json!({}));
    world.clock.advance(Duration::from_secs(301));
    assert_eq!(browser.clone().send(&world, &policy, "GET", "/", API).await.status(), 401, "nobody can say");
    world.provider.script().introspection = (200, json!({"active": true}));
    world.clock.advance(Duration::from_secs(2));
    browser.get(&world, &policy, "/").await.identity();

    world.provider.script().introspection = (200, json!({"active": false}));
    world.clock.advance(Duration::from_secs(301));
    assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.status(), 401);
    world.provider.script().introspection = (200, json!({"active": true}));
    world.clock.advance(Duration::from_secs(11));
    assert_eq!(
        browser.send(&world, &policy, "GET", "/", API).await.status(),
        401,
        "the session is over for good"
    );
}

/// However many tokens strangers make up, whoever has a session is told of it.
#[tokio::test]
async fn strangers_keep_no_answer_from_sessions() {
    let world = World::new().await;
    world.provider.script().expires_in = json!(3600);
    world.provider.script().change = Some(Box::new(|c| c["exp"] = json!(c["iat"].as_u64().unwrap() + 3600)));
    let policy = ready(&world, &[OPAQUE, &[("bearerFailureThreshold", "0")]].concat()).await;
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    world.clock.advance(Duration::from_secs(301));
    world.provider.script().introspection_delay = Duration::from_millis(20);
    let tokens: Vec<String> = (0..5_000).map(|number| format!("made-up-{number}")).collect();
    let strangers = futures_util::future::join_all(tokens.iter().map(|token| show(&world, &policy, token)));
    let (_, outcome) = tokio::join!(strangers, browser.get(&world, &policy, "/"));
    outcome.identity();
}

#[tokio::test]
async fn no_login_with_an_inactive_token() {
    let world = World::new().await;
    let policy = world.policy(&[("requireTokenIntrospection", "true")]);
    world.provider.script().introspection = (200, json!({"active": false}));
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 502);
    world.provider.script().introspection = (500, json!({}));
    world.clock.advance(Duration::from_secs(20));
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 503);
}
