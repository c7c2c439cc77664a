//! The statements. Each function is one transaction.

use std::time::SystemTime;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Result, Row, Transaction, TransactionBehavior, params};

use crate::oidc::clock::{from_unix_millis, unix_millis};
use crate::oidc::session::{CasOutcome, Changes, IndexKey, LeaseOutcome, OwnerId, SessionKey, Stored};

/// How many changes are kept for others to read. A process that was asleep for longer reads everything again.
const KEPT_CHANGES: i64 = 10_000;

/// Who asks for a lease on which generation, from when, until when.
pub(super) struct Lease {
    pub(super) owner: OwnerId,
    pub(super) generation: u64,
    pub(super) now: SystemTime,
    pub(super) until: SystemTime,
}

pub(super) fn load(db: &mut Connection, key: &SessionKey) -> Result<Option<Stored>> {
    db.prepare_cached("SELECT generation, expires, sid, sub, sealed FROM sessions WHERE key = ?1")?
        .query_row([key.bytes().as_slice()], |row| {
            Ok(Stored {
                generation: unsigned(row.get(0)?),
                expires: time(row.get(1)?),
                sid: row.get::<_, Option<[u8; 32]>>(2)?.map(IndexKey::from_bytes),
                sub: IndexKey::from_bytes(row.get(3)?),
                sealed: row.get(4)?,
            })
        })
        .optional()
}

/// False if the key exists.
pub(super) fn insert(db: &mut Connection, key: &SessionKey, row: &Stored) -> Result<bool> {
    // Nobody can have a new session in memory, so nobody is told.
    let added = db
        .prepare_cached(
            "INSERT INTO sessions (key, generation, expires, sid, sub, sealed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO NOTHING",
        )?
        .execute(columns(key, row))?;
    Ok(added == 1)
}

pub(super) fn swap(
    db: &mut Connection,
    key: &SessionKey,
    expected: u64,
    row: &Stored,
    origin: OwnerId,
) -> Result<CasOutcome> {
    let change = begin(db)?;
    let Some((present, ..)) = head(&change, key)? else {
        return Ok(CasOutcome::Gone);
    };
    if present != expected {
        return Ok(CasOutcome::Conflict(present));
    }
    change
        .prepare_cached(
            "UPDATE sessions SET generation = ?2, expires = ?3, sid = ?4, sub = ?5, sealed = ?6,
             lease_owner = NULL, lease_until = 0 WHERE key = ?1",
        )?
        .execute(columns(key, row))?;
    tell(&change, key, Some(row.generation), origin)?;
    change.commit()?;
    Ok(CasOutcome::Swapped)
}

/// Nobody is told: whoever thinks that the row has expired reads it again.
pub(super) fn extend(db: &mut Connection, key: &SessionKey, expires: SystemTime) -> Result<bool> {
    let extended = db
        .prepare_cached("UPDATE sessions SET expires = max(expires, ?2) WHERE key = ?1")?
        .execute(params![key.bytes(), signed_time(expires)])?;
    Ok(extended == 1)
}

/// An end must not be undone by a power cut, so this commit alone waits for the disk.
pub(super) fn delete(db: &mut Connection, key: &SessionKey, origin: OwnerId) -> Result<bool> {
    db.execute_batch("PRAGMA synchronous = FULL")?;
    let deleted = delete_now(db, key, origin);
    db.execute_batch("PRAGMA synchronous = NORMAL")?;
    deleted
}

fn delete_now(db: &mut Connection, key: &SessionKey, origin: OwnerId) -> Result<bool> {
    let change = begin(db)?;
    let deleted =
        change.prepare_cached("DELETE FROM sessions WHERE key = ?1")?.execute([key.bytes().as_slice()])?;
    if deleted > 0 {
        tell(&change, key, None, origin)?;
    }
    change.commit()?;
    Ok(deleted > 0)
}

pub(super) fn by_sid(db: &mut Connection, sid: &IndexKey) -> Result<Vec<SessionKey>> {
    keys(db, "SELECT key FROM sessions WHERE sid = ?1", sid)
}

pub(super) fn by_sub(db: &mut Connection, sub: &IndexKey) -> Result<Vec<SessionKey>> {
    keys(db, "SELECT key FROM sessions WHERE sub = ?1", sub)
}

fn keys(db: &mut Connection, query: &str, index: &IndexKey) -> Result<Vec<SessionKey>> {
    db.prepare_cached(query)?
        .query_map([index.bytes().as_slice()], |row| row.get(0).map(SessionKey::from_bytes))?
        .collect()
}

/// Every key is after the empty one.
pub(super) fn list(
    db: &mut Connection,
    after: Option<&SessionKey>,
    limit: usize,
) -> Result<Vec<(SessionKey, SystemTime)>> {
    let after: &[u8] = after.map_or(&[], |key| key.bytes());
    db.prepare_cached(
        "SELECT key, expires FROM sessions WHERE key > ?1 AND sub <> key ORDER BY key LIMIT ?2",
    )?
    .query_map(params![after, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        Ok((SessionKey::from_bytes(row.get(0)?), time(row.get(1)?)))
    })?
    .collect()
}

pub(super) fn count(db: &mut Connection) -> Result<u64> {
    db.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0).map(unsigned))
}

pub(super) fn lease(db: &mut Connection, key: &SessionKey, lease: &Lease) -> Result<LeaseOutcome> {
    let change = begin(db)?;
    let Some((generation, owner, until)) = head(&change, key)? else {
        return Ok(LeaseOutcome::Gone);
    };
    if generation != lease.generation {
        return Ok(LeaseOutcome::Moved(generation));
    }
    if owner.is_some_and(|owner| owner != lease.owner.0) && until > lease.now {
        return Ok(LeaseOutcome::Held(until));
    }
    change
        .prepare_cached("UPDATE sessions SET lease_owner = ?2, lease_until = ?3 WHERE key = ?1")?
        .execute(params![key.bytes(), lease.owner.0, signed_time(lease.until)])?;
    change.commit()?;
    Ok(LeaseOutcome::Granted)
}

pub(super) fn release(
    db: &mut Connection,
    key: &SessionKey,
    owner: OwnerId,
    until: SystemTime,
) -> Result<()> {
    db.prepare_cached("UPDATE sessions SET lease_until = ?3 WHERE key = ?1 AND lease_owner = ?2")?
        .execute(params![key.bytes(), owner.0, signed_time(until)])
        .map(drop)
}

/// Nobody is told: each process goes by the expiry that it knows.
pub(super) fn purge(db: &mut Connection, now: SystemTime) -> Result<u64> {
    let change = begin(db)?;
    let purged = change.execute("DELETE FROM sessions WHERE expires <= ?1", [signed_time(now)])?;
    let last = last_change(&change)?;
    let oldest_kept = last.saturating_sub(KEPT_CHANGES);
    if change.execute("DELETE FROM changes WHERE seq <= ?1", [oldest_kept])? > 0 {
        change.execute("UPDATE meta SET value = ?1 WHERE name = 'pruned'", [oldest_kept])?;
    }
    change.commit()?;
    Ok(u64::try_from(purged).unwrap_or(u64::MAX))
}

/// One read transaction, so that the parts agree.
pub(super) fn changes(db: &mut Connection, cursor: Option<u64>, origin: OwnerId) -> Result<Changes> {
    let look = db.transaction()?;
    let last = last_change(&look)?;
    let Some(since) = cursor.map(signed) else {
        return Ok(Changes { cursor: unsigned(last), ..Changes::default() });
    };
    if since == last {
        return Ok(Changes { cursor: unsigned(last), ..Changes::default() });
    }
    let pruned: i64 = look.query_row("SELECT value FROM meta WHERE name = 'pruned'", [], |row| row.get(0))?;
    let rows = look
        .prepare_cached("SELECT key, generation FROM changes WHERE seq > ?1 AND origin <> ?2 ORDER BY seq")?
        .query_map(params![since, origin.0], change_row)?
        .collect::<Result<_>>()?;
    Ok(Changes {
        cursor: unsigned(last),
        rows,
        // A cursor from the future belongs to a file that was replaced by an older one.
        lost: since < pruned || since > last,
        ..Changes::default()
    })
}

fn change_row(row: &Row<'_>) -> Result<(SessionKey, Option<u64>)> {
    Ok((SessionKey::from_bytes(row.get(0)?), row.get::<_, Option<i64>>(1)?.map(unsigned)))
}

/// Reads something.
pub(super) fn probe(db: &mut Connection) -> Result<()> {
    db.query_row("SELECT value FROM meta WHERE name = 'probe'", [], |_| Ok(()))
}

/// Writes something.
pub(super) fn probe_write(db: &mut Connection) -> Result<()> {
    db.execute("UPDATE meta SET value = value + 1 WHERE name = 'probe'", []).map(drop)
}

/// A transaction that has the write lock from the start, so that it cannot fail half-way for want of it.
fn begin(db: &mut Connection) -> Result<Transaction<'_>> {
    db.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Generation, lease owner and lease end of a row.
type Head = (u64, Option<[u8; 16]>, SystemTime);

fn head(db: &Connection, key: &SessionKey) -> Result<Option<Head>> {
    db.prepare_cached("SELECT generation, lease_owner, lease_until FROM sessions WHERE key = ?1")?
        .query_row([key.bytes().as_slice()], |row| {
            Ok((unsigned(row.get(0)?), row.get(1)?, time(row.get(2)?)))
        })
        .optional()
}

fn tell(db: &Connection, key: &SessionKey, generation: Option<u64>, origin: OwnerId) -> Result<()> {
    db.prepare_cached("INSERT INTO changes (key, generation, origin) VALUES (?1, ?2, ?3)")?
        .execute(params![key.bytes(), generation.map(signed), origin.0])
        .map(drop)
}

fn last_change(db: &Connection) -> Result<i64> {
    let last = db
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'changes'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or(0))
}

fn columns(key: &SessionKey, row: &Stored) -> impl rusqlite::Params {
    let blob = |bytes: &[u8]| Value::Blob(bytes.to_vec());
    rusqlite::params_from_iter([
        blob(key.bytes()),
        Value::Integer(signed(row.generation)),
        Value::Integer(signed_time(row.expires)),
        row.sid.as_ref().map_or(Value::Null, |sid| blob(sid.bytes())),
        blob(row.sub.bytes()),
        blob(&row.sealed),
    ])
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn signed_time(time: SystemTime) -> i64 {
    signed(unix_millis(time))
}

fn time(millis: i64) -> SystemTime {
    from_unix_millis(unsigned(millis))
}
