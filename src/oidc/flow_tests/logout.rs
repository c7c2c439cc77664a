use serde_json::json;

use super::*;
use crate::oidc::session::testing::{Faulty, owes};
use crate::oidc::session::{DEFAULT_OUTAGE_TOLERANCE, StoreError};

async fn logged_in(world: &World, policy: &Policy) -> Browser {
    let mut browser = Browser::default();
    assert_eq!(browser.login(world, policy, "/").await.status(), 302);
    browser
}

#[tokio::test]
async fn to_the_provider_and_back() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = logged_in(&world, &policy).await;
    let mut old = browser.clone();
    let outcome = browser.get(&world, &policy, "/logout").await;
    assert_eq!(outcome.status(), 302);
    let parameters = parameters(&outcome.location());
    assert!(outcome.location().starts_with(&format!("{}/end?", world.provider.issuer)));
    assert_eq!(parameters["client_id"], "client");
    assert_eq!(parameters["post_logout_redirect_uri"], "http://app.example.com/");
    assert_eq!(parameters["id_token_hint"].matches('.').count(), 2);
    assert!(!browser.cookies.contains_key(&session_cookie(&policy)));
    assert_eq!(old.send(&world, &policy, "GET", "/", API).await.status(), 401, "dead at once");

    let wrong = browser.get(&world, &policy, "/?state=wrong").await;
    assert_eq!(wrong.status(), 302, "an ordinary request");
    let page = browser.get(&world, &policy, &format!("/?state={}", parameters["state"])).await;
    assert_eq!(page.status(), 200);
    assert!(page.body().contains("You are logged out"));
    assert!(!browser.cookies.contains_key(&policy.cookies().login_name(false, "logout")));
}

#[tokio::test]
async fn the_refresh_token_is_revoked() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = logged_in(&world, &policy).await;
    browser.send(&world, &policy, "POST", "/logout", API).await;
    assert!(revoked(&world).await.starts_with("refresh-"));
}

/// What has been revoked first.
async fn revoked(world: &World) -> String {
    world.until("revoke", 1).await;
    world.provider.script().revoked[0].clone()
}

fn away() -> Option<StoreError> {
    Some(StoreError::Failed("no route".to_owned()))
}

/// Memory has the refresh token of a session, and knows whose it was; the ID token is the store's alone.
#[tokio::test]
async fn while_the_store_is_away_memory_has_enough_for_a_logout() {
    let store = Faulty::new(None);
    let clock = Arc::new(ManualClock::new(SystemTime::now()));
    let world = World::process(FakeProvider::start().await, Arc::clone(&store) as _, clock);
    let policy = world.policy(&[]);
    let mut browser = logged_in(&world, &policy).await;
    let mut old = browser.clone();
    store.fails(away());
    let outcome = browser.get(&world, &policy, "/logout").await;
    let parameters = parameters(&outcome.location());
    assert!(outcome.location().starts_with(&format!("{}/end?", world.provider.issuer)));
    assert_eq!(parameters["client_id"], "client");
    assert!(!parameters.contains_key("id_token_hint"));
    assert!(revoked(&world).await.starts_with("refresh-"));
    assert_eq!(old.send(&world, &policy, "GET", "/", API).await.status(), 401, "dead at once");
    store.fails(None);
    policy.sessions.save_unsaved().await;
    assert_eq!(policy.sessions.count().await.unwrap(), 0);
}

/// After some time without news of the store memory is not believed any more, and of a session that was never here there
/// is nothing to believe: a logout counts all the same.
#[tokio::test]
async fn a_logout_counts_although_the_store_cannot_tell_whose_it_is() {
    let store = Faulty::new(Some(DEFAULT_OUTAGE_TOLERANCE));
    let clock = Arc::new(ManualClock::new(SystemTime::now()));
    let world = World::process(FakeProvider::start().await, Arc::clone(&store) as _, Arc::clone(&clock));
    let other = World::process(world.provider.clone(), Arc::clone(&store) as _, clock);
    let (here, there) = (world.policy(&[]), other.policy(&[]));
    let (mut known, mut unknown) = (logged_in(&world, &here).await, logged_in(&other, &there).await);
    assert_eq!(here.sessions.count().await.unwrap(), 2);
    here.sessions.poll_changes().await;
    store.fails(away());
    here.sessions.poll_changes().await;
    world.clock.advance(DEFAULT_OUTAGE_TOLERANCE);
    assert_eq!(known.clone().send(&world, &here, "GET", "/", API).await.status(), 503);
    let mut old = unknown.clone();
    for browser in [&mut known, &mut unknown] {
        assert_eq!(browser.get(&world, &here, "/logout").await.status(), 302);
        assert!(!browser.cookies.contains_key(&session_cookie(&here)));
    }
    assert!(revoked(&world).await.starts_with("refresh-"), "of the one that memory has");
    here.sessions.save_unsaved().await;
    assert!(owes(&here.sessions));
    store.fails(None);
    here.sessions.save_unsaved().await;
    here.sessions.poll_changes().await;
    assert_eq!(here.sessions.count().await.unwrap(), 0);
    assert_eq!(old.send(&world, &here, "GET", "/", API).await.status(), 401);
}

#[tokio::test]
async fn a_revocation_that_hangs_delays_nobody() {
    let world = World::new().await;
    // Takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/revoke", silent.local_addr().unwrap());
    let policy = world.policy(&[("revocationURL", &endpoint)]);
    let mut browser = logged_in(&world, &policy).await;
    assert_eq!(browser.get(&world, &policy, "/logout").await.status(), 302);
    let (stream, _) = silent.accept().await.unwrap();
    assert_eq!(world.provider.count("revoke"), 0, "the configured endpoint is asked");
    drop(stream);
}

#[tokio::test]
async fn without_session_discovery_or_endpoint() {
    let world = World::new().await;
    world.provider.script().metadata.insert("end_session_endpoint".into(), json!(null));
    let policy = world.policy(&[("postLogoutRedirectURI", "/bye")]);
    let mut browser = logged_in(&world, &policy).await;
    let outcome = browser.get(&world, &policy, "/logout").await;
    assert_eq!(outcome.location(), "http://app.example.com/bye");
    let again = Browser::default().get(&world, &policy, "/logout").await;
    assert_eq!(again.location(), "http://app.example.com/bye");
    assert!(
        again.set_cookies.iter().any(|c| c.starts_with(&session_cookie(&policy)) && c.contains("Max-Age=0"))
    );

    let (away, _) = FakeProvider::stopped().await;
    let world = World::with(away);
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    let outcome = browser.get(&world, &policy, "/logout").await;
    let page = browser
        .get(&world, &policy, outcome.location().strip_prefix("http://app.example.com").unwrap())
        .await;
    assert_eq!(page.status(), 200);

    let policy = world.policy(&[
        ("postLogoutRedirectURI", "https://www.example.com/bye"),
        ("oidcEndSessionURL", "https://id.example/out"),
    ]);
    let outcome = Browser::default().get(&world, &policy, "/logout").await;
    assert_eq!(outcome.location(), "https://www.example.com/bye", "no metadata yet");
}

#[tokio::test]
async fn another_site_cannot_log_out() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = logged_in(&world, &policy).await;
    let image =
        [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")];
    let old_image = [("referer", "https://evil.example/x"), ("accept", "image/*")];
    let ahead = [
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "navigate"),
        ("sec-purpose", "prefetch;prerender"),
    ];
    for headers in [image.as_slice(), old_image.as_slice(), ahead.as_slice()] {
        assert_eq!(browser.send(&world, &policy, "GET", "/logout", headers).await.status(), 403);
    }
    let form = [("origin", "https://evil.example"), ("accept", "text/html")];
    assert_eq!(browser.send(&world, &policy, "POST", "/logout", &form).await.status(), 403);
    let link =
        [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    let asked = browser.send(&world, &policy, "GET", "/logout", &link).await;
    assert_eq!(asked.status(), 200);
    assert!(asked.body().contains("href=\"/logout\""));
    assert_eq!(browser.send(&world, &policy, "DELETE", "/logout", API).await.status(), 405);
    assert!(browser.send(&world, &policy, "GET", "/", API).await.identity().user.is_some());
    for site in ["same-origin", "same-site", "none"] {
        let mut browser = browser.clone();
        assert_eq!(
            browser.send(&world, &policy, "GET", "/logout", &[("sec-fetch-site", site)]).await.status(),
            302
        );
    }
}

#[tokio::test]
async fn a_configured_landing_loses_the_state() {
    let world = World::new().await;
    let policy = world.policy(&[("postLogoutRedirectURI", "/bye"), ("excludedURLs", "[/bye]")]);
    let mut browser = logged_in(&world, &policy).await;
    let outcome = browser.get(&world, &policy, "/logout").await;
    let state = parameters(&outcome.location())["state"].clone();
    let back = browser.get(&world, &policy, &format!("/bye?state={state}")).await;
    assert_eq!(back.location(), "/bye");
    let outcome = browser.get(&world, &policy, &format!("/bye?state={state}")).await;
    assert!(outcome.identity().user.is_none(), "once");
}
