//! The store fails, and the sessions go on.

use super::*;
use crate::oidc::session::testing::{Faulty, keys};
use crate::oidc::session::{DEFAULT_OUTAGE_TOLERANCE, StoreError};

fn damaged() -> Option<StoreError> {
    Some(StoreError::Corrupt("torn".to_owned()))
}

async fn over(store: &Arc<Faulty>) -> Setting {
    let (sessions, clock) = process(Arc::clone(store) as _);
    Setting::of(sessions, clock).await
}

/// The record as a process finds it that starts now.
async fn after_a_restart(store: &Arc<Faulty>, t: &Setting) -> SessionRecord {
    let clock = Arc::clone(&t.clock) as Arc<dyn Clock>;
    let sessions = Sessions::new(Arc::clone(store) as _, keys(), clock, 100).unwrap();
    let Lookup::Live(entry) = sessions.lookup(&t.id, &scope(), t.clock.now()).await else {
        panic!("the session is gone");
    };
    sessions.record(&entry).await.unwrap().unwrap()
}

#[tokio::test]
async fn live_sessions_are_refreshed_from_memory_and_written_afterwards() {
    let store = Faulty::new(None);
    let t = over(&store).await;
    store.fails(damaged());
    t.clock.set(at(301));
    assert_eq!(t.ask().await, Freshness::Renewed);
    t.clock.set(at(602));
    assert_eq!(t.ask().await, Freshness::Renewed);
    assert_eq!(t.provider.asked(), 2);
    assert!(t.is_live().await);
    t.sessions.save_unsaved().await;
    store.fails(None);
    t.sessions.save_unsaved().await;
    let record = after_a_restart(&store, &t).await;
    assert_eq!((record.access_token.expose_secret(), record.generation), ("access-2", 2));
    assert_eq!(record.refresh_token.unwrap().expose_secret(), "refresh-2");
    assert_eq!((record.created, record.absolute_expiry, &*record.subject), (at(0), at(3600), "alice"));
    assert_eq!(record.claims.get("email").unwrap(), "alice@example.com");
}

#[tokio::test]
async fn the_last_id_token_is_not_lost_by_a_refresh_without_one() {
    let store = Faulty::new(None);
    let t = over(&store).await;
    t.provider.id_tokens.store(false, Ordering::SeqCst);
    store.fails(damaged());
    t.clock.set(at(301));
    assert_eq!(t.ask().await, Freshness::Renewed);
    store.fails(None);
    t.sessions.save_unsaved().await;
    let record = after_a_restart(&store, &t).await;
    assert_eq!(record.access_token.expose_secret(), "access-1");
    assert_eq!(record.id_token.expose_secret(), "an.id.token");
}

#[tokio::test]
async fn a_refusal_counts_only_when_the_store_knows_no_successor() {
    let store = Faulty::new(None);
    let t = over(&store).await;
    t.provider.live.lock().unwrap().clear();
    store.fails(damaged());
    t.clock.set(at(301));
    assert_eq!(t.ask().await, retry(5));
    assert!(t.is_live().await);
    store.fails(None);
    t.clock.set(at(307));
    assert_eq!(t.ask().await, Freshness::Ended);
}

#[tokio::test]
async fn a_shared_store_may_be_away_for_a_while() {
    let store = Faulty::new(Some(DEFAULT_OUTAGE_TOLERANCE));
    let t = over(&store).await;
    let cached = |seconds| t.sessions.lookup_cached(&t.id, &scope(), at(seconds)).is_some();
    t.sessions.poll_changes().await;
    // The first look at the news makes everything be read again.
    assert!(t.is_live().await);
    store.fails(Some(StoreError::Failed("no route".to_owned())));
    t.clock.set(at(10));
    t.sessions.poll_changes().await;
    t.clock.set(at(29));
    t.sessions.poll_changes().await;
    assert!(cached(29));
    // What others ended in this time is not known: nobody is let in, and nobody is logged out.
    assert!(!cached(30));
    assert!(matches!(t.sessions.lookup(&t.id, &scope(), at(30)).await, Lookup::StoreDown));
    store.fails(None);
    t.clock.set(at(40));
    t.sessions.poll_changes().await;
    assert!(cached(40));
}

#[tokio::test]
async fn tokens_that_the_store_cannot_take_serve_from_memory() {
    let t = Setting::new().await;
    t.clock.set(at(301));
    assert_eq!(t.ask().await, Freshness::Renewed);
    // The next generation was only kept in memory; the one after it needs no store either.
    let mut behind = t.sessions.record(&t.entry).await.unwrap().unwrap();
    behind.generation += 1;
    behind.access_expiry = Some(at(400));
    t.entry.keep_unsaved(behind);
    t.clock.set(at(401));
    assert_eq!(t.ask().await, Freshness::Renewed);
    assert_eq!(t.provider.asked(), 2);
    assert_eq!(t.entry.profile().generation, 3);
}

#[tokio::test]
async fn a_store_that_failed_before_the_tokens_ended_holds_nobody_up_after_it() {
    let t = Setting::new().await;
    t.clock.set(at(301));
    assert_eq!(t.ask().await, Freshness::Renewed);
    let mut behind = t.sessions.record(&t.entry).await.unwrap().unwrap();
    behind.generation += 1;
    behind.access_expiry = Some(at(500));
    t.entry.keep_unsaved(behind);
    // Due, but the store is behind: nothing is risked while the tokens are good.
    t.clock.set(at(498));
    assert_eq!(t.ask().await, Freshness::ValidRefreshing);
    t.landed().await;
    assert_eq!(t.provider.asked(), 1);
    assert_eq!(t.ask().await, Freshness::Valid);
    t.clock.set(at(501));
    assert_eq!(t.ask().await, Freshness::Renewed);
    assert_eq!(t.provider.asked(), 2);
}
