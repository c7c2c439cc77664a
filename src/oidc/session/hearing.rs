//! Whether this process still hears what others do to the sessions that it has in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Reading it is one load and, while all is well, one comparison. Times are milliseconds since 1970.
pub(super) struct Hearing {
    /// When memory alone is no longer believed; [`NEVER`] while news come.
    lost_at: AtomicU64,
    /// When news came last; 0 before the first.
    last: AtomicU64,
    tolerance: Option<Duration>,
}

const NEVER: u64 = u64::MAX;

impl Hearing {
    pub(super) fn new(tolerance: Option<Duration>) -> Self {
        Self { lost_at: AtomicU64::new(NEVER), last: AtomicU64::new(0), tolerance }
    }

    /// Whether the news have been missing for too long.
    pub(super) fn is_lost(&self, now: u64) -> bool {
        let lost_at = self.lost_at.load(Ordering::Acquire);
        lost_at != NEVER && now >= lost_at
    }

    /// All that happened until `asked` is known.
    pub(super) fn heard(&self, asked: u64) {
        self.last.store(asked, Ordering::Relaxed);
        if self.lost_at.swap(NEVER, Ordering::AcqRel) != NEVER {
            tracing::info!("changes of sessions are heard of again");
        }
    }

    /// The store could not tell, when it was asked at `asked`. Time counts from the last news, not from this failure.
    pub(super) fn failed(&self, asked: u64) {
        let Some(tolerance) = self.tolerance else { return };
        let since = match self.last.load(Ordering::Relaxed) {
            0 => asked,
            last => last,
        };
        let lost_at =
            since.saturating_add(u64::try_from(tolerance.as_millis()).unwrap_or(NEVER - 1)).min(NEVER - 1);
        // The first failure sets it; later ones must not push it back.
        if self.lost_at.compare_exchange(NEVER, lost_at, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            tracing::error!(
                seconds = tolerance.as_secs(),
                "changes of sessions cannot be heard of: live sessions go on from memory for this long, then get 503"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_believed_for_a_while_after_the_last_news() {
        let hearing = Hearing::new(Some(Duration::from_secs(30)));
        assert!(!hearing.is_lost(NEVER));
        hearing.heard(1_000);
        hearing.failed(5_000);
        hearing.failed(20_000);
        assert!(!hearing.is_lost(30_999));
        assert!(hearing.is_lost(31_000));
        hearing.heard(40_000);
        assert!(!hearing.is_lost(40_000));
    }

    #[test]
    fn a_store_of_one_machine_is_believed_for_ever() {
        let hearing = Hearing::new(None);
        hearing.failed(5_000);
        assert!(!hearing.is_lost(NEVER));
    }
}
