#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::oidc::clock::ManualClock;
use crate::oidc::session::contract::at;
use crate::oidc::session::testing::{Faulty, a_moment, process, record, scope};
use crate::oidc::session::{Lookup, MemoryStore, SessionId, SessionStore};

const IDLE: Duration = Duration::from_secs(600);

fn idle_record() -> SessionRecord {
    SessionRecord { idle_lifetime: Some(IDLE), ..record() }
}

fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(100))
}

async fn started(store: &Arc<MemoryStore>) -> (Sessions, Arc<ManualClock>, SessionId, Arc<SessionEntry>) {
    let (sessions, clock) = process(Arc::clone(store) as _);
    let (id, entry) = sessions.create(idle_record()).await.unwrap();
    (sessions, clock, id, entry)
}

/// As a request does.
async fn request(sessions: &Sessions, id: &SessionId, second: u64) -> bool {
    let entry = match sessions.lookup_cached(id, &scope(), at(second)) {
        Some(entry) => entry,
        None => match sessions.lookup(id, &scope(), at(second)).await {
            Lookup::Live(entry) => entry,
            Lookup::None => return false,
            Lookup::StoreDown => panic!("the store is up"),
        },
    };
    sessions.used(&entry, &Lifetimes::OF_SESSION, at(second));
    a_moment().await;
    true
}

#[tokio::test]
async fn a_session_ends_when_nobody_uses_it_and_not_while_somebody_does() {
    let (sessions, _, id, entry) = started(&memory()).await;
    for second in [0, 500, 1000, 1590, 2100] {
        assert!(request(&sessions, &id, second).await, "at {second}");
    }
    assert!(request(&sessions, &id, 2699).await);
    assert!(!request(&sessions, &id, 3299).await);
    assert!(entry.is_ended());
    assert_eq!(sessions.count().await.unwrap(), 0);
}

#[tokio::test]
async fn the_absolute_end_stays() {
    let (sessions, _, id, _) = started(&memory()).await;
    for second in (0..3600).step_by(300) {
        assert!(request(&sessions, &id, second).await, "at {second}");
    }
    assert!(!request(&sessions, &id, 3600).await);
}

#[tokio::test]
async fn the_store_is_written_once_in_a_step() {
    let store = memory();
    let (sessions, _, id, entry) = started(&store).await;
    let end = async || store.load(entry.key()).await.unwrap().unwrap().expires;
    assert_eq!(end().await, at(600));
    assert!(request(&sessions, &id, 59).await);
    assert_eq!(end().await, at(600), "less than a tenth");
    assert!(request(&sessions, &id, 60).await);
    assert_eq!(end().await, at(660));
    assert!(request(&sessions, &id, 119).await);
    assert_eq!(end().await, at(660));
    assert_eq!(entry.profile().generation, 0, "a use is no new generation");
}

#[tokio::test]
async fn requests_at_another_process_count() {
    let store = memory();
    let (here, _, id, _) = started(&store).await;
    let (there, _) = process(Arc::clone(&store) as _);
    assert!(request(&there, &id, 300).await);
    assert!(request(&there, &id, 850).await);
    // Here the end was at 600.
    assert!(request(&here, &id, 1400).await);
    assert!(!request(&there, &id, 2000).await);
    assert!(!request(&here, &id, 2000).await);
}

#[tokio::test]
async fn the_end_survives_a_restart_and_is_purged() {
    let store = memory();
    let (sessions, _, id, _) = started(&store).await;
    assert!(request(&sessions, &id, 300).await);
    let (next, _) = process(Arc::clone(&store) as _);
    assert!(request(&next, &id, 899).await);
    let (late, _) = process(Arc::clone(&store) as _);
    assert!(!request(&late, &id, 1499).await);
    let (sessions, _, _, _) = started(&store).await;
    sessions.purge(at(600)).await;
    assert_eq!((sessions.count().await.unwrap(), sessions.cached()), (0, 0));
}

#[tokio::test]
async fn a_session_without_an_idle_lifetime_has_no_such_end() {
    let store = memory();
    let (sessions, _) = process(Arc::clone(&store) as _);
    let (id, entry) = sessions.create(record()).await.unwrap();
    let text = record().encode().unwrap();
    assert!(!String::from_utf8_lossy(&text).contains("idle"), "as earlier releases wrote it");
    assert!(request(&sessions, &id, 3599).await);
    assert_eq!(entry.idle_end(), None);
    assert_eq!(store.load(entry.key()).await.unwrap().unwrap().expires, at(3600));
}

#[tokio::test]
async fn a_refresh_keeps_the_lifetime_and_moves_the_end() {
    let store = memory();
    let (sessions, clock, _, entry) = started(&store).await;
    clock.set(at(400));
    let next = SessionRecord { generation: 1, ..idle_record() };
    sessions.commit(&entry, 0, next).await;
    assert_eq!(store.load(entry.key()).await.unwrap().unwrap().expires, at(1000));
    let recalled = sessions.recall(&entry).unwrap();
    assert_eq!(recalled.idle_lifetime, Some(IDLE));
}

#[tokio::test]
async fn an_outage_ends_nothing_and_is_made_up_for() {
    let store = Faulty::new(None);
    let (sessions, _) = process(Arc::clone(&store) as _);
    let (id, entry) = sessions.create(idle_record()).await.unwrap();
    store.fails(Some(StoreError::Busy));
    assert!(request(&sessions, &id, 300).await);
    assert!(matches!(sessions.lookup(&id, &scope(), at(1000)).await, Lookup::StoreDown), "it cannot tell");
    store.fails(None);
    sessions.save_unsaved().await;
    assert_eq!(store.load(entry.key()).await.unwrap().unwrap().expires, at(900));
    assert!(request(&sessions, &id, 899).await);
}

#[tokio::test]
async fn an_open_stream_is_use() {
    let (sessions, clock, id, entry) = started(&memory()).await;
    let stream = tokio::spawn(Arc::clone(&entry).ended(Timing::NEVER, Arc::clone(&clock)));
    while clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    for second in (0..2000).step_by(50) {
        sessions.use_by_streams(at(second));
        a_moment().await;
    }
    assert!(!stream.is_finished());
    stream.abort();
    let _ = stream.await;
    assert!(request(&sessions, &id, 2499).await);
    assert!(!request(&sessions, &id, 3099).await);
}
