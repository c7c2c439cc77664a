//! The idle lifetime: a session that no request has used for so long is over, whatever its absolute end.
//!
//! The end slides in steps. A request moves it only when it would move by a tenth of the lifetime, or by a minute, and
//! the store hears of it beside the request. So a store is written at most once in a step for each session, and a session
//! ends at most a step earlier than its lifetime after the last request, never later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::Sessions;
use super::entry::SessionEntry;
use super::lifetimes::Lifetimes;
use super::record::{SessionRecord, Timing};
use super::store::StoreError;
use crate::oidc::clock::{from_unix_millis, unix_millis};

/// The longest step.
const STEP: u64 = 60_000;

/// The sliding end of one session, in milliseconds since 1970. What the store knows is never later.
pub(super) struct Idle {
    /// 0: there is none.
    lifetime: u64,
    end: AtomicU64,
}

impl Idle {
    /// As it begins, at the login.
    pub(super) fn of(record: &SessionRecord) -> Self {
        let lifetime = record.idle_lifetime.map_or(0, millis);
        let end = match lifetime {
            0 => Timing::NEVER,
            lifetime => unix_millis(record.created).saturating_add(lifetime),
        };
        Self { lifetime, end: AtomicU64::new(end) }
    }

    /// None without an idle lifetime.
    pub(super) fn lifetime(&self) -> Option<Duration> {
        (self.lifetime > 0).then(|| Duration::from_millis(self.lifetime))
    }

    /// When it is over if nobody asks; [`Timing::NEVER`] without an idle lifetime.
    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    /// When a request used it last, as far as its end tells: up to a step before that. None without an idle lifetime.
    pub(super) fn last_use(&self) -> Option<u64> {
        (self.lifetime > 0).then(|| self.end().saturating_sub(self.lifetime))
    }

    pub(super) fn is_over(&self, now: u64) -> bool {
        now >= self.end()
    }

    /// The end is known to be no earlier than `end`.
    pub(super) fn raise(&self, end: u64) {
        if self.lifetime > 0 {
            self.end.fetch_max(end, Ordering::Relaxed);
        }
    }

    /// It is used now: the end is as late as it can be, without regard to steps.
    fn renew(&self, now: u64) {
        self.raise(now.saturating_add(self.lifetime));
    }

    /// It is used now, where it may be idle no longer than `longest`; true if the end has moved by a step, for one of those
    /// who ask at the same time.
    fn moves(&self, now: u64, longest: u64) -> bool {
        if self.lifetime == 0 {
            return false;
        }
        let (end, new) = (self.end(), now.saturating_add(self.lifetime));
        let step = (self.lifetime.min(longest) / 10).min(STEP);
        new >= end.saturating_add(step)
            && self.end.compare_exchange(end, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl SessionEntry {
    /// When the session ends if no request comes; none without an idle lifetime.
    pub fn idle_end(&self) -> Option<u64> {
        Some(self.idle.end()).filter(|end| *end != Timing::NEVER)
    }

    /// When its row may be forgotten.
    pub(super) fn row_end(&self, record: &SessionRecord) -> SystemTime {
        record.absolute_expiry.min(from_unix_millis(self.idle.end()))
    }
}

impl Sessions {
    /// A request uses the session at a policy with these lifetimes: its idle end moves, and now and then the store is told.
    /// Never waits.
    pub(in crate::oidc) fn used(&self, entry: &Arc<SessionEntry>, lifetimes: &Lifetimes, now: SystemTime) {
        if entry.idle.moves(unix_millis(now), lifetimes.idle) {
            let (sessions, entry) = (self.clone(), Arc::clone(entry));
            tokio::spawn(async move { _ = sessions.tell_end(&entry).await });
        }
    }

    /// A refresh is made for a request.
    pub(super) fn used_by_refresh(&self, entry: &SessionEntry) {
        entry.idle.renew(unix_millis(self.inner.clock.now()));
    }

    /// Remembers that there are idle lifetimes to look after.
    pub(super) fn note_idle(&self, entry: &SessionEntry) {
        if entry.idle.lifetime > 0 && !self.inner.idles.load(Ordering::Relaxed) {
            self.inner.idles.store(true, Ordering::Relaxed);
        }
    }

    /// Tells the store of the idle end, now or as soon as it works again.
    pub(super) async fn tell_end(&self, entry: &Arc<SessionEntry>) -> Result<(), StoreError> {
        let Some(end) = entry.idle_end() else { return Ok(()) };
        match self.inner.note(self.inner.store.extend(&entry.key, from_unix_millis(end)).await) {
            Ok(false) if self.is_gone(entry) => {
                self.forget(entry);
                Ok(())
            }
            // Without a row there is nothing to tell: the browser brings the session with its end.
            Ok(_) => Ok(()),
            Err(error) => {
                self.inner.owe(entry);
                Err(error)
            }
        }
    }

    /// Whether the session is over because nobody used it, here or in another process. Then it has been ended.
    ///
    /// # Errors
    /// [`StoreError`]: it is over as far as is known here.
    pub(super) async fn has_idled_out(
        &self,
        entry: &Arc<SessionEntry>,
        now: SystemTime,
    ) -> Result<bool, StoreError> {
        let now = unix_millis(now);
        if !entry.idle.is_over(now) {
            return Ok(false);
        }
        self.hear_of_use(entry).await?;
        if !entry.idle.is_over(now) {
            return Ok(false);
        }
        tracing::info!(session = ?entry.key(), "session ended: nobody has used it for its idle lifetime");
        // The store may fail; the session is over here, and the store hears of it later.
        let _ = self.end(entry).await;
        Ok(true)
    }

    /// Asks the store until when requests at other processes have prolonged the session.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn hear_of_use(&self, entry: &SessionEntry) -> Result<(), StoreError> {
        if let Some(row) = self.inner.note(self.inner.store.load(&entry.key).await)? {
            entry.idle.raise(unix_millis(row.expires));
        }
        Ok(())
    }

    /// A session is in use as long as a stream of it is open.
    pub(super) fn use_by_streams(&self, now: SystemTime) {
        if !self.inner.idles.load(Ordering::Relaxed) {
            return;
        }
        for entry in self.inner.cache.select(|entry| entry.idle.lifetime > 0 && entry.streams.any()) {
            self.used(&entry, &Lifetimes::OF_SESSION, now);
        }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
