//! What a browser brings of a session must be the whole of it, byte by byte.

use super::carried::{chunks, groups, user, world};
use super::*;

/// A browser that has logged in to a policy with these options, with a session that takes more than one cookie.
async fn in_several_cookies(options: &[(&str, &str)]) -> (World, Policy, Browser) {
    let world = world().await;
    world.provider.script().claims.insert("groups".into(), groups(300));
    let policy = world.policy(options);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    assert!(chunks(&browser, &policy) >= 2, "{:?}", browser.cookies);
    (world, policy, browser)
}

#[tokio::test]
async fn what_is_not_whole_is_no_session() {
    let (world, policy, mut browser) = in_several_cookies(&[]).await;
    let name = |index: usize| format!("{}_{index}", session_cookie(&policy));
    assert!(user(&mut browser, &world, &policy).await.is_some());
    let spoilt = |spoil: &dyn Fn(&mut BTreeMap<String, String>)| {
        let mut browser = browser.clone();
        spoil(&mut browser.cookies);
        browser
    };
    let (first, second) = (browser.cookies[&name(0)].clone(), browser.cookies[&name(1)].clone());
    let swap = |cookies: &mut BTreeMap<String, String>| {
        let (head, _) = first.rsplit_once('.').unwrap();
        let (generation, rest) = second.split_once('.').unwrap();
        let (_, part) = first.rsplit_once('.').unwrap();
        cookies.insert(name(0), format!("{head}.{rest}"));
        cookies.insert(name(1), format!("{generation}.{part}"));
    };
    let flip = |text: &str| {
        let at = text.len() - 9;
        let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &text[..at], &text[at + 1..])
    };
    let cases: [(&str, Browser); 6] = [
        ("missing", spoilt(&|cookies| drop(cookies.remove(&name(1))))),
        ("first missing", spoilt(&|cookies| drop(cookies.remove(&name(0))))),
        ("swapped", spoilt(&swap)),
        ("flipped", spoilt(&|cookies| drop(cookies.insert(name(1), flip(&second))))),
        ("garbage", spoilt(&|cookies| drop(cookies.insert(name(1), "0.garbage".into())))),
        (
            "twice",
            spoilt(&|cookies| drop(cookies.insert(name(1), format!("{second}; {}={second}", name(1))))),
        ),
    ];
    for (what, mut browser) in cases {
        let outcome = browser.send(&world, &policy, "GET", "/", API).await;
        assert_eq!((outcome.status(), outcome.set_cookies), (401, Vec::new()), "{what}");
        assert_eq!(browser.get(&world, &policy, "/").await.status(), 302, "{what}: never a 500");
    }
}

/// It is not opened again, and so must be told from all that is not quite the same.
#[tokio::test]
async fn a_session_that_was_opened_is_known_by_each_of_its_bytes() {
    let (world, policy, mut browser) = in_several_cookies(&[]).await;
    assert!(user(&mut browser, &world, &policy).await.is_some());
    let start = format!("{}_", session_cookie(&policy));
    for (name, value) in browser.cookies.clone().into_iter().filter(|(name, _)| name.starts_with(&start)) {
        for at in (0..70).chain((70..value.len()).step_by(29)).chain([value.len() - 1]) {
            let mut bytes = value.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let mut changed = browser.clone();
            changed.cookies.insert(name.clone(), String::from_utf8(bytes).unwrap());
            assert_eq!(user(&mut changed, &world, &policy).await, None, "{name}, byte {at}");
        }
        for spoilt in [&value[..value.len() - 1], &format!("{value}A")] {
            let mut changed = browser.clone();
            changed.cookies.insert(name.clone(), spoilt.to_owned());
            assert_eq!(user(&mut changed, &world, &policy).await, None, "{name}, {} bytes", spoilt.len());
        }
    }
    crate::oidc::session::OPENED.set(0);
    assert!(user(&mut browser, &world, &policy).await.is_some());
    assert_eq!(crate::oidc::session::OPENED.get(), 0, "it is known still");
}

/// A step of the idle end seals the same generation anew.
#[tokio::test]
async fn chunks_of_two_sealings_make_no_session() {
    let options = [("sessionIdleTimeout", "300"), ("refreshGracePeriodSeconds", "1")];
    let (world, policy, mut browser) = in_several_cookies(&options).await;
    let first = browser.clone();
    world.clock.advance(SECOND * 290);
    assert!(user(&mut browser, &world, &policy).await.is_some());
    let name = |index: usize| format!("{}_{index}", session_cookie(&policy));
    let head = |browser: &Browser| browser.cookies[&name(0)].rsplit_once('.').unwrap().0.to_owned();
    assert_eq!(head(&first), head(&browser), "session, generation and count are the same");
    assert_ne!(first.cookies, browser.cookies);
    for (one, other) in [(&first, &browser), (&browser, &first)] {
        let mut mixed = one.clone();
        mixed.cookies.insert(name(1), other.cookies[&name(1)].clone());
        assert_eq!(user(&mut mixed, &world, &policy).await, None);
    }
    assert!(user(&mut first.clone(), &world, &policy).await.is_some(), "whole, and older");
    assert!(user(&mut browser, &world, &policy).await.is_some());
}
