//! Time as a dependency: what the session code asks for "now" and for a pause, so that tests can drive both.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// A pause that [`Clock::sleep`] hands out.
pub type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Wall-clock time and pauses.
///
/// Expiries of tokens are wall-clock times of another machine, hence [`SystemTime`] and not `Instant`.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> SystemTime;

    /// Completes when `duration` has passed on this clock.
    fn sleep(&self, duration: Duration) -> Pause;
}

/// The clock of the operating system; pauses are Tokio timers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) -> Pause {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that stands still until it is told to move; pauses end when it has moved far enough.
#[derive(Debug)]
pub struct ManualClock {
    now: watch::Sender<SystemTime>,
}

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn new(start: SystemTime) -> Self {
        Self { now: watch::Sender::new(start) }
    }

    /// Shows `now` from here on, also if that is earlier.
    pub fn set(&self, now: SystemTime) {
        self.now.send_replace(now);
    }

    /// Moves on by `duration`.
    pub fn advance(&self, duration: Duration) {
        self.now.send_modify(|now| *now += duration);
    }

    /// How many pauses are waiting for this clock: lets a test advance only once somebody waits.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.now.receiver_count()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *self.now.borrow()
    }

    fn sleep(&self, duration: Duration) -> Pause {
        let mut now = self.now.subscribe();
        let until = self.now() + duration;
        Box::pin(async move {
            // An error means that the clock is gone: nobody could end the pause any more.
            let _ = now.wait_for(|now| *now >= until).await;
        })
    }
}

/// Milliseconds since 1970; 0 for earlier times, `u64::MAX` for later ones than it can hold.
#[must_use]
pub fn unix_millis(time: SystemTime) -> u64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        Err(_) => 0,
    }
}

/// The time that is `millis` milliseconds after 1970; a time in the year 9999 for values beyond it.
#[must_use]
pub fn from_unix_millis(millis: u64) -> SystemTime {
    const YEAR_9999: u64 = 253_370_764_800_000;
    UNIX_EPOCH + Duration::from_millis(millis.min(YEAR_9999))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_pause_ends_when_the_clock_has_moved() {
        let clock = ManualClock::new(UNIX_EPOCH);
        let pause = clock.sleep(Duration::from_secs(5));
        let task = tokio::spawn(pause);
        clock.advance(Duration::from_secs(4));
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
        clock.advance(Duration::from_secs(1));
        assert!(task.await.is_ok());
        assert_eq!(clock.sleepers(), 0);
    }

    #[test]
    fn millis_round_trip_and_saturate() {
        let time = from_unix_millis(1_700_000_000_123);
        assert_eq!(unix_millis(time), 1_700_000_000_123);
        assert_eq!(unix_millis(UNIX_EPOCH - Duration::from_secs(1)), 0);
        assert!(from_unix_millis(u64::MAX) > time);
    }
}
