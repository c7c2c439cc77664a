//! Many requests, one flight, and nobody waits for one that has landed.

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use crate::seat::{Seat, Taken};

const OLD: u64 = 0;
const NEW: u64 = 1;
const PAUSE: u64 = 5;

/// What Tokio's `watch` is to a flight: a value that is set once.
#[derive(Clone)]
struct Landing(Arc<(Mutex<Option<Outcome>>, Condvar)>);

#[derive(Clone, Copy, PartialEq, Debug)]
enum Outcome {
    Renewed,
    Failed,
}

impl Landing {
    fn channel() -> (Self, Self) {
        let landing = Self(Arc::new((Mutex::new(None), Condvar::new())));
        (landing.clone(), landing)
    }

    fn send(&self, outcome: Outcome) {
        *self.0.0.lock().unwrap() = Some(outcome);
        self.0.1.notify_all();
    }

    fn wait(&self) -> Outcome {
        let mut outcome = self.0.0.lock().unwrap();
        while outcome.is_none() {
            outcome = self.0.1.wait(outcome).unwrap();
        }
        outcome.unwrap()
    }
}

/// One session of one process.
struct Session {
    seat: Seat<Landing>,
    generation: AtomicU64,
    grants: AtomicU64,
    provider_works: bool,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Fresh,
    Unavailable,
}

impl Session {
    fn new(provider_works: bool) -> Arc<Self> {
        let zero = || AtomicU64::new(OLD);
        Arc::new(Self { seat: Seat::default(), generation: zero(), grants: zero(), provider_works })
    }

    /// What `ensure_fresh` does for expired tokens. The generation is read without ordering: the seat orders it.
    fn request(&self) -> Answer {
        if self.generation.load(Ordering::Relaxed) == NEW {
            return Answer::Fresh;
        }
        match self.seat.take(0, Landing::channel) {
            Taken::Free(_, sender) => {
                let outcome = self.fly();
                self.seat.leave();
                sender.send(outcome);
                self.answer(outcome)
            }
            Taken::Joined(landed) => self.answer(landed.wait()),
            Taken::Resting(until) => {
                assert_eq!((until, self.provider_works), (PAUSE, false));
                Answer::Unavailable
            }
        }
    }

    /// The flight looks whether there is anything to do, for it may have taken the seat after another one.
    fn fly(&self) -> Outcome {
        if self.generation.load(Ordering::Relaxed) == NEW {
            return Outcome::Renewed;
        }
        self.grants.fetch_add(1, Ordering::Relaxed);
        if !self.provider_works {
            self.seat.pause_until(PAUSE);
            return Outcome::Failed;
        }
        self.generation.store(NEW, Ordering::Relaxed);
        Outcome::Renewed
    }

    fn answer(&self, outcome: Outcome) -> Answer {
        match outcome {
            Outcome::Renewed => {
                assert_eq!(self.generation.load(Ordering::Relaxed), NEW, "the news came before the tokens");
                Answer::Fresh
            }
            Outcome::Failed => Answer::Unavailable,
        }
    }

    /// So many requests at once; what all of them get.
    fn requests(session: &Arc<Self>, count: usize, expected: &Answer) {
        let others: Vec<_> = (1..count)
            .map(|_| {
                let session = Arc::clone(session);
                thread::spawn(move || session.request())
            })
            .collect();
        assert_eq!(session.request(), *expected);
        for other in others {
            assert_eq!(other.join().unwrap(), *expected);
        }
        assert_eq!(session.grants.load(Ordering::Relaxed), 1);
        assert!(!session.seat.is_busy());
    }
}

#[test]
fn three_requests_make_one_grant_and_each_is_answered() {
    loom::model(|| {
        let session = Session::new(true);
        Session::requests(&session, 3, &Answer::Fresh);
        assert!(matches!(session.seat.take(0, Landing::channel), Taken::Free(..)));
    });
}

#[test]
fn after_a_failure_none_of_three_requests_makes_a_second_attempt_in_the_pause() {
    loom::model(|| {
        let session = Session::new(false);
        Session::requests(&session, 3, &Answer::Unavailable);
        assert!(matches!(session.seat.take(PAUSE - 1, Landing::channel), Taken::Resting(PAUSE)));
        assert!(matches!(session.seat.take(PAUSE, Landing::channel), Taken::Free(..)));
    });
}

#[test]
fn whoever_hears_of_a_landing_finds_the_seat_free() {
    loom::model(|| {
        let seat = Arc::new(Seat::default());
        let Taken::Free(landed, sender) = seat.take(0, Landing::channel) else { panic!("it is free") };
        let flight = {
            let seat = Arc::clone(&seat);
            thread::spawn(move || {
                seat.leave();
                sender.send(Outcome::Renewed);
            })
        };
        landed.wait();
        assert!(!seat.is_busy());
        assert!(matches!(seat.take(0, Landing::channel), Taken::Free(..)));
        flight.join().unwrap();
    });
}
