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
use std::time::{Duration, Instant};

/// Long enough for a loaded machine with two cores; a passing test never waits for it.
pub const SOON: Duration = Duration::from_secs(20);

/// The result of `future`, which must come before [`SOON`] is over.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("still waiting for {what} after {SOON:?}"),
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
