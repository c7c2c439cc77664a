//! What those parts synchronise with whose every interleaving is tried: `loom/` compiles the same files with loom's
//! types in place of these.

pub use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
pub use std::sync::{Mutex, MutexGuard, PoisonError};
