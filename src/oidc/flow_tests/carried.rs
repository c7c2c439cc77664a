//! Sessions that the browser carries.

use serde_json::json;

use super::*;
use crate::oidc::cookie::LONGEST_COOKIE;
use crate::oidc::session::CookieStore;

impl World {
    /// Another process: what the browser does not bring is gone.
    pub(super) fn restart(&mut self) {
        let keys = Arc::new(crate::oidc::session::SessionKeys::new(&[KEY.into()]).unwrap());
        let store = Arc::new(CookieStore::new(100));
        self.deps.sessions = Sessions::new(store, keys, Arc::clone(&self.clock) as _, 100).unwrap();
    }
}

pub(super) async fn world() -> World {
    let mut world = World::new().await;
    world.restart();
    world
}

pub(super) async fn user(browser: &mut Browser, world: &World, policy: &Policy) -> Option<String> {
    match browser.send(world, policy, "GET", "/", API).await.decision {
        Decision::Forward(identity) => identity.user.map(|user| user.to_string()),
        Decision::Respond(_) => None,
    }
}

pub(super) fn chunks(browser: &Browser, policy: &Policy) -> usize {
    let start = format!("{}_", session_cookie(policy));
    browser.cookies.keys().filter(|name| name.starts_with(&start)).count()
}

pub(super) fn groups(n: usize) -> serde_json::Value {
    (0..n).map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect::<Vec<_>>().into()
}

#[tokio::test]
async fn a_login_is_all_in_the_browser() {
    let mut world = world().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    let outcome = browser.login(&world, &policy, "/").await;
    assert!(outcome.set_cookies.iter().all(|line| line.len() <= LONGEST_COOKIE && line.contains("HttpOnly")));
    assert!(!browser.cookies.contains_key(&session_cookie(&policy)), "no id alone");
    assert!(chunks(&browser, &policy) >= 1);
    let outcome = browser.send(&world, &policy, "GET", "/", API).await;
    assert_eq!(outcome.header("x-forwarded-user").unwrap(), "alice@example.com");
    assert_eq!(outcome.set_cookies, Vec::<String>::new(), "nothing has changed");
    assert_eq!(outcome.identity().cookie, crate::oidc::CookieEdit::Drop);
    world.restart();
    let policy = world.policy(&[]);
    for _ in 0..2 {
        let outcome = browser.send(&world, &policy, "GET", "/", API).await;
        assert_eq!(outcome.header("x-forwarded-user").unwrap(), "alice@example.com");
        assert_eq!(outcome.set_cookies, Vec::<String>::new());
    }
    let text: String = browser.cookies.values().cloned().collect();
    assert!(!text.contains("alice") && !text.contains("access-"));
}

#[tokio::test]
async fn another_client_key_or_name_opens_nothing() {
    let world = world().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    assert!(user(&mut browser, &world, &world.policy(&[("minimalHeaders", "true")])).await.is_some());
    for other in [
        ("clientID", "other"),
        ("cookiePrefix", "other_"),
        ("sessionEncryptionKey", "another-secret-of-32-bytes-length"),
    ] {
        let other = world.policy(&[other]);
        let mut moved = Browser::default();
        for (name, value) in &browser.cookies {
            let name = name.replace(&session_cookie(&policy), &session_cookie(&other));
            moved.cookies.insert(name, value.clone());
        }
        assert_eq!(user(&mut moved, &world, &other).await, None);
        assert_eq!(user(&mut browser.clone(), &world, &other).await, None);
    }
}

#[tokio::test]
async fn a_new_key_logs_nobody_out_while_the_previous_one_is_known() {
    const NEW: (&str, &str) = ("sessionEncryptionKey", "another-secret-of-32-bytes-length");
    let mut world = world().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    world.restart();
    let rotated = world.policy(&[NEW, ("previousSessionEncryptionKeys", KEY)]);
    assert!(user(&mut browser, &world, &rotated).await.is_some());
    world.clock.advance(SECOND * 301);
    assert!(user(&mut browser, &world, &rotated).await.is_some(), "also after a refresh");
    assert_eq!(user(&mut browser, &world, &world.policy(&[NEW])).await, None);
}

#[tokio::test]
async fn a_refresh_reaches_the_browser_and_tabs_that_raced_go_on() {
    let mut world = world().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    let mut tab = browser.clone();
    world.clock.advance(SECOND * 301);
    let many = (0..50).map(|_| {
        let (mut browser, world, policy) = (browser.clone(), &world, &policy);
        async move { browser.send(world, policy, "GET", "/", API).await.set_cookies }
    });
    let answers = futures_util::future::join_all(many).await;
    assert_eq!(world.provider.count("refreshed"), 1);
    assert!(answers.iter().all(|lines| lines == &answers[0] && !lines.is_empty()), "all carry the newest");
    answers[0].iter().for_each(|line| browser.store(line));
    assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.set_cookies, Vec::<String>::new());
    // A tab with the old cookies, much later.
    world.clock.advance(SECOND * 100);
    let outcome = tab.send(&world, &policy, "GET", "/", API).await;
    assert_eq!(outcome.set_cookies.len(), answers[0].len());
    assert_eq!(tab.cookies, browser.cookies);
    assert_eq!(world.provider.count("refreshed"), 1);
    // The new refresh token survives the process.
    world.restart();
    let policy = world.policy(&[]);
    world.clock.advance(SECOND * 301);
    assert!(user(&mut browser, &world, &policy).await.is_some());
    assert_eq!(world.provider.count("refreshed"), 2);
}

#[tokio::test]
async fn tokens_that_are_due_are_renewed_before_the_answer() {
    let world = world().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    world.clock.advance(SECOND * 241);
    assert!(!browser.send(&world, &policy, "GET", "/", API).await.set_cookies.is_empty());
    assert_eq!(world.provider.count("refreshed"), 1);
    world.provider.script().token_answer = Some((503, "text/html", "<html>".into()));
    world.clock.advance(SECOND * 241);
    let outcome = browser.send(&world, &policy, "GET", "/", API).await;
    assert!(outcome.identity().user.is_some(), "the tokens are still good");
}

#[tokio::test]
async fn stale_chunks_go_when_the_session_shrinks_and_all_go_at_logout() {
    let world = world().await;
    world.provider.script().claims.insert("groups".into(), groups(300));
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    let many = chunks(&browser, &policy);
    world.provider.script().claims.insert("groups".into(), json!(["dev"]));
    world.clock.advance(SECOND * 301);
    assert!(user(&mut browser, &world, &policy).await.is_some());
    assert_eq!((many > 1, chunks(&browser, &policy)), (true, 1));
    // One that came back, as from another tab, is taken away again.
    browser.cookies.insert(format!("{}_3", session_cookie(&policy)), "0.AAAA".into());
    assert!(user(&mut browser, &world, &policy).await.is_some());
    assert_eq!(chunks(&browser, &policy), 1);
    let before = browser.clone();
    let logout = browser.get(&world, &policy, "/logout").await;
    assert!(logout.location().contains("id_token_hint="));
    assert_eq!(chunks(&browser, &policy), 0);
    assert_eq!(user(&mut before.clone(), &world, &policy).await, None, "kept cookies are worth nothing here");
}

#[tokio::test]
async fn a_login_again_replaces_the_session() {
    let world = world().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    let mut old = browser.clone();
    let kept = browser.cookies.clone();
    browser.cookies.clear();
    let target = browser.start(&world, &policy, "/b").await;
    browser.cookies.extend(kept);
    assert_eq!(browser.get(&world, &policy, &target).await.location(), "/b");
    assert_ne!(browser.cookies, old.cookies);
    assert_eq!(user(&mut old, &world, &policy).await, None);
    assert!(user(&mut browser, &world, &policy).await.is_some());
}

#[tokio::test]
async fn a_session_that_cannot_be_carried_fails_the_login() {
    let world = world().await;
    let policy = world.policy(&[]);
    world.provider.script().claims.insert("groups".into(), groups(5_000));
    let mut browser = Browser::default();
    let outcome = browser.login(&world, &policy, "/").await;
    assert_eq!((outcome.status(), chunks(&browser, &policy)), (500, 0));
    assert!(outcome.body().contains("more about you than your browser can keep"), "{}", outcome.body());
    assert_eq!(world.deps.sessions.count().await.unwrap(), 0);
    // One that grows too large goes on here, and says so once.
    world.provider.script().claims.insert("groups".into(), json!(["dev"]));
    browser.login(&world, &policy, "/").await;
    world.provider.script().claims.insert("groups".into(), groups(5_000));
    world.clock.advance(SECOND * 301);
    for _ in 0..3 {
        let outcome = browser.send(&world, &policy, "GET", "/", API).await;
        assert!(outcome.identity().user.is_some() && outcome.set_cookies.is_empty());
    }
}

#[tokio::test]
async fn both_ends_are_enforced_by_the_server() {
    let mut world = world().await;
    let options =
        [("sessionMaxAge", "1000"), ("sessionIdleTimeout", "300"), ("refreshGracePeriodSeconds", "1")];
    let policy = world.policy(&options);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    let thief = browser.clone();
    for _ in 0..3 {
        world.clock.advance(SECOND * 290);
        let outcome = browser.send(&world, &policy, "GET", "/", API).await;
        assert!(
            outcome.identity().user.is_some() && !outcome.set_cookies.is_empty(),
            "a step of the idle end"
        );
        assert!(browser.send(&world, &policy, "GET", "/", API).await.set_cookies.is_empty());
    }
    world.restart();
    let policy = world.policy(&options);
    assert_eq!(user(&mut thief.clone(), &world, &policy).await, None, "its idle end has passed");
    assert!(user(&mut browser, &world, &policy).await.is_some());
    world.clock.advance(SECOND * 130);
    assert_eq!(user(&mut browser, &world, &policy).await, None, "the absolute end");
}

#[tokio::test]
async fn a_backchannel_logout_also_ends_what_comes_later() {
    let mut world = world().await;
    let policy = world.policy(channels::BACK);
    let (mut here, mut away) = (Browser::default(), Browser::default());
    here.login(&world, &policy, "/").await;
    away.login(&world, &policy, "/").await;
    world.restart();
    let policy = world.policy(channels::BACK);
    assert!(user(&mut here, &world, &policy).await.is_some());
    world.clock.advance(SECOND);
    assert_eq!(channels::back_channel(&world, &policy, &world.logout_of("sub", "alice")).await, 200);
    assert_eq!(user(&mut here, &world, &policy).await, None);
    assert_eq!(user(&mut away, &world, &policy).await, None, "this process had not seen it");
    world.clock.advance(SECOND * 2);
    away.login(&world, &policy, "/").await;
    assert!(user(&mut away, &world, &policy).await.is_some());
}

/// Two policies may share a client, and not how long their sessions last.
#[tokio::test]
async fn a_backchannel_logout_counts_for_as_long_as_any_session_of_the_client() {
    let mut world = world().await;
    let long = &[("sessionMaxAge", "100000")][..];
    let short = [channels::BACK, &[("sessionMaxAge", "1000")]].concat();
    let mut browser = Browser::default();
    browser.login(&world, &world.policy(long), "/").await;
    for reloaded in [false, true] {
        world.restart();
        let policy = world.policy(long);
        let notified = world.policy(&short);
        // A session outlives a reload that makes later ones shorter.
        let policy = if reloaded {
            drop(policy);
            world.policy(&[("sessionMaxAge", "1000")])
        } else {
            policy
        };
        world.clock.advance(SECOND);
        assert_eq!(channels::back_channel(&world, &notified, &world.logout_of("sub", "alice")).await, 200);
        world.clock.advance(SECOND * 5000);
        world.deps.sessions.purge(world.clock.now()).await;
        drop(policy);
        assert_eq!(user(&mut browser.clone(), &world, &world.policy(long)).await, None, "{reloaded}");
    }
}

/// A session that was made under a configuration that nobody has any more.
#[tokio::test]
async fn a_session_that_a_logout_has_ended_stays_ended_when_the_logout_is_forgotten() {
    let mut world = world().await;
    let mut browser = Browser::default();
    browser.login(&world, &world.policy(&[("sessionMaxAge", "100000")]), "/").await;
    world.restart();
    let policy = world.policy(&[channels::BACK, &[("sessionMaxAge", "1000")]].concat());
    world.clock.advance(SECOND);
    assert_eq!(channels::back_channel(&world, &policy, &world.logout_of("sub", "alice")).await, 200);
    assert_eq!(user(&mut browser.clone(), &world, &policy).await, None);
    world.clock.advance(SECOND * 5000);
    world.deps.sessions.purge(world.clock.now()).await;
    assert_eq!(user(&mut browser, &world, &world.policy(&[("sessionMaxAge", "100000")])).await, None);
}

/// The name is a part of the seal, for a memo as well.
#[tokio::test]
async fn a_session_of_https_is_none_under_its_name_of_http() {
    let world = world().await;
    let policy = world.policy(&[]);
    let mut browser = Browser { scheme: Scheme::Https, ..Browser::default() };
    browser.login(&world, &policy, "/").await;
    assert!(user(&mut browser, &world, &policy).await.is_some());
    let renamed = |browser: &Browser| Browser {
        scheme: Scheme::Http,
        cookies: browser
            .cookies
            .iter()
            .map(|(name, value)| {
                (name.replace(policy.cookies().session_name(true), &session_cookie(&policy)), value.clone())
            })
            .collect(),
        ..Browser::default()
    };
    assert_eq!(user(&mut renamed(&browser), &world, &policy).await, None);
    // Neither are new cookies given for it.
    let old = renamed(&browser);
    world.clock.advance(SECOND * 301);
    assert!(user(&mut browser, &world, &policy).await.is_some());
    let outcome = old.clone().send(&world, &policy, "GET", "/", API).await;
    assert_eq!((outcome.status(), outcome.set_cookies), (401, Vec::new()));
}

#[tokio::test]
async fn cookies_are_looked_through_twice_and_opened_once() {
    let mut world = world().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    let counted = async |browser: &mut Browser, world: &World, policy: &Policy| {
        crate::oidc::cookie::LOOKS.set(0);
        crate::oidc::session::OPENED.set(0);
        let outcome = browser.send(world, policy, "GET", "/", API).await;
        assert!(outcome.identity().user.is_some());
        (crate::oidc::cookie::LOOKS.get(), crate::oidc::session::OPENED.get(), outcome.set_cookies.len())
    };
    assert_eq!(counted(&mut browser, &world, &policy).await, (2, 0, 0), "nothing has changed");
    let mut old = browser.clone();
    world.clock.advance(SECOND * 301);
    assert_eq!(counted(&mut browser, &world, &policy).await, (2, 0, 1), "a refresh");
    assert_eq!(counted(&mut old.clone(), &world, &policy).await, (2, 1, 1), "older cookies");
    old.cookies.insert(format!("{}_3", session_cookie(&policy)), "0.AAAA".into());
    assert_eq!(counted(&mut old, &world, &policy).await, (2, 1, 2), "older cookies, and a chunk too many");
    world.restart();
    let policy = world.policy(&[]);
    assert_eq!(counted(&mut browser, &world, &policy).await, (2, 1, 0), "another process");
}

/// The browser has no ID token where no logout needs one, so nobody can tell which claims were of the ID token.
#[tokio::test]
async fn claims_of_userinfo_outlive_its_outage() {
    for (of_refresh, carried) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut world = world().await;
        {
            let mut script = world.provider.script();
            script.claims = json!({"sub": "alice"}).as_object().unwrap().clone();
            script.userinfo = (200, json!({"sub": "alice", "email": "alice@info", "groups": ["g"]}));
            if !carried {
                script.metadata.insert("end_session_endpoint".into(), json!(null));
            }
        }
        let options = [("allowedRolesAndGroups", "[g]")];
        let mut browser = Browser::default();
        let before = world.policy(&options);
        browser.login(&world, &before, "/").await;
        world.restart();
        let policy = world.policy(&options);
        world.provider.script().userinfo = (503, json!({}));
        world.provider.script().no_id_token = !of_refresh;
        for _ in 0..3 {
            world.clock.advance(SECOND * 301);
            let outcome = browser.send(&world, &policy, "GET", "/", API).await;
            let header = |name| outcome.header(name).unwrap();
            assert_eq!(
                (header("x-user-groups"), header("x-forwarded-user")),
                ("g".into(), "alice@info".into())
            );
        }
        assert_eq!(world.provider.count("refreshed"), 3);
    }
}
