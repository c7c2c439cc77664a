//! Many logins at once.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use portcullis::demo::provider::Forgery;
use serde_json::json;
use url::Url;

use super::{Scale, Verdict, sessions};
use crate::harness::client::{Browser, Page};
use crate::harness::http1::Connection;
use crate::harness::idp::World;
use crate::harness::{load, soon};

/// P12: a new key is fetched once for all logins that need it; ids of keys that do not exist cause hardly any fetch, least
/// of all where strangers make them up.
pub async fn p12_key_rotation(scale: Scale) -> Verdict {
    let count = scale.pick(50, 1_000);
    let plan = scale.plan().plugin("enableBearerAuth: true").plugin(&format!("audience: {AUDIENCE}"));
    let world = plan.plugin("bearerFailureThreshold: 0").start().await;
    let fetches = || world.idp.counters().get("GET /jwks");
    let before = fetches();
    world.idp.rotate_keys(true).unwrap();
    let logins = sessions(&world, "alice", count).await.len();
    let for_new = fetches() - before;
    let (strangers, before, start) = (strangers(&world, count), fetches(), Instant::now());
    let answers = load::burst(world.proxy.web(), &strangers).await;
    let (noise, most) = (fetches() - before, 1 + start.elapsed().as_secs() / 10);
    let refused = answers.iter().all(|answer| matches!(answer.status, 401 | 503));
    world.idp.forge(Some(Forgery::UnknownKey));
    let (url, browser, before, start) = (world.at("/"), Browser::new(), fetches(), Instant::now());
    let pages = join_all((0..count.min(200)).map(|_| async {
        let browser = browser.stranger();
        browser.log_in(&url, "bob").await
    }))
    .await;
    let (of_logins, a_second) = (fetches() - before, 2 + start.elapsed().as_secs());
    let none_in = pages.iter().all(|page| !World::is_from_service(page));
    Verdict::of("P12")
        .that(format!("{count} logins with a new key"), logins, logins == count)
        .exactly("fetches", 1, for_new)
        .that(format!("{count} tokens of strangers: 401 or 503"), load::statuses(&answers), refused)
        .that(format!("≤ {most} fetches"), noise, noise <= most)
        .that("unknown keys log nobody in", none_in, none_in)
        .that(format!("≤ {a_second} fetches"), of_logins, of_logins <= a_second)
}

/// Requests with access tokens that lack nothing but a key.
fn strangers(world: &World, count: usize) -> Vec<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let claims = json!({
        "iss": world.idp.issuer(), "aud": AUDIENCE, "sub": "worker", "client_id": "machine", "jti": "1",
        "iat": now, "exp": now + 300, "scope": "read",
    });
    let request = || {
        let token = world.idp.sign("at+jwt", claims.as_object().unwrap(), Some(Forgery::UnknownKey)).unwrap();
        format!(
            "GET /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        )
    };
    (0..count).map(|_| request()).collect()
}

/// P13: twenty tabs of one browser, and many strangers, none of whom costs memory. A browser has eight logins under way
/// at most: tabs that all begin before the first is answered get a cookie each and come back to their own pages; of those
/// that see each other's cookies the newest eight do, and the others end on a page that says so, from where one step
/// leads on.
pub async fn p13_login_storm(scale: Scale) -> Verdict {
    let world = scale.plan().start().await;
    let at_once = tabs_at_once(&world).await;
    let (arrived, explained, then) = tabs_in_turn(&world).await;
    let count = scale.pick(200, 2_000);
    let strangers = vec![load::navigation("/x"); count];
    // The first rounds fill pools: how many connections are served at once is a matter of luck. What the last adds is the
    // states'.
    for _ in 0..4 {
        load::burst(world.proxy.web(), &strangers).await;
    }
    let before = load::resident(world.proxy.pid());
    let answers = load::burst(world.proxy.web(), &strangers).await;
    let grown = load::resident(world.proxy.pid()).saturating_sub(before);
    Verdict::of("P13")
        .exactly("tabs at once, back on their pages", TABS, at_once)
        .exactly("of as many one after another, back on their pages", 8, arrived)
        .exactly("the others on a page that explains", TABS - 8, explained)
        .exactly("and then served", TABS - 8, then)
        .that(format!("{count} × 302"), load::statuses(&answers), load::all_are(&answers, 302))
        .within("last", Duration::from_secs(20), load::last(&answers))
        .that("memory of their states ≤ 8 MiB", format!("{grown} KiB"), grown <= 8 * 1024)
}

const TABS: u64 = 20;

const AUDIENCE: &str = "https://api.example.test";

fn counted(pages: impl Iterator<Item = bool>) -> u64 {
    pages.map(u64::from).sum()
}

fn is_back(world: &World, page: &Page, tab: u64) -> bool {
    World::is_from_service(page) && page.url.as_str() == world.at(&format!("/tab/{tab}"))
}

/// Each asks before it knows of another's attempt, as if all had asked before the first was answered.
async fn tabs_at_once(world: &World) -> u64 {
    let browser = Browser::new();
    let ask = async |tab: u64| {
        let alone = browser.stranger();
        let page = alone.step(&Url::parse(&world.at(&format!("/tab/{tab}"))).unwrap()).await;
        alone
            .cookies("localhost")
            .iter()
            .for_each(|(name, value)| browser.set_cookie("localhost", name, value));
        page
    };
    let asked = join_all((0..TABS).map(ask)).await;
    let back = asked.into_iter().map(async |page| {
        let page = browser.follow(page).await;
        // Whose turn is late is known at the provider by then, and back already.
        let asked = page.text.contains("name=\"user\"");
        if asked { browser.submit(&page, &[("user", "alice")]).await } else { page }
    });
    let back = join_all(back).await;
    counted((0..TABS).zip(&back).map(|(tab, page)| is_back(world, page, tab)))
}

/// How many came back to their pages, were told why not, and were served when they asked again.
async fn tabs_in_turn(world: &World) -> (u64, u64, u64) {
    let browser = Browser::new();
    let mut forms = Vec::new();
    for tab in 0..TABS {
        forms.push(browser.open(&world.at(&format!("/tab/{tab}"))).await);
    }
    let mut back = Vec::new();
    for form in &forms {
        back.push(browser.submit(form, &[("user", "alice")]).await);
    }
    let arrived = counted((0..TABS).zip(&back).map(|(tab, page)| is_back(world, page, tab)));
    let explains = |page: &&Page| {
        page.status == 400
            && page.text.contains("no login in progress that fits")
            && page.text.contains("href=\"/\"")
    };
    let explained = counted(back.iter().map(|page| explains(&page)));
    let mut served = 0;
    for _ in back.iter().filter(explains) {
        served += u64::from(World::is_from_service(&browser.open(&world.at("/")).await));
    }
    (arrived, explained, served)
}

/// N87 of `docs/attacks.md`: navigations without a session, none of which comes back, leave nothing behind, and a login
/// works afterwards.
pub async fn n87_begun_logins(scale: Scale) -> Verdict {
    let count = scale.pick(12_000, 1_000_000);
    let world = scale.plan().quiet().start().await;
    // The first ones fill pools.
    navigate(&world, scale.pick(4_000, 100_000)).await;
    let before = load::resident(world.proxy.pid());
    let start = Instant::now();
    let redirected = navigate(&world, count).await;
    let took = start.elapsed();
    let grown = load::resident(world.proxy.pid()).saturating_sub(before);
    let page = world.browser_of("alice").await.fetch(&world.at("/x")).await;
    let served = World::is_from_service(&page);
    Verdict::of("N87")
        .that(format!("{count} × 302"), format!("{redirected} in {took:.1?}"), redirected == count)
        .that("memory grows ≤ 3 MiB", format!("{grown} KiB of {before}"), grown <= 3 * 1024)
        .that("a login works afterwards", served, served)
}

/// How many of `count` navigations, sixteen at a time, are sent to the provider.
async fn navigate(world: &World, count: usize) -> usize {
    let text = load::navigation("/deep/link?a=1").replace("Connection: close\r\n", "");
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (text, address) = (text.clone(), world.proxy.web());
        clients.spawn(async move {
            let (mut connection, mut redirected) = (Connection::open(address).await, 0);
            for _ in 0..count / 16 {
                connection.send(&text).await;
                let answer = soon("a redirect", connection.response_to(false)).await;
                redirected += usize::from(answer.is_some_and(|answer| answer.status() == 302));
            }
            redirected
        });
    }
    clients.join_all().await.into_iter().sum()
}
