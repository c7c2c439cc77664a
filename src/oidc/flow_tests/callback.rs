use serde_json::{Value, json};

use super::*;
use crate::oidc::fake_provider::{Change, SigningKey};

#[tokio::test]
async fn login_to_forward() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    let callback = browser.start(&world, &policy, "/deep?x=1").await;
    let spent = callback.split("state=").nth(1).unwrap()[..8].to_owned();
    let outcome = browser.get(&world, &policy, &callback).await;
    assert_eq!((outcome.status(), outcome.location().as_str()), (302, "/deep?x=1"));
    let form = world.provider.script().last_form.clone();
    assert_eq!((form["client_id"].as_str(), form["client_secret"].as_str()), ("client", "secret/+ä"));
    assert_eq!(form["redirect_uri"], "http://app.example.com/cb");
    assert_eq!(form["code_verifier"].len(), 43);

    let outcome = browser.send(&world, &policy, "POST", "/deep?x=1", API).await;
    assert_eq!(outcome.header("x-forwarded-user").unwrap(), "alice@example.com");
    assert_eq!(outcome.header("x-auth-request-user").unwrap(), "alice@example.com");
    assert_eq!(outcome.header("x-user-groups").unwrap(), "dev,ops");
    assert_eq!(outcome.header("x-user-roles").unwrap(), "admin");
    assert_eq!(outcome.header("x-auth-request-token"), None);
    assert_eq!(outcome.identity().request_target.as_ref().unwrap(), "/deep?x=1");
    assert_eq!(outcome.identity().user.as_deref(), Some("alice@example.com"));
    assert!(outcome.identity().strip_authorization);
    assert!(outcome.set_cookies.is_empty(), "an unchanged session sets no cookie");
    // The third is what remembers where this login led.
    let names: Vec<_> = browser.cookies.keys().filter(|name| !name.ends_with(&spent)).cloned().collect();
    assert_eq!(names, [policy.cookies().login_name(false, "rounds"), session_cookie(&policy)]);
}

#[tokio::test]
async fn client_authentication_by_header() {
    let world = World::new().await;
    world
        .provider
        .script()
        .metadata
        .insert("token_endpoint_auth_methods_supported".into(), json!(["client_secret_basic"]));
    let policy = world.policy(&[]);
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 302);
    use base64::Engine;
    let expected = base64::engine::general_purpose::STANDARD.encode("client:secret%2F%2B%C3%A4");
    let script = world.provider.script();
    assert_eq!(script.last_authorization.as_deref(), Some(format!("Basic {expected}").as_str()));
    assert!(!script.last_form.contains_key("client_secret"));
}

#[tokio::test]
async fn what_is_refused_before_any_token_call() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    let callback = browser.start(&world, &policy, "/").await;
    let state = callback.split("state=").nth(1).unwrap().to_owned();
    let mut other = Browser::default();
    other.start(&world, &policy, "/").await;

    assert_eq!(other.get(&world, &policy, &callback).await.status(), 400, "another browser's attempt");
    assert_eq!(Browser::default().get(&world, &policy, &callback).await.status(), 400, "no cookie");
    for target in
        ["/cb", "/cb?", "/cb?code=x", "/cb?state=", "/cb?code=x&state=wrong", "/cb?code=a&code=b&state=x"]
    {
        assert_eq!(browser.get(&world, &policy, target).await.status(), 400, "{target}");
    }
    let post = browser.send(&world, &policy, "POST", &callback, NAVIGATE).await;
    assert_eq!((post.status(), post.answer().headers["allow"].to_str().unwrap()), (405, "GET"));
    assert_eq!(
        browser.get(&world, &policy, &format!("{callback}&state={state}")).await.status(),
        400,
        "state twice"
    );
    let flipped =
        format!("{}{}", &callback[..callback.len() - 1], if callback.ends_with('A') { 'B' } else { 'A' });
    assert_eq!(browser.get(&world, &policy, &flipped).await.status(), 400, "state changed");
    assert_eq!(world.provider.count("token"), 0);
    // None of this used anything up.
    assert_eq!(browser.get(&world, &policy, &callback).await.status(), 302);
}

#[tokio::test]
async fn a_changed_attempt_cookie_is_no_cookie() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    let callback = browser.start(&world, &policy, "/").await;
    let (name, value) = browser.cookies.iter().next().map(|(n, v)| (n.clone(), v.clone())).unwrap();
    let mut bodies = std::collections::BTreeSet::new();
    for at in 0..value.len() {
        let mut bytes = value.clone().into_bytes();
        bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
        browser.cookies.insert(name.clone(), String::from_utf8(bytes).unwrap());
        let outcome = browser.get(&world, &policy, &callback).await;
        assert_eq!((outcome.status(), outcome.set_cookies.len()), (400, 0), "byte {at}");
        bodies.insert(outcome.body());
    }
    assert_eq!(
        (bodies.len(), world.provider.count("token")),
        (1, 0),
        "the answer tells where it was changed"
    );
}

#[tokio::test]
async fn errors_of_the_provider_are_shown_escaped() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    let callback = browser.start(&world, &policy, "/").await;
    let state = callback.split("state=").nth(1).unwrap();
    let target = format!(
        "/cb?error=access_denied%3Cscript%3E&error_description=%22%3E%3Cimg%20src=x%3E&state={state}"
    );
    let outcome = browser.get(&world, &policy, &target).await;
    assert_eq!(outcome.status(), 400);
    let body = outcome.body();
    assert!(
        body.contains("access_denied&lt;script&gt;") && body.contains("request-1") && !body.contains("<img"),
        "{body}"
    );
    assert!(browser.cookies.is_empty(), "the attempt is over");
    let unbound = Browser::default().get(&world, &policy, "/cb?error=phish&state=x").await;
    assert!(!unbound.body().contains("phish"), "only an answer to us is shown");
}

#[tokio::test]
async fn issuer_of_the_answer() {
    let world = World::new().await;
    world
        .provider
        .script()
        .metadata
        .insert("authorization_response_iss_parameter_supported".into(), json!(true));
    let policy = world.policy(&[]);
    let right = format!("&iss={}", urlencoded(&world.provider.issuer));
    for (suffix, status) in [("", 400), ("&iss=https%3A%2F%2Fevil.example", 400), (right.as_str(), 302)] {
        let mut browser = Browser::default();
        let callback = browser.start(&world, &policy, "/").await;
        assert_eq!(
            browser.get(&world, &policy, &format!("{callback}{suffix}")).await.status(),
            status,
            "{suffix}"
        );
    }
    assert_eq!(world.provider.count("token"), 1);
}

fn urlencoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The ID token with this value of a claim.
fn with(claim: &'static str, value: Value) -> Change {
    Box::new(move |claims| drop(claims.insert(claim.into(), value.clone())))
}

/// The ID token without a claim.
fn without(claim: &'static str) -> Change {
    Box::new(move |claims| drop(claims.remove(claim)))
}

/// The ID token with a time that is so many seconds after its `iat`.
fn timed(claim: &'static str, seconds: i64) -> Change {
    Box::new(move |claims| {
        let issued = claims["iat"].as_i64().unwrap();
        claims.insert(claim.into(), json!(issued + seconds));
    })
}

#[tokio::test]
async fn id_tokens_that_are_refused() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let cases = [
        ("iss", with("iss", json!("https://evil.example"))),
        ("iss list", with("iss", json!([world.provider.issuer]))),
        ("iss missing", without("iss")),
        ("aud", with("aud", json!("other"))),
        ("aud empty", with("aud", json!([]))),
        ("aud number", with("aud", json!(5))),
        ("aud missing", without("aud")),
        ("aud others", with("aud", json!(["client", "other"]))),
        ("azp", with("azp", json!("other"))),
        ("exp missing", without("exp")),
        ("exp text", with("exp", json!("9999999999"))),
        ("exp huge", with("exp", json!(1e300))),
        ("exp past", timed("exp", -300)),
        ("iat missing", without("iat")),
        ("iat future", timed("iat", 300)),
        ("iat negative", with("iat", json!(-1))),
        ("nbf future", timed("nbf", 300)),
        ("sub missing", without("sub")),
        ("sub empty", with("sub", json!(""))),
        ("sub number", with("sub", json!(7))),
        ("nonce", with("nonce", json!("other"))),
        ("nonce missing", without("nonce")),
        ("at_hash", with("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA"))),
    ];
    for (name, change) in cases {
        world.provider.script().change = Some(change);
        let mut browser = Browser::default();
        let outcome = browser.login(&world, &policy, "/").await;
        // Only a nonce may be the fault of the browser.
        let status = if name.starts_with("nonce") { 400 } else { 502 };
        assert_eq!(outcome.status(), status, "{name}");
        assert!(browser.cookies.is_empty(), "{name}: no session");
    }
}

#[tokio::test]
async fn id_tokens_that_are_accepted() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let cases: [(&str, Change); 7] = [
        (
            "aud list with azp",
            Box::new(|claims| {
                claims.insert("aud".into(), json!(["client", "other"]));
                claims.insert("azp".into(), json!("client"));
            }),
        ),
        ("aud list of one", with("aud", json!(["client"]))),
        ("exp 20 s ago", timed("exp", -20)),
        ("iat 5 s ahead", timed("iat", 5)),
        ("nbf 5 s ahead", timed("nbf", 5)),
        (
            "fractions",
            Box::new(|claims| {
                let issued = claims["iat"].as_f64().unwrap();
                claims.insert("iat".into(), json!(issued + 0.5));
            }),
        ),
        ("no at_hash", without("at_hash")),
    ];
    for (name, change) in cases {
        world.provider.script().change = Some(change);
        assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 302, "{name}");
    }
}

#[tokio::test]
async fn signatures_and_headers() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let cases = [
        ("none", json!({"alg": "none"})),
        ("HS256", json!({"alg": "HS256"})),
        ("ES512", json!({"alg": "ES512"})),
        ("RS256", json!({"alg": "RS256"})),
        ("no alg", json!({"alg": null})),
        ("crit", json!({"crit": ["x"]})),
        ("b64", json!({"b64": false, "crit": ["b64"]})),
        ("access token", json!({"typ": "at+jwt"})),
        ("logout token", json!({"typ": "logout+jwt"})),
        ("kid number", json!({"kid": 5})),
    ];
    for (name, header) in cases {
        world.provider.script().header = header;
        assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 502, "{name}");
    }
    for (name, header) in [
        ("JWT", json!({"typ": "JWT"})),
        ("no kid", json!({"kid": null})),
        ("jku", json!({"jku": "http://127.0.0.1:1/"})),
    ] {
        world.provider.script().header = header;
        assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 302, "{name}");
    }
    for token in ["", "a.b", "a.b.c", "....", "a.b.c.d.e", "not a token"] {
        world.provider.script().id_token = Some(token.into());
        assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 502, "{token:?}");
    }
}

#[tokio::test]
async fn keys_rotate_and_unknown_ones_are_asked_for_once() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 302);
    world.provider.script().keys.insert(0, SigningKey::new("key-2"));
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 302);
    assert_eq!(world.provider.count("jwks"), 2);
    let started = std::time::Instant::now();
    world.provider.script().header = json!({"kid": "unknown"});
    let many = (0..50).map(|_| async { Browser::default().login(&world, &policy, "/").await.status() });
    assert!(futures_util::future::join_all(many).await.iter().all(|status| *status == 502));
    let most = 2 + started.elapsed().as_secs() as usize;
    assert!(world.provider.count("jwks") - 2 <= most, "one fetch a second");
    let mut encrypting = world.provider.script().keys[0].jwk.clone();
    encrypting["use"] = json!("enc");
    let other = World::new().await;
    let mut wrong = SigningKey::new("key-1").jwk;
    wrong["kid"] = json!("other");
    other.provider.script().jwks = Some(json!({"keys": [encrypting, wrong]}));
    let policy = other.policy(&[]);
    assert_eq!(Browser::default().login(&other, &policy, "/").await.status(), 502, "no key fits");
}

#[tokio::test]
async fn token_endpoint_failures() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let json_type = "application/json";
    let deep = format!("{{\"access_token\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let cases = [
        ((400, json_type, r#"{"error":"invalid_grant"}"#), 400),
        ((401, json_type, r#"{"error":"invalid_client"}"#), 502),
        ((500, json_type, r#"{"error":"invalid_grant"}"#), 502),
        ((503, "text/html", "<html>"), 502),
        ((200, "text/html", "<html>"), 502),
        ((200, json_type, "{}"), 502),
        ((302, "text/html", ""), 502),
        ((200, json_type, r#"{"access_token":"a","token_type":"Bearer"}"#), 502),
        ((200, json_type, &deep), 502),
        ((400, json_type, &deep), 502),
    ];
    for ((status, media_type, body), expected) in cases {
        world.provider.script().token_answer = Some((status, media_type, body.to_owned()));
        let calls = world.provider.count("token");
        let outcome = Browser::default().login(&world, &policy, "/").await;
        assert_eq!(outcome.status(), expected, "{status} {body}");
        assert!(outcome.body().contains("request-1"));
        assert_eq!(world.provider.count("token"), calls + 1, "one call");
    }
    world.provider.script().token_answer = Some((200, json_type, "x".repeat(2_000_000)));
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 502, "too long");
}

#[tokio::test]
async fn a_slow_token_endpoint_is_a_gateway_timeout() {
    let world = World::new().await;
    let policy = world.policy(&[("clientConfig.timeoutSeconds", "1")]);
    world.provider.script().token_delay = SECOND * 3;
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 504);
}

#[tokio::test]
async fn lenient_where_providers_differ() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    for expires_in in [json!("300"), json!(null), json!(300.5), json!("soon")] {
        world.provider.script().expires_in = expires_in.clone();
        assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 302, "{expires_in}");
    }
    let groups: Vec<String> = (0..1000).map(|n| format!("a-group-with-a-long-name-number-{n}")).collect();
    world.provider.script().claims.insert("groups".into(), json!(groups));
    let mut browser = Browser::default();
    assert_eq!(browser.login(&world, &policy, "/").await.status(), 302);
    assert!(browser.get(&world, &policy, "/").await.header("x-user-groups").unwrap().len() <= 8_192);
}

#[tokio::test]
async fn strict_audience_judges_jwt_access_tokens() {
    let world = World::new().await;
    let strict = [("strictAudienceValidation", "true"), ("audience", "https://api.example")];
    let policy = world.policy(&strict);
    let login = async || Browser::default().login(&world, &policy, "/").await.status();
    assert_eq!(login().await, 302, "an opaque token");
    let ours = json!("https://api.example");
    for (audience, status) in [
        (ours.clone(), 302),
        (json!(["https://api.example", "https://other"]), 302),
        (json!("https://other"), 502),
        (json!("client"), 502),
        (json!(["https://api.example/"]), 502),
        (json!(null), 502),
    ] {
        world.provider.script().access_audience = Some(audience.clone());
        assert_eq!(login().await, status, "{audience}");
    }
    world.provider.script().access_audience = Some(ours);
    let mut browser = Browser::default();
    assert_eq!(browser.login(&world, &policy, "/").await.status(), 302);
    // The refresh token is spent: keys that cannot be had must not cost the session.
    {
        let mut script = world.provider.script();
        script.keys.insert(0, SigningKey::new("key-2"));
        script.jwks = Some(json!("no keys today"));
    }
    world.clock.advance(SECOND * 301);
    let outcome = browser.send(&world, &policy, "GET", "/", API).await;
    assert_eq!(outcome.header("x-forwarded-user").unwrap(), "alice@example.com");
    world.provider.script().jwks = None;
    world.provider.script().access_audience = Some(json!("https://other"));
    tokio::time::pause();
    tokio::time::advance(SECOND).await;
    tokio::time::resume();
    world.clock.advance(SECOND * 301);
    assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.status(), 401, "another audience");
}
