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
//! The browser holds no token, only an opaque id, so a late request cannot carry an old refresh token: it finds the
//! session's present generation and needs no grant.

mod flight;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, watch};

use crate::oidc::clock::unix_millis;
use crate::oidc::session::{SessionEntry, SessionRecord, Sessions, Timing};
pub use flight::FlightOutcome;

/// How the provider is asked for new tokens.
#[async_trait]
pub trait RefreshGrant: Send + Sync {
    /// One refresh grant with `refresh_token`, which is the record's. Validates what comes back (signature, issuer,
    /// audience, same `sub`) and does not repeat a request of which bytes were sent.
    ///
    /// It is dropped when [`RefreshSettings::attempt`] has passed.
    async fn refresh(&self, record: &SessionRecord, refresh_token: &SecretString) -> GrantResult;

    /// Tokens that were granted to a session which ended meanwhile: to be revoked where that is possible.
    async fn discard(&self, _tokens: RenewedTokens) {}

    /// Called once for each flight, for metrics and the audit trail.
    fn landed(&self, _session: &SessionEntry, _outcome: &FlightOutcome) {}
}

/// What came of a refresh grant.
pub enum GrantResult {
    /// New tokens.
    Renewed(Box<RenewedTokens>),
    /// `invalid_grant`: the refresh token is no good any more. Ends the session.
    Invalid,
    /// The answer must not be used: another `sub`, a bad signature. Ends the session.
    Ended(&'static str),
    /// Nothing was granted: the provider cannot be reached, answers 5xx or nonsense. The session lives on.
    Transient {
        /// For the log and metrics; no secret.
        reason: &'static str,
        /// `Retry-After` of the provider.
        retry_after: Option<Duration>,
    },
    /// The request was sent and no answer came: the refresh token may have been used up.
    Unknown,
}

/// What a refresh changes in a session. `sub` stays.
pub struct RenewedTokens {
    /// The new access token.
    pub access_token: SecretString,
    /// When it ends, if the provider said so.
    pub access_expiry: Option<SystemTime>,
    /// The new refresh token; none: the old one stays.
    pub refresh_token: Option<SecretString>,
    /// The new ID token and its end; none: identity stays, and from here on the access token alone bounds the session.
    pub id_token: Option<(SecretString, SystemTime)>,
    /// The claims now, if an ID token or userinfo brought some.
    pub claims: Option<Map<String, Value>>,
    /// The user's name, by the same rule as at login, if the claims are new.
    pub identifier: Option<Arc<str>>,
    /// The provider's session id, if the ID token has one.
    pub sid: Option<Arc<str>>,
}

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
    /// The longest that a request waits.
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
            wait: Duration::from_secs(15),
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

/// How the tokens of a session stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    /// Good, and it is time to refresh.
    Due,
    /// Not good any more, and there is a refresh token.
    Expired,
    /// Not good any more, for good.
    Over,
}

fn standing(timing: &Timing, now: u64, settings: &RefreshSettings) -> Standing {
    let usable = is_usable(timing, now, settings);
    let both = timing.id.min(timing.access);
    if now >= timing.absolute {
        Standing::Over
    } else if !usable {
        let end = if settings.access_token_required { both } else { timing.id };
        if now < end { Standing::Good } else { Standing::Over }
    } else {
        // A provider whose tokens live shorter than the grace period would be asked all the time: half of their life
        // passes first. And tokens that are born expired count for a second (see `expiry`), else each request of a
        // burst would fetch its own.
        let (issued, end) = (issued(timing), expiry(timing));
        let half = issued.saturating_add(end.saturating_sub(issued) / 2);
        stand(now, end.saturating_sub(millis(settings.grace)).max(half), end)
    }
}

/// Whether there is a refresh token that may be used.
fn is_usable(timing: &Timing, now: u64, settings: &RefreshSettings) -> bool {
    let age = now.saturating_sub(timing.refresh_token);
    timing.refresh_token != Timing::NEVER && settings.max_token_age.is_none_or(|max| age <= millis(max))
}

/// When tokens that can be refreshed end.
fn expiry(timing: &Timing) -> u64 {
    timing.id.min(timing.access).max(issued(timing).saturating_add(1000))
}

/// When the present tokens were issued: at login or by a refresh.
fn issued(timing: &Timing) -> u64 {
    timing.created.max(timing.refreshed)
}

fn stand(now: u64, due: u64, end: u64) -> Standing {
    if now < due.min(end) {
        Standing::Good
    } else if now < end {
        Standing::Due
    } else {
        Standing::Expired
    }
}

/// The answer where it takes no flight: the common case, without a lock, an allocation or an await.
/// None: ask [`ensure_fresh`].
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

/// Sees to it that the tokens of `entry` are good, if that can be.
///
/// Cancelling it (a client that goes away) cancels no refresh: that is a task of its own.
pub async fn ensure_fresh(
    sessions: &Sessions,
    entry: &Arc<SessionEntry>,
    now: SystemTime,
    settings: &RefreshSettings,
    grant: &Arc<dyn RefreshGrant>,
) -> Freshness {
    if let Some(freshness) = fresh_now(entry, now, settings) {
        return freshness;
    }
    let now = unix_millis(now);
    match standing(&entry.profile().timing, now, settings) {
        Standing::Good => Freshness::Valid,
        Standing::Due => {
            flight::join(sessions, entry, settings, grant);
            Freshness::ValidRefreshing
        }
        Standing::Over => {
            // The store may fail; the session is over all the same.
            let _ = sessions.end(entry).await;
            Freshness::Ended
        }
        Standing::Expired => {
            let pause = entry.refresh.not_before().saturating_sub(now);
            if pause > 0 && !entry.refresh.is_busy() {
                return Freshness::Unavailable { retry_after: Duration::from_millis(pause) };
            }
            let landed = flight::join(sessions, entry, settings, grant);
            flight::wait(sessions, entry, settings, landed).await
        }
    }
}

/// What is ahead of a session, for those who ask about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Its tokens have expired and cannot be renewed.
    pub over: bool,
    /// Its tokens can be renewed.
    pub refreshable: bool,
    /// When its tokens end, in milliseconds since 1970; [`Timing::NEVER`] if nobody said so.
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

/// Renews tokens that are good, because somebody asks, and waits for it. At most once in half of their life, and
/// not in the pause after a failure.
pub async fn renew(
    sessions: &Sessions,
    entry: &Arc<SessionEntry>,
    now: SystemTime,
    settings: &RefreshSettings,
    grant: &Arc<dyn RefreshGrant>,
) -> Freshness {
    let eager = RefreshSettings { grace: Duration::MAX, ..settings.clone() };
    let millis = unix_millis(now);
    let rests = millis < entry.refresh.not_before() && !entry.refresh.is_busy();
    if standing(&entry.profile().timing, millis, &eager) != Standing::Due || rests {
        return ensure_fresh(sessions, entry, now, settings, grant).await;
    }
    let landed = flight::join(sessions, entry, &eager, grant);
    flight::wait(sessions, entry, &eager, landed).await
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
type Landed = watch::Receiver<Option<FlightOutcome>>;

/// A session's place for one flight: `Idle → Refreshing → Idle`.
#[derive(Default)]
pub(in crate::oidc) struct RefreshSeat {
    /// Says what `flight` says, without the lock.
    busy: AtomicBool,
    /// No attempt before this time (milliseconds since 1970), after a failed one.
    not_before: AtomicU64,
    /// Those who wait join here; held for the copy of a pointer.
    flight: Mutex<Option<Landed>>,
}

impl RefreshSeat {
    pub(in crate::oidc) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    fn not_before(&self) -> u64 {
        self.not_before.load(Ordering::Acquire)
    }

    fn pause_until(&self, time: u64) {
        self.not_before.store(time, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Landed>> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn present(&self) -> Option<Landed> {
        self.lock().clone()
    }

    /// Takes the seat, or gives the flight that has it. The sender is for the one who took it.
    fn take(&self) -> (Landed, Option<watch::Sender<Option<FlightOutcome>>>) {
        let mut flight = self.lock();
        if let Some(landed) = &*flight {
            return (landed.clone(), None);
        }
        let (sender, landed) = watch::channel(None);
        *flight = Some(landed.clone());
        self.busy.store(true, Ordering::Release);
        (landed, Some(sender))
    }

    fn leave(&self) {
        let mut flight = self.lock();
        self.busy.store(false, Ordering::Release);
        *flight = None;
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
