//! The protocol of a refresh: what a flight learns, and what it does next. All decisions are in [`next`], which waits
//! for nothing and asks nobody; [`flight`](super::flight) does what it says. `tests/interleavings.rs` runs several
//! processes through it in every order, with crashes and failures between any two steps.

use std::time::Duration;

use super::FlightOutcome;
use super::grant::{GrantResult, RenewedTokens};
use crate::oidc::session::{Committed, LeaseOutcome, SessionRecord, StoreError};

/// What a flight does next.
pub(super) enum Step {
    /// Ask the store for the right to refresh the generation that we have.
    Lease,
    /// Leave it to its holder, and look again in a moment.
    Pause,
    /// Read what another process has stored.
    Follow,
    /// Read the record with its tokens; from memory if the store is down.
    Read,
    /// Ask the provider, once.
    Grant(Box<SessionRecord>),
    /// Swap the record for its next generation.
    Commit(Box<SessionRecord>, Box<RenewedTokens>),
    /// The provider refuses the token of this generation: read whether somebody has stored a newer one.
    Doubt(u64),
    /// Revoke tokens that nobody will use, then end.
    Discard(Box<RenewedTokens>),
    /// End the session, for this reason.
    End(&'static str),
    /// No new tokens; the next attempt comes after a pause, or when the provider says.
    Fail(&'static str, Option<Duration>),
    /// No answer, and the provider may have used up the refresh token: it is sent again only when the tokens have ended, and
    /// after ever longer pauses.
    Unanswered,
    /// No new tokens, and the provider was not asked; the next attempt comes when the tokens end, or after a pause.
    Later(&'static str),
    /// Tell those who wait.
    Land(FlightOutcome),
}

/// What a flight has learnt.
pub(super) enum Event {
    /// The store's answer about a lease on the generation `asked`.
    Lease { asked: u64, answer: Result<LeaseOutcome, StoreError> },
    /// A moment has passed.
    Paused,
    /// What the store has: this generation, or no such session.
    Followed(Result<Option<u64>, StoreError>),
    /// The record; none if the session has ended.
    Read(Option<Box<SessionRecord>>),
    /// The provider's answer.
    Granted(Box<SessionRecord>, GrantResult),
    /// What became of the next generation, and its tokens.
    Committed(Committed, Box<RenewedTokens>),
    /// After the refusal of `refused`: what the store has.
    Doubted { refused: u64, stored: Result<Option<u64>, StoreError> },
    /// They have been revoked.
    Discarded,
    /// The process stops.
    Stopping,
}

/// What the clock and the settings say when an event comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// The tokens in memory are due.
    pub(super) due: bool,
    /// They have ended.
    pub(super) expired: bool,
    /// There is time left to wait for another process.
    pub(super) patient: bool,
    /// The lease, if there is one, outlasts a grant that begins now.
    pub(super) covered: bool,
    /// No other machine can refresh this session.
    pub(super) alone: bool,
}

/// The whole protocol.
pub(super) fn next(event: Event, now: Facts) -> Step {
    match event {
        // Nobody else may refresh while we do.
        Event::Lease { answer: Ok(LeaseOutcome::Granted), .. } => Step::Read,
        Event::Lease { answer: Ok(LeaseOutcome::Gone), .. } => Step::End("gone"),
        Event::Lease { answer: Ok(LeaseOutcome::Held(_)), .. } if now.patient => Step::Pause,
        Event::Lease { answer: Ok(LeaseOutcome::Held(_)), .. } => Step::Fail("lease held", None),
        Event::Lease { answer: Ok(LeaseOutcome::Moved(newer)), asked } if newer > asked => Step::Follow,
        // The store is behind: it could not take our last tokens, so nobody else has them. Or it is down: memory will do
        // if nobody else can use the same token meanwhile. As long as the tokens are good nothing is risked.
        Event::Lease { answer: Ok(LeaseOutcome::Moved(_)), .. } if now.expired => Step::Read,
        Event::Lease { answer: Err(_), .. } if now.expired && now.alone => Step::Read,
        Event::Lease { answer: Ok(LeaseOutcome::Moved(_)) | Err(_), .. } => Step::Later("store"),
        Event::Paused => Step::Lease,
        // Another process has refreshed. If its tokens have ended as well, ask for a lease on its generation.
        Event::Followed(Ok(Some(_))) if now.due => Step::Lease,
        Event::Followed(Ok(Some(_))) => Step::Land(FlightOutcome::Found),
        Event::Followed(Ok(None)) => Step::Land(FlightOutcome::Ended("gone")),
        Event::Followed(Err(_)) => Step::Fail("store", None),
        // It is our turn.
        Event::Read(None) => Step::Land(FlightOutcome::Ended("gone")),
        Event::Read(Some(_)) if !now.due => Step::Land(FlightOutcome::Found),
        // Reading took so long that another process might ask before we have done.
        Event::Read(Some(_)) if !now.covered => Step::Lease,
        Event::Read(Some(record)) if record.refresh_token.is_none() => Step::End("no refresh token"),
        Event::Read(Some(record)) => Step::Grant(record),
        Event::Granted(record, GrantResult::Renewed(tokens)) => Step::Commit(record, tokens),
        Event::Granted(record, GrantResult::Invalid) => Step::Doubt(record.generation),
        Event::Granted(_, GrantResult::Ended { reason, .. }) => Step::End(reason),
        Event::Granted(_, GrantResult::Transient { reason, retry_after, .. }) => {
            Step::Fail(reason, retry_after)
        }
        Event::Granted(_, GrantResult::Unknown { .. }) => Step::Unanswered,
        Event::Committed(Committed::Saved | Committed::Unsaved, _) => Step::Land(FlightOutcome::Renewed),
        Event::Committed(Committed::Overtaken, _) => Step::Land(FlightOutcome::Found),
        Event::Committed(Committed::Gone, tokens) => Step::Discard(tokens),
        Event::Discarded => Step::End("ended meanwhile"),
        // `invalid_grant` ends the session, unless another process used the token and stored its successor. Whether
        // there is one only the store can tell.
        Event::Doubted { stored: Ok(Some(newer)), refused } if newer > refused => {
            Step::Land(FlightOutcome::Found)
        }
        Event::Doubted { stored: Ok(_), .. } => Step::End("invalid_grant"),
        Event::Doubted { stored: Err(_), .. } => Step::Fail("refused, and the store is down", None),
        Event::Stopping => Step::Fail("stopping", None),
    }
}
