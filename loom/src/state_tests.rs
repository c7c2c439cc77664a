//! An end is final, and a change that comes while an entry is being read is not missed.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use crate::state::{State, StateCell, Upsets};

#[test]
fn an_end_is_final_and_counts_once() {
    loom::model(|| {
        let shared = Arc::new((StateCell::default(), Upsets::default()));
        let enders: Vec<_> = (0..2)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.0.end())
            })
            .collect();
        shared.0.turn(State::Live, State::Stale);
        shared.0.settle(&shared.1, 0);
        let ended = enders.into_iter().map(|ender| ender.join().unwrap()).filter(|ended| *ended).count();
        assert_eq!(ended, 1);
        shared.0.settle(&shared.1, 0);
        assert_eq!(shared.0.get(), State::Ended);
    });
}

/// A session as the store has it, and its entry in this process.
#[derive(Default)]
struct Session {
    stored: Number,
    installed: Number,
    state: StateCell,
    upsets: Upsets,
}

struct Number(AtomicU64);

impl Default for Number {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Session {
    /// As `Sessions::recheck` does it.
    fn read_again(&self) {
        let before = self.upsets.count();
        let stored = self.stored.0.load(Ordering::Acquire);
        self.installed.0.fetch_max(stored, Ordering::AcqRel);
        self.state.settle(&self.upsets, before);
    }

    /// Another process has written; then the news arrive here, as in `Inner::apply`.
    fn change(&self) {
        self.stored.0.store(1, Ordering::Release);
        self.upsets.add();
        if 1 > self.installed.0.load(Ordering::Acquire) {
            self.state.turn(State::Live, State::Stale);
        }
    }
}

fn a_change_during(readers: usize, state: State) {
    loom::model(move || {
        let session = Arc::new(Session::default());
        session.state.turn(State::Live, state);
        let readers: Vec<_> = (0..readers)
            .map(|_| {
                let session = Arc::clone(&session);
                thread::spawn(move || session.read_again())
            })
            .collect();
        session.change();
        for reader in readers {
            reader.join().unwrap();
        }
        if session.state.get() == State::Live {
            assert_eq!(
                session.installed.0.load(Ordering::Acquire),
                1,
                "an old generation serves on unnoticed"
            );
        }
    });
}

#[test]
fn a_change_during_a_read_is_not_missed() {
    a_change_during(1, State::Stale);
    a_change_during(1, State::Live);
}

#[test]
fn a_change_during_two_reads_is_not_missed() {
    a_change_during(2, State::Stale);
}
