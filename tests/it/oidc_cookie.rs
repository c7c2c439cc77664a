//! Sessions that the browser carries (`oidc.session.store.cookie`), through the running proxy.

use std::sync::Arc;
use std::time::Duration;

use portcullis::demo::provider::{Document, Rotation};
use serde_json::Value;
use url::Url;

use crate::harness::client::Browser;
use crate::harness::eventually;
use crate::harness::idp::{LOGOUT, Plan, TELLS, World};

/// Life of the first tokens. The refresh grace is one second, so the login itself causes no refresh.
const LIFE: Duration = Duration::from_secs(4);

const STORE: &str = "oidc:\n  session:\n    store:\n      cookie: true";

fn plan() -> Plan {
    Plan::new().fixed(STORE).plugin("refreshGracePeriodSeconds: 1").plugin(TELLS)
}

/// Names of the session's cookies.
fn chunks(browser: &Browser) -> Vec<String> {
    let names = browser.cookies("localhost").into_keys();
    names.filter(|name| name.contains("_oidc_raczylo_session_")).collect()
}

async fn is_in(world: &World, browser: &Browser) -> bool {
    World::is_from_service(&browser.fetch(&world.at("/x")).await)
}

/// From the next tokens on.
fn has_groups(world: &World, number: usize) {
    world.idp.tamper(Some(Arc::new(move |document, members| {
        if matches!(document, Document::IdToken | Document::Userinfo) {
            let name = |n: usize| {
                Value::from(format!(
                    "{:032x}",
                    (n as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
                ))
            };
            members.insert("groups".to_owned(), (0..number).map(name).collect());
        }
    })));
}

#[tokio::test]
async fn a_login_needs_no_server_and_outlives_it() {
    let mut world = plan().start().await;
    let browser = world.browser_of("alice").await;
    assert!(!chunks(&browser).is_empty());
    assert!(!world.proxy.folder().join("state/sessions.sqlite").exists(), "nothing is written");
    for _ in 0..2 {
        let page = browser.fetch(&world.at("/x")).await;
        assert!(World::is_from_service(&page) && page.set_cookies().is_empty(), "{page:?}");
        assert_eq!(world.origin.last().get("x-forwarded-user"), Some("alice@example.test"));
        world.proxy.kill_and_restart().await;
    }
    assert!(is_in(&world, &browser).await);
    assert_eq!(world.grants("authorization_code"), 1);
}

#[tokio::test]
async fn the_service_sees_none_of_our_cookies() {
    let world = plan().start().await;
    has_groups(&world, 200);
    let browser = world.browser_of("alice").await;
    assert!(chunks(&browser).len() >= 2, "{:?}", chunks(&browser));
    browser.set_cookie("localhost", "theirs", "1");
    let stray = chunks(&browser)[0].replace("_0", "_17");
    browser.set_cookie("localhost", &stray, "0.AAAA");
    assert!(is_in(&world, &browser).await);
    assert_eq!(world.origin.last().get("cookie"), Some("theirs=1"));
    browser.fetch(&world.at("/public/x")).await;
    assert_eq!(world.origin.last().get("cookie"), Some("theirs=1"), "without a login either");
}

#[tokio::test]
async fn a_refresh_with_rotation_survives_a_restart_and_a_race() {
    let mut plan = plan();
    plan.provider.access_token_ttl = LIFE;
    plan.provider.rotation = Rotation::Strict;
    let mut world = plan.start().await;
    let browser = world.browser_of("alice").await;
    let old = browser.stolen();
    world.tokens_over(&browser.cookie_line("localhost")).await;
    world.idp.set_access_token_ttl(Duration::from_secs(8));
    let url = Url::parse(&world.at("/x")).unwrap();
    let tabs = (0..20).map(|_| browser.stolen()).collect::<Vec<_>>();
    let answers = tabs.iter().map(|tab| tab.request("GET", &url, &[], None));
    for page in futures_util::future::join_all(answers).await {
        assert!(World::is_from_service(&page), "{page:?}");
        assert!(!page.set_cookies().is_empty(), "each answer carries the newest");
        assert!(page.headers.get_all("cache-control").iter().any(|value| value == "no-store"));
    }
    assert_eq!(world.grants("refresh_token"), 1);
    // A tab that slept through it.
    assert!(is_in(&world, &old).await);
    assert_eq!(chunks(&old), chunks(&tabs[0]));
    assert_eq!(world.grants("refresh_token"), 1);
    world.proxy.kill_and_restart().await;
    assert!(is_in(&world, &tabs[0]).await);
    world.tokens_over(&tabs[0].cookie_line("localhost")).await;
    assert!(is_in(&world, &tabs[0]).await, "the rotated token came with the last answer");
    assert_eq!((world.grants("refresh_token"), world.grants("authorization_code")), (2, 1));
}

#[tokio::test]
async fn stale_chunks_go_with_the_groups() {
    let mut plan = plan();
    plan.provider.access_token_ttl = LIFE;
    let world = plan.start().await;
    has_groups(&world, 250);
    let browser = world.browser_of("alice").await;
    let many = chunks(&browser).len();
    has_groups(&world, 1);
    world.tokens_over(&browser.cookie_line("localhost")).await;
    let page = browser.fetch(&world.at("/x")).await;
    assert!(World::is_from_service(&page), "{page:?}");
    assert!(page.set_cookies().iter().all(|line| line.len() <= 4_000));
    assert!(chunks(&browser).len() < many, "{many} before, now {:?}", chunks(&browser));
    assert!(is_in(&world, &browser).await);
}

#[tokio::test]
async fn too_large_a_session_is_a_page_and_a_logged_cause() {
    let world = plan().start().await;
    has_groups(&world, 3_000);
    let browser = Browser::new();
    let page = browser.log_in(&world.at("/"), "alice").await;
    assert_eq!(page.status, 500, "{page:?}");
    assert!(page.text.contains("than your browser can keep"), "{page:?}");
    assert!(chunks(&browser).is_empty());
    eventually("the cause is logged", || async { world.proxy.log().contains("session_too_large") }).await;
    has_groups(&world, 1);
    assert!(World::is_from_service(&browser.log_in(&world.at("/"), "alice").await));
}

#[tokio::test]
async fn a_logout_takes_all_chunks_and_kept_ones_are_worth_nothing() {
    let world = plan().start().await;
    let browser = world.browser_of("alice").await;
    let kept = browser.stolen();
    let page = browser.step(&Url::parse(&world.at(LOGOUT)).unwrap()).await;
    assert!(page.location().query().unwrap().contains("id_token_hint="), "{page:?}");
    assert_eq!(chunks(&browser), Vec::<String>::new());
    assert_eq!(kept.fetch(&world.at("/x")).await.status, 401);
}

#[tokio::test]
async fn tampering_is_no_session_and_no_fault() {
    let world = plan().start().await;
    has_groups(&world, 200);
    let browser = world.browser_of("alice").await;
    let names = chunks(&browser);
    let values = browser.cookies("localhost");
    let tampered = |name: &str, value: &str| {
        let browser = browser.stolen();
        browser.set_cookie("localhost", name, value);
        browser
    };
    let (first, second) = (&values[&names[0]], &values[&names[1]]);
    let short = &second[..second.len() - 1];
    let swapped =
        tampered(&names[0], &format!("{}{}", &first[..first.rfind('.').unwrap() + 1], &second[2..]));
    swapped.set_cookie("localhost", &names[1], &format!("0.{}", &first[first.rfind('.').unwrap() + 1..]));
    for (what, browser) in [
        ("cut", tampered(&names[1], short)),
        ("garbage", tampered(&names[1], "garbage")),
        ("another generation", tampered(&names[1], &second.replacen("0.", "1.", 1))),
        ("a count", tampered(&names[0], &first.replacen(".0.", ".0.1000000000", 1))),
        ("swapped", swapped),
    ] {
        let page = browser.fetch(&world.at("/x")).await;
        assert_eq!(page.status, 401, "{what}: {page:?}");
        let page = browser.step(&Url::parse(&world.at("/x")).unwrap()).await;
        assert!([302, 303].contains(&page.status), "{what}: {page:?}");
    }
    let again = format!("{}={second}", names[1]);
    let url = Url::parse(&world.at("/x")).unwrap();
    assert_eq!(browser.request("GET", &url, &[("cookie", &again)], None).await.status, 302, "twice");
    assert!(is_in(&world, &browser).await);
}

#[tokio::test]
async fn it_is_warned_about_at_start() {
    let world = plan().start().await;
    assert!(world.proxy.log().contains("where refresh tokens rotate"), "{}", world.proxy.log());
    let quiet = plan().plugin("session: {refresh: false}").start().await;
    assert!(!quiet.proxy.log().contains("where refresh tokens rotate"));
    let one = Plan::new().plugin("session: {store: {cookie: true}}").start().await;
    assert!(one.proxy.log().contains("where refresh tokens rotate"), "chosen by one middleware");
    assert!(is_in(&one, &one.browser_of("alice").await).await);
    assert!(!one.proxy.folder().join("state/sessions.sqlite").exists());
}

#[test]
fn the_check_warns_about_it() {
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/cookie/portcullis.yml");
    let (passed, printed) = crate::harness::proxy::check(&example);
    assert!(passed && printed.contains("where refresh tokens rotate"), "{printed}");
}
