//! Doors for the fuzz targets (`fuzz/`) to what is private here. Built with the feature `fuzzing` only.

use std::time::SystemTime;

use http::HeaderMap;

use super::bearer;
use super::session::{self, Brought, ScopeId, SessionId, SessionRecord, Sessions, StoreError};

/// The bearer token of a request. `None` if it shows none; `Some(None)` if what it shows cannot be one.
#[must_use]
pub fn bearer_token(headers: &HeaderMap) -> Option<Option<&str>> {
    bearer::shown(headers)
}

/// A session for the browser: its generation, and the sealed bytes, for a cookie of this name.
///
/// # Errors
/// [`StoreError`].
pub async fn carry(
    sessions: &Sessions,
    record: SessionRecord,
    name: &str,
) -> Result<(SessionId, u64, Vec<u8>), StoreError> {
    let (id, entry) = sessions.create(record).await?;
    let carried = sessions.carry(&entry, name, usize::MAX).await?.ok_or(StoreError::Crypto)?;
    Ok((id, carried.is.generation, carried.sealed))
}

/// Whether what a browser brings is taken for a session: as one that was sealed here, and as one that is taken over.
///
/// # Errors
/// [`StoreError`].
pub async fn adopt(
    sessions: &Sessions,
    (id, generation, sealed): (SessionId, u64, &[u8]),
    (name, scope): (&str, &ScopeId),
    now: SystemTime,
) -> Result<(bool, bool), StoreError> {
    let brought = Brought { id, generation, sealed, name };
    let adopted = sessions.adopt(&brought, scope, now).await?;
    Ok((sessions.is_genuine(&brought, scope), adopted.is_some()))
}

/// Reads what is in a seal, before and after it is decompressed.
#[must_use]
pub fn read_carried(packed: &[u8]) -> [Option<(SessionRecord, u64)>; 2] {
    session::read_carried(packed)
}

/// Writes what [`read_carried`] reads; `None` if it is too long.
#[must_use]
pub fn write_carried(record: &SessionRecord, ends: u64) -> Option<Vec<u8>> {
    session::write_carried(record, ends)
}
