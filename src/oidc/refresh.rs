//! Keeping the tokens of a session fresh: at most one grant at a time, however many requests and processes ask.
//!
//! ```text
//!            nothing due           due, not expired              expired
//! request ─▶ Valid                 ValidRefreshing               waits for the flight ─▶ Renewed | Unavailable | Ended
//!                                  └─ starts a flight ──────────┘ (or joins the one there is)
//!
//! flight:    lease ─▶ read again ─▶ grant (once) ─▶ compare-and-swap ─▶ answer all who wait
//!            held by another process: watch its generation   overtaken: take the other's tokens
//! ```
//!
//! [`seat`] is the place that requests of one process take or join, [`protocol`] decides what a flight does, [`flight`]
//! does it.
//!
//! The browser holds no token, only an opaque id, so a late request cannot carry an old refresh token: it finds the
//! session's present generation and needs no grant.

mod flight;
mod grant;
mod protocol;
mod seat;
mod standing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Semaphore, watch};

use crate::oidc::clock::unix_millis;
use crate::oidc::session::{SessionEntry, Sessions};
pub use flight::FlightOutcome;
pub use grant::{GrantResult, Landing, RefreshGrant, RenewedTokens};
use standing::{Standing, is_usable, standing};

/// When and how to refresh. One for each policy; `permits` is shared by all policies of one provider.
#[derive(Clone, Debug)]
pub struct RefreshSettings {
    /// How long before the end of the tokens a refresh begins (`refreshGracePeriodSeconds`).
    pub grace: Duration,
    /// Whether a session without a refresh token also ends with its access token, and not only with its ID token.
    pub access_token_required: bool,
    /// An older refresh token is not used (`maxRefreshTokenAgeSeconds`).
    pub max_token_age: Option<Duration>,
    /// The longest that one grant may take.
    pub attempt: Duration,
    /// The longest that a request waits. Five thousand sessions that end together at a provider that takes 200 ms are
    /// through after 16 s, 64 at a time.
    pub wait: Duration,
    /// After a failed attempt, the next one of this session begins no earlier than this after it.
    pub interval: Duration,
    /// Grants at the same time. Flights beyond it queue; none is refused.
    pub permits: Arc<Semaphore>,
}

impl Default for RefreshSettings {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(60),
            access_token_required: false,
            max_token_age: None,
            attempt: Duration::from_secs(10),
            wait: Duration::from_secs(20),
            interval: Duration::from_secs(5),
            permits: Arc::new(Semaphore::new(64)),
        }
    }
}

/// Whether a request may go on with its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The tokens are good.
    Valid,
    /// They are good, and are being replaced meanwhile.
    ValidRefreshing,
    /// They had expired and have been replaced. The entry's profile is a new one.
    Renewed,
    /// They have expired and cannot be replaced now: 503. The session stays.
    Unavailable {
        /// When it is worth another try.
        retry_after: Duration,
    },
    /// The session is over, and deleted: login or 401.
    Ended,
}

/// The answer where it takes no flight: the common case, without a lock, an allocation or an await.
/// None: ask [`Refresher::ensure_fresh`].
#[must_use]
pub fn fresh_now(entry: &SessionEntry, now: SystemTime, settings: &RefreshSettings) -> Option<Freshness> {
    let now = unix_millis(now);
    match standing(&entry.profile().timing, now, settings) {
        Standing::Good => Some(Freshness::Valid),
        Standing::Due if entry.refresh.is_busy() => Some(Freshness::ValidRefreshing),
        Standing::Due if now < entry.refresh.not_before() => Some(Freshness::Valid),
        Standing::Due | Standing::Expired | Standing::Over => None,
    }
}

/// What refreshes a session of a policy.
#[derive(Clone, Copy)]
pub struct Refresher<'a> {
    /// Where it is.
    pub sessions: &'a Sessions,
    /// When and how.
    pub settings: &'a RefreshSettings,
    /// Who asks the provider.
    pub grant: &'a Arc<dyn RefreshGrant>,
    /// The request that it is for, by its correlation id.
    pub request_id: &'a str,
}

impl Refresher<'_> {
    /// Sees to it that the tokens of `entry` are good, if that can be.
    ///
    /// Cancelling it (a client that goes away) cancels no refresh: that is a task of its own.
    pub async fn ensure_fresh(self, entry: &Arc<SessionEntry>, now: SystemTime) -> Freshness {
        if let Some(freshness) = fresh_now(entry, now, self.settings) {
            return freshness;
        }
        let now = unix_millis(now);
        match standing(&entry.profile().timing, now, self.settings) {
            Standing::Good => Freshness::Valid,
            Standing::Due => match flight::join(self, entry) {
                Ok(_) => Freshness::ValidRefreshing,
                Err(_) => Freshness::Valid,
            },
            Standing::Over => {
                // The store may fail; the session is over all the same.
                let _ = self.sessions.end(entry).await;
                Freshness::Ended
            }
            Standing::Expired => match flight::join(self, entry) {
                Ok(landed) => flight::wait(self, entry, landed).await,
                Err(until) => {
                    Freshness::Unavailable { retry_after: Duration::from_millis(until.saturating_sub(now)) }
                }
            },
        }
    }

    /// Renews tokens that are good, because somebody asks, and waits for it. At most once in half of their life, and
    /// not in the pause after a failure.
    pub async fn renew(self, entry: &Arc<SessionEntry>, now: SystemTime) -> Freshness {
        let settings = &RefreshSettings { grace: Duration::MAX, ..self.settings.clone() };
        let eager = Refresher { settings, ..self };
        if standing(&entry.profile().timing, unix_millis(now), settings) == Standing::Due
            && let Ok(landed) = flight::join(eager, entry)
        {
            return flight::wait(eager, entry, landed).await;
        }
        self.ensure_fresh(entry, now).await
    }
}

/// What is ahead of a session, for those who ask about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Its tokens have expired and cannot be renewed.
    pub over: bool,
    /// Its tokens can be renewed.
    pub refreshable: bool,
    /// When its tokens end, in milliseconds since 1970; [`Timing::NEVER`](super::session::Timing::NEVER) if nobody said so.
    pub tokens_end: u64,
}

/// Looks ahead, and starts nothing.
pub fn outlook(entry: &SessionEntry, now: SystemTime, settings: &RefreshSettings) -> Outlook {
    let (timing, now) = (entry.profile().timing, unix_millis(now));
    Outlook {
        over: standing(&timing, now, settings) == Standing::Over,
        refreshable: is_usable(&timing, now, settings),
        tokens_end: timing.id.min(timing.access),
    }
}

/// Waits for the refresh under way, if there is one, and at most so long.
pub async fn settled(sessions: &Sessions, entry: &SessionEntry, limit: Duration) {
    let Some(mut landed) = entry.refresh.present() else { return };
    tokio::select! {
        _ = landed.wait_for(Option::is_some) => {}
        () = sessions.stopped() => {}
        () = sessions.clock().sleep(limit) => {}
    }
}

/// What a flight tells those who wait: none until it has landed.
pub(in crate::oidc) type Landed = watch::Receiver<Option<FlightOutcome>>;

#[cfg(test)]
pub(in crate::oidc) use seat::Taken;

/// A session's place for one flight.
pub(in crate::oidc) type RefreshSeat = seat::Seat<Landed>;

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
