//! `responseHeaderTimeout`: from the end of the request to the response header.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::service::Cut;

/// Cuts a connection to a server whose answer does not begin in time.
#[derive(Debug)]
pub(super) struct HeaderDeadline {
    limit: Duration,
    cut: Cut,
    fired: Arc<AtomicBool>,
    timer: Option<AbortHandle>,
}

impl HeaderDeadline {
    pub(super) fn new(limit: Duration, cut: Cut) -> Self {
        Self { limit, cut, fired: Arc::default(), timer: None }
    }

    /// The request is sent: time runs.
    pub(super) fn start(&mut self) {
        if self.timer.is_some() {
            return;
        }
        let (limit, cut, fired) = (self.limit, self.cut.clone(), Arc::clone(&self.fired));
        let timer = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            fired.store(true, Ordering::Release);
            cut.sever();
        });
        self.timer = Some(timer.abort_handle());
    }

    /// Whether time ran out.
    pub(super) fn has_fired(&self) -> bool {
        self.fired.load(Ordering::Acquire)
    }
}

impl Drop for HeaderDeadline {
    fn drop(&mut self) {
        if let Some(timer) = &self.timer {
            timer.abort();
        }
    }
}
