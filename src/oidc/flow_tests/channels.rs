//! Logouts that the provider starts, by the back and the front channel.

use serde_json::{Map, Value, json};

use super::*;
use crate::oidc::clock::unix_millis;
use crate::oidc::fake_provider::SigningKey;
use crate::oidc::session::{SessionId, SqliteStore};

pub(super) const BACK: &[(&str, &str)] =
    &[("enableBackchannelLogout", "true"), ("backchannelLogoutURL", "/bc")];
pub(super) const FRONT: &[(&str, &str)] =
    &[("enableFrontchannelLogout", "true"), ("frontchannelLogoutURL", "/fc")];
const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded; charset=UTF-8")];
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

impl World {
    /// Somebody who logs in at the provider, whose session is called `sid` there.
    pub(super) async fn user(&self, policy: &Policy, sub: &str, sid: &str) -> Browser {
        {
            let mut script = self.provider.script();
            script.claims.insert("sub".into(), json!(sub));
            script.claims.insert("sid".into(), json!(sid));
        }
        let mut browser = Browser::default();
        assert_eq!(browser.login(self, policy, "/").await.status(), 302);
        browser
    }

    /// A logout token as it should be, before `change`.
    pub(super) fn logout_token(&self, header: Value, change: impl FnOnce(&mut Map<String, Value>)) -> String {
        let script = self.provider.script();
        let now = unix_millis(self.clock.now()) / 1000;
        let mut claims = json!({"iss": script.issuer, "aud": "client", "iat": now, "exp": now + 120,
            "jti": format!("jti-{}", rand()), "events": {EVENT: {}}});
        change(claims.as_object_mut().unwrap());
        script.keys[0].sign(header, claims.as_object().unwrap())
    }

    pub(super) fn logout_of(&self, claim: &str, value: &str) -> String {
        self.logout_token(json!({"typ": "logout+jwt"}), |claims| {
            claims.insert(claim.into(), json!(value));
        })
    }
}

fn rand() -> u64 {
    u64::from_ne_bytes(crate::oidc::session::random_bytes().unwrap())
}

pub(super) async fn post(world: &World, policy: &Policy, form: &str) -> Outcome {
    let mut provider = Browser { body: Some(form.as_bytes().to_vec()), ..Browser::default() };
    provider.send(world, policy, "POST", "/bc", FORM).await
}

pub(super) async fn back_channel(world: &World, policy: &Policy, token: &str) -> u16 {
    post(world, policy, &format!("x=1&logout_token={token}")).await.status()
}

pub(super) async fn is_in(world: &World, policy: &Policy, browser: &mut Browser) -> bool {
    matches!(browser.send(world, policy, "GET", "/", API).await.decision, Decision::Forward(_))
}

#[tokio::test]
async fn a_session_of_the_provider_or_all_of_a_user() {
    let world = World::new().await;
    let policy = world.policy(BACK);
    let mut one = world.user(&policy, "alice", "s1").await;
    let mut two = world.user(&policy, "alice", "s2").await;
    let mut bob = world.user(&policy, "bob", "s3").await;
    assert_eq!(back_channel(&world, &policy, &world.logout_of("sid", "unknown")).await, 200);
    let both = world.logout_token(json!({"typ": "JWT"}), |claims| {
        claims.extend([("sid".into(), json!("s1")), ("sub".into(), json!("alice"))]);
    });
    assert_eq!(back_channel(&world, &policy, &both).await, 200);
    assert!(!is_in(&world, &policy, &mut one).await);
    assert!(is_in(&world, &policy, &mut two).await, "the token names a session");
    let mut three = world.user(&policy, "alice", "s4").await;
    assert_eq!(back_channel(&world, &policy, &world.logout_of("sub", "alice")).await, 200);
    assert!(!is_in(&world, &policy, &mut two).await && !is_in(&world, &policy, &mut three).await);
    assert!(is_in(&world, &policy, &mut bob).await);
}

#[tokio::test]
async fn a_used_token_harms_no_later_login() {
    let world = World::new().await;
    let policy = world.policy(BACK);
    world.user(&policy, "alice", "s1").await;
    let token = world.logout_of("sub", "alice");
    assert_eq!(back_channel(&world, &policy, &token).await, 200);
    let mut again = world.user(&policy, "alice", "s1").await;
    assert_eq!(back_channel(&world, &policy, &token).await, 400);
    assert!(is_in(&world, &policy, &mut again).await);
    // Once it is forgotten it has expired.
    world.clock.advance(SECOND * 600);
    policy.sessions.purge(world.clock.now()).await;
    assert_eq!(back_channel(&world, &policy, &token).await, 400);
}

#[tokio::test]
async fn nothing_but_a_good_token_in_a_form_ends_anything() {
    let world = World::new().await;
    let policy = world.policy(BACK);
    let mut browser = world.user(&policy, "alice", "s1").await;
    let good = world.logout_of("sid", "s1");
    let changed = |name: &str, value: Value| {
        world.logout_token(json!({}), |claims| {
            claims.insert("sid".into(), json!("s1"));
            match &value {
                Value::Null => drop(claims.remove(name)),
                value => drop(claims.insert(name.into(), value.clone())),
            }
        })
    };
    let now = unix_millis(world.clock.now()) / 1000;
    let mut bad: Vec<String> = ["iss", "aud", "iat", "exp", "jti", "events", "sid"]
        .iter()
        .map(|name| changed(name, json!(null)))
        .collect();
    bad.extend([
        changed("iss", json!("https://evil.example")),
        changed("aud", json!("other")),
        changed("exp", json!(now - 120)),
        changed("iat", json!(now + 300)),
        changed("nonce", json!("n")),
        changed("events", json!({"other": {}})),
        world.logout_token(json!({"alg": "none"}), |claims| drop(claims.insert("sid".into(), json!("s1")))),
        world.logout_token(json!({"alg": "HS256"}), |claims| drop(claims.insert("sid".into(), json!("s1")))),
        world.logout_token(json!({"typ": "at+jwt"}), |claims| drop(claims.insert("sid".into(), json!("s1")))),
        world.logout_token(json!({"crit": ["x"]}), |claims| drop(claims.insert("sid".into(), json!("s1")))),
        format!("{}x", good),
        "junk".to_owned(),
        String::new(),
    ]);
    let forged = SigningKey::new("key-1").sign(json!({}), &{
        let claims = json!({"iss": world.provider.issuer, "aud": "client", "iat": now, "exp": now + 120, "jti": "f",
            "events": {EVENT: {}}, "sid": "s1"});
        claims.as_object().unwrap().clone()
    });
    bad.push(forged);
    for token in &bad {
        assert_eq!(back_channel(&world, &policy, token).await, 400, "{token}");
    }
    for form in ["", "token=x", &format!("logout_token={good}&logout_token={good}"), &"x".repeat(65 * 1024)] {
        assert_eq!(post(&world, &policy, form).await.status(), 400);
    }
    let form = format!("logout_token={good}");
    let mut provider = Browser { body: Some(form.clone().into_bytes()), ..Browser::default() };
    for media_type in ["application/json", "text/plain", "multipart/form-data"] {
        let headers = [("content-type", media_type)];
        assert_eq!(provider.send(&world, &policy, "POST", "/bc", &headers).await.status(), 400);
    }
    assert_eq!(provider.send(&world, &policy, "POST", "/bc", &[]).await.status(), 400);
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let outcome = provider.send(&world, &policy, method, &format!("/bc?{form}"), FORM).await;
        assert_eq!(outcome.status(), 405, "{method}");
        assert_eq!(outcome.answer().headers["allow"], "POST");
    }
    assert!(is_in(&world, &policy, &mut browser).await);
    assert_eq!(back_channel(&world, &policy, &good).await, 200, "the token itself was good");
}

#[tokio::test]
async fn a_session_may_be_asked_for() {
    let world = World::new().await;
    let required = [BACK, &[("backchannelLogoutSessionsRequired", "true")]].concat();
    let policy = world.policy(&required);
    let mut browser = world.user(&policy, "alice", "s1").await;
    assert_eq!(back_channel(&world, &policy, &world.logout_of("sub", "alice")).await, 400);
    assert!(is_in(&world, &policy, &mut browser).await);
    assert_eq!(back_channel(&world, &policy, &world.logout_of("sid", "s1")).await, 200);
    assert!(!is_in(&world, &policy, &mut browser).await);
}

#[tokio::test]
async fn what_is_off_is_an_ordinary_path() {
    let world = World::new().await;
    let policy = world.policy(&[("backchannelLogoutURL", "/bc"), ("frontchannelLogoutURL", "/fc")]);
    let mut browser = world.user(&policy, "alice", "s1").await;
    assert_eq!(back_channel(&world, &policy, &world.logout_of("sid", "s1")).await, 401);
    let target = format!("/fc?sid=s1&iss={}", world.provider.issuer);
    assert!(browser.send(&world, &policy, "GET", &target, API).await.identity().user.is_some());
    assert!(is_in(&world, &policy, &mut browser).await);
}

#[tokio::test]
async fn a_login_under_way_is_ended_too() {
    let world = World::new().await;
    let policy = world.policy(BACK);
    for (claim, value) in [("sid", "s1"), ("sub", "alice")] {
        world.user(&policy, "alice", "s1").await;
        let mut browser = Browser::default();
        let callback = browser.start(&world, &policy, "/").await;
        world.clock.advance(SECOND * 2);
        assert_eq!(back_channel(&world, &policy, &world.logout_of(claim, value)).await, 200);
        let outcome = browser.get(&world, &policy, &callback).await;
        assert_eq!(outcome.status(), 400, "{claim}");
        assert!(outcome.body().contains("logged out elsewhere"));
        assert!(!is_in(&world, &policy, &mut browser).await);
        world.clock.advance(SECOND * 2);
        let mut browser = world.user(&policy, "alice", "s1").await;
        assert!(is_in(&world, &policy, &mut browser).await, "a later one lives");
    }
}

#[tokio::test]
async fn a_refresh_under_way_revives_nothing_and_its_tokens_are_revoked() {
    let world = World::new().await;
    let policy = world.policy(BACK);
    let mut browser = world.user(&policy, "alice", "s1").await;
    world.clock.advance(SECOND * 400);
    world.provider.script().token_delay = Duration::from_millis(200);
    let id = browser.cookies.values().find_map(|value| SessionId::parse(value)).unwrap();
    let entry = policy.sessions.lookup_cached(&id, &policy.core.scope, world.clock.now()).unwrap();
    let token = world.logout_of("sid", "s1");
    let mut waiting = browser.clone();
    let (waited, _) = tokio::join!(waiting.send(&world, &policy, "GET", "/", API), async {
        while world.provider.count("asked") < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(back_channel(&world, &policy, &token).await, 200);
    });
    assert_eq!(waited.status(), 401);
    assert!(!is_in(&world, &policy, &mut browser).await);
    assert_eq!(world.provider.count("refreshed"), 1);
    let revoked = world.provider.script().revoked.clone();
    assert_eq!(revoked.len(), 1, "the tokens that came too late: {revoked:?}");
    assert_eq!(policy.sessions.record(&entry).await.unwrap().map(|record| record.generation), None);
}

/// Two processes on one SQLite file; the second has the session in memory.
#[tokio::test]
async fn other_processes_know_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let process = |provider: FakeProvider, clock: Option<Arc<ManualClock>>| {
        let mut world = World::with(provider);
        world.clock = clock.unwrap_or(world.clock);
        world.provider.script().clock = Some(Arc::clone(&world.clock));
        let keys = Arc::new(crate::oidc::session::SessionKeys::new(&[KEY.into()]).unwrap());
        let store = Arc::new(SqliteStore::open(&path).unwrap());
        world.deps.sessions = Sessions::new(store, keys, Arc::clone(&world.clock) as _, 1000).unwrap();
        world
    };
    let one = process(FakeProvider::start().await, None);
    let two = process(one.provider.clone(), Some(Arc::clone(&one.clock)));
    let (here, there) = (one.policy(BACK), two.policy(BACK));
    let mut browser = one.user(&here, "alice", "s1").await;
    assert!(is_in(&two, &there, &mut browser).await);
    two.deps.sessions.poll_changes().await;
    assert!(is_in(&two, &there, &mut browser).await);
    let upkeep = two.deps.sessions.spawn_upkeep();
    assert_eq!(back_channel(&one, &here, &one.logout_of("sid", "s1")).await, 200);
    let id = browser.cookies.values().find_map(|value| SessionId::parse(value)).unwrap();
    let known = |world: &World| world.deps.sessions.lookup_cached(&id, &here.core.scope, world.clock.now());
    while one.clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    one.clock.advance(SECOND - Duration::from_millis(1));
    for _ in 0..2_000 {
        if known(&two).is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!is_in(&two, &there, &mut browser).await);
    upkeep.abort();
}

pub(super) fn front(world: &World, iss: Option<&str>, sid: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let issuer = world.provider.issuer.as_str();
    query.extend_pairs(iss.or(Some(issuer)).filter(|iss| !iss.is_empty()).map(|iss| ("iss", iss)));
    query.extend_pairs(sid.map(|sid| ("sid", sid)));
    format!("/fc?{}", query.finish())
}

#[tokio::test]
async fn the_front_channel_ends_the_session_of_the_browser_that_asks() {
    let world = World::new().await;
    let policy = world.policy(FRONT);
    let mut alice = world.user(&policy, "alice", "s1").await;
    let mut bob = world.user(&policy, "bob", "s2").await;
    let frame =
        [("sec-fetch-site", "same-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
    for target in [
        "/fc".to_owned(),
        front(&world, None, None),
        front(&world, Some(""), Some("s1")),
        front(&world, Some("https://evil.example"), Some("s1")),
        front(&world, None, Some("s2")),
        front(&world, None, Some("")),
        format!("{}&sid=s1", front(&world, None, Some("s1"))),
    ] {
        let outcome = alice.send(&world, &policy, "GET", &target, &frame).await;
        assert_eq!(outcome.status(), 400, "{target}");
    }
    let target = front(&world, None, Some("s1"));
    for method in ["POST", "HEAD", "OPTIONS"] {
        assert_eq!(alice.send(&world, &policy, method, &target, &frame).await.status(), 405);
    }
    assert_eq!(bob.send(&world, &policy, "GET", &target, &frame).await.status(), 400, "somebody else's");
    assert_eq!(Browser::default().send(&world, &policy, "GET", &target, &frame).await.status(), 400);
    assert!(is_in(&world, &policy, &mut alice).await);

    let mut old = alice.clone();
    let outcome = alice.send(&world, &policy, "GET", &target, &frame).await;
    assert_eq!(outcome.status(), 200);
    let headers = &outcome.answer().headers;
    let csp = headers["content-security-policy"].to_str().unwrap();
    assert!(csp.contains(&format!("frame-ancestors {}", world.provider.issuer)), "{csp}");
    assert!(!headers.contains_key("x-frame-options"));
    assert!(alice.cookies.values().all(|value| SessionId::parse(value).is_none()), "the cookie is gone");
    assert!(!is_in(&world, &policy, &mut old).await && is_in(&world, &policy, &mut bob).await);
    assert_eq!(world.provider.count("revoke"), 0);
}

/// Its client is the same, and so are its sessions.
#[tokio::test]
async fn a_login_under_way_at_a_policy_without_a_back_channel_is_ended_too() {
    let world = World::new().await;
    let (policy, without) = (world.policy(BACK), world.policy(&[]));
    world.user(&policy, "alice", "s1").await;
    let mut browser = Browser::default();
    let callback = browser.start(&world, &without, "/").await;
    world.clock.advance(SECOND * 2);
    assert_eq!(back_channel(&world, &policy, &world.logout_of("sub", "alice")).await, 200);
    assert_eq!(browser.get(&world, &without, &callback).await.status(), 400);
}
