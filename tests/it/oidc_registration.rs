//! A client that registers itself at the provider.

use std::fs;

use crate::harness::client::Browser;
use crate::harness::eventually;
use crate::harness::idp::{LOGOUT, Plan, REGISTRATION_TOKEN, World};
use crate::harness::proxy::Setup;
use crate::harness::redis::{Servers, available};

fn registrations(world: &World) -> u64 {
    world.idp.counters().get("register:ok")
}

async fn offers_login(base: String) -> bool {
    let url = url::Url::parse(&base).unwrap();
    [302, 303].contains(&Browser::new().step(&url).await.status)
}

#[tokio::test]
async fn a_client_registers_itself_and_a_restart_keeps_it() {
    let mut world = Plan::new().registering(&[]).start().await;
    let browser = world.browser_of("alice").await;
    assert_eq!(world.origin.last().get("x-forwarded-user"), Some("alice@example.test"));
    assert_eq!(registrations(&world), 1);

    world.proxy.kill_and_restart().await;
    assert!(World::is_from_service(&browser.fetch(&world.at("/x")).await), "the session is there");
    eventually("a login is offered", || offers_login(world.proxy.url())).await;
    world.browser_of("bob").await;
    assert_eq!(registrations(&world), 1);

    // The provider was told where a logout lands.
    let logout = url::Url::parse(&world.at(LOGOUT)).unwrap();
    let page = browser.request("POST", &logout, &[("sec-fetch-site", "same-origin")], Some(&[])).await;
    let landed = browser.step(&page.location()).await;
    assert_eq!(landed.location().path(), "/public/bye", "{landed:?}");

    let clients = world.idp.clients();
    let client = clients.last().unwrap();
    let log = world.proxy.log();
    assert!(log.contains(&client.id), "the identifier is logged");
    assert!(!log.contains(&client.secret) && !log.contains(REGISTRATION_TOKEN), "secrets are not");
    let store = fs::read(world.proxy.folder().join("state/sessions.sqlite")).unwrap();
    for secret in [&client.secret, &client.id] {
        assert!(!store.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "the row is sealed");
    }
}

#[tokio::test]
async fn processes_that_share_a_store_register_once() {
    if !available("processes_that_share_a_store_register_once") {
        return;
    }
    let redis = Servers::single(&[]).await;
    let other = Setup::new();
    let plan = Plan::new().registering(&[other.url()]).plugin(&format!(
        "redis:\n  enabled: true\n  address: 127.0.0.1:{}\n  keyPrefix: \"it:\"",
        redis.port(0)
    ));
    let folder = plan.folder().to_owned();
    let mut world = plan.start_unready().await;
    world.proxy.ready().await;
    let dynamic = fs::read_to_string(folder.join("dynamic.yml")).unwrap();
    let other = other.dynamic(&dynamic).start().await;
    for url in [world.proxy.url(), other.url()] {
        eventually("a login is offered", || offers_login(url.clone())).await;
    }
    let browser = world.browser_of("alice").await;
    assert!(World::is_from_service(&browser.fetch(&format!("{}/x", other.url())).await));
    let page = Browser::new().log_in(&format!("{}/y", other.url()), "bob").await;
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(registrations(&world), 1);
}

#[tokio::test]
async fn a_provider_that_is_down_at_the_start_gets_its_registration_later() {
    let mut plan = Plan::new().registering(&[]);
    plan.provider_down = true;
    let world = plan.start().await;
    let page = Browser::new().step(&url::Url::parse(&world.at("/")).unwrap()).await;
    assert_eq!((page.status, page.header("retry-after")), (503, Some("5")), "{page:?}");
    world.idp.go_online().await.unwrap();
    eventually("a login is offered", || offers_login(world.proxy.url())).await;
    world.browser_of("alice").await;
    assert_eq!(registrations(&world), 1);
}

#[tokio::test]
async fn a_provider_without_registration_is_named_in_the_log() {
    let mut plan = Plan::new().registering(&[]);
    plan.provider.registration = None;
    let mut world = plan.start_unready().await;
    world.proxy.ready().await;
    eventually("the reason is told", || async { world.proxy.log().contains("registration_endpoint") }).await;
    let page = Browser::new().step(&url::Url::parse(&world.at("/")).unwrap()).await;
    assert_eq!(page.status, 503, "{page:?}");
    let page = Browser::new().fetch(&world.at("/public/x")).await;
    assert!(World::is_from_service(&page), "the rest is served");
}
