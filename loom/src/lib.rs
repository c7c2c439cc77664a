//! Every interleaving of what requests of one process share: the seat of a flight, and the state of an entry. The files
//! are the product's own; only what they synchronise with is loom's. `make loom` runs it, `make test` as well.
//!
//! Outside of the model: Tokio's `watch` (here a value that is set once, under a lock, and a condition variable), the
//! `ArcSwap` that holds a session's profile (here its generation, an atomic without any ordering of its own, which is
//! less than `ArcSwap` promises), the map of sessions, and the Tokio scheduler.

#[path = "../../src/oidc/refresh/seat.rs"]
pub mod seat;
#[path = "../../src/oidc/session/state.rs"]
pub mod state;

mod oidc {
    pub mod sync {
        pub use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
        pub use loom::sync::{Mutex, MutexGuard};
        pub use std::sync::PoisonError;
    }
}

#[cfg(test)]
mod seat_tests;
#[cfg(test)]
mod state_tests;
