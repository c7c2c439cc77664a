//! The provider is away, hangs or talks nonsense.

use std::time::{Duration, Instant, SystemTime};

use portcullis::demo::provider::{Answer, Endpoint, Fault, ProviderOptions};

use super::{Scale, Verdict, sessions};
use crate::harness::idp::{Plan, World};
use crate::harness::load;
use crate::harness::probe::Probes;
use crate::harness::{client, eventually};

/// P7: the token endpoint fails in three ways while the tokens are still good.
pub async fn p7_token_endpoint_fails(scale: Scale) -> Verdict {
    let (hang, _gate) = fault(Answer::Genuine).gate();
    let (hang, reset, bad) = tokio::join!(
        token_endpoint_fails(scale, hang),
        token_endpoint_fails(scale, fault(Answer::Drop)),
        token_endpoint_fails(scale, fault(Answer::Html(502))),
    );
    let verdict = Verdict::of("P7");
    [("hang", hang), ("reset", reset), ("502", bad)].into_iter().fold(verdict, |verdict, (name, seen)| {
        let most = 1 + seen.window.as_secs() / 5;
        let after = &seen.after;
        verdict
            .that(
                format!("{name}: all 200 until the end"),
                load::statuses(&seen.before),
                load::all_are(&seen.before, 200),
            )
            .that(format!("≤ {most} attempts"), seen.attempts, (1..=most).contains(&seen.attempts))
            .that(
                "then 503 with Retry-After",
                load::statuses(after),
                load::all_are(after, 503) && after.iter().all(|answer| answer.retry_after),
            )
            .that("and 200 again", load::statuses(&seen.healed), load::all_are(&seen.healed, 200))
            .exactly("logins", 1, seen.logins)
    })
}

fn fault(answer: Answer) -> Fault {
    Fault::at(Endpoint::Token, answer).grant("refresh_token")
}

struct Seen {
    /// How long a refresh was due before the end.
    window: Duration,
    before: Vec<load::Answer>,
    attempts: u64,
    after: Vec<load::Answer>,
    healed: Vec<load::Answer>,
    logins: u64,
}

async fn token_endpoint_fails(scale: Scale, fault: Fault) -> Seen {
    let (life, grace) = scale.pick((8, 6), (45, 40));
    let mut plan = scale.plan().plugin(&format!("refreshGracePeriodSeconds: {grace}"));
    plan.provider =
        ProviderOptions { access_token_ttl: Duration::from_secs(life), ..ProviderOptions::default() };
    let world = plan.start().await;
    world.idp.add_fault(fault);
    let cookie = sessions(&world, "alice", 1).await.remove(0);
    let one = [load::fetch("/x", &cookie)];
    let end = world.tokens_end_at(&cookie).await.expect("a session");
    let (mut before, mut pace) = (Vec::new(), tokio::time::interval(Duration::from_millis(100)));
    let attempts = loop {
        pace.tick().await;
        let (answers, attempts) = (load::burst(world.proxy.web(), &one).await, world.grants("refresh_token"));
        // Until the very end.
        if SystemTime::now() >= end {
            break attempts;
        }
        before.extend(answers);
    };
    let after = load::burst(world.proxy.web(), &one).await;
    world.idp.clear_faults();
    let healed = heals(&world, &one).await;
    let logins = world.grants("authorization_code");
    Seen { window: Duration::from_secs(grace), before, attempts, after, healed, logins }
}

/// Asks until the session works again.
async fn heals(world: &World, one: &[String]) -> Vec<load::Answer> {
    let deadline = Instant::now() + crate::harness::SOON;
    loop {
        let answers = load::burst(world.proxy.web(), one).await;
        if load::all_are(&answers, 200) || Instant::now() > deadline {
            return answers;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// P9: the provider is away when the proxy starts.
pub async fn p9_provider_down_at_start(scale: Scale) -> Verdict {
    let mut plan = scale.plan();
    plan.provider_down = true;
    let start = Instant::now();
    let world = plan.start().await;
    let open = client::get(world.proxy.web(), "localhost", "/open", &[]).await.status();
    let ready = start.elapsed();
    // While the first attempt is under way, a login may wait for it.
    eventually("logins are unavailable", || async {
        client::get(world.proxy.web(), "localhost", "/x", &[]).await.status() == 503
    })
    .await;
    // A hundred of each a second; a minute is long enough for the proxy's own pauses to be the longest.
    let rounds = scale.pick(20, 6_000);
    let (mut refused, mut excluded) = (Vec::new(), Vec::new());
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..rounds {
        ticks.tick().await;
        refused.extend(load::burst(world.proxy.web(), &[load::navigation("/x")]).await);
        excluded.extend(load::burst(world.proxy.web(), &[load::fetch("/public/x", "")]).await);
    }
    let up = async || world.proxy.metric("portcullis_oidc_provider_up", &[]).await;
    let alarm = up().await;
    let times: Vec<Duration> = refused.iter().map(|answer| answer.took).collect();
    world.idp.go_online().await.unwrap();
    let online = Instant::now();
    // Without traffic: its own retry finds the provider.
    let found = world.idp.counted(|counters| counters.get("GET /jwks") > 0);
    let found = tokio::time::timeout(Duration::from_secs(20), found).await.is_ok();
    let back = online.elapsed();
    world.login_works().await;
    let alarms = (alarm, up().await);
    Verdict::of("P9")
        .that("another route: 200", open, open == 200)
        .within("after the start", scale.pick(Duration::from_secs(10), Duration::from_secs(1)), ready)
        .that(
            "protected: 503 with Retry-After",
            load::statuses(&refused),
            load::all_are(&refused, 503) && refused.iter().all(|answer| answer.retry_after),
        )
        .within(
            "p99",
            scale.pick(Duration::from_secs(1), Duration::from_millis(5)),
            load::percentile(&times, 99),
        )
        .that("excluded: 200", load::statuses(&excluded), load::all_are(&excluded, 200))
        .that("found without traffic", found, found)
        .that("metric of the provider: 0, then 1", format!("{alarms:?}"), alarms == (0.0, 1.0))
        .within("after it is back", scale.pick(Duration::from_secs(8), Duration::from_secs(5)), back)
}

/// P10: the provider goes away for `length` while sessions live.
pub async fn p10_provider_down_when_warm(scale: Scale) -> Verdict {
    let world = long_lived(scale).start().await;
    let cookie = sessions(&world, "alice", 1).await.remove(0);
    world.idp.go_offline().await;
    let request = format!("GET /x HTTP/1.1\r\n{}", load::fields(&cookie));
    let seen =
        load::closed_loop(world.proxy.web(), &request, 4, scale.length, Duration::from_millis(20)).await;
    Verdict::of("P10")
        .that("0 failures", format!("{} of {}", seen.failed, seen.served + seen.failed), seen.failed == 0)
        .that("some served", seen.served, seen.served > 0)
}

/// A plan whose tokens outlive the scenario.
pub fn long_lived(scale: Scale) -> Plan {
    let mut plan = scale.plan();
    plan.provider =
        ProviderOptions { access_token_ttl: Duration::from_secs(86_400), ..ProviderOptions::default() };
    plan
}

/// P11: many first requests while the very first discovery is under way.
pub async fn p11_first_requests(scale: Scale) -> Verdict {
    let count = scale.pick(100, 1_000);
    let mut plan = scale.plan();
    plan.faults.push(Fault::at(Endpoint::Discovery, Answer::Genuine).delay(Duration::from_secs(2)));
    let mut world = plan.start_unready().await;
    world.proxy.ready().await;
    let excluded = load::fetch("/public/x", "");
    let (web, service) = (world.proxy.web(), world.origin.address);
    let probes = Probes::start(web, service, &excluded, Duration::from_millis(10));
    let answers = load::burst(web, &vec![load::navigation("/x"); count]).await;
    let seen = probes.stop().await;
    let counters = world.idp.counters();
    let limit = scale.pick(Duration::from_secs(1), Duration::from_millis(5));
    Verdict::of("P11")
        .that(format!("{count} × 302"), load::statuses(&answers), load::all_are(&answers, 302))
        .exactly("discoveries", 1, counters.get("GET /.well-known/openid-configuration"))
        .that("≤ 1 fetch of the keys", counters.get("GET /jwks"), counters.get("GET /jwks") <= 1)
        .probed("excluded route", limit, &seen)
}
