//! The tables, their version, and the settings of a connection.

use rusqlite::{Connection, TransactionBehavior};

use super::worker::{Role, explain};
use crate::oidc::session::StoreError;

/// `PRAGMA application_id`: "PCsn".
const APPLICATION: i64 = 0x5043_736e;

/// `PRAGMA user_version`. A change of the tables adds a step to [`migrate`].
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE sessions (
    key         BLOB    NOT NULL UNIQUE,  -- keyed hash of the cookie
    generation  INTEGER NOT NULL,
    expires     INTEGER NOT NULL,         -- milliseconds since 1970, as all times here
    sid         BLOB,                     -- keyed hashes of the provider's session id and of the subject
    sub         BLOB    NOT NULL,
    sealed      BLOB    NOT NULL,         -- the record; the key needs the cookie
    lease_owner BLOB,
    lease_until INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX sessions_sid ON sessions (sid) WHERE sid IS NOT NULL;
CREATE INDEX sessions_sub ON sessions (sub);
CREATE INDEX sessions_expires ON sessions (expires);
-- What was changed by whom, so that other processes can drop it from memory.
CREATE TABLE changes (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    key         BLOB    NOT NULL,
    generation  INTEGER,                  -- NULL: deleted
    origin      BLOB    NOT NULL
);
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO meta VALUES ('pruned', 0), ('probe', 0);
";

/// Makes a connection ready, and the tables if there are none.
pub(super) fn prepare(db: &mut Connection, role: Role) -> Result<(), StoreError> {
    // Setting the mode again is harmless, and the first statement that finds out what the file is.
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(explain)?;
    if mode != "wal" {
        return Err(StoreError::Failed(format!("the file system offers journal mode {mode}, not wal")));
    }
    // Every commit survives the end of the process; those of ends (`rows::delete`) survive a power cut, too.
    // The system caches the file as well; of a cache of our own (KiB) two connections would have two megabytes each.
    db.execute_batch(
        "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 1000; PRAGMA journal_size_limit = 67108864;
         PRAGMA cache_size = -512",
    )
    .map_err(explain)?;
    migrate(db)?;
    if role == Role::Reader {
        db.execute_batch("PRAGMA query_only = ON").map_err(explain)?;
    }
    Ok(())
}

fn migrate(db: &mut Connection) -> Result<(), StoreError> {
    if version(db)? == VERSION {
        return check_application(db);
    }
    // Another process may be doing the same: look again under the lock.
    let change = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(explain)?;
    match version(&change)? {
        0 => {
            let tables: i64 = change
                .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
                .map_err(explain)?;
            if tables > 0 {
                return Err(StoreError::Corrupt("the file is a database of something else".to_owned()));
            }
            change.execute_batch(TABLES).map_err(explain)?;
            change.pragma_update(None, "application_id", APPLICATION).map_err(explain)?;
            change.pragma_update(None, "user_version", VERSION).map_err(explain)?;
        }
        VERSION => {}
        newer => return Err(StoreError::Newer(newer)),
    }
    change.commit().map_err(explain)
}

fn version(db: &Connection) -> Result<i64, StoreError> {
    db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(explain)
}

fn check_application(db: &Connection) -> Result<(), StoreError> {
    let id: i64 = db.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(explain)?;
    if id == APPLICATION {
        Ok(())
    } else {
        Err(StoreError::Corrupt("the file is a database of something else".to_owned()))
    }
}
