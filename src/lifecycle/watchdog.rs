//! Tells systemd that the process works, but only after seeing that it does.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Notifier;
use super::systemd::watchdog_interval;

/// Without a watchdog of the service manager the probe still feeds `/livez`.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);

/// Runs for ever: probes twice per interval (`WatchdogSec=`, else 30 s), reports each verdict to `alive`, and
/// tells the service manager after good ones. `probe` sends a request through the process itself and is given
/// half of that time.
pub async fn watchdog(notifier: &Notifier, probe: impl AsyncFn() -> bool, alive: impl Fn(bool)) {
    watch(watchdog_interval().unwrap_or(DEFAULT_INTERVAL), notifier, probe, alive).await;
}

async fn watch(every: Duration, notifier: &Notifier, probe: impl AsyncFn() -> bool, alive: impl Fn(bool)) {
    let mut tick = interval(every / 2);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut healthy = true;
    loop {
        tick.tick().await;
        let good = timeout(every / 4, probe()).await.unwrap_or(false);
        if good {
            notifier.alive();
        }
        if good != healthy {
            healthy = good;
            if good {
                tracing::warn!("requests get through the process again");
            } else {
                tracing::error!("a request of our own does not get through the process");
            }
        }
        alive(good);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_good_probe_feeds_the_watchdog() {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let notifier = Notifier::recording(Arc::clone(&sent));
        let round = AtomicUsize::new(0);
        let probe = async || match round.fetch_add(1, Ordering::Relaxed) {
            0 | 3 => true,
            1 => false,
            _ => pending().await,
        };
        let verdicts = Mutex::new(Vec::new());
        let every = Duration::from_secs(4);
        let watching = watch(every, &notifier, probe, |good| verdicts.lock().unwrap().push(good));
        // Probes at 0, 2, 4 and 6 s; the third one hangs and is given up at 5 s.
        assert!(timeout(Duration::from_millis(6_500), watching).await.is_err());
        assert_eq!(*verdicts.lock().unwrap(), [true, false, false, true]);
        assert_eq!(*sent.lock().unwrap(), ["WATCHDOG=1\n", "WATCHDOG=1\n"]);
    }
}
