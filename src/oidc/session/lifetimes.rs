//! How long a policy lets a session last. Policies of one client share their sessions, and each has lifetimes of its own: a
//! session that is over at one of them lives on at the others.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::entry::SessionEntry;
use super::idle::{Idle, millis};
use super::record::Timing;
use super::{Lookup, Sessions};
use crate::oidc::clock::unix_millis;

/// A policy's lifetimes of sessions, in milliseconds; [`Timing::NEVER`] where there is none.
#[derive(Clone, Copy, Debug)]
pub(in crate::oidc) struct Lifetimes {
    /// From the login on.
    absolute: u64,
    /// From the last request on.
    pub(super) idle: u64,
}

impl Lifetimes {
    /// Those that the session itself has.
    pub(in crate::oidc) const OF_SESSION: Self = Self { absolute: Timing::NEVER, idle: Timing::NEVER };

    pub(in crate::oidc) fn new(absolute: Duration, idle: Option<Duration>) -> Self {
        Self { absolute: millis(absolute), idle: idle.map_or(Timing::NEVER, millis) }
    }

    fn absolute_end(&self, timing: &Timing) -> u64 {
        timing.absolute.min(timing.created.saturating_add(self.absolute))
    }

    /// A session without an idle lifetime of its own has been used at its login, for all that is known.
    fn idle_end(&self, timing: &Timing, idle: &Idle) -> u64 {
        let last = idle.last_use().unwrap_or(timing.created);
        idle.end().min(last.saturating_add(self.idle))
    }
}

/// A session that a request passes with.
#[derive(Clone, Debug)]
pub struct SessionInUse {
    /// The session.
    pub entry: Arc<SessionEntry>,
    /// When it ends for the policy that let the request pass, in milliseconds since 1970.
    pub end: u64,
}

impl SessionEntry {
    /// When it ends at the latest, in milliseconds since 1970.
    pub(in crate::oidc) fn absolute_end(&self, lifetimes: &Lifetimes) -> u64 {
        lifetimes.absolute_end(&self.profile().timing)
    }

    /// When it ends if no request comes; [`Timing::NEVER`] without an idle lifetime.
    pub(in crate::oidc) fn idle_end_at(&self, lifetimes: &Lifetimes) -> u64 {
        lifetimes.idle_end(&self.profile().timing, &self.idle)
    }

    /// Whether it is not over, as far as is known here.
    pub(in crate::oidc) fn lasts(&self, lifetimes: &Lifetimes, now: SystemTime) -> bool {
        let (profile, now) = (self.profile(), unix_millis(now));
        now < lifetimes.absolute_end(&profile.timing) && now < lifetimes.idle_end(&profile.timing, &self.idle)
    }
}

impl Sessions {
    /// What was found, as it is for a policy with these lifetimes: a session that is over for it is none. That ends nothing.
    pub(in crate::oidc) async fn within(
        &self,
        found: Lookup,
        lifetimes: &Lifetimes,
        now: SystemTime,
    ) -> Lookup {
        let Lookup::Live(entry) = &found else { return found };
        if entry.lasts(lifetimes, now) {
            return found;
        }
        if unix_millis(now) < entry.absolute_end(lifetimes) && entry.idle.lifetime().is_some() {
            // Another process may know of a later request.
            match self.hear_of_use(entry).await {
                Ok(()) if entry.lasts(lifetimes, now) => return found,
                Ok(()) => {}
                Err(_) => return Lookup::StoreDown,
            }
        }
        Lookup::None
    }
}

#[cfg(test)]
mod tests;
