//! The options of bearer mode, the gates, and introspection (RFC 7662), through the real binary.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis::demo::provider::{Answer, Document, Endpoint, Fault};
use serde_json::{Map, Value, json};

use crate::harness::client::get;
use crate::harness::eventually;
use crate::harness::idp::{Plan, World};
use crate::oidc_bearer::{AUDIENCE, MACHINE, SECRET, issued, plan, show, with_machine};

/// A token with claims of its own beside those that it needs.
fn token(world: &World, typ: &str, more: Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let needed = json!({
        "iss": world.idp.issuer(), "aud": AUDIENCE, "sub": "worker", "client_id": MACHINE, "jti": "1",
        "iat": now, "exp": now + 300,
    });
    let mut claims: Map<String, Value> = needed.as_object().unwrap().clone();
    claims.extend(more.as_object().unwrap().clone());
    world.idp.sign(typ, &claims, None).unwrap()
}

/// For each token: its type, its own claims, and the answer.
async fn expect(options: &[&str], cases: &[(&str, Value, u16)]) -> World {
    let world = with_machine(options.iter().fold(plan(), |plan, line| plan.plugin(line))).await;
    for (typ, more, status) in cases {
        let answer = show(&world, &token(&world, typ, more.clone())).await;
        assert_eq!(answer.status(), *status, "{options:?} {typ} {more}: {answer:?}");
    }
    world
}

#[tokio::test]
async fn who_the_machine_is() {
    let world = expect(
        &["bearerIdentifierClaim: client_id", "maxIdentifierLength: 8"],
        &[
            ("at+jwt", json!({}), 200),
            ("at+jwt", json!({"client_id": "12345678"}), 200),
            ("at+jwt", json!({"client_id": "123456789"}), 401),
            ("at+jwt", json!({"client_id": ""}), 401),
        ],
    )
    .await;
    assert_eq!(world.origin.last().head.all("x-forwarded-user"), ["12345678"]);
}

#[tokio::test]
async fn which_tokens_count() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    expect(
        &["bearerRequireAtJwt: true"],
        &[
            ("at+jwt", json!({}), 200),
            ("application/at+jwt", json!({"jti": "2"}), 200),
            ("AT+JWT", json!({"jti": "3"}), 200),
            ("JWT", json!({"scope": "read"}), 401),
        ],
    )
    .await;
    expect(
        &["bearerRequireAtJwt: false", "maxTokenAgeSeconds: 100"],
        &[
            ("JWT", json!({"scope": "read"}), 200),
            ("at+jwt", json!({"iat": now - 90}), 200),
            ("at+jwt", json!({"iat": now - 200}), 401),
        ],
    )
    .await;
    expect(&["maxTokenAgeSeconds: 0"], &[("at+jwt", json!({"iat": now - 1_000_000}), 200)]).await;
    expect(
        &["bearerAllowedClients: [machine]"],
        &[
            ("at+jwt", json!({}), 200),
            ("at+jwt", json!({"client_id": "portcullis"}), 200),
            ("at+jwt", json!({"client_id": "other"}), 401),
            ("at+jwt", json!({"azp": "other"}), 401),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_resource_is_the_audience_where_there_is_no_other() {
    let plan = Plan::new().plugin("enableBearerAuth: true").plugin(&format!("resource: {AUDIENCE}"));
    let world = with_machine(plan).await;
    assert_eq!(show(&world, &issued(&world, AUDIENCE).await).await.status(), 200);
    assert_eq!(show(&world, &issued(&world, "https://other.example.test").await).await.status(), 401);
}

#[tokio::test]
async fn challenges_are_sent_unless_they_are_switched_off() {
    let junk = "bearerEmitWWWAuthenticate: true";
    let world = with_machine(plan().plugin(junk).plugin("allowedRolesAndGroups: [admin]")).await;
    let answer = show(&world, "junk").await;
    let challenge = "Bearer error=\"invalid_token\", error_description=\"the access token is not accepted\"";
    assert_eq!((answer.status(), answer.get("www-authenticate")), (401, Some(challenge)));
    let none = get(world.proxy.web(), "localhost", "/api", &[("Accept", "application/json")]).await;
    assert_eq!((none.status(), none.get("www-authenticate")), (401, Some("Bearer")));
    let denied = show(&world, &token(&world, "at+jwt", json!({}))).await;
    let challenge =
        "Bearer error=\"insufficient_scope\", error_description=\"the access token does not allow this\"";
    assert_eq!((denied.status(), denied.get("www-authenticate")), (403, Some(challenge)));
    assert_eq!(show(&world, &token(&world, "at+jwt", json!({"roles": ["admin"]}))).await.status(), 200);

    let quiet = "bearerEmitWWWAuthenticate: false";
    let world = with_machine(plan().plugin(quiet).plugin("acrValues: [gold]")).await;
    for (bearer, status) in
        [("junk".to_owned(), 401), (token(&world, "at+jwt", json!({})), 401), ("a b".to_owned(), 400)]
    {
        let answer = show(&world, &bearer).await;
        assert_eq!((answer.status(), answer.get("www-authenticate")), (status, None), "{bearer}");
    }
}

/// RFC 9470 section 3.
#[tokio::test]
async fn a_login_that_is_not_enough_is_told_what_is() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let world = expect(
        &["acrValues: [gold, silver]", "maxAge: 600"],
        &[
            ("at+jwt", json!({"acr": "gold", "auth_time": now}), 200),
            ("at+jwt", json!({"acr": "silver", "auth_time": now - 600}), 200),
            ("at+jwt", json!({"acr": "gold", "auth_time": now - 700}), 401),
            ("at+jwt", json!({"acr": "bronze", "auth_time": now}), 401),
            ("at+jwt", json!({"auth_time": now}), 401),
            ("at+jwt", json!({"acr": "gold"}), 401),
        ],
    )
    .await;
    let answer = show(&world, &token(&world, "at+jwt", json!({}))).await;
    let challenge = "Bearer error=\"insufficient_user_authentication\", \
                     error_description=\"A stronger or more recent login is required\", \
                     acr_values=\"gold silver\", max_age=\"600\"";
    assert_eq!(answer.get("www-authenticate"), Some(challenge));
    let body: Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(body["error"], "insufficient_user_authentication");
}

#[tokio::test]
async fn gates_hold_for_machines() {
    expect(
        &["allowedUsers: [machine-2]"],
        &[("at+jwt", json!({}), 403), ("at+jwt", json!({"sub": "machine-2"}), 200)],
    )
    .await;
    expect(
        &["claims: SplitContains(`scope`, ` `, `deploy`)"],
        &[
            ("at+jwt", json!({"scope": "read deployments"}), 403),
            ("at+jwt", json!({"scope": "read deploy"}), 200),
        ],
    )
    .await;
    expect(
        &["allowedUserDomains: [example.test]"],
        &[
            ("at+jwt", json!({"email": "a@example.test", "email_verified": true}), 200),
            ("at+jwt", json!({"email": "a@example.test"}), 403),
            ("at+jwt", json!({"email": "a@example.test.evil.test", "email_verified": true}), 403),
        ],
    )
    .await;
}

fn introspecting() -> Plan {
    plan().plugin("requireTokenIntrospection: true").plugin("allowOpaqueTokens: true")
}

fn asked(world: &World) -> u64 {
    world.idp.counters().get("POST /introspect")
}

/// Hands a token of the machine back (RFC 7009).
async fn revoke(world: &World, token: &str) {
    let form = [("token", token), ("client_id", MACHINE), ("client_secret", SECRET)];
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.post(format!("{}/revoke", world.idp.issuer())).form(&form).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn opaque_tokens_are_asked_about_once_and_must_be_for_us() {
    let world = with_machine(introspecting().plugin("bearerAllowedClients: [machine]")).await;
    let token = issued(&world, "").await;
    for _ in 0..3 {
        let answer = show(&world, &token).await;
        assert_eq!((answer.status(), answer.get("set-cookie")), (200, None), "{answer:?}");
        assert_eq!(world.origin.last().head.all("x-forwarded-user"), [MACHINE]);
    }
    assert_eq!(asked(&world), 1);
    for bad in ["never-issued", "0"] {
        assert_eq!(show(&world, bad).await.status(), 401, "{bad}");
    }
    revoke(&world, &token).await;
    let other = issued(&world, "").await;
    revoke(&world, &other).await;
    assert_eq!(show(&world, &other).await.status(), 401, "revoked before anybody asked");
    world.idp.tamper(Some(std::sync::Arc::new(|document, members| {
        if document == Document::Introspection {
            members.insert("aud".to_owned(), json!("https://other.example.test"));
        }
    })));
    assert_eq!(show(&world, &issued(&world, "").await).await.status(), 401, "for another audience");
    world.idp.tamper(None);
    // Whose token it is decides where nothing says whom it is for.
    let strict = with_machine(introspecting()).await;
    assert_eq!(show(&strict, &issued(&strict, "").await).await.status(), 401);
}

#[tokio::test]
async fn a_signed_token_needs_the_providers_word_too() {
    let world = with_machine(plan().plugin("requireTokenIntrospection: true")).await;
    assert_eq!(show(&world, &issued(&world, AUDIENCE).await).await.status(), 200);
    assert_eq!(
        show(&world, &token(&world, "at+jwt", json!({}))).await.status(),
        401,
        "signed, but never issued"
    );
    assert_eq!(show(&world, "opaque").await.status(), 401);
    assert_eq!(asked(&world), 2, "opaque tokens are not allowed, so nobody asks about them");
}

#[tokio::test]
async fn a_yes_does_not_outlive_its_token() {
    let world = with_machine(introspecting().plugin("bearerAllowedClients: [machine]")).await;
    world.idp.set_access_token_ttl(Duration::from_secs(3));
    let token = issued(&world, "").await;
    assert_eq!((show(&world, &token).await.status(), show(&world, &token).await.status()), (200, 200));
    assert_eq!(asked(&world), 1);
    eventually("the token has expired", || async { show(&world, &token).await.status() == 401 }).await;
    assert!((2..=3).contains(&asked(&world)), "{}", asked(&world));
}

#[tokio::test]
async fn where_nobody_can_say_nobody_passes_and_nobody_is_blamed() {
    let plan = Plan::new().plugin("enableBearerAuth: true").plugin(&format!("audience: {AUDIENCE}"));
    let plan = plan.plugin("requireTokenIntrospection: true").plugin("bearerFailureThreshold: 1");
    let world = with_machine(plan).await;
    for fault in [
        Answer::Status(500),
        Answer::Html(200),
        Answer::Drop,
        Answer::Body("application/json".into(), "{}".into()),
    ] {
        world.idp.add_fault(Fault::at(Endpoint::Introspection, fault.clone()).times(1));
        let answer = show(&world, &issued(&world, AUDIENCE).await).await;
        assert_eq!(answer.status(), 503, "{fault:?}: {answer:?}");
        assert_eq!(answer.get("retry-after"), Some("5"), "{fault:?}");
    }
    assert!(world.origin.requests().is_empty());
    let (known, new) = (issued(&world, AUDIENCE).await, issued(&world, AUDIENCE).await);
    assert_eq!(show(&world, &known).await.status(), 200);
    world.idp.go_offline().await;
    assert_eq!(show(&world, &known).await.status(), 200, "what was said counts for a while");
    assert_eq!(show(&world, &new).await.status(), 503);
    world.idp.go_online().await.unwrap();
    eventually("introspection works again", || async { show(&world, &new).await.status() == 200 }).await;
}

/// `introspectionURL` is asked and not what discovery names.
#[tokio::test]
async fn the_place_of_introspection_can_be_set() {
    let elsewhere = with_machine(plan()).await;
    let url = format!("introspectionURL: {}/introspect", elsewhere.idp.issuer());
    let world = with_machine(plan().plugin("requireTokenIntrospection: true").plugin(&url)).await;
    assert_eq!(show(&world, &issued(&world, AUDIENCE).await).await.status(), 401, "it was not issued there");
    assert_eq!((asked(&world), asked(&elsewhere)), (0, 1));
}

/// Whoever reads a log must not be able to come as the machine.
#[tokio::test]
async fn a_token_is_in_no_log_that_keeps_its_header() {
    let log = "accessLog: {format: json, fields: {headers: {names: {Authorization: keep}}}}";
    let world = with_machine(plan().fixed(log).plugin("stripAuthorizationHeader: false")).await;
    let token = issued(&world, AUDIENCE).await;
    assert_eq!(show(&world, &token).await.status(), 200);
    assert_eq!(show(&world, "no.good.token").await.status(), 401);
    let redacted = "\"request_Authorization\":\"REDACTED\"";
    eventually("a line for each", || async { world.proxy.log().matches(redacted).count() == 2 }).await;
    let log = world.proxy.log();
    assert!(!log.contains(&token) && !log.contains("no.good.token"), "{log}");
}
