//! Listeners and connections: from `accept` to a stream on which HTTP is spoken.
//!
//! [`Supervisor`] keeps the listeners that configuration asks for. Each accepted connection is
//! taken through the PROXY header and the TLS handshake (`establish`; many at once take turns, `arrival`),
//! wrapped in a stream that enforces deadlines and limits (`io`), and handed to Pingora with its
//! `ConnInfo` (`app`).

mod app;
mod arrival;
mod bind;
mod connection;
mod establish;
mod io;
mod listener;
mod open;
mod settings;
mod supervisor;

#[cfg(test)]
mod tests;

pub use bind::{BindError, ListenerSource};
pub use io::RejectReason;
#[cfg(feature = "fuzzing")]
pub use io::fuzzing;
pub use open::{Answered, ConnectionEvents, NoEvents};
pub use settings::{Http2, KeepAlive, ProxyTrust, Settings, Timeouts};
pub use supervisor::{DrainOutcome, ListenerSpec, ReconcileError, Supervisor};
