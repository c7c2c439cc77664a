//! The links to the provider and to Redis are slow, silent or cut: nobody is logged out, nobody else waits, and the log
//! has one cause for each failure.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::demo::provider::{Answer, Document, Endpoint, Fault, ProviderOptions, Rotation};
use serde_json::json;

use crate::harness::client::Browser;
use crate::harness::idp::{Plan, TELLS, World};
use crate::harness::link::{Link, Weather};
use crate::harness::redis::{Servers, available};
use crate::harness::{eventually, within};

/// Life of the first tokens.
const LIFE: Duration = Duration::from_secs(4);

/// An answer from memory on a loaded machine.
const AT_ONCE: Duration = Duration::from_secs(1);

fn short_lived(plugin: &str) -> Plan {
    let mut plan = Plan::new().plugin("refreshGracePeriodSeconds: 1").plugin(TELLS).plugin(plugin);
    plan.routers = "    open: {rule: PathPrefix(`/open`), service: s, priority: 99}".to_owned();
    plan.provider =
        ProviderOptions { access_token_ttl: LIFE, rotation: Rotation::Strict, ..ProviderOptions::default() };
    plan
}

/// Lets the first tokens of a browser's session end; those to come live long.
async fn tokens_end(world: &World, browser: &Browser) {
    world.idp.set_access_token_ttl(Duration::from_secs(600));
    world.tokens_over(&browser.cookie_line("localhost")).await;
}

async fn served_at_once(world: &World, browser: &Browser, path: &str) {
    within(path, AT_ONCE, async || {
        let start = Instant::now();
        let page = browser.fetch(&world.at(path)).await;
        assert!(World::is_from_service(&page), "{page:?}");
        start.elapsed()
    })
    .await;
}

/// Lines of the log about refreshes that failed, with a field of this name.
fn failures(world: &World, field: &str) -> Vec<String> {
    let log = world.proxy.log();
    let lines = log.lines().filter(|line| line.contains("refresh failed") && line.contains(field));
    lines.map(str::to_owned).collect()
}

/// A world whose provider has its token endpoint at the far end of a link.
async fn behind_a_link() -> (World, Link, Browser) {
    let mut world = short_lived("").start().await;
    let provider: SocketAddr = world.idp.issuer().trim_start_matches("http://").parse().unwrap();
    let link = Link::to(provider).await;
    let endpoint = format!("http://{}/token", link.address);
    world.idp.tamper(Some(Arc::new(move |document, members| {
        if document == Document::Discovery {
            members.insert("token_endpoint".to_owned(), json!(endpoint));
        }
    })));
    // The metadata are read again.
    world.proxy.kill_and_restart().await;
    world.login_works().await;
    let browser = world.browser_of("alice").await;
    (world, link, browser)
}

#[tokio::test]
async fn a_token_answer_that_is_cut_or_trickles_logs_nobody_out_and_delays_nobody_else() {
    let weathers = [Weather::Cut(40), Weather::Trickle(1, Duration::from_millis(100)), Weather::Hole];
    let worlds = weathers.map(|weather| {
        Box::pin(async move {
            let (world, link, browser) = behind_a_link().await;
            let other = world.browser_of("bob").await;
            tokens_end(&world, &browser).await;
            tokens_end(&world, &other).await;
            // Bob's tokens are new; alice's are not.
            served_soon(&world, &other).await;
            link.set(weather);
            let start = Instant::now();
            let waiting = tokio::spawn({
                let (browser, url) = (browser.clone(), world.at("/x"));
                async move { browser.fetch(&url).await }
            });
            while !waiting.is_finished() {
                served_at_once(&world, &other, "/x").await;
                served_at_once(&world, &other, "/open/x").await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            let page = waiting.await.unwrap();
            assert_eq!(page.status, 503, "{weather:?}: {page:?}");
            assert!(page.header("retry-after").is_some(), "{page:?}");
            assert!(start.elapsed() < Duration::from_secs(12), "{weather:?}: {:?}", start.elapsed());
            let reasons = failures(&world, "reason");
            assert!(reasons.len() == 1 && reasons[0].contains("no answer"), "{weather:?}: {reasons:?}");
            assert_eq!(world.grants("authorization_code"), 2, "{weather:?}: nobody logged in again");
        })
    });
    futures_util::future::join_all(worlds).await;
}

async fn served_soon(world: &World, browser: &Browser) {
    eventually("the tokens are new", || async {
        World::is_from_service(&browser.fetch(&world.at("/x")).await)
    })
    .await;
}

#[tokio::test]
async fn each_kind_of_refusal_is_bounded_and_has_one_cause_in_the_log() {
    let page = Answer::Body("text/html".to_owned(), "<!doctype html><title>Sign in</title>".into());
    let answers = [
        (Answer::Status(500), "HTTP status 500", 5),
        (Answer::RetryAfter(429, 30), "HTTP status 429", 30),
        (page, "neither tokens nor an error", 5),
    ];
    let refusals = answers.map(|(answer, cause, pause)| {
        Box::pin(async move {
            let world = short_lived("").start().await;
            let browser = world.browser_of("alice").await;
            tokens_end(&world, &browser).await;
            world.idp.add_fault(Fault::at(Endpoint::Token, answer).grant("refresh_token"));
            let page = browser.fetch(&world.at("/x")).await;
            assert_eq!(
                (page.status, page.header("retry-after")),
                (503, Some(pause.to_string().as_str())),
                "{page:?}"
            );
            let again = browser.fetch(&world.at("/x")).await;
            assert_eq!(again.status, 503);
            assert_eq!(world.grants("refresh_token"), 1, "it is not asked again in the pause");
            let causes = failures(&world, "cause");
            assert!(causes.len() == 1 && causes[0].contains(cause), "{causes:?}");
            assert_eq!(world.grants("authorization_code"), 1, "nobody logged in again");
        })
    });
    futures_util::future::join_all(refusals).await;
}

/// A world with its sessions in a Redis at the far end of a link.
async fn redis_behind_a_link() -> (World, Link, Servers) {
    let redis = Servers::single(&[]).await;
    let link = Link::to(SocketAddr::from(([127, 0, 0, 1], redis.port(0)))).await;
    let store = format!(
        "redis:\n  enabled: true\n  address: {}\n  connectTimeout: 1\n  readTimeout: 1\n  writeTimeout: 1",
        link.address
    );
    (short_lived(&store).start().await, link, redis)
}

#[tokio::test]
async fn a_slow_link_to_redis_delays_only_what_needs_redis() {
    if !available("a_slow_link_to_redis_delays_only_what_needs_redis") {
        return;
    }
    let (world, link, _redis) = redis_behind_a_link().await;
    let browser = world.browser_of("alice").await;
    link.set(Weather::Slow(Duration::from_millis(200)));
    served_at_once(&world, &browser, "/x").await;
    tokens_end(&world, &browser).await;
    let url = world.at("/x");
    let pages = futures_util::future::join_all((0..20).map(|_| browser.fetch(&url))).await;
    assert!(pages.iter().all(World::is_from_service), "{pages:?}");
    assert_eq!(world.grants("refresh_token"), 1);
    served_at_once(&world, &browser, "/x").await;
    assert_eq!(world.grants("authorization_code"), 1);
}

#[tokio::test]
async fn a_silent_or_cut_link_to_redis_ends_no_session() {
    if !available("a_silent_or_cut_link_to_redis_ends_no_session") {
        return;
    }
    for weather in [Weather::Hole, Weather::Cut(2)] {
        let (world, link, _redis) = redis_behind_a_link().await;
        let browser = world.browser_of("alice").await;
        link.set(weather);
        eventually("the outage is noticed", || async {
            world.proxy.metric("portcullis_oidc_session_store_errors_total", &[]).await >= 1.0
        })
        .await;
        served_at_once(&world, &browser, "/x").await;
        served_at_once(&world, &browser, "/open/x").await;
        tokens_end(&world, &browser).await;
        // Another machine might use the same refresh token: it is not used until the store is back.
        let start = Instant::now();
        let page = browser.fetch(&world.at("/x")).await;
        assert_eq!(page.status, 503, "{weather:?}: {page:?}");
        assert!(page.header("retry-after").is_some(), "{page:?}");
        assert!(start.elapsed() < Duration::from_secs(4), "{weather:?}: {:?}", start.elapsed());
        assert_eq!(world.grants("refresh_token"), 0, "{weather:?}");
        served_at_once(&world, &browser, "/open/x").await;
        link.set(Weather::Fine);
        served_soon(&world, &browser).await;
        assert_eq!(world.grants("refresh_token"), 1, "{weather:?}");
        assert_eq!(world.grants("authorization_code"), 1, "{weather:?}: nobody logged in again");
    }
}
