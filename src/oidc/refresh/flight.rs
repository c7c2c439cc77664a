//! One refresh of one session: a task of its own, so that it survives the client that caused it. It does what the
//! [`protocol`] says.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{SemaphorePermit, watch};

use super::grant::{GrantResult, Landing, RefreshGrant, RenewedTokens};
use super::protocol::{self, Event, Facts, Step};
use super::seat::Taken;
use super::standing::{Standing, expiry, standing};
use super::{Freshness, Landed, RefreshSettings, Refresher, millis};
use crate::oidc::clock::{from_unix_millis, unix_millis};
use crate::oidc::session::{LeaseOutcome, SessionEntry, SessionRecord, Sessions};
use crate::oidc::turns::take_turn;

/// How a flight ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlightOutcome {
    /// New tokens, by our grant.
    Renewed,
    /// New tokens, by another process or an earlier flight.
    Found,
    /// The session is over. The reason is for the logs.
    Ended(&'static str),
    /// No new tokens, and the session lives on. The reason is for the logs.
    Failed(&'static str),
}

/// How often a lease of another process is looked at.
const LEASE_POLL: Duration = Duration::from_millis(100);

/// How long a lease outlives the grant that it is for. The grant is cut off in time, so a lease need not be renewed.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// The longest pause between two attempts to which no answer comes.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The longest that a provider's `Retry-After` is honoured, and that any pause lasts beyond the end of the tokens.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Joins the flight of this session, or starts it. The error is when the next one may start, after one that failed.
pub(super) fn join(refresher: Refresher<'_>, entry: &Arc<SessionEntry>) -> Result<Landed, u64> {
    let Refresher { sessions, settings, grant, request_id } = refresher;
    let now = unix_millis(sessions.clock().now());
    if standing(&entry.profile().timing, now, settings) == Standing::Expired {
        // While the tokens are good a pause may last until their end.
        entry.refresh.pause_no_longer(now.saturating_add(millis(MAX_RETRY_AFTER)));
    }
    match entry.refresh.take(now, || watch::channel(None)) {
        Taken::Joined(landed) => Ok(landed),
        Taken::Resting(until) => Err(until),
        Taken::Free(landed, sender) => {
            sessions.flight_begins(entry);
            let flight = Flight {
                seat: Seated { sessions: sessions.clone(), entry: Arc::clone(entry) },
                landed: sender,
                settings: settings.clone(),
                grant: Arc::clone(grant),
                request_id: request_id.into(),
            };
            tokio::spawn(flight.fly());
            Ok(landed)
        }
    }
}

/// Waits for a flight, but not for ever, and not when the process stops.
pub(super) async fn wait(refresher: Refresher<'_>, entry: &SessionEntry, mut landed: Landed) -> Freshness {
    let Refresher { sessions, settings, .. } = refresher;
    let soon = Freshness::Unavailable { retry_after: Duration::from_secs(1) };
    let outcome = tokio::select! {
        biased;
        outcome = landed.wait_for(Option::is_some) => match outcome {
            Ok(outcome) => outcome.clone(),
            // The flight was torn down: the runtime stops.
            Err(_) => return soon,
        },
        () = sessions.stopped() => return soon,
        () = sessions.clock().sleep(settings.wait) => return soon,
    };
    take_turn().await;
    match outcome {
        Some(FlightOutcome::Renewed | FlightOutcome::Found) => Freshness::Renewed,
        Some(FlightOutcome::Ended(_)) => Freshness::Ended,
        Some(FlightOutcome::Failed(_)) | None => {
            let now = unix_millis(sessions.clock().now());
            let pause = entry.refresh.not_before().saturating_sub(now).max(1000);
            Freshness::Unavailable { retry_after: Duration::from_millis(pause) }
        }
    }
}

/// Gives the seat back, whatever becomes of the flight.
struct Seated {
    sessions: Sessions,
    entry: Arc<SessionEntry>,
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.entry.refresh.leave();
        self.sessions.flight_ends(&self.entry);
    }
}

struct Flight {
    // First: whoever hears the news, or its end, finds the seat free.
    seat: Seated,
    landed: watch::Sender<Option<FlightOutcome>>,
    settings: RefreshSettings,
    grant: Arc<dyn RefreshGrant>,
    /// The request that asked first.
    request_id: Box<str>,
}

/// What a flight holds on its way.
#[derive(Default)]
struct Held<'a> {
    permit: Option<SemaphorePermit<'a>>,
    /// When the lease ends; none: there is none.
    lease: Option<SystemTime>,
    /// What the provider's answer was, for the log.
    detail: Option<String>,
}

impl Flight {
    async fn fly(self) {
        let (outcome, detail) = self.run().await;
        if matches!(outcome, FlightOutcome::Renewed | FlightOutcome::Found) {
            self.seat.entry.refresh.answered();
        }
        self.grant.landed(&Landing {
            session: &self.seat.entry,
            outcome: &outcome,
            detail: detail.as_deref(),
            request_id: &self.request_id,
        });
        let Self { seat, landed, .. } = self;
        drop(seat);
        landed.send_replace(Some(outcome));
    }

    async fn run(&self) -> (FlightOutcome, Option<String>) {
        let give_up = self.now() + self.settings.wait;
        let mut held = Held::default();
        let mut step = Step::Lease;
        let outcome = loop {
            let event = match step {
                Step::Lease => self.lease(&mut held).await,
                Step::Pause => self.pause(&mut held).await,
                Step::Follow => Event::Followed(self.seat.sessions.follow(&self.seat.entry).await),
                Step::Read => Event::Read(self.read().await),
                Step::Grant(record) => self.ask(record, &mut held).await,
                Step::Commit(record, tokens) => self.commit(*record, *tokens).await,
                Step::Doubt(refused) => {
                    Event::Doubted { refused, stored: self.seat.sessions.follow(&self.seat.entry).await }
                }
                Step::Discard(tokens) => {
                    self.grant.discard(*tokens).await;
                    Event::Discarded
                }
                Step::End(reason) => break self.end(reason).await,
                Step::Fail(reason, retry_after) => break self.fail(reason, retry_after),
                Step::Unanswered => break self.unanswered(),
                Step::Later(reason) => break self.later(reason),
                Step::Land(outcome) => break outcome,
            };
            step = protocol::next(event, self.facts(&held, give_up));
        };
        if held.lease.is_some() {
            self.give_back(&outcome).await;
        }
        (outcome, held.detail)
    }

    fn facts(&self, held: &Held<'_>, give_up: SystemTime) -> Facts {
        let now = self.now();
        let standing = standing(&self.seat.entry.profile().timing, unix_millis(now), &self.settings);
        Facts {
            due: standing != Standing::Good,
            expired: matches!(standing, Standing::Expired | Standing::Over),
            patient: now < give_up,
            covered: held.lease.is_none_or(|end| now + self.settings.attempt <= end),
            alone: !self.seat.sessions.is_shared_by_machines(),
        }
    }

    async fn lease<'a>(&'a self, held: &mut Held<'a>) -> Event {
        let (sessions, entry) = (&self.seat.sessions, &self.seat.entry);
        // Before the lease: a lease that waits in a queue would run out there.
        if held.permit.is_none() {
            held.permit = self.settings.permits.acquire().await.ok();
        }
        if held.permit.is_none() {
            return Event::Stopping;
        }
        let (asked, now) = (entry.profile().generation, self.now());
        let ttl = self.settings.attempt + LEASE_MARGIN;
        let answer = sessions.lease(entry, asked, now, ttl).await;
        held.lease = matches!(answer, Ok(LeaseOutcome::Granted)).then(|| now + ttl);
        Event::Lease { asked, answer }
    }

    async fn pause(&self, held: &mut Held<'_>) -> Event {
        held.permit = None;
        self.seat.sessions.clock().sleep(LEASE_POLL).await;
        Event::Paused
    }

    /// If the store is down memory has enough of it.
    async fn read(&self) -> Option<Box<SessionRecord>> {
        let (sessions, entry) = (&self.seat.sessions, &self.seat.entry);
        let stored = sessions.reread(entry).await;
        stored.or_else(|| sessions.recall(entry)).map(Box::new)
    }

    /// The one grant.
    async fn ask(&self, record: Box<SessionRecord>, held: &mut Held<'_>) -> Event {
        let Some(refresh_token) = record.refresh_token.clone() else {
            return Event::Read(Some(record));
        };
        let mut result = tokio::select! {
            biased;
            result = self.grant.refresh(&record, &refresh_token) => result,
            () = self.seat.sessions.clock().sleep(self.settings.attempt) => {
                GrantResult::Unknown { detail: Some("it takes too long".to_owned()) }
            }
        };
        held.detail = result.take_detail();
        Event::Granted(record, result)
    }

    async fn commit(&self, record: SessionRecord, tokens: RenewedTokens) -> Event {
        let (expected, spare) = (record.generation, Box::new(tokens.without_identity()));
        let renewed = tokens.apply(record, self.now());
        Event::Committed(self.seat.sessions.commit(&self.seat.entry, expected, renewed).await, spare)
    }

    async fn end(&self, reason: &'static str) -> FlightOutcome {
        // The store may fail; the session is over here, and the store hears of it later.
        let _ = self.seat.sessions.end(&self.seat.entry).await;
        FlightOutcome::Ended(reason)
    }

    fn fail(&self, reason: &'static str, retry_after: Option<Duration>) -> FlightOutcome {
        let pause = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER).max(self.settings.interval);
        self.seat.entry.refresh.pause_until(unix_millis(self.now()).saturating_add(millis(pause)));
        FlightOutcome::Failed(reason)
    }

    /// A token that may be used up is not blindly sent again: a provider that has taken it may end the session for it. While
    /// the tokens are good nothing is gained by it. Afterwards it is the only way on.
    fn unanswered(&self) -> FlightOutcome {
        let entry = &self.seat.entry;
        let doublings = u32::from(entry.refresh.count_unanswered());
        let pause = self.settings.interval.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
        let outcome = self.fail("no answer", Some(pause.min(LONGEST_PAUSE)));
        let end = expiry(&entry.profile().timing);
        entry.refresh.pause_until(entry.refresh.not_before().max(end));
        outcome
    }

    fn later(&self, reason: &'static str) -> FlightOutcome {
        let outcome = self.fail(reason, None);
        let entry = &self.seat.entry;
        let end = expiry(&entry.profile().timing);
        entry.refresh.pause_until(entry.refresh.not_before().min(end));
        outcome
    }

    /// After a failure the lease stays until the pause is over: the pause is the session's, not the process's.
    async fn give_back(&self, outcome: &FlightOutcome) {
        let until = match outcome {
            FlightOutcome::Failed(_) => self.seat.entry.refresh.not_before(),
            FlightOutcome::Found => 0,
            // The swap has ended it, or the row is gone.
            FlightOutcome::Renewed | FlightOutcome::Ended(_) => return,
        };
        self.seat.sessions.release(&self.seat.entry, from_unix_millis(until)).await;
    }

    fn now(&self) -> SystemTime {
        self.seat.sessions.clock().now()
    }
}
