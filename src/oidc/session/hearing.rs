//! Whether this process still hears what others do to the sessions that it has in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::id::{PARTS, Parts, SessionKey};

/// Reading it is one load and, while all is well, one comparison. Times are milliseconds since 1970.
pub(super) struct Hearing {
    parts: [Part; PARTS],
    tolerance: Option<Duration>,
}

/// The sessions of one part of the store: of a cluster some may be away, and the others not.
struct Part {
    /// When memory alone is no longer believed; [`NEVER`] while news come.
    lost_at: AtomicU64,
    /// When news came last; 0 before the first.
    last: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl Hearing {
    pub(super) fn new(tolerance: Option<Duration>) -> Self {
        let part = || Part { lost_at: AtomicU64::new(NEVER), last: AtomicU64::new(0) };
        Self { parts: std::array::from_fn(|_| part()), tolerance }
    }

    /// Whether the news of this session have been missing for too long.
    pub(super) fn is_lost(&self, key: &SessionKey, now: u64) -> bool {
        self.parts.get(key.part()).is_none_or(|part| part.is_lost(now))
    }

    /// All that happened until `asked` is known, but for the parts that were `silent`.
    pub(super) fn heard(&self, asked: u64, silent: Parts) {
        let mut again = false;
        for (_, part) in self.parts.iter().enumerate().filter(|(index, _)| !silent.has(*index)) {
            part.last.store(asked, Ordering::Relaxed);
            again |= part.lost_at.swap(NEVER, Ordering::AcqRel) != NEVER;
        }
        if again {
            tracing::info!("changes of sessions are heard of again");
        }
        self.miss(asked, |index| silent.has(index));
    }

    /// The store could not tell anything, when it was asked at `asked`.
    pub(super) fn failed(&self, asked: u64) {
        self.miss(asked, |_| true);
    }

    /// Time counts from the last news, not from this failure.
    fn miss(&self, asked: u64, silent: impl Fn(usize) -> bool) {
        let Some(tolerance) = self.tolerance else { return };
        let millis = u64::try_from(tolerance.as_millis()).unwrap_or(NEVER - 1);
        let parts = self.parts.iter().enumerate().filter(|(index, _)| silent(*index));
        let newly = parts.filter(|(_, part)| part.miss(asked, millis)).count();
        if newly > 0 {
            tracing::error!(
                seconds = tolerance.as_secs(),
                parts = %format_args!("{newly} of {PARTS}"),
                "changes of sessions cannot be heard of: live sessions go on from memory for this long, then get 503"
            );
        }
    }
}

impl Part {
    fn is_lost(&self, now: u64) -> bool {
        let lost_at = self.lost_at.load(Ordering::Acquire);
        lost_at != NEVER && now >= lost_at
    }

    /// Whether this is the first failure: later ones must not push the end back.
    fn miss(&self, asked: u64, tolerance: u64) -> bool {
        let since = match self.last.load(Ordering::Relaxed) {
            0 => asked,
            last => last,
        };
        let lost_at = since.saturating_add(tolerance).min(NEVER - 1);
        self.lost_at.compare_exchange(NEVER, lost_at, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: SessionKey = SessionKey::from_bytes([0x70; 32]);
    const OTHER: SessionKey = SessionKey::from_bytes([0x8f; 32]);

    #[test]
    fn memory_is_believed_for_a_while_after_the_last_news() {
        let hearing = Hearing::new(Some(Duration::from_secs(30)));
        assert!(!hearing.is_lost(&KEY, NEVER));
        hearing.heard(1_000, Parts::default());
        hearing.failed(5_000);
        hearing.failed(20_000);
        assert!(!hearing.is_lost(&KEY, 30_999));
        assert!(hearing.is_lost(&KEY, 31_000) && hearing.is_lost(&OTHER, 31_000));
        hearing.heard(40_000, Parts::default());
        assert!(!hearing.is_lost(&KEY, 40_000));
    }

    #[test]
    fn a_part_that_is_silent_is_believed_no_longer_although_others_speak() {
        let hearing = Hearing::new(Some(Duration::from_secs(30)));
        hearing.heard(1_000, Parts::default());
        let mut silent = Parts::default();
        silent.add(KEY.part());
        for second in 2..60 {
            hearing.heard(second * 1_000, silent);
        }
        assert!(!hearing.is_lost(&KEY, 30_999) && hearing.is_lost(&KEY, 31_000));
        assert!(!hearing.is_lost(&OTHER, 60_000));
        hearing.heard(60_000, Parts::default());
        assert!(!hearing.is_lost(&KEY, 60_000));
    }

    #[test]
    fn a_store_of_one_machine_is_believed_for_ever() {
        let hearing = Hearing::new(None);
        hearing.failed(5_000);
        assert!(!hearing.is_lost(&KEY, NEVER));
    }
}
