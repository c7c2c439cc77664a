//! From start to end: what the service manager is told, what signals do, and how the process leaves.
//!
//! Knows entry points, providers and logs only as closures, so that every order of events can be tested.

mod drain;
mod files;
mod panics;
mod server;
mod signals;
mod systemd;
mod watchdog;

pub use drain::{DrainOutcome, DrainTarget, drain};
pub use files::make_room;
pub use panics::count_panics;
pub use server::{serve, server_conf};
pub use signals::{Actions, Signal, Signals, until_stopped};
pub use systemd::Notifier;
pub use watchdog::watchdog;
