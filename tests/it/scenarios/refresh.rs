//! Sessions whose tokens have ended, and many requests that find out at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::demo::provider::{Answer, Document, Endpoint, Fault};
use serde_json::json;

use super::{Scale, Verdict, refused, sessions, tokens_end, tokens_over};
use crate::harness::idp::{self, World};
use crate::harness::load::{self, Burst};
use crate::harness::probe::{Probed, Probes};
use crate::harness::soon;

fn slow_refresh(delay: Duration) -> Fault {
    Fault::at(Endpoint::Token, Answer::Genuine).grant("refresh_token").delay(delay)
}

/// P3: 500 requests on one expired session make one grant. P4: those that come later with the same cookie make none.
pub async fn p3_p4_one_expired_session(scale: Scale) -> Verdict {
    let mut verdict = Verdict::of("P3, P4");
    for delay in scale.pick(&[300][..], &[300, 2_000]) {
        verdict = one_expired_session(scale, Duration::from_millis(*delay), verdict).await;
    }
    verdict
}

async fn one_expired_session(scale: Scale, delay: Duration, verdict: Verdict) -> Verdict {
    let world = scale.short_lived().start().await;
    let cookie = sessions(&world, "alice", 1).await.remove(0);
    tokens_end(&world, std::slice::from_ref(&cookie)).await;
    world.idp.add_fault(slow_refresh(delay));
    let answers = load::burst(world.proxy.web(), &vec![load::fetch("/x", &cookie); 500]).await;
    let limit = delay + scale.pick(Duration::from_secs(5), Duration::from_millis(100));
    let mut verdict = verdict
        .that(format!("500 × 200 at {delay:?}"), load::statuses(&answers), load::all_are(&answers, 200))
        .exactly("grants", 1, world.grants("refresh_token"))
        .exactly("new cookies", 0, answers.iter().filter(|answer| answer.sets_cookie).map(|_| 1).sum())
        .within("last", limit, load::last(&answers));
    let start = Instant::now();
    for at in scale.pick(&[150][..], &[150, 5_000, 55_000]) {
        tokio::time::sleep(Duration::from_millis(*at).saturating_sub(start.elapsed())).await;
        let late = load::burst(world.proxy.web(), &vec![load::fetch("/late", &cookie); 200]).await;
        verdict =
            verdict.that(format!("200 × 200 at +{at} ms"), load::statuses(&late), load::all_are(&late, 200));
    }
    verdict.exactly("grants in all", 1, world.grants("refresh_token")).exactly(
        "reused tokens",
        0,
        refused(&world),
    )
}

/// Asks the route without OIDC.
fn health(world: &World, pace: Duration) -> Probes {
    Probes::start(world.proxy.web(), world.origin.address, &load::fetch("/open/health", ""), pace)
}

/// What a mass expiry came to.
struct Storm {
    answers: Vec<load::Answer>,
    grants: u64,
    refused: u64,
    logins: u64,
    other_route: Probed,
}

/// All sessions end, three requests for each come at once, and the provider takes its time.
async fn mass_expiry(scale: Scale, count: usize, reload: bool, delay: Duration) -> Storm {
    let world = scale.short_lived().start().await;
    let cookies = sessions(&world, "alice", count).await;
    let logins = world.grants("authorization_code");
    let before = tokens_end(&world, &cookies).await;
    world.idp.add_fault(slow_refresh(delay));
    let probe = health(&world, Duration::from_millis(50));
    let three = |cookie: &String| std::iter::repeat_n(load::fetch("/x", cookie), 3);
    let requests: Vec<String> = cookies.iter().flat_map(three).collect();
    // Large: within the second in which the sessions end. Small: all at once.
    let window = scale.pick(Duration::ZERO, Duration::from_secs(1));
    let burst = async { Burst::send_within(world.proxy.web(), &requests, window).await.answers().await };
    let answers = if reload {
        tokio::select! {
            answers = burst => answers,
            () = keep_reloading(&world, scale.pick(Duration::from_millis(200), Duration::from_secs(1))) => Vec::new(),
        }
    } else {
        burst.await
    };
    Storm {
        answers,
        grants: world.grants("refresh_token") - before,
        refused: refused(&world),
        logins: world.grants("authorization_code") - logins,
        other_route: probe.stop().await,
    }
}

/// Changes the configuration again and again; never ends.
async fn keep_reloading(world: &World, pause: Duration) {
    for round in 1_u32.. {
        let routers =
            format!("    open: {{rule: PathPrefix(`/open`), service: s, priority: {}}}", 99 + round);
        let lines = "refreshGracePeriodSeconds: 1";
        world.proxy.change(&idp::dynamic(&world.idp.issuer(), &world.origin, lines, &routers));
        tokio::time::sleep(pause).await;
    }
}

impl Storm {
    fn judge(&self, scale: Scale, verdict: Verdict, count: usize, other: Duration) -> Verdict {
        let sessions = u64::try_from(count).unwrap();
        verdict
            .that(
                format!("{} × 200", count * 3),
                load::statuses(&self.answers),
                load::all_are(&self.answers, 200),
            )
            .exactly("grants", sessions, self.grants)
            .exactly("refused", 0, self.refused)
            .exactly("new logins", 0, self.logins)
            .within("last", Duration::from_secs(20), load::last(&self.answers))
            .probed("another route", scale.pick(OTHER, other), &self.other_route)
    }
}

/// Another route must not wait for the provider, which takes longer than this in the short ones.
const OTHER: Duration = Duration::from_millis(900);

/// P5: sessions that end together make one grant each, and nobody else notices.
pub async fn p5_mass_expiry(scale: Scale) -> Verdict {
    let count = scale.pick(200, scale.sessions);
    let delay = scale.pick(Duration::from_secs(1), Duration::from_millis(200));
    let storm = mass_expiry(scale, count, false, delay).await;
    storm.judge(scale, Verdict::of("P5"), count, Duration::from_millis(5))
}

/// P15: the configuration changes while they do.
pub async fn p15_reload_under_storm(scale: Scale) -> Verdict {
    let count = scale.pick(200, scale.sessions);
    let delay = scale.pick(Duration::from_secs(1), Duration::from_millis(200));
    let storm = mass_expiry(scale, count, true, delay).await;
    storm.judge(scale, Verdict::of("P15"), count, Duration::from_millis(50))
}

/// P17: one worker thread does the same while a health route is probed.
pub async fn p17_one_worker(scale: Scale) -> Verdict {
    let scale = Scale { one_worker: true, ..scale };
    let world = scale.short_lived().start().await;
    let cookie = sessions(&world, "alice", 1).await.remove(0);
    tokens_end(&world, std::slice::from_ref(&cookie)).await;
    world.idp.add_fault(slow_refresh(Duration::from_secs(1)));
    let probe = health(&world, Duration::from_millis(100));
    let answers = load::burst(world.proxy.web(), &vec![load::fetch("/x", &cookie); 500]).await;
    let limit = Duration::from_millis(20);
    let verdict = Verdict::of("P17")
        .that("P3: 500 × 200", load::statuses(&answers), load::all_are(&answers, 200))
        .exactly("grants", 1, world.grants("refresh_token"))
        .probed("health", scale.pick(OTHER, limit), &probe.stop().await);
    let count = scale.pick(100, scale.sessions);
    let delay = scale.pick(Duration::from_secs(1), Duration::from_millis(200));
    mass_expiry(scale, count, false, delay).await.judge(scale, verdict, count, limit)
}

/// P6: sessions whose refresh tokens are refused end, each after one grant; the healthy ones among them do not.
pub async fn p6_poison(scale: Scale) -> Verdict {
    let count = scale.pick(50, 500);
    let world = scale.short_lived().start().await;
    world.idp.tamper(Some(Arc::new(|document, members| {
        if document == Document::TokenResponse {
            members.insert("refresh_token".to_owned(), json!("never issued"));
        }
    })));
    let bad = sessions(&world, "bob", count).await;
    world.idp.tamper(None);
    let good = sessions(&world, "alice", count).await;
    let before = tokens_end(&world, &good).await;
    world.idp.add_fault(slow_refresh(Duration::from_millis(200)));
    let fetches = |cookies: &[String]| cookies.iter().map(|c| load::fetch("/x", c)).collect::<Vec<_>>();
    let (bad, good) = (fetches(&bad), fetches(&good));
    let web = world.proxy.web();
    let (ended, served) = tokio::join!(load::burst(web, &bad), load::burst(web, &good));
    let again = load::burst(web, &bad).await;
    let count = u64::try_from(count).unwrap();
    Verdict::of("P6")
        .that(format!("{count} healthy × 200"), load::statuses(&served), load::all_are(&served, 200))
        .that(format!("{count} refused × 401"), load::statuses(&ended), load::all_are(&ended, 401))
        .that("and again", load::statuses(&again), load::all_are(&again, 401))
        .exactly("refused grants", count, refused(&world))
        .exactly("grants", 2 * count, world.grants("refresh_token") - before)
}

/// P8: the request that caused the refresh leaves; those that wait for it are served, and its tokens are kept.
pub async fn p8_leader_leaves(scale: Scale) -> Verdict {
    let world = scale.short_lived().start().await;
    let cookies = sessions(&world, "alice", 1).await;
    let cookie = &cookies[0];
    tokens_over(&world, &cookies).await;
    let (fault, gate) = Fault::at(Endpoint::Token, Answer::Genuine).grant("refresh_token").gate();
    world.idp.add_fault(fault.times(1));
    let web = world.proxy.web();
    let leader = Burst::send(web, &[load::fetch("/x", cookie)]).await;
    soon("the grant", world.idp.counted(|counters| counters.get("grant:refresh_token") == 1)).await;
    let waiters = Burst::send(web, &vec![load::fetch("/x", cookie); 50]).await;
    drop(leader);
    gate.open();
    let waiters = waiters.answers().await;
    let grants = world.grants("refresh_token");
    tokens_over(&world, &cookies).await;
    let next = load::burst(web, &[load::fetch("/next", cookie)]).await;
    Verdict::of("P8")
        .that("50 × 200", load::statuses(&waiters), load::all_are(&waiters, 200))
        .exactly("grants", 1, grants)
        .that("the next refresh: 200", load::statuses(&next), load::all_are(&next, 200))
        .exactly("grants then", 2, world.grants("refresh_token"))
        .exactly("reused tokens", 0, refused(&world))
}
