//! Log lines that an outage would write by the thousand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::clock::unix_millis;

/// So many lines of a kind are written in a [`WINDOW`].
const LINES: u64 = 10;

/// In milliseconds.
const WINDOW: u64 = 10_000;

/// Says which lines of one kind are worth a warning. When many threads ask at the turn of a window, a line more or
/// less may be.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// When the present window began, in milliseconds since 1970.
    since: AtomicU64,
    /// Lines asked for in it.
    asked: AtomicU64,
    left_out: AtomicU64,
}

impl Throttle {
    /// If a line may be written: how many were left out before it.
    pub(super) fn admit(&self, now: SystemTime) -> Option<u64> {
        let (now, since) = (unix_millis(now), self.since.load(Ordering::Relaxed));
        // A clock that was set back begins a window, too.
        let over = now.abs_diff(since) >= WINDOW;
        if over && self.since.compare_exchange(since, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.asked.store(0, Ordering::Relaxed);
        }
        if self.asked.fetch_add(1, Ordering::Relaxed) < LINES {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// A warning with `left_out`, if [`Throttle::admit`] says so, else the same line for those who debug.
macro_rules! warn_or_debug {
    ($admitted:expr, $($line:tt)+) => {
        match $admitted {
            Some(left_out) => {
                let left_out: u64 = left_out;
                tracing::warn!(left_out = (left_out > 0).then_some(left_out), $($line)+);
            }
            None => tracing::debug!($($line)+),
        }
    };
}
pub(super) use warn_or_debug;

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn ten_lines_in_ten_seconds() {
        let throttle = Throttle::default();
        let at = |millis: u64| UNIX_EPOCH + Duration::from_millis(1_000_000 + millis);
        for n in 0..10 {
            assert_eq!(throttle.admit(at(n)), Some(0));
        }
        assert_eq!([throttle.admit(at(10)), throttle.admit(at(9_999))], [None, None]);
        assert_eq!([throttle.admit(at(10_000)), throttle.admit(at(10_001))], [Some(2), Some(0)]);
        assert_eq!(throttle.admit(at(0)), Some(0), "the clock was set back");
    }
}
