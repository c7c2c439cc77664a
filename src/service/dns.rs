//! Host names of servers, resolved in the background.
//!
//! A name is looked up when a configuration first mentions it and then again whenever its records
//! run out (at least every 30 s, at most every second). Requests read the last answer and never
//! wait. A failed lookup keeps the old addresses, so an outage of the DNS alone stops nothing.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hickory_resolver::TokioResolver;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{debug, warn};

/// Shortest pause between two lookups of a name.
const SHORTEST: Duration = Duration::from_secs(1);
/// Longest pause between two lookups of a name.
const LONGEST: Duration = Duration::from_secs(30);

/// The addresses of a name and how long they hold.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Every A and AAAA record, in the order of the resolver.
    pub addresses: Vec<IpAddr>,
    /// Until when the shortest record holds.
    pub valid_until: Instant,
}

/// A lookup under way.
pub type Lookup<'a> = Pin<Box<dyn Future<Output = Result<Answer, String>> + Send + 'a>>;

/// Asks for the addresses of a name. The error is text for the log.
pub trait Resolve: Send + Sync + 'static {
    /// Looks `host` up.
    fn resolve<'a>(&'a self, host: &'a str) -> Lookup<'a>;
}

/// The system's resolver configuration (`/etc/resolv.conf`, `/etc/hosts`).
struct System(TokioResolver);

impl Resolve for System {
    fn resolve<'a>(&'a self, host: &'a str) -> Lookup<'a> {
        Box::pin(async move {
            let answer = self.0.lookup_ip(host).await.map_err(|error| error.to_string())?;
            Ok(Answer { addresses: answer.iter().collect(), valid_until: answer.valid_until() })
        })
    }
}

/// Addresses that never change.
struct Fixed(HashMap<String, Vec<IpAddr>>);

impl Resolve for Fixed {
    fn resolve<'a>(&'a self, host: &'a str) -> Lookup<'a> {
        let answer = self
            .0
            .get(host)
            .map(|addresses| Answer { addresses: addresses.clone(), valid_until: Instant::now() + LONGEST });
        Box::pin(std::future::ready(answer.ok_or_else(|| "no such name".to_owned())))
    }
}

/// A name and its last known addresses.
#[derive(Debug)]
pub struct Name {
    host: String,
    addresses: ArcSwap<Vec<IpAddr>>,
    /// Turns true after the first lookup, whatever came of it.
    asked: watch::Sender<bool>,
}

impl Name {
    /// The last known addresses; empty while the name has never been resolved.
    pub fn addresses(&self) -> arc_swap::Guard<Arc<Vec<IpAddr>>> {
        self.addresses.load()
    }

    /// Waits until the first lookup is over. For whoever makes a configuration live.
    pub async fn asked(&self) {
        // The sender lives in `self`, so the wait can end only with a value.
        let _ = self.asked.subscribe().wait_for(|asked| *asked).await;
    }

    fn store(&self, found: Vec<IpAddr>) {
        if **self.addresses.load() != found {
            debug!(host = %self.host, addresses = ?found, "server name resolved");
            self.addresses.store(Arc::new(found));
        }
    }
}

/// Every name that a configuration uses. Cheap to share.
pub struct Names {
    resolve: Arc<dyn Resolve>,
    runtime: Handle,
    known: Mutex<HashMap<String, Weak<Name>>>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

impl Names {
    /// Names resolved as the system is configured to; lookups run on the current Tokio runtime.
    ///
    /// # Errors
    /// Text when the system's resolver configuration cannot be read.
    pub fn system() -> Result<Self, String> {
        let builder = TokioResolver::builder_tokio().map_err(|error| error.to_string())?;
        let resolver = builder.build().map_err(|error| error.to_string())?;
        Ok(Self::new(Arc::new(System(resolver))))
    }

    /// Names from a table.
    pub fn fixed(table: impl IntoIterator<Item = (String, Vec<IpAddr>)>) -> Self {
        Self::new(Arc::new(Fixed(table.into_iter().collect())))
    }

    /// Names resolved by `resolve` on the current Tokio runtime.
    pub fn new(resolve: Arc<dyn Resolve>) -> Self {
        Self { resolve, runtime: Handle::current(), known: Mutex::default() }
    }

    /// The name `host`: one that is already being resolved, or a new one.
    ///
    /// It is looked up for as long as somebody holds it.
    pub fn name(&self, host: &str) -> Arc<Name> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, name| name.strong_count() > 0);
        if let Some(name) = known.get(host).and_then(Weak::upgrade) {
            return name;
        }
        let name = Arc::new(Name {
            host: host.to_owned(),
            addresses: ArcSwap::default(),
            asked: watch::Sender::new(false),
        });
        known.insert(host.to_owned(), Arc::downgrade(&name));
        self.runtime.spawn(keep_fresh(Arc::downgrade(&name), host.to_owned(), Arc::clone(&self.resolve)));
        name
    }

    /// Waits until each name in use has been looked up once, or `limit` has passed.
    pub async fn asked(&self, limit: Duration) {
        let names: Vec<Arc<Name>> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.values().filter_map(Weak::upgrade).collect()
        };
        let all = futures_util::future::join_all(names.iter().map(|name| name.asked()));
        let _ = tokio::time::timeout(limit, all).await;
    }
}

/// Looks `host` up again and again until nobody needs it.
async fn keep_fresh(name: Weak<Name>, host: String, resolve: Arc<dyn Resolve>) {
    let mut failures = 0_u32;
    loop {
        let result = resolve.resolve(&host).await;
        let Some(name) = name.upgrade() else { return };
        let pause = match result {
            Ok(answer) if !answer.addresses.is_empty() => {
                failures = 0;
                name.store(answer.addresses);
                answer.valid_until.saturating_duration_since(Instant::now()).clamp(SHORTEST, LONGEST)
            }
            outcome => {
                if failures == 0 {
                    let error = outcome.err().unwrap_or_else(|| "no addresses".to_owned());
                    warn!(host = %host, error = %error, "server name not resolved; the last addresses stay in use");
                }
                failures = failures.saturating_add(1);
                SHORTEST.saturating_mul(failures).min(LONGEST)
            }
        };
        name.asked.send_replace(true);
        drop(name);
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    /// Answers from a script; the last entry repeats.
    struct Script {
        step: AtomicUsize,
        answers: Vec<Result<Vec<IpAddr>, String>>,
    }

    impl Script {
        fn names(answers: Vec<Result<Vec<IpAddr>, String>>) -> Names {
            Names::new(Arc::new(Self { step: AtomicUsize::new(0), answers }))
        }
    }

    impl Resolve for Script {
        fn resolve<'a>(&'a self, _: &'a str) -> Lookup<'a> {
            let step = self.step.fetch_add(1, Ordering::Relaxed).min(self.answers.len() - 1);
            let answer = self.answers[step].clone();
            Box::pin(std::future::ready(
                answer.map(|addresses| Answer { addresses, valid_until: Instant::now() }),
            ))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_looked_up_again_when_its_records_run_out() {
        let names = Script::names(vec![Ok(vec![ONE]), Ok(vec![TWO])]);
        let name = names.name("app");
        assert!(name.addresses().is_empty());
        name.asked().await;
        assert_eq!(**name.addresses(), [ONE]);
        tokio::time::sleep(SHORTEST + Duration::from_millis(1)).await;
        assert_eq!(**name.addresses(), [TWO]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_keeps_the_old_addresses() {
        let names = Script::names(vec![Ok(vec![ONE]), Err("SERVFAIL".into()), Ok(vec![]), Ok(vec![TWO])]);
        let name = names.name("app");
        name.asked().await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(**name.addresses(), [ONE]);
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(**name.addresses(), [TWO]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_fails_at_first_still_counts_as_asked() {
        let names = Script::names(vec![Err("NXDOMAIN".into())]);
        let name = names.name("app");
        names.asked(Duration::from_secs(60)).await;
        assert!(*name.asked.borrow());
        assert!(name.addresses().is_empty());
    }

    #[tokio::test]
    async fn a_name_in_use_is_shared_between_configurations() {
        let names = Names::fixed([("app".to_owned(), vec![ONE])]);
        let first = names.name("app");
        assert!(Arc::ptr_eq(&first, &names.name("app")));
    }
}
