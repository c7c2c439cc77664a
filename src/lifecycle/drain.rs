//! Leaving without dropping a request.
//!
//! Not ready first, so that balancers look elsewhere while requests are still accepted
//! (`requestAcceptGraceTimeout`); then no new connections; then requests in flight have until `graceTimeOut`.
//! The process leaves as soon as nothing is in flight.

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use tokio::time::{Instant, sleep};

use crate::config::entry_point::LifeCycle;

/// An entry point that has to be emptied.
pub struct DrainTarget {
    /// Its name, for the log.
    pub name: Arc<str>,
    /// Its `transport.lifeCycle`.
    pub life_cycle: LifeCycle,
    /// Stops accepting and ends once nothing is in flight; at the instant given it cuts what is left. Tells
    /// how many requests or connections were cut.
    pub stop: Box<dyn FnOnce(Instant) -> BoxFuture<'static, usize> + Send>,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainOutcome {
    /// Everything in flight was answered.
    Complete,
    /// This many were cut at their deadline.
    Cut(usize),
    /// Somebody asked a second time; what was in flight is lost.
    Hurried,
}

/// Drains every target at the same time, each by its own life cycle. To be called once readiness says no.
/// `hurry` ends it at once: a second SIGTERM or SIGINT.
pub async fn drain(targets: Vec<DrainTarget>, hurry: impl Future<Output = ()>) -> DrainOutcome {
    let all = async {
        let cut: usize = join_all(targets.into_iter().map(drain_one)).await.iter().sum();
        if cut == 0 { DrainOutcome::Complete } else { DrainOutcome::Cut(cut) }
    };
    tokio::select! {
        outcome = all => outcome,
        () = hurry => DrainOutcome::Hurried,
    }
}

async fn drain_one(target: DrainTarget) -> usize {
    let DrainTarget { name, life_cycle, stop } = target;
    if !life_cycle.request_accept_grace_timeout.is_zero() {
        sleep(life_cycle.request_accept_grace_timeout).await;
    }
    let cut = stop(Instant::now() + life_cycle.grace_timeout).await;
    if cut > 0 {
        tracing::warn!(entry_point = &*name, cut, "requests in flight were cut at the end of graceTimeOut");
    }
    cut
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Mutex;
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::time::sleep_until;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn life_cycle(accept: u32, grace: u32) -> LifeCycle {
        LifeCycle { request_accept_grace_timeout: SECOND * accept, grace_timeout: SECOND * grace }
    }

    /// A target whose last request ends `busy` seconds after it stops accepting, and the events in order.
    fn target(
        name: &str,
        life_cycle: LifeCycle,
        busy: u32,
        events: &Arc<Mutex<Vec<String>>>,
        start: Instant,
    ) -> DrainTarget {
        let (events, said) = (Arc::clone(events), name.to_owned());
        DrainTarget {
            name: name.into(),
            life_cycle,
            stop: Box::new(move |deadline| {
                let log = move |what: &str| {
                    let at = start.elapsed().as_secs();
                    events.lock().map(|mut events| events.push(format!("{at}s {said} {what}"))).ok();
                };
                async move {
                    log("stops");
                    let idle = Instant::now() + SECOND * busy;
                    sleep_until(idle.min(deadline)).await;
                    log("ends");
                    usize::from(idle > deadline)
                }
                .boxed()
            }),
        }
    }

    fn seen(events: &Mutex<Vec<String>>) -> Vec<String> {
        events.lock().map(|events| events.clone()).unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn each_entry_point_keeps_its_own_times_and_idle_ones_leave_at_once() {
        let (start, events) = (Instant::now(), Arc::default());
        let targets = vec![
            target("web", life_cycle(5, 10), 2, &events, start),
            target("admin", life_cycle(0, 10), 0, &events, start),
        ];
        assert_eq!(drain(targets, pending()).await, DrainOutcome::Complete);
        assert_eq!(seen(&events), ["0s admin stops", "0s admin ends", "5s web stops", "7s web ends"]);
        assert_eq!(start.elapsed().as_secs(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_longer_than_the_grace_is_cut() {
        let (start, events) = (Instant::now(), Arc::default());
        let targets = vec![target("web", life_cycle(1, 3), 60, &events, start)];
        assert_eq!(drain(targets, pending()).await, DrainOutcome::Cut(1));
        assert_eq!(seen(&events), ["1s web stops", "4s web ends"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_request_to_stop_ends_it() {
        let (start, events) = (Instant::now(), Arc::default());
        let targets = vec![target("web", life_cycle(0, 60), 60, &events, start)];
        assert_eq!(drain(targets, sleep(SECOND * 2)).await, DrainOutcome::Hurried);
        assert_eq!(start.elapsed().as_secs(), 2);
    }

    #[tokio::test]
    async fn nothing_to_drain_is_complete() {
        assert_eq!(
            drain(Vec::new(), async {
                ready(()).await;
                pending().await
            })
            .await,
            DrainOutcome::Complete
        );
    }
}
