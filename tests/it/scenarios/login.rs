//! Many logins at once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use portcullis::demo::provider::Forgery;

use super::{Scale, Verdict, sessions};
use crate::harness::client::{Browser, Page};
use crate::harness::idp::World;
use crate::harness::load;

/// P12: a new key is fetched once for all logins that need it; ids of keys that do not exist cause hardly any fetch.
pub async fn p12_key_rotation(scale: Scale) -> Verdict {
    let count = scale.pick(50, 1_000);
    let world = scale.plan().start().await;
    let fetches = || world.idp.counters().get("GET /jwks");
    let before = fetches();
    world.idp.rotate_keys(true).unwrap();
    let logins = sessions(&world, "alice", count).await.len();
    let for_new = fetches() - before;
    world.idp.forge(Some(Forgery::UnknownKey));
    let start = Instant::now();
    let (url, browser) = (world.at("/"), Browser::new());
    let refused = join_all((0..count.min(200)).map(|_| async {
        let browser = browser.stranger();
        browser.log_in(&url, "bob").await
    }))
    .await;
    let noise = fetches() - before - for_new;
    let most = 1 + start.elapsed().as_secs() / 10;
    let none_in = refused.iter().all(|page| !World::is_from_service(page));
    Verdict::of("P12")
        .that(format!("{count} logins with a new key"), logins, logins == count)
        .exactly("fetches", 1, for_new)
        .that("unknown keys log nobody in", none_in, none_in)
        .that(format!("≤ {most} fetches"), noise, noise <= most)
}

/// P13: twenty tabs of one browser start a login at once, and each comes back to its own page. Then many strangers do,
/// and none of them costs memory.
pub async fn p13_login_storm(scale: Scale) -> Verdict {
    let world = scale.plan().start().await;
    let browser = Browser::new();
    let urls: Vec<String> = (0..20).map(|tab| world.at(&format!("/tab/{tab}"))).collect();
    let pages = join_all(urls.iter().map(|url| browser.open(url))).await;
    let back = join_all(pages.iter().map(|page| browser.submit(page, &[("user", "alice")]))).await;
    let own = |(page, url): &(&Page, &String)| World::is_from_service(page) && page.url.as_str() == *url;
    let arrived = back.iter().zip(&urls).filter(own).count();
    let count = scale.pick(200, 2_000);
    let strangers = vec![load::navigation("/x"); count];
    // The first round fills pools; what the second adds is the states'.
    load::burst(world.proxy.web(), &strangers).await;
    let before = load::resident(world.proxy.pid());
    let answers = load::burst(world.proxy.web(), &strangers).await;
    let grown = load::resident(world.proxy.pid()).saturating_sub(before);
    Verdict::of("P13")
        .that("20 tabs on their pages", arrived, arrived == 20)
        .that(format!("{count} × 302"), load::statuses(&answers), load::all_are(&answers, 302))
        .within("last", Duration::from_secs(20), load::last(&answers))
        .that("memory of their states ≤ 8 MiB", format!("{grown} KiB"), grown <= 8 * 1024)
}
