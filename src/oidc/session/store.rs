//! The contract of a session store. It keeps sealed values under hashed keys and knows nothing of their content.
//!
//! Every store passes one suite (`contract`).

use std::path::Path;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::cookie::CookieStore;
use super::id::{IndexKey, Parts, SessionKey};

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Counts the changes of the record.
    pub generation: u64,
    /// When the session ends unless it is used: its idle end or its absolute one. The store may forget it then.
    pub expires: SystemTime,
    /// Under which the provider's session id finds it.
    pub sid: Option<IndexKey>,
    /// Under which the subject finds it.
    pub sub: IndexKey,
    /// The sealed record.
    pub sealed: Vec<u8>,
}

impl Stored {
    /// Whether the row of `key` is a session's. Other rows name themselves as their subject.
    #[must_use]
    pub fn is_session(&self, key: &SessionKey) -> bool {
        self.sub.bytes() != key.bytes()
    }
}

/// What a compare-and-swap did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CasOutcome {
    /// The new value is durable.
    Swapped,
    /// Somebody else was faster; this is the generation now.
    Conflict(u64),
    /// The session is gone (logged out, revoked, expired) and stays so.
    Gone,
}

/// What asking for a lease gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// The caller alone may refresh now.
    Granted,
    /// Another process refreshes, or has just failed to; ask again after this time.
    Held(SystemTime),
    /// Somebody has refreshed already; this is the generation now.
    Moved(u64),
    /// The session is gone.
    Gone,
}

/// [`SessionStore::outage_tolerance`] of a store that machines share, unless told otherwise.
pub const DEFAULT_OUTAGE_TOLERANCE: Duration = Duration::from_secs(30);

/// A process that takes leases: random for each store handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnerId(pub [u8; 16]);

/// What other processes did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Pass it to the next call.
    pub cursor: u64,
    /// Rows that were written (with their new generation) or deleted (none) by others, oldest first.
    pub rows: Vec<(SessionKey, Option<u64>)>,
    /// Changes were missed: every cached session must be read again.
    pub lost: bool,
    /// Parts of the store that could not tell; the others could.
    pub silent: Parts,
}

/// Why a store could not answer. It never means "there is no such session".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Overloaded, or locked by another process for too long. Try again.
    #[error("the session store is busy")]
    Busy,
    /// The disk is full.
    #[error("the session store is full: {0}")]
    Full(String),
    /// The file or file system cannot be written.
    #[error("the session store is read-only: {0}")]
    ReadOnly(String),
    /// The file is damaged or no session database of ours.
    #[error("the session store is damaged (moved away, it is made anew, and users log in again): {0}")]
    Corrupt(String),
    /// A newer release wrote the file.
    #[error("the session store has schema version {0}, which a newer release wrote")]
    Newer(i64),
    /// The row had to give way to those of others, and only the browser has the session.
    #[error("the session is not in the store until its browser brings it again")]
    GivenWay,
    /// A row of that key exists.
    #[error("the session store has a row of that key already")]
    Exists,
    /// The store holds as many as it may.
    #[error("the session store takes no further session: {0}")]
    Refused(&'static str),
    /// This store cannot do that.
    #[error("the session store cannot {0}")]
    Unsupported(&'static str),
    /// Sealing or random numbers failed.
    #[error("the session could not be sealed")]
    Crypto,
    /// Anything else: cannot be opened, input or output error.
    #[error("the session store failed: {0}")]
    Failed(String),
}

impl StoreError {
    /// Whether the store has not done what it should, as opposed to telling how things are.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::Exists | Self::Unsupported(_) | Self::GivenWay | Self::Crypto)
    }

    /// Says which file it is about.
    #[must_use]
    pub(super) fn at(self, path: &Path) -> Self {
        let at = |text: String| format!("{}: {text}", path.display());
        match self {
            Self::Full(text) => Self::Full(at(text)),
            Self::ReadOnly(text) => Self::ReadOnly(at(text)),
            Self::Corrupt(text) => Self::Corrupt(at(text)),
            Self::Failed(text) => Self::Failed(at(text)),
            other => other,
        }
    }
}

/// Of `all` rows of a store without an order: those after `after`, by their names, at most `limit`.
pub(super) fn page(
    mut all: Vec<(SessionKey, SystemTime)>,
    after: Option<&SessionKey>,
    limit: usize,
) -> Vec<(SessionKey, SystemTime)> {
    all.retain(|(key, _)| after.is_none_or(|after| key > after));
    if limit < all.len() {
        // Not all are put in order for each page of them.
        all.select_nth_unstable(limit);
        all.truncate(limit);
    }
    all.sort_unstable();
    all
}

/// Where sessions live.
///
/// Durable stores answer a write only once it would survive the end of this process.
///
/// No method has a body here: a store that wraps another one and forgot to pass a call on would not compile.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// The row of `key`, expired or not.
    ///
    /// # Errors
    /// [`StoreError`], here and in all others.
    async fn load(&self, key: &SessionKey) -> Result<Option<Stored>, StoreError>;

    /// Adds a row. An existing one is [`StoreError::Exists`].
    async fn insert(&self, key: &SessionKey, row: Stored) -> Result<(), StoreError>;

    /// Replaces the row if it still has the `expected` generation, and ends any lease on it.
    async fn compare_and_swap(
        &self,
        key: &SessionKey,
        expected: u64,
        row: Stored,
    ) -> Result<CasOutcome, StoreError>;

    /// Moves the end of a row to `expires` if that is later; whether there is the row. Its generation and a lease on it
    /// stay, and nobody is told.
    async fn extend(&self, key: &SessionKey, expires: SystemTime) -> Result<bool, StoreError>;

    /// Forgets a row; whether there was one.
    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError>;

    /// The sessions with this provider session id.
    async fn by_sid(&self, sid: &IndexKey) -> Result<Vec<SessionKey>, StoreError>;

    /// The sessions of this subject.
    async fn by_sub(&self, sub: &IndexKey) -> Result<Vec<SessionKey>, StoreError>;

    /// Sessions after `after`, in the order of their keys, at most `limit`, with the end of each: for the operator.
    /// Rows that are none ([`Stored::is_session`]) are left out. A store that cannot do this answers
    /// [`StoreError::Unsupported`].
    async fn list(
        &self,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<(SessionKey, SystemTime)>, StoreError>;

    /// How many rows there are.
    async fn count(&self) -> Result<u64, StoreError>;

    /// Asks for the right to refresh the session while it has this generation, from `now` for `ttl`.
    /// The owner of a lease may ask again.
    async fn lease(
        &self,
        key: &SessionKey,
        owner: OwnerId,
        generation: u64,
        now: SystemTime,
        ttl: Duration,
    ) -> Result<LeaseOutcome, StoreError>;

    /// Gives a lease of `owner` back: nobody may take it before `until` (a pause after a failure).
    async fn release(&self, key: &SessionKey, owner: OwnerId, until: SystemTime) -> Result<(), StoreError>;

    /// Deletes what expired before `now`; how many rows.
    async fn purge_expired(&self, now: SystemTime) -> Result<u64, StoreError>;

    /// How long live sessions go on from memory while [`SessionStore::changes`] fails; after that they get 503 until it
    /// works again. None: without bound, which is right where no other machine can end a session in this store.
    fn outage_tolerance(&self) -> Option<Duration>;

    /// The store itself if the sessions are in the browsers and only what goes with them is in it.
    fn in_browser(&self) -> Option<&CookieStore>;

    /// What other processes changed since `cursor`; none to begin with, which only fetches the cursor.
    async fn changes(&self, cursor: Option<u64>) -> Result<Changes, StoreError>;

    /// Whether the store can be read and written now. Tries it.
    async fn health(&self) -> Result<(), StoreError>;
}
