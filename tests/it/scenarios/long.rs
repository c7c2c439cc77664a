//! What shows only after a while: throughput, drift, leaks. Run by hand.

use std::time::{Duration, Instant};

use super::outage::long_lived;
use super::{Scale, Verdict, refused, sessions};
use crate::harness::SOON;
use crate::harness::client::Browser;
use crate::harness::idp::{LOGOUT, World};
use crate::harness::load;
use crate::harness::origin::Origin;
use crate::harness::probe::Probe;

/// P1: one hot session beside the same route without OIDC, in turns.
pub async fn p1_hot_session(scale: Scale) -> Verdict {
    let world = long_lived(scale).origin(Origin::forgetful().await).start().await;
    let cookie = sessions(&world, "alice", 1).await.remove(0);
    let provider = world.idp.counters();
    let request = |target: &str| format!("GET {target} HTTP/1.1\r\n{}", load::fields(&cookie));
    let (web, pid, turn) = (world.proxy.web(), world.proxy.pid(), scale.length / 8);
    let (mut rates, mut cpus, mut failed, mut memory) = ([0_f64; 2], [0_f64; 2], 0, Vec::new());
    for round in 0..4 {
        for (at, target) in ["/open/x", "/private"].iter().enumerate() {
            let ticks = load::cpu_ticks(pid);
            let seen = load::closed_loop(web, &request(target), 256, turn, Duration::ZERO).await;
            failed += seen.failed;
            // The first round warms up.
            if round > 0 {
                rates[at] += number(seen.served) / turn.as_secs_f64() / 3.0;
                let ticks = usize::try_from(load::cpu_ticks(pid) - ticks).unwrap();
                cpus[at] += number(ticks) * 10_000.0 / number(seen.served) / 3.0;
                memory.push(load::resident(pid));
            }
        }
    }
    // Both at the same time: what the machine does is in both.
    let light = ["/open/x", "/private"]
        .map(|target| Probe::start(web, load::fetch(target, &cookie), Duration::from_millis(10)));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let [open, private] = light;
    let (open, private) =
        (load::percentile(&open.stop().await, 99), load::percentile(&private.stop().await, 99));
    let grown = memory.last().unwrap().saturating_sub(memory[0]);
    let ratio = rates[1] / rates[0];
    Verdict::of("P1")
        .that(
            "throughput ≥ 0.85 of the route without OIDC",
            format!(
                "{ratio:.2} ({:.0} to {:.0} requests/s; CPU {:.0} to {:.0} µs)",
                rates[1], rates[0], cpus[1], cpus[0]
            ),
            ratio >= 0.85,
        )
        .exactly("failures", 0, u64::try_from(failed).unwrap())
        .within("added p99 at 200 requests/s", Duration::from_millis(1), private.saturating_sub(open))
        .that("the provider is not asked", world.idp.counters() == provider, world.idp.counters() == provider)
        .that("memory grows < 5 MiB", format!("{grown} KiB"), grown < 5 * 1024)
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// P2: 540 POSTs of 4 kB a second on one session. With five minutes or more its tokens live 60 seconds, and a refresh is
/// due every 50, as on paper; in less time 10 and 8.
pub async fn p2_incident_trace(scale: Scale) -> Verdict {
    let (life, grace) = if scale.length >= Duration::from_secs(300) { (60, 10) } else { (10, 2) };
    let plan = scale.plan().plugin(&format!("refreshGracePeriodSeconds: {grace}"));
    let mut plan = plan.origin(Origin::forgetful().await);
    plan.provider.access_token_ttl = Duration::from_secs(life);
    let world = plan.start().await;
    let cookie = sessions(&world, "alice", 1).await.remove(0);
    let body = "x".repeat(4_096);
    let request = format!("POST /x HTTP/1.1\r\nContent-Length: 4096\r\n{}{body}", load::fields(&cookie));
    let parts = 6;
    let (mut served, mut failed, mut cpu) = (0, 0, Vec::new());
    let start = Instant::now();
    for _ in 0..parts {
        let ticks = load::cpu_ticks(world.proxy.pid());
        let pace = Duration::from_micros(32 * 1_000_000 / 540);
        let seen = load::closed_loop(world.proxy.web(), &request, 32, scale.length / parts, pace).await;
        let ticks = usize::try_from(load::cpu_ticks(world.proxy.pid()) - ticks).unwrap();
        cpu.push(number(ticks) * 10_000.0 / number(seen.served.max(1)));
        served += seen.served;
        failed += seen.failed;
    }
    let (due, grants) = (start.elapsed().as_secs() / (life - grace), world.grants("refresh_token"));
    let (first, end) = (cpu[0], cpu[cpu.len() - 1]);
    Verdict::of("P2")
        .that("0 failures", format!("{failed} of {}", served + failed), failed == 0 && served > 0)
        .that(format!("grants = {due} ± 2"), grants, grants.abs_diff(due) <= 2)
        .exactly("reused tokens", 0, refused(&world))
        .that(
            "CPU of the last part ≤ 1.1 of the first",
            format!("{first:.0} to {end:.0} µs"),
            end <= first * 1.1,
        )
}

/// P16: logins and logouts, again and again; memory and session count go back to where they were.
pub async fn p16_soak(scale: Scale) -> Verdict {
    let world = long_lived(scale).origin(Origin::forgetful().await).start().await;
    let standing = sessions(&world, "alice", scale.pick(20, 10_000)).await;
    let (keep, mut turns) = (Browser::new(), standing.iter().cycle());
    // What a session needs at its first use stays.
    for some in standing.chunks(200) {
        let requests: Vec<String> = some.iter().map(|cookie| load::fetch("/x", cookie)).collect();
        load::burst(world.proxy.web(), &requests).await;
    }
    let (start, mut logins, mut wrong, mut warm) = (Instant::now(), 0, 0, None);
    while start.elapsed() < scale.length {
        let round = Instant::now();
        let browser = keep.stranger();
        browser.log_in(&world.at("/"), "bob").await;
        let some = turns.by_ref().take(standing.len().min(200));
        let requests: Vec<String> = some.map(|cookie| load::fetch("/x", cookie)).collect();
        let answers = load::burst(world.proxy.web(), &requests).await;
        wrong += answers.iter().filter(|answer| answer.status != 200).count();
        let logout = url::Url::parse(&world.at(LOGOUT)).unwrap();
        browser.request("POST", &logout, &[("sec-fetch-site", "same-origin")], Some(&[])).await;
        logins += 1;
        if warm.is_none() && start.elapsed() > scale.length / 3 {
            warm = Some(load::resident(world.proxy.pid()));
        }
        tokio::time::sleep(Duration::from_millis(300).saturating_sub(round.elapsed())).await;
    }
    let grown = load::resident(world.proxy.pid()).saturating_sub(warm.unwrap_or_default());
    let wanted = number(standing.len());
    let live = settled_sessions(&world, wanted).await;
    Verdict::of("P16")
        .that("0 failures", format!("{wrong} in {logins} rounds"), wrong == 0)
        .that(format!("sessions = {wanted}"), live, (live - wanted).abs() < 0.5)
        .that("memory after a third grows < 3 MiB", format!("{grown} KiB"), grown < 3 * 1024)
}

/// How many sessions the metric tells. It is looked at once in a while only, so the last logout may not be in it yet.
async fn settled_sessions(world: &World, wanted: f64) -> f64 {
    let deadline = Instant::now() + SOON;
    loop {
        let live = world.proxy.metric("portcullis_oidc_sessions", &[]).await;
        if (live - wanted).abs() < 0.5 || Instant::now() > deadline {
            return live;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
