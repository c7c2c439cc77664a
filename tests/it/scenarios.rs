//! What must hold under load and when the provider fails. `storm.rs` runs the short ones small in every test run;
//! `make storm` (`storm_by_hand.rs`) runs all of them large. P14, replicas, is in `oidc_replicas.rs`.

pub mod hang;
pub mod login;
pub mod long;
pub mod outage;
pub mod refresh;

use std::fmt;
use std::time::Duration;

use futures_util::StreamExt;
use portcullis::demo::provider::{ProviderOptions, Rotation};

use crate::harness::client::Browser;
use crate::harness::idp::{Plan, TELLS, World};
use crate::harness::load;
use crate::harness::origin::Origin;
use crate::harness::probe::Probed;

/// Life of the first tokens where they are to end. The refresh grace is one second, so the login itself causes no
/// refresh.
pub const LIFE: Duration = Duration::from_secs(3);

/// How large a scenario is.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// As large as on paper, with its limits of time; else small, with limits that a loaded machine holds too.
    pub full: bool,
    /// The proxy has one worker thread.
    pub one_worker: bool,
    /// How long the long ones last.
    pub length: Duration,
    /// Sessions of P5, P6 and P15 when large.
    pub sessions: usize,
}

impl Scale {
    pub const SHORT: Self =
        Self { full: false, one_worker: false, length: Duration::from_secs(5), sessions: 200 };

    pub fn pick<T>(self, short: T, full: T) -> T {
        if self.full { full } else { short }
    }

    pub fn plan(self) -> Plan {
        let mut plan = Plan::new().plugin(TELLS);
        plan.routers = "    open: {rule: PathPrefix(`/open`), service: s, priority: 99}".to_owned();
        let plan = if self.full { plan.quiet().origin(Origin::apart()) } else { plan };
        if self.one_worker { plan.one_core() } else { plan }
    }

    /// A plan whose first tokens end after [`LIFE`], with refresh tokens that work once.
    pub fn short_lived(self) -> Plan {
        let mut plan = self.plan().plugin("refreshGracePeriodSeconds: 1");
        plan.provider = ProviderOptions {
            access_token_ttl: LIFE,
            rotation: Rotation::Strict,
            ..ProviderOptions::default()
        };
        plan
    }
}

/// What a scenario demanded and what came of it.
#[derive(Debug)]
pub struct Verdict {
    id: &'static str,
    demanded: Vec<String>,
    measured: Vec<String>,
    missed: Vec<String>,
}

impl Verdict {
    pub fn of(id: &'static str) -> Self {
        Self { id, demanded: Vec::new(), measured: Vec::new(), missed: Vec::new() }
    }

    /// One demand, what was measured, and whether it holds.
    #[must_use]
    pub fn that(mut self, demanded: impl Into<String>, measured: impl fmt::Display, holds: bool) -> Self {
        let demanded = demanded.into();
        if !holds {
            self.missed.push(format!("{demanded}: {measured}"));
        }
        self.demanded.push(demanded);
        self.measured.push(measured.to_string());
        self
    }

    /// A demand that something takes no longer than `limit`.
    #[must_use]
    pub fn within(self, what: &str, limit: Duration, took: Duration) -> Self {
        self.that(format!("{what} ≤ {limit:?}"), format!("{took:.1?}"), took <= limit)
    }

    /// A demand on the 99th percentile of what was probed, with that of the service itself beside it.
    #[must_use]
    pub fn probed(self, what: &str, limit: Duration, seen: &Probed) -> Self {
        let [through, straight] = [&seen.through, &seen.straight].map(|times| load::percentile(times, 99));
        let measured = format!("{through:.1?} (the service itself {straight:.1?})");
        self.that(format!("{what} p99 ≤ {limit:?}"), measured, through <= limit)
    }

    /// A demand for this very number.
    #[must_use]
    pub fn exactly(self, what: &str, wanted: u64, measured: u64) -> Self {
        self.that(format!("{what} = {wanted}"), measured, measured == wanted)
    }

    pub fn holds(&self) -> bool {
        self.missed.is_empty()
    }

    /// Fails the test if a demand is not met.
    pub fn must_hold(&self) {
        assert!(self.holds(), "{self}\nmissed: {:#?}", self.missed);
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = if self.holds() { "ok" } else { "FAILED" };
        let (demanded, measured) = (self.demanded.join("; "), self.measured.join("; "));
        write!(f, "{} | {demanded} | {measured} | {result}", self.id)
    }
}

/// Cookies of `count` new sessions of `user`.
pub async fn sessions(world: &World, user: &str, count: usize) -> Vec<String> {
    let (browser, url) = (Browser::new(), world.at("/"));
    let logins = (0..count).map(|_| {
        let (browser, url) = (browser.stranger(), &url);
        async move {
            let page = browser.log_in(url, user).await;
            assert!(World::is_from_service(&page), "{page:?}");
            browser.cookie_line("localhost")
        }
    });
    futures_util::stream::iter(logins).buffer_unordered(AT_ONCE).collect().await
}

/// Logins of [`sessions`] at the same time: so many of the last ones may end last.
const AT_ONCE: usize = 16;

/// Lets the tokens of [`Scale::short_lived`] end, those of all these sessions; those to come live long. How many refreshes
/// there were before: a login that takes long comes to its page with tokens that are nearly over.
pub async fn tokens_end(world: &World, cookies: &[String]) -> u64 {
    world.idp.set_access_token_ttl(Duration::from_secs(600));
    tokens_over(world, cookies).await;
    world.grants("refresh_token")
}

/// Returns when the tokens of these sessions have ended, which were made in this order.
pub async fn tokens_over(world: &World, cookies: &[String]) {
    for cookie in cookies.iter().rev().take(AT_ONCE) {
        world.tokens_over(cookie).await;
    }
}

/// Refresh grants that the provider refused: an old token was shown to it again, or one that it never made.
pub fn refused(world: &World) -> u64 {
    world.idp.counters().get("grant:refresh_token:invalid_grant")
}
