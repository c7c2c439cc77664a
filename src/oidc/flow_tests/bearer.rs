use serde_json::{Map, Value, json};

use super::*;

/// The options of a policy with bearer mode.
pub(super) const ON: &[(&str, &str)] = &[("enableBearerAuth", "true"), ("audience", "https://api")];

pub(super) fn on<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = ON.iter().filter(|(key, _)| more.iter().all(|(other, _)| other != key));
    kept.chain(more).copied().collect()
}

/// The claims of a good access token.
pub(super) fn claims(world: &World) -> Map<String, Value> {
    let now = world.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({
        "iss": world.provider.issuer, "aud": "https://api", "sub": "machine-1", "client_id": "machine", "jti": "1",
        "iat": now, "exp": now + 300, "scope": "read write", "groups": ["dev"], "roles": ["reader"],
    });
    claims.as_object().unwrap().clone()
}

pub(super) fn sign(world: &World, header: Value, claims: &Map<String, Value>) -> String {
    world.provider.script().keys[0].sign(header, claims)
}

pub(super) fn at_jwt(world: &World, change: impl FnOnce(&mut Map<String, Value>)) -> String {
    let mut claims = claims(world);
    change(&mut claims);
    sign(world, json!({"typ": "at+jwt"}), &claims)
}

pub(super) async fn show(world: &World, policy: &Policy, token: &str) -> Outcome {
    let value = format!("Bearer {token}");
    Browser::default().send(world, policy, "GET", "/api", &[("authorization", &value)]).await
}

/// A policy whose provider is known already.
pub(super) async fn ready(world: &World, more: &[(&str, &str)]) -> Policy {
    let policy = world.policy(&on(more));
    assert_eq!(Browser::default().get(world, &policy, "/").await.status(), 302);
    policy
}

#[tokio::test]
async fn a_machine_passes_and_the_service_learns_who_it_is() {
    let world = World::new().await;
    let policy = ready(&world, &[]).await;
    let outcome = show(&world, &policy, &at_jwt(&world, |_| {})).await;
    assert_eq!(outcome.header("x-forwarded-user").unwrap(), "machine-1");
    assert_eq!(outcome.header("x-user-groups").unwrap(), "dev");
    assert_eq!(outcome.header("x-user-roles").unwrap(), "reader");
    assert!(outcome.identity().strip_authorization && outcome.set_cookies.is_empty());
    let plain = sign(&world, json!({"typ": "JWT"}), &claims(&world));
    show(&world, &policy, &plain).await.identity();
    let keep =
        ready(&world, &[("stripAuthorizationHeader", "false"), ("bearerIdentifierClaim", "client_id")]).await;
    let outcome = show(&world, &keep, &plain).await;
    assert_eq!(outcome.header("x-forwarded-user").unwrap(), "machine");
    assert!(!outcome.identity().strip_authorization);
}

#[tokio::test]
async fn a_refusal_is_challenged() {
    let world = World::new().await;
    let policy = ready(&world, &[]).await;
    let expired = show(&world, &policy, &at_jwt(&world, |c| c["exp"] = json!(1))).await;
    let challenge = expired.answer().headers["www-authenticate"].to_str().unwrap().to_owned();
    assert_eq!(expired.status(), 401);
    assert_eq!(
        challenge,
        "Bearer error=\"invalid_token\", error_description=\"the access token has expired\""
    );
    let malformed = show(&world, &policy, "a b").await;
    assert_eq!(malformed.status(), 400);
    let none = Browser::default().send(&world, &policy, "GET", "/api", API).await;
    assert_eq!((none.status(), none.answer().headers["www-authenticate"].to_str().unwrap()), (401, "Bearer"));
    let quiet = ready(&world, &[("bearerEmitWWWAuthenticate", "false")]).await;
    let refused = show(&world, &quiet, "junk").await;
    assert!(refused.status() == 401 && !refused.answer().headers.contains_key("www-authenticate"));
}

#[tokio::test]
async fn gates_are_those_of_sessions() {
    let world = World::new().await;
    let roles = ready(&world, &[("allowedRolesAndGroups", "[admin]")]).await;
    let denied = show(&world, &roles, &at_jwt(&world, |_| {})).await;
    assert_eq!(denied.status(), 403);
    assert!(denied.answer().headers["www-authenticate"].to_str().unwrap().contains("insufficient_scope"));
    show(&world, &roles, &at_jwt(&world, |c| c["roles"] = json!(["admin"]))).await.identity();

    let scope = ready(&world, &[("claims", "SplitContains(`scope`, ` `, `deploy`)")]).await;
    assert_eq!(show(&world, &scope, &at_jwt(&world, |_| {})).await.status(), 403);
    show(&world, &scope, &at_jwt(&world, |c| c["scope"] = json!("read deploy"))).await.identity();

    let domain = ready(&world, &[("allowedUserDomains", "[example.com]")]).await;
    for (email, verified, status) in [
        ("a@example.com", json!(true), 200),
        ("a@example.com", json!(false), 403),
        ("a@example.com", Value::Null, 403),
        ("a@other.com", json!(true), 403),
    ] {
        let token = at_jwt(&world, |c| {
            c.insert("email".into(), json!(email));
            c.insert("email_verified".into(), verified.clone());
        });
        let outcome = show(&world, &domain, &token).await;
        match status {
            200 => drop(outcome.identity().clone()),
            status => assert_eq!(outcome.status(), status, "{email} {verified}"),
        }
    }

    let strong = ready(&world, &[("acrValues", "[gold]")]).await;
    let weak = show(&world, &strong, &at_jwt(&world, |_| {})).await;
    let challenge = weak.answer().headers["www-authenticate"].to_str().unwrap();
    assert!(weak.status() == 401 && challenge.contains("insufficient_user_authentication"), "{challenge}");
    show(&world, &strong, &at_jwt(&world, |c| drop(c.insert("acr".into(), json!("gold"))))).await.identity();
}

/// Remembers whom an audit is told of, and why.
#[derive(Default)]
struct Heard(std::sync::Mutex<Vec<(String, String)>>);

impl crate::oidc::Events for Heard {
    fn audit(&self, record: &crate::oidc::AuditRecord<'_>) {
        assert_eq!((record.event, record.request_id), (crate::oidc::AuditEvent::Denied, Some("request-1")));
        let (user, cause) = (record.user.unwrap().to_owned(), record.cause.unwrap().to_owned());
        self.0.lock().unwrap().push((user, cause));
    }
}

#[tokio::test]
async fn every_denial_of_a_machine_is_audited() {
    let mut world = World::new().await;
    let heard = Arc::new(Heard::default());
    world.deps.events = Arc::clone(&heard) as _;
    let closed = ready(&world, &[("allowedRolesAndGroups", "[admin]")]).await;
    let strong = ready(&world, &[("acrValues", "[gold]")]).await;
    assert_eq!(show(&world, &closed, &at_jwt(&world, |_| {})).await.status(), 403);
    assert_eq!(show(&world, &strong, &at_jwt(&world, |_| {})).await.status(), 401);
    let heard = heard.0.lock().unwrap();
    let causes: Vec<&str> = heard.iter().map(|(_, cause)| cause.as_str()).collect();
    assert!(heard.iter().all(|(user, _)| user == "machine-1"));
    assert_eq!(causes[1..], ["a stronger or more recent login is required"], "{causes:?}");
}

#[tokio::test]
async fn age_and_names_are_bounded() {
    let world = World::new().await;
    let policy = ready(&world, &[("maxTokenAgeSeconds", "600"), ("maxIdentifierLength", "16")]).await;
    let issued = |ago: u64| at_jwt(&world, move |c| c["iat"] = json!(c["iat"].as_u64().unwrap() - ago));
    show(&world, &policy, &issued(599)).await.identity();
    assert_eq!(show(&world, &policy, &issued(601)).await.status(), 401);
    let endless = ready(&world, &[("maxTokenAgeSeconds", "0")]).await;
    show(&world, &endless, &issued(1_000_000)).await.identity();
    for name in ["a,b", "a;b", "a=b", "a\nb", "\u{202e}a", &"x".repeat(17), ""] {
        let token = at_jwt(&world, |c| c["sub"] = json!(name));
        assert_eq!(show(&world, &policy, &token).await.status(), 401, "{name:?}");
    }
}

#[tokio::test]
async fn a_row_of_bad_tokens_makes_its_sender_wait() {
    let world = World::new().await;
    let policy =
        ready(&world, &[("bearerFailureThreshold", "3"), ("bearerFailurePenaltySeconds", "30")]).await;
    let good = at_jwt(&world, |_| {});
    for _ in 0..2 {
        assert_eq!(show(&world, &policy, "junk").await.status(), 401);
    }
    show(&world, &policy, &good).await.identity();
    for _ in 0..3 {
        assert_eq!(show(&world, &policy, "junk").await.status(), 401);
    }
    // Whose token is known goes on: somebody else may have sent the bad ones from the same address.
    show(&world, &policy, &good).await.identity();
    let another = at_jwt(&world, |c| c["jti"] = json!("2"));
    for unknown in [another.as_str(), "junk", "a b"] {
        let waits = show(&world, &policy, unknown).await;
        assert_eq!((waits.status(), waits.answer().headers["retry-after"].to_str().unwrap()), (429, "30"));
    }
    // People at browsers behind that address are not touched.
    assert_eq!(Browser::default().get(&world, &policy, "/").await.status(), 302);
    world.clock.advance(Duration::from_secs(30));
    show(&world, &policy, &another).await.identity();
}

#[tokio::test]
async fn n10_a_token_that_is_merely_present_opens_nothing() {
    let world = World::new().await;
    let policy = ready(&world, &[]).await;
    for (target, headers) in [
        ("/api?access_token=junk", &[("accept", "application/json")][..]),
        ("/api", &[("authorization", "Bearer junk")]),
        ("/api", &[("authorization", "Basic anVuazpqdW5r"), ("accept", "application/json")]),
    ] {
        assert_eq!(Browser::default().send(&world, &policy, "GET", target, headers).await.status(), 401);
    }
}

#[tokio::test]
async fn n26_two_credentials_have_one_winner() {
    let world = World::new().await;
    let cookie_wins = ready(&world, &[]).await;
    let token_wins = ready(&world, &[("bearerOverridesCookie", "true")]).await;
    let mut browser = Browser::default();
    browser.login(&world, &cookie_wins, "/").await;
    let good = format!("Bearer {}", at_jwt(&world, |_| {}));
    let mut user = async |policy: &Policy, value: &str| {
        let outcome = browser.send(&world, policy, "GET", "/api", &[("authorization", value)]).await;
        match &outcome.decision {
            Decision::Forward(_) => outcome.header("x-forwarded-user").unwrap(),
            Decision::Respond(response) => response.status.as_str().to_owned(),
        }
    };
    assert_eq!(user(&cookie_wins, &good).await, "alice@example.com");
    assert_eq!(user(&cookie_wins, "Bearer junk").await, "alice@example.com");
    assert_eq!(user(&token_wins, &good).await, "machine-1");
    assert_eq!(user(&token_wins, "Bearer junk").await, "401");
}

#[tokio::test]
async fn n53_a_verdict_belongs_to_its_policy() {
    let world = World::new().await;
    let one = ready(&world, &[]).await;
    let other_audience = ready(&world, &[("audience", "https://other")]).await;
    let other_gate = ready(&world, &[("allowedUsers", "[somebody]")]).await;
    let other_scope = ready(&world, &[("claims", "SplitContains(`scope`, ` `, `deploy`)")]).await;
    let introspected = ready(&world, &[("requireTokenIntrospection", "true")]).await;
    world.provider.script().introspection = (200, json!({"active": false}));
    let elsewhere = World::new().await;
    let other_provider = ready(&elsewhere, &[]).await;
    let token = at_jwt(&world, |_| {});
    for _ in 0..2 {
        show(&world, &one, &token).await.identity();
        assert_eq!(show(&world, &other_audience, &token).await.status(), 401);
        assert_eq!(show(&world, &other_gate, &token).await.status(), 403);
        assert_eq!(show(&world, &other_scope, &token).await.status(), 403);
        assert_eq!(show(&world, &introspected, &token).await.status(), 401);
        assert_eq!(show(&elsewhere, &other_provider, &token).await.status(), 401);
    }
}

#[tokio::test]
async fn n54_a_verdict_does_not_outlive_its_token() {
    let world = World::new().await;
    let policy = ready(&world, &[]).await;
    let token = at_jwt(&world, |c| c["exp"] = json!(c["iat"].as_u64().unwrap() + 5));
    show(&world, &policy, &token).await.identity();
    world.clock.advance(Duration::from_secs(64));
    show(&world, &policy, &token).await.identity();
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(show(&world, &policy, &token).await.status(), 401);
}

#[tokio::test]
async fn n81_the_other_way_in_has_the_same_gates() {
    let world = World::new().await;
    let policy = ready(&world, &[("allowedUsers", "[machine-2]")]).await;
    assert_eq!(show(&world, &policy, &at_jwt(&world, |_| {})).await.status(), 403);
    show(&world, &policy, &at_jwt(&world, |c| c["sub"] = json!("machine-2"))).await.identity();
}
