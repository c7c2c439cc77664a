#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::oidc::session::contract::at;
use crate::oidc::session::testing::{Faulty, a_moment, process, record, scope};
use crate::oidc::session::{MemoryStore, SessionId, SessionRecord, StoreError};

const IDLE: Duration = Duration::from_secs(3000);

/// Of a policy that is stricter than the sessions.
fn strict() -> Lifetimes {
    Lifetimes::new(Duration::from_secs(1800), Some(Duration::from_secs(600)))
}

fn lax() -> Lifetimes {
    Lifetimes::new(Duration::from_secs(86_400), None)
}

/// What a request at a policy with these lifetimes finds.
async fn request(sessions: &Sessions, id: &SessionId, lifetimes: &Lifetimes, second: u64) -> Lookup {
    let found = sessions.lookup(id, &scope(), at(second)).await;
    let found = sessions.within(found, lifetimes, at(second)).await;
    if let Lookup::Live(entry) = &found {
        sessions.used(entry, lifetimes, at(second));
        a_moment().await;
    }
    found
}

async fn passes(sessions: &Sessions, id: &SessionId, lifetimes: &Lifetimes, second: u64) -> bool {
    matches!(request(sessions, id, lifetimes, second).await, Lookup::Live(_))
}

async fn idling(store: &Arc<MemoryStore>) -> (Sessions, SessionId) {
    let (sessions, _) = process(Arc::clone(store) as _);
    let record = SessionRecord { idle_lifetime: Some(IDLE), ..record() };
    let (id, _) = sessions.create(record).await.unwrap();
    (sessions, id)
}

fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(10))
}

#[tokio::test]
async fn the_shorter_absolute_lifetime_counts() {
    let (sessions, _) = process(memory());
    let (id, entry) = sessions.create(record()).await.unwrap();
    let strict = Lifetimes::new(Duration::from_secs(1800), None);
    assert!(passes(&sessions, &id, &strict, 1799).await);
    assert!(!passes(&sessions, &id, &strict, 1800).await);
    assert!(!entry.lasts(&strict, at(1800)) && !entry.is_ended());
    assert!(passes(&sessions, &id, &lax(), 3599).await);
    assert!(!passes(&sessions, &id, &lax(), 3600).await, "no policy makes a session longer");
}

#[tokio::test]
async fn the_shorter_idle_lifetime_counts() {
    let (sessions, id) = idling(&memory()).await;
    for second in [0, 500, 1099] {
        assert!(passes(&sessions, &id, &strict(), second).await, "at {second}");
    }
    assert!(!passes(&sessions, &id, &strict(), 1699).await);
    assert!(passes(&sessions, &id, &lax(), 1699).await, "it has ended for one policy only");
}

/// Else a user who comes once in a short lifetime would be out because of a session's long step.
#[tokio::test]
async fn the_step_is_that_of_the_shorter_idle_lifetime() {
    let (sessions, id) = idling(&memory()).await;
    let minute = Lifetimes::new(Duration::from_secs(1800), Some(Duration::from_secs(60)));
    for second in (0..600).step_by(50) {
        assert!(passes(&sessions, &id, &minute, second).await, "at {second}");
    }
}

/// Nobody knows when it was used last, but that it was at the login.
#[tokio::test]
async fn a_session_without_an_idle_lifetime_is_idle_from_its_login_on() {
    let (sessions, _) = process(memory());
    let (id, _) = sessions.create(record()).await.unwrap();
    assert!(passes(&sessions, &id, &strict(), 599).await);
    assert!(!passes(&sessions, &id, &strict(), 600).await);
    assert!(passes(&sessions, &id, &lax(), 600).await);
}

#[tokio::test]
async fn requests_at_another_process_count() {
    let store = memory();
    let (here, id) = idling(&store).await;
    let (there, _) = process(Arc::clone(&store) as _);
    assert!(passes(&there, &id, &strict(), 0).await);
    assert!(passes(&here, &id, &lax(), 500).await);
    assert!(passes(&there, &id, &strict(), 1099).await);
    assert!(!passes(&there, &id, &strict(), 1699).await);
}

#[tokio::test]
async fn a_store_that_cannot_tell_is_no_end() {
    let store = Faulty::new(None);
    let (sessions, _) = process(Arc::clone(&store) as _);
    let (id, _) = sessions.create(SessionRecord { idle_lifetime: Some(IDLE), ..record() }).await.unwrap();
    store.fails(Some(StoreError::Busy));
    assert!(passes(&sessions, &id, &strict(), 599).await);
    store.fails(Some(StoreError::Busy));
    assert!(matches!(request(&sessions, &id, &strict(), 1300).await, Lookup::StoreDown));
    assert!(matches!(request(&sessions, &id, &strict(), 1800).await, Lookup::None), "that needs no store");
}
