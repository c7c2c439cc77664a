//! The provider hangs, and requests wait for it: nobody else may notice.

use std::net::SocketAddr;
use std::time::Duration;

use portcullis::demo::provider::{Answer, Endpoint, Fault};

use super::{LIFE, Scale, Verdict, refused, sessions, tokens_over};
use crate::harness::idp::World;
use crate::harness::load::{self, Burst};
use crate::harness::probe::Probe;
use crate::harness::soon;

/// What is asked all the time, each on connections of its own: another session, another route, and the service itself, which
/// shows what the machine does.
const ASKED: [&str; 3] = ["another session", "another route", "the service itself"];

/// Each of [`ASKED`] once in so long: the proxy has 500 requests a second.
const PACE: Duration = Duration::from_millis(4);

/// The 99th percentiles of [`ASKED`] in one window.
type Times = [Duration; ASKED.len()];

/// P7H: the 99th percentile of requests that need nothing of the provider, while several hundred sessions wait for it,
/// beside that of a window without. The windows take turns; the median of their ratios counts.
pub async fn p7_hanging_provider_delays_nobody_else(scale: Scale) -> Verdict {
    let (count, turns) = scale.pick((100, 1), (400, 8));
    let world = scale.short_lived().start().await;
    world.idp.set_access_token_ttl(Duration::from_secs(3_600));
    let other = sessions(&world, "bob", 1).await.remove(0);
    world.idp.set_access_token_ttl(LIFE);
    let cookies = sessions(&world, "alice", count).await;
    let waiting: Vec<String> = cookies.iter().map(|cookie| load::fetch("/x", cookie)).collect();
    let (mut pairs, mut served) = (Vec::new(), 0);
    for turn in 0..turns {
        // Either goes first as often as the other.
        let mut calm = Times::default();
        if turn % 2 == 0 {
            calm = window(&world, &other, scale).await;
        }
        // What the last turn renewed ends.
        tokens_over(&world, &cookies).await;
        let (hanging, answers) = hang(&world, &other, &waiting, scale).await;
        served += answers.iter().filter(|answer| answer.status == 200).count();
        if turn % 2 == 1 {
            calm = window(&world, &other, scale).await;
        }
        pairs.push((calm, hanging));
    }
    let wanted = count * turns;
    let verdict = Verdict::of("P7H")
        .that(format!("{wanted} that waited × 200"), served, served == wanted)
        .exactly("refused", 0, refused(&world));
    (0..ASKED.len()).fold(verdict, |verdict, at| judge(scale, verdict, at, &pairs))
}

/// The service itself has nothing to do with the provider: its ratio is what the measurement is worth.
fn judge(scale: Scale, verdict: Verdict, at: usize, pairs: &[(Times, Times)]) -> Verdict {
    let median = |mut numbers: Vec<f64>| {
        numbers.sort_unstable_by(f64::total_cmp);
        numbers[numbers.len() / 2]
    };
    let millis = |times: &Times| times[at].as_secs_f64() * 1e3;
    let ratios: Vec<f64> = pairs.iter().map(|(calm, hang)| millis(hang) / millis(calm)).collect();
    let (calm, hang) = (
        median(pairs.iter().map(|(calm, _)| millis(calm)).collect()),
        median(pairs.iter().map(|(_, hang)| millis(hang)).collect()),
    );
    let (least, most) = ratios.iter().fold((f64::MAX, 0.0_f64), |(l, m), r| (l.min(*r), m.max(*r)));
    let ratio = median(ratios);
    let holds = if scale.full { ratio <= 1.1 || at == 2 } else { hang < 900.0 };
    verdict.that(
        format!("{}: p99 ≤ 1.1 of that without a hang", ASKED[at]),
        format!("{ratio:.2} ({least:.2} to {most:.2}; {calm:.2} to {hang:.2} ms)"),
        holds,
    )
}

/// A window in which all of `waiting` do; they are answered after it.
async fn hang(world: &World, other: &str, waiting: &[String], scale: Scale) -> (Times, Vec<load::Answer>) {
    let before = world.grants("refresh_token");
    let (fault, gate) = Fault::at(Endpoint::Token, Answer::Genuine).grant("refresh_token").gate();
    world.idp.add_fault(fault);
    let burst = Burst::send(world.proxy.web(), waiting).await;
    let all_turns = before + u64::try_from(waiting.len().min(TURNS)).unwrap();
    let arrived = world.idp.counted(|counters| counters.get("grant:refresh_token") >= all_turns);
    soon("the grants that hang", arrived).await;
    let times = window(world, other, scale).await;
    gate.open();
    world.idp.clear_faults();
    (times, burst.answers().await)
}

/// Grants that the proxy has under way at once.
const TURNS: usize = 64;

/// Shorter than the ten seconds that one grant may take.
async fn window(world: &World, other: &str, scale: Scale) -> Times {
    let (web, service) = (world.proxy.web(), world.origin.address);
    let start = |address: SocketAddr, request: String| Probe::start(address, request, PACE);
    let probes = [
        start(web, load::fetch("/other", other)),
        start(web, load::fetch("/open/other", "")),
        start(service, load::fetch("/other", "")),
    ];
    tokio::time::sleep(scale.pick(Duration::from_secs(2), Duration::from_secs(6))).await;
    let mut times = Times::default();
    for (time, probe) in times.iter_mut().zip(probes) {
        *time = load::percentile(&probe.stop().await, 99);
    }
    times
}
