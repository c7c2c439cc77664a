//! The memory behind sessions that live in the browser: nothing is kept that a cookie does not bring back, except what
//! a cookie must not decide: which generation is the newest, who refreshes, and what has ended.
//!
//! The newest generation of each session stays here until room is needed, so that a request with an older cookie finds
//! it. What has ended is remembered for as long as a cookie of it could still be shown. All of it is this process's.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::id::{IndexKey, SessionKey};
use super::memory::MemoryStore;
use super::store::{CasOutcome, Changes, LeaseOutcome, OwnerId, SessionStore, StoreError, Stored, page};
use crate::oidc::clock::unix_millis;

/// How many sessions keep their newest generation here unless told otherwise: a few kilobytes each.
pub const DEFAULT_CARRIED: usize = 50_000;

/// Ends that are remembered for each session that may be here.
const ENDS: usize = 8;

/// Rows that are no sessions, for each session that may be here: a logout by the provider leaves two.
const OTHERS: usize = 4;

/// How long an end is remembered whose session is not here: no browser keeps a cookie for longer (RFC 6265bis, 5.5).
const LONGEST: Duration = Duration::from_secs(400 * 86_400);

/// See the module.
pub struct CookieStore {
    rows: DashMap<SessionKey, Row>,
    /// Rows that are no sessions: what goes with them, and no cookie brings back. Their number is bounded by itself, so that
    /// neither crowds the other out.
    others: MemoryStore,
    /// Until when the end of a session is remembered, in milliseconds since 1970.
    ended: DashMap<SessionKey, u64>,
    /// Sessions that began before this time have ended, all of them.
    void_before: AtomicU64,
    /// Second of the last use of any.
    latest: AtomicU64,
    /// The longest that any session lasts that was made here, or has come, in milliseconds.
    longest: AtomicU64,
    capacity: usize,
    /// How many rows are too many, so that it is worth to look which can go.
    crowded_at: AtomicUsize,
}

struct Row {
    stored: Stored,
    lease: Option<(OwnerId, SystemTime)>,
    /// Refreshes that need it.
    pins: u32,
    /// Second of the last use.
    used: AtomicU64,
}

impl Row {
    fn new(stored: Stored, second: u64) -> Self {
        Self { stored, lease: None, pins: 0, used: AtomicU64::new(second) }
    }

    /// A lease cannot be had back from a browser, nor can what a refresh may be about to write.
    fn is_spare(&self) -> bool {
        self.lease.is_none() && self.pins == 0
    }
}

impl CookieStore {
    /// Keeps the newest generation of about `capacity` sessions; the longest unused give way.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(16);
        Self {
            rows: DashMap::new(),
            others: MemoryStore::new(capacity.saturating_mul(OTHERS)),
            ended: DashMap::new(),
            void_before: AtomicU64::new(0),
            latest: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            capacity,
            crowded_at: AtomicUsize::new(capacity),
        }
    }

    /// Takes the row that a cookie has brought, or a refresh has made, unless a newer one is here; false if the session
    /// has ended.
    ///
    /// # Errors
    /// [`StoreError::Refused`]: there is no room, which says nothing of the session.
    pub(super) fn offer(&self, key: &SessionKey, row: Stored) -> Result<bool, StoreError> {
        if self.has_ended(key) {
            return Ok(false);
        }
        if !self.rows.contains_key(key) {
            self.make_room()?;
        }
        match self.rows.entry(*key) {
            Entry::Vacant(free) => drop(free.insert(Row::new(row, self.latest.load(Ordering::Relaxed)))),
            Entry::Occupied(mut there) => {
                let present = &mut there.get_mut().stored;
                let expires = present.expires.max(row.expires);
                if row.generation > present.generation {
                    *present = row;
                }
                present.expires = expires;
            }
        }
        // An end that came meanwhile has looked for the row either before or after it came.
        let ended = self.has_ended(key);
        if ended {
            self.rows.remove(key);
        }
        Ok(!ended)
    }

    /// Whether an end of the session is remembered. A session without a row that has not ended has only given way.
    pub(super) fn has_ended(&self, key: &SessionKey) -> bool {
        self.ended.contains_key(key)
    }

    /// Keeps the row, if it is here, until [`CookieStore::unpin`].
    pub(super) fn pin(&self, key: &SessionKey) {
        if let Some(mut row) = self.rows.get_mut(key) {
            row.pins = row.pins.saturating_add(1);
        }
    }

    /// Takes a pin back.
    pub(super) fn unpin(&self, key: &SessionKey) {
        if let Some(mut row) = self.rows.get_mut(key) {
            row.pins = row.pins.saturating_sub(1);
        }
    }

    /// As if others had needed the room.
    #[cfg(test)]
    pub(crate) fn give_way(&self, key: &SessionKey) {
        self.rows.remove(key);
    }

    /// Whether the newest generation is here, which is used now.
    pub(super) fn holds(&self, key: &SessionKey, second: u64) -> bool {
        // A plain load first: the line must not bounce between cores more than once a second.
        if self.latest.load(Ordering::Relaxed) < second {
            self.latest.store(second, Ordering::Relaxed);
        }
        let row = self.rows.get(key);
        row.inspect(|row| row.used.store(second, Ordering::Relaxed)).is_some()
    }

    /// When the session ends as far as is known here.
    pub(super) fn end_of(&self, key: &SessionKey) -> Option<SystemTime> {
        self.rows.get(key).map(|row| row.stored.expires)
    }

    /// There are sessions that last so long.
    pub(super) fn may_last(&self, life: Duration) {
        self.longest.fetch_max(u64::try_from(life.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long the longest session lasts.
    pub(super) fn longest(&self) -> Duration {
        Duration::from_millis(self.longest.load(Ordering::Relaxed)).min(LONGEST)
    }

    /// Ends all sessions that began before `time`, also those that are not here.
    pub(super) fn void_before(&self, time: u64) {
        self.void_before.fetch_max(time, Ordering::AcqRel);
    }

    /// Whether a session that began then has ended with all others.
    pub(super) fn is_void(&self, began: u64) -> bool {
        began < self.void_before.load(Ordering::Acquire)
    }

    fn keys(&self, matches: impl Fn(&Stored) -> bool) -> Vec<SessionKey> {
        self.rows.iter().filter(|row| matches(&row.stored)).map(|row| *row.key()).collect()
    }

    /// Room for one more. Drops the eighth that is unused longest, so that the cost of looking at all is paid once in many.
    fn make_room(&self) -> Result<(), StoreError> {
        let most = self.capacity.saturating_mul(2);
        if self.rows.len() < self.crowded_at.load(Ordering::Relaxed).min(most) {
            return Ok(());
        }
        let used = |row: &Row| row.used.load(Ordering::Relaxed);
        let all = self.rows.iter().filter(|row| row.is_spare()).map(|row| used(&row)).collect();
        let mut spare = Spare::eighth(all);
        self.rows.retain(|_, row| !(row.is_spare() && spare.takes(used(row))));
        // What gives no way: sessions that are being refreshed.
        let left = self.rows.len();
        self.crowded_at.store(self.capacity.max(left + self.capacity / 8), Ordering::Relaxed);
        if left < most { Ok(()) } else { Err(StoreError::Refused("it holds as many as it may")) }
    }

    /// Remembers the end of a session until then, in milliseconds since 1970, or longer.
    pub(super) fn remember_end(&self, key: &SessionKey, until: u64) {
        if self.ended.len() >= self.capacity.saturating_mul(ENDS) {
            tracing::warn!("more sessions were ended than can be remembered: the oldest ends are forgotten");
            let mut spare = Spare::eighth(self.ended.iter().map(|end| *end.value()).collect());
            self.ended.retain(|_, until| !spare.takes(*until));
        }
        let mut known = self.ended.entry(*key).or_insert(until);
        *known = until.max(*known);
    }
}

/// The lowest eighth of some numbers: all below a limit, and so many of those at it.
struct Spare {
    limit: u64,
    at_limit: usize,
}

impl Spare {
    fn eighth(mut numbers: Vec<u64>) -> Self {
        let count = numbers.len() / 8;
        if numbers.is_empty() {
            return Self { limit: 0, at_limit: 0 };
        }
        let (below, limit, _) = numbers.select_nth_unstable(count);
        let limit = *limit;
        let below = below.iter().filter(|number| **number < limit).count();
        Self { limit, at_limit: count.max(1).saturating_sub(below) }
    }

    fn takes(&mut self, number: u64) -> bool {
        let takes = number < self.limit || (number == self.limit && self.at_limit > 0);
        self.at_limit -= usize::from(takes && number == self.limit);
        takes
    }
}

#[async_trait]
impl SessionStore for CookieStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<Stored>, StoreError> {
        match self.rows.get(key).map(|row| row.stored.clone()) {
            None => self.others.load(key).await,
            session => Ok(session),
        }
    }

    async fn insert(&self, key: &SessionKey, row: Stored) -> Result<(), StoreError> {
        if !row.is_session(key) {
            return self.others.insert(key, row).await;
        }
        self.make_room()?;
        match self.rows.entry(*key) {
            Entry::Occupied(_) => Err(StoreError::Exists),
            Entry::Vacant(free) => {
                self.ended.remove(key);
                free.insert(Row::new(row, self.latest.load(Ordering::Relaxed)));
                Ok(())
            }
        }
    }

    async fn compare_and_swap(
        &self,
        key: &SessionKey,
        expected: u64,
        row: Stored,
    ) -> Result<CasOutcome, StoreError> {
        if !row.is_session(key) {
            return self.others.compare_and_swap(key, expected, row).await;
        }
        let Some(mut present) = self.rows.get_mut(key) else {
            return Ok(CasOutcome::Gone);
        };
        if present.stored.generation != expected {
            return Ok(CasOutcome::Conflict(present.stored.generation));
        }
        present.stored = row;
        present.lease = None;
        // The only copy until a browser has it.
        present.used.store(self.latest.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(CasOutcome::Swapped)
    }

    async fn extend(&self, key: &SessionKey, expires: SystemTime) -> Result<bool, StoreError> {
        let Some(mut row) = self.rows.get_mut(key) else { return Ok(false) };
        row.stored.expires = row.stored.expires.max(expires);
        Ok(true)
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        if self.others.delete(key).await? {
            return Ok(true);
        }
        let until = self.end_of(key).unwrap_or_else(|| SystemTime::now() + LONGEST);
        self.remember_end(key, unix_millis(until));
        Ok(self.rows.remove(key).is_some())
    }

    async fn by_sid(&self, sid: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        Ok(self.keys(|row| row.sid.as_ref() == Some(sid)))
    }

    async fn by_sub(&self, sub: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        Ok(self.keys(|row| row.sub == *sub))
    }

    async fn list(
        &self,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<(SessionKey, SystemTime)>, StoreError> {
        let all = self.rows.iter().map(|row| (*row.key(), row.stored.expires)).collect();
        Ok(page(all, after, limit))
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(u64::try_from(self.rows.len()).unwrap_or(u64::MAX).saturating_add(self.others.count().await?))
    }

    async fn lease(
        &self,
        key: &SessionKey,
        owner: OwnerId,
        generation: u64,
        now: SystemTime,
        ttl: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        let Some(mut row) = self.rows.get_mut(key) else {
            return self.others.lease(key, owner, generation, now, ttl).await;
        };
        if row.stored.generation != generation {
            return Ok(LeaseOutcome::Moved(row.stored.generation));
        }
        match row.lease {
            Some((holder, until)) if holder != owner && until > now => Ok(LeaseOutcome::Held(until)),
            _ => {
                row.lease = Some((owner, now + ttl));
                Ok(LeaseOutcome::Granted)
            }
        }
    }

    async fn release(&self, key: &SessionKey, owner: OwnerId, until: SystemTime) -> Result<(), StoreError> {
        let Some(mut row) = self.rows.get_mut(key) else {
            return self.others.release(key, owner, until).await;
        };
        if let Some((holder, end)) = &mut row.lease
            && *holder == owner
        {
            *end = until;
        }
        Ok(())
    }

    async fn purge_expired(&self, now: SystemTime) -> Result<u64, StoreError> {
        let mut purged = self.others.purge_expired(now).await?;
        self.rows.retain(|_, row| {
            if row.lease.is_some_and(|(_, until)| until <= now) {
                row.lease = None;
            }
            let keeps = row.pins > 0 || row.stored.expires > now;
            purged += u64::from(!keeps);
            keeps
        });
        let now = unix_millis(now);
        self.ended.retain(|_, until| *until > now);
        Ok(purged)
    }

    fn outage_tolerance(&self) -> Option<Duration> {
        None
    }

    fn in_browser(&self) -> Option<&CookieStore> {
        Some(self)
    }

    async fn changes(&self, _cursor: Option<u64>) -> Result<Changes, StoreError> {
        // Nobody else can write here.
        Ok(Changes::default())
    }

    async fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
