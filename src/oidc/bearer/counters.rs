//! How requests with bearer tokens end, counted.

use crate::oidc::events::{Counter, Events};

/// One counter for each outcome; all are there from the start, so that a rate sees the first one.
pub(super) struct Counters {
    /// Passed.
    pub(super) accepted: Counter,
    /// A good token whose owner may not pass, or must log in more strongly.
    pub(super) denied: Counter,
    /// No header of RFC 6750, or a token that is not accepted.
    pub(super) refused: Counter,
    /// Nobody could say.
    pub(super) unavailable: Counter,
    /// Told to wait after too many bad tokens.
    pub(super) throttled: Counter,
}

impl Counters {
    pub(super) fn new(events: &dyn Events, policy: &str) -> Self {
        let counter = |outcome| events.bearer_counter(policy, outcome);
        Self {
            accepted: counter("accepted"),
            denied: counter("denied"),
            refused: counter("refused"),
            unavailable: counter("unavailable"),
            throttled: counter("throttled"),
        }
    }
}
