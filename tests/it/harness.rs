//! What the tests are written with: an [`origin`] behind the proxy, the [`proxy`] as a child process, [`client`]s
//! before it, and an OpenID provider ([`idp`]) beside it. Nothing waits for a fixed time: things either happen
//! before a deadline or the test fails.

pub mod certificates;
pub mod client;
pub mod http1;
pub mod idp;
pub mod link;
#[allow(dead_code)] // Measurements are taken by `make storm` only.
pub mod load;
pub mod origin;
pub mod ports;
#[allow(dead_code)] // As `load`.
pub mod probe;
pub mod proxy;
#[path = "../../src/oidc/session/redis/servers.rs"]
pub mod redis;

use std::future::Future;
use std::time::{Duration, Instant, SystemTime};

/// Long enough for a loaded machine with two cores; a passing test never waits for it.
pub const SOON: Duration = Duration::from_secs(20);

/// The result of `future`, which must come before [`SOON`] is over.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("still waiting for {what} after {SOON:?}"),
    }
}

/// Tries `attempt` until one takes no longer than `limit`: what is too slow by itself is so each time, and what a busy machine
/// delays is not.
pub async fn within(what: &str, limit: Duration, mut attempt: impl AsyncFnMut() -> Duration) {
    let (deadline, mut quickest) = (Instant::now() + SOON, Duration::MAX);
    loop {
        quickest = quickest.min(attempt().await);
        if quickest <= limit {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {quickest:?} at best, and not {limit:?}");
    }
}

/// Returns at this time, by the clock that the proxy looks at, too.
pub async fn until(time: SystemTime) {
    while let Ok(left) = time.duration_since(SystemTime::now()) {
        tokio::time::sleep(left.max(Duration::from_millis(1))).await;
    }
}

/// Asks `check` again and again until it says yes.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let deadline = Instant::now() + SOON;
    while !check().await {
        assert!(Instant::now() < deadline, "not so after {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
