#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::oidc::session::contract::{self, at, key, row};
use crate::oidc::session::testing::{process, record, scope};
use crate::oidc::session::{Lookup, Sessions};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state").join("sessions.db");
    (folder, path)
}

fn open(path: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(path).unwrap())
}

async fn is_live(sessions: &Sessions, id: &crate::oidc::session::SessionId) -> bool {
    matches!(sessions.lookup(id, &scope(), at(1)).await, Lookup::Live(_))
}

#[tokio::test]
async fn keeps_the_contract() {
    let (_folder, path) = folder();
    contract::check(&*open(&path)).await;
}

#[tokio::test]
async fn the_file_is_for_nobody_else() {
    let (_folder, path) = folder();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    open(&path).insert(&key(1), row(0)).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let log = path.with_extension("db-wal");
    assert!(!log.exists() || mode(&log) == 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    open(&path).health().await.unwrap();
    assert_eq!(mode(&path), 0o600);
}

#[tokio::test]
async fn others_learn_what_changed_and_nobody_hears_itself() {
    let (_folder, path) = folder();
    let (a, b) = (open(&path), open(&path));
    a.insert(&key(1), row(0)).await.unwrap();
    let (of_a, of_b) = (a.changes(None).await.unwrap(), b.changes(None).await.unwrap());
    assert_eq!((&of_a.rows, of_a.lost), (&vec![], false));
    a.compare_and_swap(&key(1), 0, row(1)).await.unwrap();
    b.delete(&key(1)).await.unwrap();
    let of_a = a.changes(Some(of_a.cursor)).await.unwrap();
    assert_eq!(of_a.rows, [(key(1), None)]);
    let of_b = b.changes(Some(of_b.cursor)).await.unwrap();
    assert_eq!(of_b.rows, [(key(1), Some(1))]);
    assert!(!of_b.lost);
    assert_eq!(a.changes(Some(of_a.cursor)).await.unwrap().rows, []);
    assert!(a.changes(Some(of_a.cursor + 1)).await.unwrap().lost, "an older file");
}

#[tokio::test]
async fn pruned_changes_are_reported_as_lost() {
    let (_folder, path) = folder();
    let store = open(&path);
    store.insert(&key(1), row(0)).await.unwrap();
    let cursor = store.changes(None).await.unwrap().cursor;
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10005)
         INSERT INTO changes (key, generation, origin) SELECT zeroblob(32), i, zeroblob(16) FROM n",
    )
    .unwrap();
    assert!(!store.changes(Some(cursor)).await.unwrap().lost);
    store.purge_expired(at(1)).await.unwrap();
    let changes = store.changes(Some(cursor)).await.unwrap();
    assert!(changes.lost);
    assert!(!store.changes(Some(changes.cursor)).await.unwrap().lost);
}

#[tokio::test]
async fn sessions_survive_a_restart_and_are_unreadable_in_the_file() {
    let (_folder, path) = folder();
    let (before, _) = process(open(&path));
    let (id, _) = before.create(record()).await.unwrap();
    drop(before);

    let (after, _) = process(open(&path));
    let Lookup::Live(entry) = after.lookup(&id, &scope(), at(1)).await else {
        panic!("the session is gone");
    };
    assert_eq!(&*entry.profile().subject(), "alice");
    let file = std::fs::read(&path).unwrap();
    let log = std::fs::read(path.with_extension("db-wal")).unwrap_or_default();
    for secret in ["alice", "access-0", "refresh-0", "op-session-1", &id.to_text()] {
        for bytes in [&file, &log] {
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{secret}");
        }
    }
}

#[tokio::test]
async fn an_end_in_one_process_is_seen_by_the_other() {
    an_end_is_seen(true).await;
    // It happened before this process looked for changes for the first time.
    an_end_is_seen(false).await;
}

async fn an_end_is_seen(polled_before: bool) {
    let (_folder, path) = folder();
    let (a, _) = process(open(&path));
    let (b, _) = process(open(&path));
    let (id, of_a) = a.create(record()).await.unwrap();
    assert!(is_live(&b, &id).await);
    if polled_before {
        b.poll_changes().await;
        assert!(is_live(&b, &id).await);
    }
    a.end(&of_a).await.unwrap();
    assert!(b.lookup_cached(&id, &scope(), at(1)).is_some(), "not yet polled");
    b.poll_changes().await;
    assert!(b.lookup_cached(&id, &scope(), at(1)).is_none());
    assert!(!is_live(&b, &id).await);
    assert!(!is_live(&a, &id).await);
}

#[tokio::test]
async fn logout_by_sid_and_sub_reaches_sessions_that_are_not_in_memory() {
    let (_folder, path) = folder();
    let (a, _) = process(open(&path));
    let (b, _) = process(open(&path));
    let (first, _) = a.create(record()).await.unwrap();
    let mut other = record();
    other.sid = Some("op-session-2".into());
    let (second, _) = a.create(other).await.unwrap();
    assert_eq!(b.end_by_sid(&scope(), "op-session-1").await.unwrap(), 1);
    a.poll_changes().await;
    a.poll_changes().await;
    assert!(!is_live(&b, &first).await && is_live(&b, &second).await);
    assert_eq!(b.end_by_sub(&scope(), "bob").await.unwrap(), 0);
    assert_eq!(b.end_by_sub(&scope(), "alice").await.unwrap(), 1);
    assert!(!is_live(&b, &second).await);
    assert_eq!(b.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_file_of_something_else_is_refused_and_a_repaired_one_taken() {
    let (_folder, path) = folder();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    let store = open(&path);
    assert!(matches!(store.health().await, Err(StoreError::Corrupt(_))));
    assert!(matches!(store.load(&key(1)).await, Err(StoreError::Corrupt(_))));
    assert_eq!(std::fs::read(&path).unwrap().len(), 8192, "it is left alone");

    std::fs::remove_file(&path).unwrap();
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch("CREATE TABLE other (a)").unwrap();
    let store = open(&path);
    assert!(matches!(store.health().await, Err(StoreError::Corrupt(_))));

    std::fs::remove_file(&path).unwrap();
    open(&path).health().await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (_folder, path) = folder();
    open(&path).health().await.unwrap();
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(open(&path).health().await, Err(StoreError::Newer(99)));
}

/// Stands for a full disk: the file may not grow.
async fn fill(store: &SqliteStore) {
    let full = store.writer.call(|db| {
        let pages: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
    });
    full.await.unwrap();
}

#[tokio::test]
async fn on_a_full_disk_live_sessions_go_on_and_logins_fail() {
    let (_folder, path) = folder();
    let store = open(&path);
    let (sessions, _) = process(Arc::clone(&store) as _);
    let (id, _) = sessions.create(record()).await.unwrap();
    fill(&store).await;
    let mut large = record();
    large.id_token = "x".repeat(100_000).into();
    assert!(matches!(sessions.create(large).await, Err(StoreError::Full(_))));
    assert!(matches!(sessions.health(), Err(StoreError::Full(_))));
    assert!(sessions.lookup_cached(&id, &scope(), at(1)).is_some());
}

#[tokio::test]
async fn what_a_read_only_file_could_not_take_is_written_later() {
    let (_folder, path) = folder();
    let store = open(&path);
    let (sessions, _) = process(Arc::clone(&store) as _);
    let (id, entry) = sessions.create(record()).await.unwrap();
    let (gone, other) = sessions.create(record()).await.unwrap();
    let read_only = |on: bool| store.writer.call(move |db| db.pragma_update(None, "query_only", on));
    read_only(true).await.unwrap();
    assert!(matches!(store.health().await, Err(StoreError::ReadOnly(_))));

    let mut next = record();
    next.generation = 1;
    next.identifier = "renewed".into();
    let committed = sessions.commit(&entry, 0, next).await;
    assert_eq!(committed, crate::oidc::session::Committed::Unsaved);
    assert!(sessions.end(&other).await.is_err());
    assert!(!is_live(&sessions, &gone).await, "an end counts at once, also if the store has not heard of it");
    assert!(is_live(&sessions, &id).await);
    sessions.save_unsaved().await;
    assert_eq!(sessions.record(&entry).await.unwrap().unwrap().generation, 1);

    read_only(false).await.unwrap();
    sessions.save_unsaved().await;
    sessions.check_store().await;
    assert_eq!(sessions.health(), Ok(()));
    let (fresh, _) = process(open(&path));
    let Lookup::Live(entry) = fresh.lookup(&id, &scope(), at(1)).await else {
        panic!("the session is gone");
    };
    assert_eq!(&*entry.profile().identifier(), "renewed");
    assert!(!is_live(&fresh, &gone).await);
}
