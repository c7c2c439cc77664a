//! Clients that send one bad token after another are made to wait.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::oidc::settings::FailureSettings;

/// Sources that are remembered.
const MOST: usize = 16_384;

/// Failures in a row, by source: an IPv4 address or an IPv6 network of 64 bits.
pub(super) struct Failures {
    settings: FailureSettings,
    sources: Cache<[u8; 8], Arc<Mutex<Record>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Record {
    count: u32,
    /// When the first one was, in milliseconds since 1970.
    since: u64,
    /// Until when the source waits.
    until: u64,
}

impl Failures {
    pub(super) fn new(settings: FailureSettings) -> Self {
        Self { settings, sources: Cache::new(MOST) }
    }

    /// How long `client` must still wait.
    pub(super) fn penalty(&self, client: IpAddr, now: u64) -> Option<Duration> {
        let record = self.record(client)?;
        let left = lock(&record).until.saturating_sub(now);
        (left > 0).then(|| Duration::from_millis(left))
    }

    /// One more failure.
    pub(super) fn count(&self, client: IpAddr, now: u64) {
        if self.settings.threshold == 0 {
            return;
        }
        let (key, fresh) = (source(client), Arc::<Mutex<Record>>::default());
        let Ok(record) = self.sources.get_or_insert_with(&key, || Ok::<_, ()>(fresh)) else { return };
        let mut record = lock(&record);
        let over = now.saturating_sub(record.since) >= millis(self.settings.window);
        if over || record.count == 0 {
            *record = Record { count: 0, since: now, ..*record };
        }
        record.count += 1;
        if record.count >= self.settings.threshold {
            *record =
                Record { count: 0, since: now, until: now.saturating_add(millis(self.settings.penalty)) };
        }
    }

    /// A good token ends the row.
    pub(super) fn forgive(&self, client: IpAddr) {
        if let Some(record) = self.record(client) {
            lock(&record).count = 0;
        }
    }

    fn record(&self, client: IpAddr) -> Option<Arc<Mutex<Record>>> {
        self.sources.get(&source(client))
    }
}

/// Held for a few instructions, and only by requests of one source that has failed before.
fn lock(record: &Mutex<Record>) -> std::sync::MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn source(client: IpAddr) -> [u8; 8] {
    match client.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 4]
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h, ..] = address.octets();
            [a, b, c, d, e, f, g, h]
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000;

    fn failures(threshold: u32) -> Failures {
        let (window, penalty) = (Duration::from_secs(60), Duration::from_secs(30));
        Failures::new(FailureSettings { threshold, window, penalty })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_row_of_failures_costs_the_penalty() {
        let (failures, client) = (failures(3), ip("192.0.2.1"));
        for at in 0..2 {
            failures.count(client, at * SECOND);
        }
        assert_eq!(failures.penalty(client, 2 * SECOND), None);
        failures.count(client, 2 * SECOND);
        assert_eq!(failures.penalty(client, 2 * SECOND), Some(Duration::from_secs(30)));
        assert_eq!(failures.penalty(client, 31 * SECOND), Some(Duration::from_secs(1)));
        assert_eq!(failures.penalty(client, 32 * SECOND), None);
        assert_eq!(failures.penalty(ip("192.0.2.2"), 3 * SECOND), None);
    }

    #[test]
    fn success_and_time_end_a_row() {
        let (failures, client) = (failures(2), ip("192.0.2.1"));
        failures.count(client, 0);
        failures.forgive(client);
        failures.count(client, SECOND);
        assert_eq!(failures.penalty(client, SECOND), None);
        failures.count(client, 61 * SECOND);
        assert_eq!(failures.penalty(client, 61 * SECOND), None, "the first one is out of the window");
        failures.count(client, 62 * SECOND);
        assert!(failures.penalty(client, 62 * SECOND).is_some());
    }

    #[test]
    fn one_network_is_one_source_and_zero_is_off() {
        let counted = failures(1);
        counted.count(ip("2001:db8::1"), 0);
        assert!(counted.penalty(ip("2001:db8::ffff:1"), 0).is_some());
        assert!(counted.penalty(ip("2001:db8:0:1::1"), 0).is_none());
        counted.count(ip("::ffff:192.0.2.1"), 0);
        assert!(counted.penalty(ip("192.0.2.1"), 0).is_some());
        let off = failures(0);
        (0..100).for_each(|at| off.count(ip("192.0.2.1"), at));
        assert!(off.penalty(ip("192.0.2.1"), 0).is_none());
    }

    #[test]
    fn sources_are_bounded() {
        let failures = failures(2);
        for n in 0..(MOST as u32 * 2) {
            failures.count(IpAddr::from(n.to_be_bytes()), 0);
        }
        assert!(failures.sources.len() <= MOST + MOST / 8);
    }
}
