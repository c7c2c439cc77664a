//! What happens when the access token grows old: nobody notices, and the provider is asked once. Many requests at once
//! are in `storm.rs`.

use std::sync::Arc;
use std::time::Duration;

use portcullis::demo::provider::{Answer, Document, Endpoint, Fault, ProviderOptions, Quirks, Rotation};
use serde_json::json;

use crate::harness::client::Browser;
use crate::harness::idp::{Plan, TELLS, World};
use crate::harness::{eventually, soon, until};

/// Life of the first tokens. The refresh grace is one second, so the login itself causes no refresh.
const LIFE: Duration = Duration::from_secs(4);

fn short_lived(quirks: Quirks, rotation: Rotation) -> Plan {
    let mut plan = Plan::new().plugin("refreshGracePeriodSeconds: 1").plugin(TELLS);
    plan.provider =
        ProviderOptions { access_token_ttl: LIFE, quirks, rotation, ..ProviderOptions::default() };
    plan
}

/// A world in which `alice`'s tokens are over; those to come live long.
async fn expired_with(quirks: Quirks, rotation: Rotation) -> (World, Browser) {
    let world = short_lived(quirks, rotation).start().await;
    let browser = world.browser_of("alice").await;
    tokens_end(&world, &browser).await;
    assert_eq!(world.grants("refresh_token"), 0);
    (world, browser)
}

/// Lets the tokens of a browser's session end; those to come live long.
async fn tokens_end(world: &World, browser: &Browser) {
    world.idp.set_access_token_ttl(Duration::from_secs(600));
    world.tokens_over(&browser.cookie_line("localhost")).await;
}

async fn expired() -> (World, Browser) {
    expired_with(Quirks::default(), Rotation::Strict).await
}

fn refresh_fault(answer: Answer) -> Fault {
    Fault::at(Endpoint::Token, answer).grant("refresh_token")
}

/// With a grace period longer than their life a refresh of the tokens is due at half of it.
async fn due_at_half_life() -> World {
    let mut plan = Plan::new().plugin("refreshGracePeriodSeconds: 3600").plugin(TELLS);
    plan.provider.access_token_ttl = 2 * HALF;
    plan.start().await
}

/// Long for a login on a machine that does other things, too.
const HALF: Duration = Duration::from_secs(6);

async fn half_life(world: &World, browser: &Browser) {
    let end = world.tokens_end_at(&browser.cookie_line("localhost")).await.expect("a session");
    until(end - HALF + Duration::from_secs(1)).await;
}

#[tokio::test]
async fn before_the_end_the_refresh_is_in_the_background() {
    let world = due_at_half_life().await;
    let (fault, gate) = refresh_fault(Answer::Genuine).gate();
    world.idp.add_fault(fault);
    let browser = world.browser_of("alice").await;
    assert!(World::is_from_service(&browser.fetch(&world.at("/x")).await));
    assert_eq!(world.grants("refresh_token"), 0, "not right after the login");
    half_life(&world, &browser).await;
    for _ in 0..10 {
        assert!(World::is_from_service(&browser.fetch(&world.at("/x")).await));
    }
    soon("the refresh", world.idp.counted(|counters| counters.get("grant:refresh_token") == 1)).await;
    assert!(World::is_from_service(&browser.fetch(&world.at("/x")).await), "it waits for the refresh");
    gate.open();
    soon("its end", world.idp.counted(|counters| counters.get("grant:refresh_token:ok") == 1)).await;
    assert_eq!(world.grants("refresh_token"), 1);
}

#[tokio::test]
async fn sessions_do_not_wait_for_each_other() {
    let world = short_lived(Quirks::default(), Rotation::Strict).start().await;
    let (alice, bob) = (world.browser_of("alice").await, world.browser_of("bob").await);
    tokens_end(&world, &alice).await;
    tokens_end(&world, &bob).await;
    let (fault, gate) = refresh_fault(Answer::Genuine).gate();
    world.idp.add_fault(fault.times(1));
    let url = world.at("/x");
    let held = tokio::spawn(async move { alice.fetch(&url).await });
    soon("alice's grant", world.idp.counted(|counters| counters.get("grant:refresh_token") == 1)).await;
    assert!(World::is_from_service(&bob.fetch(&world.at("/x")).await));
    gate.open();
    assert!(World::is_from_service(&soon("alice", held).await.unwrap()));
}

/// Many that end together: each goes on with its own tokens, and as the same person.
#[tokio::test]
async fn n72_sessions_that_are_refreshed_together_keep_their_own_tokens() {
    let line = "headers: [{name: X-Token, value: \"{{`{{.AccessToken}}`}}\"}]";
    let world = short_lived(Quirks::default(), Rotation::Strict).plugin(line).start().await;
    let mut browsers = Vec::new();
    for user in ["alice", "bob", "nomail"].iter().cycle().take(24) {
        browsers.push((*user, world.browser_of(user).await));
    }
    for (_, browser) in &browsers {
        tokens_end(&world, browser).await;
    }
    let before = world.grants("refresh_token");
    let urls: Vec<String> =
        (0..browsers.len()).map(|number| world.at(&format!("/together/{number}"))).collect();
    let pages = browsers.iter().zip(&urls).map(|((_, browser), url)| browser.fetch(url));
    assert!(futures_util::future::join_all(pages).await.iter().all(World::is_from_service));
    assert_eq!(world.grants("refresh_token") - before, 24);
    let seen = world.origin.requests();
    let mut tokens = std::collections::BTreeSet::new();
    for (number, (user, _)) in browsers.iter().enumerate() {
        let name = if *user == "nomail" { "nomail".to_owned() } else { format!("{user}@example.test") };
        let one = seen.iter().find(|seen| seen.target == format!("/together/{number}")).unwrap();
        assert_eq!(one.get("x-forwarded-user"), Some(name.as_str()), "{number}");
        tokens.insert(one.get("x-token").unwrap().to_owned());
    }
    assert_eq!(tokens.len(), 24, "two sessions have one token");
}

#[tokio::test]
async fn an_outage_logs_nobody_out() {
    let answers = [Answer::Status(503), Answer::Html(502), Answer::Html(403), Answer::Drop];
    let outages = answers.map(|answer| {
        Box::pin(async move {
            let (world, browser) = expired().await;
            world.idp.add_fault(refresh_fault(answer.clone()));
            let page = browser.fetch(&world.at("/x")).await;
            assert_eq!(page.status, 503, "{answer:?}: {page:?}");
            assert!(page.header("retry-after").is_some(), "{page:?}");
            let page = browser.step(&url::Url::parse(&world.at("/x")).unwrap()).await;
            assert_eq!(page.status, 503, "{answer:?}: a navigation is not sent to log in either");
            world.idp.clear_faults();
            eventually("the session works again", || async {
                World::is_from_service(&browser.fetch(&world.at("/x")).await)
            })
            .await;
            assert_eq!(world.grants("authorization_code"), 1, "nobody logged in again");
        })
    });
    futures_util::future::join_all(outages).await;
}

#[tokio::test]
async fn an_outage_before_the_end_is_not_noticed_at_all() {
    let world = due_at_half_life().await;
    world.idp.add_fault(refresh_fault(Answer::Status(500)));
    let browser = world.browser_of("alice").await;
    half_life(&world, &browser).await;
    for _ in 0..20 {
        assert!(World::is_from_service(&browser.fetch(&world.at("/x")).await));
    }
    soon("an attempt", world.idp.counted(|counters| counters.get("grant:refresh_token") > 0)).await;
    assert!(world.grants("refresh_token") <= 2, "it keeps hammering: {}", world.grants("refresh_token"));
}

#[tokio::test]
async fn a_refused_grant_ends_the_session_once() {
    let (world, browser) = expired().await;
    world.idp.end_all_grants();
    let other = browser.clone();
    assert_eq!(browser.fetch(&world.at("/x")).await.status, 401);
    assert_eq!(other.step(&url::Url::parse(&world.at("/x")).unwrap()).await.status, 302);
    assert_eq!(world.grants("refresh_token"), 1);
    assert!(World::is_from_service(&browser.log_in(&world.at("/x"), "alice").await));
}

/// The provider took the token and its answer was lost: asking again with it would look like theft.
#[tokio::test]
async fn a_lost_answer_is_not_asked_for_again_at_once() {
    let (world, browser) = expired().await;
    world.idp.add_fault(refresh_fault(Answer::DropAfter).times(1));
    let page = browser.fetch(&world.at("/x")).await;
    assert_eq!(page.status, 503, "{page:?}");
    // Nor by those who come at once.
    for _ in 0..5 {
        assert_eq!(browser.fetch(&world.at("/x")).await.status, 503);
    }
    assert_eq!(world.grants("refresh_token"), 1);
}

#[tokio::test]
async fn a_refresh_cannot_turn_one_person_into_another() {
    let (world, browser) = expired().await;
    world.idp.tamper(Some(Arc::new(|document, members| {
        if document == Document::IdToken {
            members.insert("sub".to_owned(), json!("bob"));
            members.insert("email".to_owned(), json!("bob@example.test"));
        }
    })));
    assert_eq!(browser.fetch(&world.at("/x")).await.status, 401);
    assert!(
        world.origin.requests().iter().all(|seen| seen.get("x-forwarded-user") != Some("bob@example.test"))
    );
}

#[tokio::test]
async fn what_changed_at_the_provider_shows_after_the_refresh() {
    let (world, browser) = expired().await;
    world.idp.tamper(Some(Arc::new(|document, members| {
        if matches!(document, Document::IdToken | Document::Userinfo) {
            members.insert("groups".to_owned(), json!(["guests"]));
        }
    })));
    assert_eq!(world.origin.last().get("x-user-groups"), Some("dev/backend,ops"));
    assert!(World::is_from_service(&browser.fetch(&world.at("/x")).await));
    assert_eq!(world.origin.last().get("x-user-groups"), Some("guests"));
    assert_eq!(world.origin.last().get("x-forwarded-user"), Some("alice@example.test"));
}

#[tokio::test]
async fn an_answer_without_id_token_or_new_refresh_token_will_do() {
    let quirks = Quirks { no_id_token_on_refresh: true, ..Quirks::default() };
    let (world, browser) = expired_with(quirks, Rotation::Off).await;
    assert!(World::is_from_service(&browser.fetch(&world.at("/x")).await));
    assert_eq!(world.origin.last().get("x-forwarded-user"), Some("alice@example.test"));
    assert_eq!(world.origin.last().get("x-user-groups"), Some("dev/backend,ops"));
    assert_eq!(world.grants("refresh_token"), 1);
}

#[tokio::test]
async fn without_a_refresh_token_the_session_ends_with_the_token() {
    let quirks = Quirks { no_refresh_token: true, ..Quirks::default() };
    let (world, browser) = expired_with(quirks, Rotation::Strict).await;
    assert_eq!(browser.fetch(&world.at("/x")).await.status, 401);
    assert_eq!(world.grants("refresh_token"), 0);
}

#[tokio::test]
async fn a_login_survives_a_kill_and_is_refreshed_afterwards() {
    let world = short_lived(Quirks::default(), Rotation::Strict).start().await;
    let browser = world.browser_of("alice").await;
    let mut world = world;
    world.proxy.kill_and_restart().await;
    let page = browser.fetch(&world.at("/after")).await;
    assert!(World::is_from_service(&page), "{page:?}");
    assert_eq!(world.origin.last().get("x-forwarded-user"), Some("alice@example.test"));
    tokens_end(&world, &browser).await;
    assert!(World::is_from_service(&browser.fetch(&world.at("/later")).await));
    // And the tokens of the refresh survive as well.
    world.proxy.kill_and_restart().await;
    assert!(World::is_from_service(&browser.fetch(&world.at("/latest")).await));
    assert_eq!(world.grants("authorization_code"), 1);
    assert!(world.grants("refresh_token") <= 2);
}

#[tokio::test]
async fn outcomes_are_counted() {
    let (world, browser) = expired().await;
    assert!(World::is_from_service(&browser.fetch(&world.at("/x")).await));
    assert!(world.proxy.metric("portcullis_oidc_logins_total", &[]).await >= 1.0);
    assert!(world.proxy.metric("portcullis_oidc_refreshes_total", &["outcome=\"renewed\""]).await >= 1.0);
}
