//! A session's place for one flight: `Idle → Refreshing → Idle`. Every interleaving of it is tried in `loom/`.

use crate::oidc::sync::{AtomicBool, AtomicU8, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};

/// Who flies, and for how long nobody may. `L` is where a flight's outcome is waited for.
pub struct Seat<L> {
    /// Says what `flight` says, without the lock.
    busy: AtomicBool,
    /// How often in a row no answer has come to the present tokens' refresh.
    unanswered: AtomicU8,
    /// No attempt before this time (milliseconds since 1970), after a failed one.
    not_before: AtomicU64,
    /// Those who wait join here; held for the copy of a pointer.
    flight: Mutex<Option<L>>,
}

/// What asking for the seat gives.
pub enum Taken<L, S> {
    /// The seat. Whoever has it flies, leaves it, and says so by the sender, in this order.
    Free(L, S),
    /// There is a flight.
    Joined(L),
    /// One has just failed: none before this time.
    Resting(u64),
}

impl<L> Default for Seat<L> {
    fn default() -> Self {
        let (busy, unanswered) = (AtomicBool::new(false), AtomicU8::new(0));
        Self { busy, unanswered, not_before: AtomicU64::new(0), flight: Mutex::new(None) }
    }
}

impl<L: Clone> Seat<L> {
    /// Whether somebody flies. A hint: it may be over when it is looked at.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    /// Until when the seat rests. A hint, too: [`Seat::take`] decides.
    pub fn not_before(&self) -> u64 {
        self.not_before.load(Ordering::Acquire)
    }

    /// After a failure; for whoever has the seat.
    pub fn pause_until(&self, time: u64) {
        self.not_before.store(time, Ordering::Release);
    }

    /// A pause beyond `latest` is none: the clock was set back since it began.
    pub fn pause_no_longer(&self, latest: u64) {
        let until = self.not_before();
        if until > latest {
            // Whoever has set another one meanwhile goes by the clock as it is.
            let _ = self.not_before.compare_exchange(until, 0, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// Counts an attempt without an answer; how many there were before. For whoever has the seat.
    pub fn count_unanswered(&self) -> u8 {
        let before = self.unanswered.load(Ordering::Relaxed);
        self.unanswered.store(before.saturating_add(1), Ordering::Relaxed);
        before
    }

    /// There are new tokens; for whoever has the seat.
    pub fn answered(&self) {
        self.unanswered.store(0, Ordering::Relaxed);
    }

    /// Takes the seat, or joins the flight that has it. Whether it rests is decided under the lock: otherwise a request
    /// that saw no pause yet would start the next attempt right after the one that failed.
    pub fn take<S>(&self, now: u64, channel: impl FnOnce() -> (S, L)) -> Taken<L, S> {
        let mut flight = self.lock();
        if let Some(landed) = &*flight {
            return Taken::Joined(landed.clone());
        }
        let until = self.not_before();
        if now < until {
            return Taken::Resting(until);
        }
        let (sender, landed) = channel();
        *flight = Some(landed.clone());
        self.busy.store(true, Ordering::Release);
        Taken::Free(landed, sender)
    }

    /// Does what no flight may meet on its way, unless there is one. Held for that: it must be short.
    pub fn unless_busy<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let flight = self.lock();
        flight.is_none().then(act)
    }

    /// The flight, if there is one.
    pub fn present(&self) -> Option<L> {
        self.lock().clone()
    }

    /// Gives the seat back, before anybody hears of the outcome: whoever does finds the seat free.
    pub fn leave(&self) {
        let mut flight = self.lock();
        self.busy.store(false, Ordering::Release);
        *flight = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<L>> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
