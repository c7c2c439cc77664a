//! The signed assertion of identity, as a service sees it.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value, json};

use super::*;

const HEADER: &str = "x-portcullis-jwt-assertion";

const ASSERTION: &[(&str, &str)] = &[
    ("callbackURL", "/oauth2/cb"),
    ("identityAssertion.issuer", "https://edge.example"),
    ("identityAssertion.audience", "[https://app.example]"),
];

/// The keys, as anybody gets them.
async fn keys(world: &World, policy: &Policy) -> JwkSet {
    let method = Method::GET;
    let headers = HeaderMap::new();
    let request = RequestParts {
        method: &method,
        scheme: Scheme::Http,
        authority: "app.example.com",
        path: "/oauth2/jwks",
        query: None,
        headers: &headers,
        body: None,
        client: "203.0.113.9".parse().unwrap(),
        peer_trusted: false,
        request_id: "request-1",
    };
    let Decision::Respond(answer) = policy.decide(&request, world.clock.now()).await else { panic!() };
    assert_eq!(answer.headers["content-type"], "application/jwk-set+json");
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    serde_json::from_slice(&answer.body).unwrap()
}

/// Verifies as a service does; its clock is the world's.
fn verified(world: &World, keys: &JwkSet, token: &str) -> Option<Map<String, Value>> {
    let kid = decode_header(token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&kid)?).unwrap();
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_issuer(&["https://edge.example"]);
    rules.set_audience(&["https://app.example"]);
    rules.validate_exp = false;
    let claims = decode::<Map<String, Value>>(token, &key, &rules).unwrap().claims;
    let now = world.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!(claims["iat"].as_u64().unwrap() <= now && now < claims["exp"].as_u64().unwrap());
    Some(claims)
}

/// Logs in, with the callback below `/oauth2`.
async fn login(world: &World, policy: &Policy) -> Browser {
    let mut browser = Browser::default();
    let callback = browser.start(world, policy, "/").await.replace("/cb?", "/oauth2/cb?");
    assert_eq!(browser.get(world, policy, &callback).await.status(), 302);
    browser
}

#[tokio::test]
async fn a_service_verifies_who_comes() {
    let world = World::new().await;
    let more = [("identityAssertion.claims", "[department]"), ("groupClaimName", "groups")];
    let policy = world.policy(&[ASSERTION, &more].concat());
    world.provider.script().claims.insert("department".into(), json!({"id": 7}));
    let mut browser = login(&world, &policy).await;
    let outcome = browser.get(&world, &policy, "/").await;
    let token = outcome.header(HEADER).unwrap();
    assert_eq!(outcome.header("x-forwarded-user").as_deref(), Some("alice@example.com"));
    let keys = keys(&world, &policy).await;
    let claims = verified(&world, &keys, &token).unwrap();
    assert_eq!(
        (claims["sub"].as_str(), claims["email"].as_str(), &claims["groups"], &claims["roles"]),
        (Some("alice"), Some("alice@example.com"), &json!(["dev", "ops"]), &json!(["admin"]))
    );
    assert_eq!(claims["department"], json!({"id": 7}));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
    assert!(!claims.contains_key("overage"));
    assert!(!format!("{:?}", outcome.identity().headers).contains(&token), "it is no text for logs");
    // Without a session there is none, and nobody's copy goes on.
    let identity = outcome.identity();
    assert!(identity.strip.iter().any(|name| name == HEADER));
    assert!(policy.identity_names().any(|name| name == HEADER));
    let public = world.policy(&[ASSERTION, &[("excludedURLs", "[/public]")]].concat());
    let outcome = Browser::default().get(&world, &public, "/public").await;
    assert!(outcome.header(HEADER).is_none() && outcome.identity().strip.iter().any(|name| name == HEADER));
}

#[tokio::test]
async fn it_is_signed_once_for_half_of_its_life() {
    let world = World::new().await;
    let policy = world.policy(ASSERTION);
    let mut browser = login(&world, &policy).await;
    let mut token = async || browser.get(&world, &policy, "/").await.header(HEADER).unwrap();
    let first = token().await;
    world.clock.advance(29 * SECOND);
    assert_eq!(token().await, first);
    world.clock.advance(SECOND);
    let second = token().await;
    assert_ne!(second, first);
    assert_eq!(token().await, second);
    let keys = keys(&world, &policy).await;
    assert!(verified(&world, &keys, &second).is_some());
}

#[tokio::test]
async fn keys_change_without_a_service_noticing() {
    let world = World::new().await;
    let more = [("sessionMaxAge", "864000"), ("maxRefreshTokenAgeSeconds", "0")];
    let policy = world.policy(&[ASSERTION, &more].concat());
    world.provider.script().change = Some(Box::new(|claims| {
        let end = claims["exp"].as_u64().unwrap() + 864_000;
        claims.insert("exp".into(), json!(end));
    }));
    world.provider.script().expires_in = json!(864_000);
    let mut browser = login(&world, &policy).await;
    let mut known = keys(&world, &policy).await;
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let token = browser.get(&world, &policy, "/").await.header(HEADER).unwrap();
        assert!(verified(&world, &known, &token).is_some(), "by keys that were fetched a day ago");
        ids.insert(decode_header(&token).unwrap().kid.unwrap());
        known = keys(&world, &policy).await;
        assert!(verified(&world, &known, &token).is_some());
        world.clock.advance(Duration::from_secs(24 * 3600));
    }
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn replicas_and_access_tokens_have_the_same_keys() {
    let (here, there) = (World::new().await, World::new().await);
    there.clock.set(here.clock.now());
    let bearer = [("enableBearerAuth", "true"), ("audience", "https://api")];
    let lines = [ASSERTION, &bearer].concat();
    let settings = settings(&here.provider.issuer, &lines);
    let (one, other) = (here.policy(&lines), Policy::new("auth", settings, &there.deps).unwrap());
    assert_eq!(
        serde_json::to_value(keys(&here, &one).await).unwrap(),
        serde_json::to_value(keys(&there, &other).await).unwrap()
    );
    let second = here.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({
        "iss": here.provider.issuer, "aud": "https://api", "sub": "machine-1", "client_id": "machine", "jti": "1",
        "iat": second, "exp": second + 300,
    });
    let token = here.provider.script().keys[0].sign(json!({"typ": "at+jwt"}), claims.as_object().unwrap());
    let value = format!("Bearer {token}");
    let mut outcome = None;
    for _ in 0..200 {
        let sent = Browser::default().send(&here, &one, "GET", "/", &[("authorization", &value)]).await;
        if matches!(sent.decision, Decision::Forward(_)) {
            outcome = Some(sent);
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let token = outcome.unwrap().header(HEADER).unwrap();
    let claims = verified(&here, &keys(&here, &one).await, &token).unwrap();
    assert_eq!(claims["sub"], "machine-1");
}

#[tokio::test]
async fn too_many_groups_are_left_out_and_said_to_be() {
    let world = World::new().await;
    let policy = world.policy(ASSERTION);
    let groups: Vec<String> = (0..1000).map(|n| format!("group-{n}")).collect();
    world.provider.script().claims.insert("groups".into(), json!(groups));
    let mut browser = login(&world, &policy).await;
    let token = browser.get(&world, &policy, "/").await.header(HEADER).unwrap();
    assert!(token.len() < 8_000);
    let claims = verified(&world, &keys(&world, &policy).await, &token).unwrap();
    assert_eq!((claims.get("groups"), &claims["overage"]), (None, &json!(["groups"])));
    assert_eq!(claims["roles"], json!(["admin"]));
}

#[tokio::test]
async fn keys_are_read_and_nothing_else() {
    let world = World::new().await;
    let policy = world.policy(ASSERTION);
    let outcome = Browser::default().send(&world, &policy, "POST", "/oauth2/jwks", API).await;
    assert_eq!((outcome.status(), outcome.answer().headers["allow"].to_str().unwrap()), (405, "GET, HEAD"));
    let plain = world.policy(&[("callbackURL", "/oauth2/cb")]);
    assert_eq!(
        Browser::default().get(&world, &plain, "/oauth2/jwks").await.status(),
        302,
        "an ordinary path"
    );
}

/// What is asserted is told by a header, so userinfo is asked for it as for any other.
#[tokio::test]
async fn claims_that_only_userinfo_has_are_asserted() {
    let world = World::new().await;
    {
        let mut script = world.provider.script();
        script.claims.retain(|name, _| name != "groups");
        script.userinfo = (200, json!({"sub": "alice", "department": "research", "groups": ["ops"]}));
    }
    let asked = [("minimalHeaders", "true"), ("identityAssertion.claims", "[department]")];
    let policy = world.policy(&[ASSERTION, &asked].concat());
    let mut browser = login(&world, &policy).await;
    let token = browser.get(&world, &policy, "/").await.header(HEADER).unwrap();
    let claims = verified(&world, &keys(&world, &policy).await, &token).unwrap();
    assert_eq!((&claims["department"], &claims["groups"]), (&json!("research"), &json!(["ops"])));
}

/// The keys are for any cache; what a browser carries is for itself.
#[tokio::test]
async fn keys_with_a_session_beside_them_are_kept_by_no_cache() {
    let mut world = World::new().await;
    world.restart();
    let policy = world.policy(ASSERTION);
    let mut browser = login(&world, &policy).await;
    let mut tab = browser.clone();
    world.clock.advance(SECOND * 301);
    assert!(!browser.send(&world, &policy, "GET", "/", API).await.set_cookies.is_empty(), "refreshed");
    // `send` sees to it that an answer is not to be stored.
    let outcome = tab.send(&world, &policy, "GET", "/oauth2/jwks", API).await;
    assert_eq!((outcome.status(), tab.cookies), (200, browser.cookies));
}
