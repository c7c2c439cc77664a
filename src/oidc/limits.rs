//! Limits of logins: how often one address may start or finish one, and how many codes are exchanged at a time.
//!
//! Addresses that cannot be told apart from a whole network of ours (loopback, private, link-local) are not limited by
//! address: behind a balancer that is not trusted every client has one of them.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use dashmap::DashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::clock::unix_millis;

/// Addresses that are remembered. Beyond it all new ones share one account.
const MOST_ADDRESSES: usize = 65_536;

/// How often a full table is searched for what can be forgotten, in milliseconds.
const SWEEP: u64 = 1_000;

/// Code exchanges with one provider at the same time.
const EXCHANGES: usize = 64;

/// Callbacks that wait for a seat.
const QUEUE: usize = 256;

/// Seats of one address. Behind it may be an office whose people all log in at nine.
const SEATS_OF_ONE_ADDRESS: usize = 16;

/// Callbacks of one address that wait or have a seat.
const OF_ONE_ADDRESS: usize = SEATS_OF_ONE_ADDRESS + QUEUE / 4;

/// The longest that a callback waits for a seat.
const PATIENCE: Duration = Duration::from_secs(5);

/// Login starts and callbacks of each client address (`perSourceLoginRateLimit`), by the generic cell rate algorithm:
/// as many at once as there may be in a minute, then one in each 60th part of that.
pub struct LoginRate {
    /// Milliseconds between two; 0: no limit.
    interval: u64,
    burst: u64,
    /// When an address has used up what it may, in milliseconds since 1970.
    used_until: DashMap<IpAddr, u64>,
    swept: AtomicU64,
}

impl LoginRate {
    /// So many a minute; 0: no limit.
    pub fn new(per_minute: u32) -> Self {
        let burst = u64::from(per_minute.min(60_000));
        let interval = 60_000_u64.checked_div(burst).unwrap_or(0);
        Self { interval, burst, used_until: DashMap::new(), swept: AtomicU64::new(0) }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// How long to wait, if there were too many.
    pub fn admit(&self, client: IpAddr, now: SystemTime) -> Result<(), Duration> {
        if self.interval == 0 {
            return Ok(());
        }
        let Some(address) = limited(client) else { return Ok(()) };
        let now = unix_millis(now);
        let mut used_until = self.used_until.entry(self.known(address, now)).or_insert(now);
        let most = now.saturating_add(self.interval.saturating_mul(self.burst));
        // Nobody can have used up more: the clock was set back since.
        let used = if *used_until > most { now } else { (*used_until).max(now) };
        let next = used.saturating_add(self.interval);
        if next > most {
            return Err(Duration::from_millis(next - most));
        }
        *used_until = next;
        Ok(())
    }

    /// The key for `address`: itself, or the shared one when the table is full.
    fn known(&self, address: IpAddr, now: u64) -> IpAddr {
        if self.used_until.len() < MOST_ADDRESSES || self.used_until.contains_key(&address) {
            return address;
        }
        let swept = self.swept.load(Ordering::Relaxed);
        let due = now >= swept.saturating_add(SWEEP);
        if due && self.swept.compare_exchange(swept, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.used_until.retain(|_, used_until| *used_until > now);
        }
        let full = self.used_until.len() >= MOST_ADDRESSES;
        if full { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { address }
    }
}

/// The code exchanges with one provider. Each callback needs an attempt that we have sealed, but those are to be had for
/// the asking.
pub struct Exchanges {
    seats: Semaphore,
    waiting: AtomicUsize,
    by_address: DashMap<IpAddr, Source>,
}

/// One address.
struct Source {
    seats: Arc<Semaphore>,
    /// Those that wait or have a seat.
    callbacks: usize,
}

impl Default for Source {
    fn default() -> Self {
        Self { seats: Arc::new(Semaphore::new(SEATS_OF_ONE_ADDRESS)), callbacks: 0 }
    }
}

impl Default for Exchanges {
    fn default() -> Self {
        Self { seats: Semaphore::new(EXCHANGES), waiting: AtomicUsize::new(0), by_address: DashMap::new() }
    }
}

impl Exchanges {
    /// Waits for a seat; it is given back by dropping it.
    ///
    /// # Errors
    /// How long to wait: too many callbacks of this address, or too many altogether.
    pub async fn enter(&self, client: IpAddr) -> Result<Seat<'_>, Duration> {
        const SOON: Duration = Duration::from_secs(1);
        let share = self.share(client).ok_or(SOON)?;
        let waiting = Waiting::join(&self.waiting).ok_or(PATIENCE)?;
        let permits = tokio::time::timeout(PATIENCE, self.permits(&share)).await;
        drop(waiting);
        match permits {
            Ok(Some((own, permit))) => Ok(Seat { _permit: permit, _own: own, _share: share }),
            Ok(None) | Err(_) => Err(PATIENCE),
        }
    }

    /// The address' own seat first: who waits for that keeps nobody else waiting.
    async fn permits(
        &self,
        share: &Share<'_>,
    ) -> Option<(Option<OwnedSemaphorePermit>, SemaphorePermit<'_>)> {
        let own = match &share.source {
            Some((_, seats)) => Some(Arc::clone(seats).acquire_owned().await.ok()?),
            None => None,
        };
        Some((own, self.seats.acquire().await.ok()?))
    }

    fn share(&self, client: IpAddr) -> Option<Share<'_>> {
        let Some(address) = limited(client) else {
            return Some(Share { exchanges: self, source: None });
        };
        let mut source = self.by_address.entry(address).or_default();
        if source.callbacks >= OF_ONE_ADDRESS {
            return None;
        }
        source.callbacks += 1;
        Some(Share { exchanges: self, source: Some((address, Arc::clone(&source.seats))) })
    }
}

/// The right to exchange one code.
pub struct Seat<'a> {
    _permit: SemaphorePermit<'a>,
    _own: Option<OwnedSemaphorePermit>,
    _share: Share<'a>,
}

/// One of those that an address may have.
struct Share<'a> {
    exchanges: &'a Exchanges,
    source: Option<(IpAddr, Arc<Semaphore>)>,
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let Some((address, _)) = &self.source else { return };
        self.exchanges.by_address.remove_if_mut(address, |_, source| {
            source.callbacks = source.callbacks.saturating_sub(1);
            source.callbacks == 0
        });
    }
}

/// A place in the queue.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(count: &'a AtomicUsize) -> Option<Self> {
        let joined = Self(count);
        (count.fetch_add(1, Ordering::AcqRel) < QUEUE).then_some(joined)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What an address is counted as: itself, or its /64, which one host has to itself. None: not limited.
fn limited(client: IpAddr) -> Option<IpAddr> {
    match client.to_canonical() {
        IpAddr::V4(v4) => {
            let near = v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified();
            (!near).then_some(IpAddr::V4(v4))
        }
        IpAddr::V6(v6) => {
            let near =
                v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified();
            let network = u128::from(v6) & !u128::from(u64::MAX);
            (!near).then(|| IpAddr::V6(Ipv6Addr::from(network)))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::oidc::clock::from_unix_millis;

    fn at(millis: u64) -> SystemTime {
        from_unix_millis(1_700_000_000_000 + millis)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_of_a_minutes_worth_then_one_at_a_time() {
        let (rate, client) = (LoginRate::new(6), address("203.0.113.9"));
        for _ in 0..6 {
            assert_eq!(rate.admit(client, at(0)), Ok(()));
        }
        assert_eq!(rate.admit(client, at(1_000)), Err(Duration::from_secs(9)));
        assert_eq!(rate.admit(address("203.0.113.10"), at(1_000)), Ok(()));
        assert_eq!(rate.admit(client, at(10_000)), Ok(()));
        assert!(rate.admit(client, at(10_000)).is_err());
        for _ in 0..6 {
            assert_eq!(rate.admit(client, at(120_000)), Ok(()));
        }
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let (rate, client) = (LoginRate::new(6), address("203.0.113.9"));
        for _ in 0..6 {
            assert_eq!(rate.admit(client, at(3_600_000)), Ok(()));
        }
        for _ in 0..6 {
            assert_eq!(rate.admit(client, at(0)), Ok(()));
        }
        assert_eq!(rate.admit(client, at(0)), Err(Duration::from_secs(10)));
    }

    #[test]
    fn a_network_is_one_source_and_our_own_is_none() {
        let rate = LoginRate::new(1);
        assert_eq!(rate.admit(address("2001:db8::1"), at(0)), Ok(()));
        assert!(rate.admit(address("2001:db8::2"), at(0)).is_err());
        assert_eq!(rate.admit(address("2001:db8:0:1::1"), at(0)), Ok(()));
        assert_eq!(rate.admit(address("203.0.113.9"), at(0)), Ok(()));
        assert!(rate.admit(address("::ffff:203.0.113.9"), at(0)).is_err());
        for near in ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.1", "fd00::1", "fe80::1", "169.254.0.1"] {
            assert_eq!(rate.admit(address(near), at(0)), Ok(()), "{near}");
            assert_eq!(rate.admit(address(near), at(0)), Ok(()), "{near}");
        }
        let off = LoginRate::new(0);
        assert!((0..1000).all(|_| off.admit(address("203.0.113.9"), at(0)).is_ok()));
    }

    #[test]
    fn the_table_is_bounded() {
        let rate = LoginRate::new(1);
        for n in 0..70_000_u32 {
            let _ = rate.admit(IpAddr::from((0x0b00_0000 + n).to_be_bytes()), at(0));
        }
        assert!(rate.used_until.len() <= MOST_ADDRESSES + 1);
        assert!(rate.admit(address("203.0.113.9"), at(0)).is_err(), "strangers share one account");
        assert_eq!(rate.admit(address("203.0.113.9"), at(61_000)), Ok(()));
        assert!(rate.used_until.len() < 10, "what is over is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn seats_are_shared_out() {
        let exchanges = Exchanges::default();
        let client = address("203.0.113.9");
        let mut seats = Vec::new();
        for _ in 0..SEATS_OF_ONE_ADDRESS {
            seats.push(exchanges.enter(client).await.unwrap());
        }
        assert_eq!(exchanges.enter(client).await.err(), Some(PATIENCE), "one address does not take them all");
        let rest = (0..=OF_ONE_ADDRESS - SEATS_OF_ONE_ADDRESS).map(|_| exchanges.enter(client));
        let refused = futures_util::future::join_all(rest).await.into_iter().map(|rest| rest.err().unwrap());
        assert_eq!(refused.filter(|wait| *wait < PATIENCE).count(), 1, "nor the whole queue");
        for n in SEATS_OF_ONE_ADDRESS..EXCHANGES {
            let other = IpAddr::from([203, 0, 114, u8::try_from(n).unwrap()]);
            seats.push(exchanges.enter(other).await.unwrap());
        }
        assert_eq!(exchanges.enter(address("127.0.0.1")).await.err(), Some(PATIENCE));
        assert_eq!(exchanges.waiting.load(Ordering::SeqCst), 0);
        drop(seats);
        assert!(exchanges.by_address.is_empty());
        assert!(exchanges.enter(client).await.is_ok());
    }
}
