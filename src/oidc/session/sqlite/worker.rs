//! A thread with one connection, and the queue that feeds it.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{mpsc, oneshot};

use super::schema;
use crate::oidc::session::StoreError;

/// How long SQLite waits for a lock of another process.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// How long a call may take, queueing included.
const CALL: Duration = Duration::from_secs(5);

/// How long to leave a file alone that could not be opened.
const REOPEN: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce(&mut Database) + Send>;

/// What a worker's connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Writes, and creates the file.
    Writer,
    /// Only reads.
    Reader,
}

/// A handle on the thread. The thread ends when the handle is dropped and the queue is done.
pub(super) struct Worker {
    queue: mpsc::Sender<Job>,
}

impl Worker {
    /// `faults` is shared by the workers of one file.
    pub(super) fn start(
        path: &Path,
        role: Role,
        length: usize,
        faults: &Arc<AtomicU64>,
    ) -> Result<Self, StoreError> {
        let (queue, mut jobs) = mpsc::channel::<Job>(length);
        let faults = Arc::clone(faults);
        let mut database =
            Database { path: path.to_owned(), role, connection: None, tried: None, seen: 0, faults };
        std::thread::Builder::new()
            .name(format!("sessions-{}", if role == Role::Writer { "write" } else { "read" }))
            .spawn(move || {
                while let Some(job) = jobs.blocking_recv() {
                    job(&mut database);
                }
            })
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok(Self { queue })
    }

    /// Runs `work` on the thread. Once begun it is finished, also if the caller goes away or has waited too long.
    ///
    /// # Errors
    /// What `work` fails with; [`StoreError::Busy`] after 5 s.
    pub(super) async fn call<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |database| {
            // Nobody may be listening any more.
            let _ = reply.send(database.run(work));
        });
        let answered = tokio::time::timeout(CALL, async {
            self.queue.send(job).await.ok()?;
            answer.await.ok()
        });
        match answered.await {
            Ok(Some(result)) => result,
            Ok(None) => Err(StoreError::Failed("its thread has ended".to_owned())),
            Err(_) => Err(StoreError::Busy),
        }
    }
}

struct Database {
    path: PathBuf,
    role: Role,
    connection: Option<Connection>,
    /// When opening last failed, and why.
    tried: Option<(Instant, StoreError)>,
    /// Faults of the file that the connection is younger than.
    seen: u64,
    /// Faults that any worker of this file has found.
    faults: Arc<AtomicU64>,
}

impl Database {
    fn run<T>(&mut self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let result = work(self.open()?).map_err(|error| explain(error).at(&self.path));
        if matches!(result, Err(StoreError::Corrupt(_) | StoreError::Failed(_))) {
            // The file may be repaired or replaced; a connection would never notice. Nor would the other worker's, which
            // may go on for long from pages that it has in memory.
            self.faults.fetch_add(1, Ordering::AcqRel);
            self.close();
        }
        result
    }

    fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            // A damaged log must not be copied into the database. If it cannot be said, closing is still right.
            let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }

    fn open(&mut self) -> Result<&mut Connection, StoreError> {
        let faults = self.faults.load(Ordering::Acquire);
        if self.seen != faults {
            self.seen = faults;
            self.close();
        }
        if self.connection.is_none() {
            if let Some((when, error)) = &self.tried
                && when.elapsed() < REOPEN
            {
                return Err(error.clone());
            }
            match connect(&self.path, self.role) {
                Ok(connection) => {
                    self.connection = Some(connection);
                    self.tried = None;
                }
                Err(error) => {
                    if matches!(error, StoreError::Corrupt(_)) {
                        self.seen = self.faults.fetch_add(1, Ordering::AcqRel) + 1;
                    }
                    let error = error.at(&self.path);
                    self.tried = Some((Instant::now(), error.clone()));
                    return Err(error);
                }
            }
        }
        self.connection.as_mut().ok_or(StoreError::Busy)
    }
}

/// Either role may come first, so both create what is missing.
fn connect(path: &Path, role: Role) -> Result<Connection, StoreError> {
    protect(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(explain)?;
    connection.busy_timeout(LOCK_WAIT).map_err(explain)?;
    connection.set_prepared_statement_cache_capacity(32);
    schema::prepare(&mut connection, role)?;
    Ok(connection)
}

/// The file and its folder, for nobody but us. SQLite gives the log files the mode of the database.
fn protect(path: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
            StoreError::ReadOnly(error.to_string())
        }
        std::io::ErrorKind::StorageFull => StoreError::Full(error.to_string()),
        _ => StoreError::Failed(error.to_string()),
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        tracing::warn!(path = %path.display(), "the session database was open to other users; its mode is 0600 now");
    }
    Ok(())
}

/// SQLite's error as ours.
pub(super) fn explain(error: rusqlite::Error) -> StoreError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(ErrorCode::DiskFull) => StoreError::Full(text),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreError::ReadOnly(text),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt(text),
        _ => StoreError::Failed(text),
    }
}
