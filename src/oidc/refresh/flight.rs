//! One refresh of one session: a task of its own, so that it survives the client that caused it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{SemaphorePermit, watch};

use super::{
    Freshness, GrantResult, Landed, RefreshGrant, RefreshSettings, RenewedTokens, Standing, expiry, millis,
    standing,
};
use crate::oidc::clock::{from_unix_millis, unix_millis};
use crate::oidc::session::{Committed, LeaseOutcome, SessionEntry, SessionRecord, Sessions};

/// How a flight ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlightOutcome {
    /// New tokens, by our grant.
    Renewed,
    /// New tokens, by another process or an earlier flight.
    Found,
    /// The session is over. The reason is for the log and metrics.
    Ended(&'static str),
    /// No new tokens, and the session lives on. The reason is for the log and metrics.
    Failed(&'static str),
}

/// How often a lease of another process is looked at.
const LEASE_POLL: Duration = Duration::from_millis(100);

/// How long a lease outlives the grant that it is for. The grant is cut off in time, so a lease need not be renewed.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// The longest that a provider's `Retry-After` is honoured.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Joins the flight of this session, or starts it.
pub(super) fn join(
    sessions: &Sessions,
    entry: &Arc<SessionEntry>,
    settings: &RefreshSettings,
    grant: &Arc<dyn RefreshGrant>,
) -> Landed {
    let (landed, free) = entry.refresh.take();
    if let Some(sender) = free {
        sessions.flight_begins();
        let flight = Flight {
            seat: Seat { sessions: sessions.clone(), entry: Arc::clone(entry) },
            landed: sender,
            settings: settings.clone(),
            grant: Arc::clone(grant),
        };
        tokio::spawn(flight.fly());
    }
    landed
}

/// Waits for a flight, but not for ever, and not when the process stops.
pub(super) async fn wait(
    sessions: &Sessions,
    entry: &SessionEntry,
    settings: &RefreshSettings,
    mut landed: Landed,
) -> Freshness {
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
struct Seat {
    sessions: Sessions,
    entry: Arc<SessionEntry>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.entry.refresh.leave();
        self.sessions.flight_ends();
    }
}

struct Flight {
    // First: whoever hears the news, or its end, finds the seat free.
    seat: Seat,
    landed: watch::Sender<Option<FlightOutcome>>,
    settings: RefreshSettings,
    grant: Arc<dyn RefreshGrant>,
}

/// What the lease leaves to do.
enum Turn<'a> {
    /// Nobody else refreshes: ours. If the store could not note that, `leased` is false.
    Ours { leased: bool, _permit: SemaphorePermit<'a> },
    /// It is settled without us.
    Settled(FlightOutcome),
}

impl Flight {
    async fn fly(self) {
        let outcome = self.run().await;
        let entry = &self.seat.entry;
        match &outcome {
            FlightOutcome::Renewed => tracing::debug!(session = ?entry.key(), "session refreshed"),
            FlightOutcome::Found => tracing::debug!(session = ?entry.key(), "session found refreshed"),
            FlightOutcome::Ended(reason) => {
                tracing::info!(session = ?entry.key(), reason, "session ended at refresh")
            }
            FlightOutcome::Failed(reason) => tracing::warn!(session = ?entry.key(), reason, "refresh failed"),
        }
        self.grant.landed(entry, &outcome);
        let Self { seat, landed, .. } = self;
        drop(seat);
        landed.send_replace(Some(outcome));
    }

    async fn run(&self) -> FlightOutcome {
        match self.take_turn().await {
            Turn::Settled(outcome) => outcome,
            Turn::Ours { leased, _permit } => {
                let outcome = self.refresh().await;
                if leased {
                    self.give_back(&outcome).await;
                }
                outcome
            }
        }
    }

    /// Takes the lease, or waits for what its holder brings.
    async fn take_turn(&self) -> Turn<'_> {
        let (sessions, entry) = (&self.seat.sessions, &self.seat.entry);
        let clock = sessions.clock();
        let give_up = clock.now() + self.settings.wait;
        let ttl = self.settings.attempt + LEASE_MARGIN;
        loop {
            // Before the lease: a lease that waits in a queue would run out there.
            let Ok(permit) = self.settings.permits.acquire().await else {
                return Turn::Settled(self.fail("stopping", None));
            };
            let generation = entry.profile().generation;
            match sessions.lease(entry, generation, clock.now(), ttl).await {
                Ok(LeaseOutcome::Granted) => return Turn::Ours { leased: true, _permit: permit },
                Ok(LeaseOutcome::Gone) => return Turn::Settled(self.end("gone").await),
                Ok(LeaseOutcome::Moved(newer)) if newer > generation => match sessions.reread(entry).await {
                    Some(_) if !self.is_due() => return Turn::Settled(FlightOutcome::Found),
                    // Its tokens have expired as well: the next round asks for its generation.
                    Some(_) => {}
                    None => return Turn::Settled(self.gone_or_fail()),
                },
                Ok(LeaseOutcome::Held(_)) if clock.now() < give_up => {
                    drop(permit);
                    clock.sleep(LEASE_POLL).await;
                }
                Ok(LeaseOutcome::Held(_)) => return Turn::Settled(self.fail("lease held", None)),
                // The store is down, or behind: it could not take our last tokens. While the present ones are good
                // nothing is risked; after that memory alone has to do.
                Ok(LeaseOutcome::Moved(_)) | Err(_) if self.is_expired() => {
                    return Turn::Ours { leased: false, _permit: permit };
                }
                Ok(LeaseOutcome::Moved(_)) | Err(_) => return Turn::Settled(self.wait_for_store()),
            }
        }
    }

    /// The one grant.
    async fn refresh(&self) -> FlightOutcome {
        let (sessions, entry) = (&self.seat.sessions, &self.seat.entry);
        // If the store is down memory has enough of it.
        let stored = sessions.reread(entry).await;
        let Some(record) = stored.or_else(|| sessions.recall(entry)) else {
            return FlightOutcome::Ended("gone");
        };
        if !self.is_due() {
            return FlightOutcome::Found;
        }
        let Some(refresh_token) = record.refresh_token.clone() else {
            return self.end("no refresh token").await;
        };
        let result = tokio::select! {
            biased;
            result = self.grant.refresh(&record, &refresh_token) => result,
            () = sessions.clock().sleep(self.settings.attempt) => GrantResult::Unknown,
        };
        match result {
            GrantResult::Renewed(tokens) => self.commit(record, *tokens).await,
            GrantResult::Invalid => self.refused(&record).await,
            GrantResult::Ended(reason) => self.end(reason).await,
            GrantResult::Transient { reason, retry_after } => self.fail(reason, retry_after),
            GrantResult::Unknown => self.fail("no answer", None),
        }
    }

    async fn commit(&self, record: SessionRecord, tokens: RenewedTokens) -> FlightOutcome {
        let (sessions, entry) = (&self.seat.sessions, &self.seat.entry);
        let expected = record.generation;
        let spare = tokens.without_identity();
        let renewed = tokens.apply(record, sessions.clock().now());
        match sessions.commit(entry, expected, renewed).await {
            Committed::Saved | Committed::Unsaved => FlightOutcome::Renewed,
            Committed::Overtaken => FlightOutcome::Found,
            Committed::Gone => {
                self.grant.discard(spare).await;
                self.end("ended meanwhile").await
            }
        }
    }

    /// `invalid_grant`: ends the session, unless another process has used the token up and stored its successor.
    async fn refused(&self, record: &SessionRecord) -> FlightOutcome {
        match self.seat.sessions.reread(&self.seat.entry).await {
            Some(newer) if newer.generation > record.generation => FlightOutcome::Found,
            Some(_) => self.end("invalid_grant").await,
            None if self.seat.entry.is_ended() => self.end("invalid_grant").await,
            // Whether there is a successor only the store can tell.
            None => self.fail("refused, and the store is down", None),
        }
    }

    async fn end(&self, reason: &'static str) -> FlightOutcome {
        // The store may fail; the session is over here, and the store hears of it later.
        let _ = self.seat.sessions.end(&self.seat.entry).await;
        FlightOutcome::Ended(reason)
    }

    /// The record could not be read: because there is none, or because the store is down.
    fn gone_or_fail(&self) -> FlightOutcome {
        if self.seat.entry.is_ended() { FlightOutcome::Ended("gone") } else { self.fail("store", None) }
    }

    fn fail(&self, reason: &'static str, retry_after: Option<Duration>) -> FlightOutcome {
        let now = unix_millis(self.seat.sessions.clock().now());
        let pause = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER).max(self.settings.interval);
        self.seat.entry.refresh.pause_until(now.saturating_add(millis(pause)));
        FlightOutcome::Failed(reason)
    }

    /// The store is down and the tokens are good: nothing was asked of the provider. The pause ends when the tokens
    /// do, for then memory alone has to do.
    fn wait_for_store(&self) -> FlightOutcome {
        let outcome = self.fail("store", None);
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

    fn standing(&self) -> Standing {
        let now = unix_millis(self.seat.sessions.clock().now());
        standing(&self.seat.entry.profile().timing, now, &self.settings)
    }

    fn is_due(&self) -> bool {
        self.standing() != Standing::Good
    }

    fn is_expired(&self) -> bool {
        matches!(self.standing(), Standing::Expired | Standing::Over)
    }
}

impl RenewedTokens {
    /// The record's next generation.
    pub(super) fn apply(self, mut record: SessionRecord, now: SystemTime) -> SessionRecord {
        record.generation += 1;
        record.refreshed_at = Some(now);
        record.access_token = self.access_token;
        record.access_expiry = self.access_expiry;
        if let Some(token) = self.refresh_token {
            record.refresh_token = Some(token);
            record.refresh_token_issued = Some(now);
        }
        record.id_expiry = self.id_token.as_ref().map(|(_, expiry)| *expiry);
        if let Some((token, _)) = self.id_token {
            record.id_token = token;
        }
        record.claims = self.claims.unwrap_or(record.claims);
        record.identifier = self.identifier.unwrap_or(record.identifier);
        record.sid = self.sid.or(record.sid);
        record
    }

    /// The tokens alone, to revoke them if the session has ended.
    fn without_identity(&self) -> Self {
        Self {
            access_token: self.access_token.clone(),
            access_expiry: self.access_expiry,
            refresh_token: self.refresh_token.clone(),
            id_token: None,
            claims: None,
            identifier: None,
            sid: None,
        }
    }
}
