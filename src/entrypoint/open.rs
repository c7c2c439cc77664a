//! Counting the connections that are open, and telling the outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::Notify;

use super::RejectReason;
use crate::net::ConnInfo;

/// What the outside wants to know about connections; metrics implement it. Called on the threads
/// that serve requests, so it must not block.
pub trait ConnectionEvents: Send + Sync + 'static {
    /// A connection was accepted (`traefik_open_connections{entrypoint,protocol="TCP"}` goes up).
    fn opened(&self, _entry_point: &str) {}
    /// A connection ended.
    fn closed(&self, _entry_point: &str) {}
    /// A connection or request was refused before HTTP processing.
    fn rejected(&self, _entry_point: &str, _reason: RejectReason) {}
    /// A request that was refused has an answer, and will have no other record.
    fn answered(&self, _answered: &Answered<'_>) {}
}

/// A request that is answered before it comes to the proxy: one of HTTP/1 that is none, one of HTTP/2 that the engine
/// refuses by itself.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// Its connection.
    pub conn: &'a ConnInfo,
    /// What it is told.
    pub status: StatusCode,
    /// Its first line as far as it came, whatever is in it. Empty for HTTP/2, which has none.
    pub line: &'a [u8],
    /// Since its first byte came, as far as that is known.
    pub took: Duration,
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvents;

impl ConnectionEvents for NoEvents {}

/// Open connections of one listener or of all.
#[derive(Debug, Default)]
pub(super) struct OpenCount {
    count: AtomicUsize,
    zero: Notify,
}

impl OpenCount {
    pub(super) fn get(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    pub(super) fn enter(self: &Arc<Self>) -> Entered {
        self.count.fetch_add(1, Ordering::AcqRel);
        Entered(self.clone())
    }

    /// Returns when nothing is open.
    pub(super) async fn wait_for_zero(&self) {
        loop {
            let zero = self.zero.notified();
            tokio::pin!(zero);
            // Registered before the count is read, so that no wake-up is lost in between.
            zero.as_mut().enable();
            if self.get() == 0 {
                return;
            }
            zero.await;
        }
    }
}

/// One open connection; counts down when dropped.
#[derive(Debug)]
pub(super) struct Entered(Arc<OpenCount>);

impl Drop for Entered {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.zero.notify_waiters();
        }
    }
}
