//! Attacks on sessions, by their number in the list of what must not be possible.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;
use crate::oidc::cookie::LONGEST_COOKIE;
use crate::oidc::fake_provider::SigningKey;
use crate::oidc::session::SessionId;

/// A browser that shows the session of one policy as one of another.
pub(super) fn moved(browser: &Browser, from: &Policy, to: &Policy) -> Browser {
    let mut moved = Browser::default();
    moved.cookies.insert(session_cookie(to), browser.cookies[&session_cookie(from)].clone());
    moved
}

/// Two providers that know the same client, two routes, one key, one store: who is logged in at the one is nobody to the
/// other, and each route has its own gates.
#[tokio::test]
async fn n64_a_session_of_one_provider_opens_nothing_of_another() {
    let (store, clock) = (Arc::new(MemoryStore::new(100)), Arc::new(ManualClock::new(SystemTime::now())));
    let world = World::process(FakeProvider::start().await, Arc::clone(&store) as _, Arc::clone(&clock));
    let mut other = World::process(FakeProvider::start().await, store, clock);
    other.deps.sessions = world.deps.sessions.clone();
    let (a, b) = (world.policy(&[]), other.policy(&[]));
    let mut browser = Browser::default();
    browser.login(&world, &a, "/").await;
    for mut browser in [browser.clone(), moved(&browser, &a, &b)] {
        assert_eq!(browser.send(&other, &b, "GET", "/", API).await.status(), 401);
        assert_eq!(browser.get(&other, &b, "/").await.status(), 302);
        assert_eq!(browser.get(&other, &b, "/logout").await.status(), 302);
    }
    assert!(browser.send(&world, &a, "GET", "/", API).await.identity().user.is_some(), "and ends nothing");
    let strict = world.policy(&[("allowedUsers", "[somebody]")]);
    assert_eq!(browser.send(&world, &strict, "GET", "/", API).await.status(), 403);
    assert!(browser.send(&world, &a, "GET", "/", API).await.identity().user.is_some());
}

/// Whatever a browser has before: a value that somebody chose, the session of another person, one that was ended. The
/// login gives it a new id, and what it had is worth nothing afterwards.
#[tokio::test]
async fn n65_no_id_that_was_there_before_survives_a_login() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let session = session_cookie(&policy);
    let mut bob = Browser::default();
    bob.login(&world, &policy, "/").await;
    let ended = bob.cookies[&session].clone();
    bob.get(&world, &policy, "/logout").await;
    bob.login(&world, &policy, "/").await;
    let made_up = SessionId::random().unwrap().to_text();
    for planted in [made_up, "chosen".to_owned(), ended, bob.cookies[&session].clone()] {
        let mut browser = Browser::default();
        let callback = browser.start(&world, &policy, "/").await;
        browser.cookies.insert(session.clone(), planted.clone());
        assert_eq!(browser.get(&world, &policy, &callback).await.status(), 302);
        assert_ne!(browser.cookies[&session], planted);
        assert!(browser.send(&world, &policy, "GET", "/", API).await.identity().user.is_some());
        browser.cookies.insert(session.clone(), planted);
        assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.status(), 401, "what was planted");
    }
    assert_eq!(bob.send(&world, &policy, "GET", "/", API).await.status(), 401, "it was in another's browser");
}

/// Each cookie of a login, a refresh, a logout and a callback that fails, over https.
#[tokio::test]
async fn n66_every_cookie_that_is_set_is_well_dressed() {
    let mut world = World::new().await;
    for in_browser in [false, true] {
        if in_browser {
            world.restart();
        }
        let policy = world.policy(&[]);
        let mut browser = Browser { scheme: Scheme::Https, ..Browser::default() };
        let mut lines = Vec::new();
        let failing = browser.get(&world, &policy, "/").await;
        let state = parameters(&failing.location())["state"].clone();
        lines.extend(failing.set_cookies);
        lines.extend(browser.get(&world, &policy, &format!("/cb?error=no&state={state}")).await.set_cookies);
        let started = browser.get(&world, &policy, "/").await;
        let callback = callback_for(&world, &started.location());
        lines.extend(started.set_cookies);
        let login = browser.get(&world, &policy, &callback).await;
        assert!(login.status() == 302 && login.set_cookies.len() >= 3, "{:?}", login.set_cookies);
        lines.extend(login.set_cookies);
        world.clock.advance(SECOND * 301);
        let refreshed = browser.send(&world, &policy, "GET", "/", API).await.set_cookies;
        assert_eq!(refreshed.is_empty(), !in_browser, "an id stays as it is");
        lines.extend(refreshed);
        let logout = browser.get(&world, &policy, "/logout").await;
        assert!(
            logout.set_cookies.iter().any(|line| line.contains("_session") && line.contains("Max-Age=0"))
        );
        lines.extend(logout.set_cookies);
        for line in &lines {
            let mut attributes: Vec<&str> = line.split("; ").skip(1).collect();
            attributes.retain(|one| !one.starts_with("Max-Age=") && !one.starts_with("Expires="));
            attributes.sort_unstable();
            assert!(line.starts_with("__Host-"), "{line}");
            assert_eq!(attributes, ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"], "{line}");
        }
    }
}

/// What the provider sends at a refresh is believed no sooner than what it sends at a login: a token that somebody else
/// has signed gives nobody anything.
#[tokio::test]
async fn n61_a_refreshed_token_with_a_bad_signature_gives_nothing() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    world.clock.advance(SECOND * 301);
    let now = world.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({"iss": world.provider.issuer, "aud": "client", "sub": "alice", "iat": now, "exp": now + 300,
        "email": "root@example.com", "groups": ["root"]});
    let forged = SigningKey::new("key-1").sign(json!({}), claims.as_object().unwrap());
    world.provider.script().id_token = Some(forged);
    for _ in 0..2 {
        let outcome = browser.send(&world, &policy, "GET", "/", API).await;
        assert_eq!(outcome.status(), 401, "{}", outcome.body());
    }
    world.provider.script().id_token = None;
    assert_eq!(world.provider.count("refreshed"), 1);
    assert_eq!(browser.login(&world, &policy, "/").await.status(), 302);
    assert_eq!(
        browser.send(&world, &policy, "GET", "/", API).await.header("x-user-groups").unwrap(),
        "dev,ops"
    );
}

/// So many characters that cannot be compressed.
fn noise(length: usize) -> String {
    let blocks = (0..=length / 43).map(|block| URL_SAFE_NO_PAD.encode(digest(&SHA256, &block.to_be_bytes())));
    let mut text = blocks.collect::<String>();
    text.truncate(length);
    text
}

/// Sessions that the browser carries, of every size around the limits of a cookie and far beyond: they come back whole in
/// another process, or the login ends in a page that says why, and leaves nothing.
#[tokio::test]
async fn n68_no_size_of_a_carried_session_breaks_it() {
    let mut world = World::new().await;
    let steps = (0..12_000).step_by(149);
    let mut most = (0, 0);
    for size in steps.chain([3_999, 4_000, 4_001, 8_000, 40_000, 400_000]) {
        world.restart();
        let policy = world.policy(&[]);
        world.provider.script().claims.insert("name".into(), json!(noise(size)));
        let mut browser = Browser::default();
        let outcome = browser.login(&world, &policy, "/").await;
        let chunks = browser.cookies.keys().filter(|name| name.contains("_session_")).count();
        if outcome.status() == 500 {
            assert!(outcome.body().contains("than your browser can keep"), "{size}: {}", outcome.body());
            assert_eq!((chunks, world.deps.sessions.count().await.unwrap()), (0, 0), "{size}");
            assert!(size > most.0, "{size} does not fit, and {} does", most.0);
            continue;
        }
        assert_eq!(outcome.status(), 302, "{size}");
        assert!(outcome.set_cookies.iter().all(|line| line.len() <= LONGEST_COOKIE), "{size}");
        most = most.max((size, chunks));
        world.restart();
        let policy = world.policy(&[("forwardHeaders.X-Sub", "sub")]);
        let outcome = browser.send(&world, &policy, "GET", "/", API).await;
        assert_eq!(outcome.header("x-sub").unwrap(), "alice", "{size}: in another process");
        // A count that no session has, and pieces of others.
        let first = format!("{}_0", session_cookie(&policy));
        let mut counted = browser.clone();
        let (id, rest) = counted.cookies[&first].split_once('.').unwrap();
        let (generation, rest) = rest.split_once('.').unwrap();
        let (_, piece) = rest.split_once('.').unwrap();
        let counts = format!("{id}.{generation}.1000000000.{piece}");
        counted.cookies.insert(first, counts);
        assert_eq!(counted.send(&world, &policy, "GET", "/", API).await.status(), 401, "{size}");
    }
    assert!(most.0 >= 4_001 && most.1 > 1, "{most:?}: nothing of more than one cookie was carried");
}
