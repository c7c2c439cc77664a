//! Sessions that the browser carries, of which the store forgets what it has no room for.

use super::*;
use crate::oidc::session::CookieStore;

async fn setting() -> (Setting, Arc<CookieStore>) {
    let store = Arc::new(CookieStore::new(16));
    let (sessions, clock) = process(Arc::clone(&store) as _);
    (Setting::of(sessions, clock).await, store)
}

/// Others come, which are used at that second: after the setting's own session, or it may stay in their place.
async fn crowd(t: &Setting, second: u64) {
    let (_, other) = t.sessions.create(record()).await.unwrap();
    assert!(t.sessions.holds(&other, at(second)));
    for _ in 0..100 {
        t.sessions.create(record()).await.unwrap();
    }
}

#[tokio::test]
async fn a_session_stays_while_its_refresh_waits_for_its_turn() {
    let (mut t, _) = setting().await;
    t.settings.permits = Arc::new(Semaphore::new(0));
    t.clock.set(at(301));
    let mut tasks = JoinSet::new();
    t.spawn(&mut tasks);
    while !t.entry.refresh.is_busy() {
        tokio::task::yield_now().await;
    }
    crowd(&t, 302).await;
    t.settings.permits.add_permits(1);
    assert_eq!(tasks.join_all().await, [Freshness::Renewed]);
    assert_eq!((t.token().await.as_str(), t.is_live().await), ("access-1", true));
    // Without the ID token it would be known from memory only.
    let record = t.sessions.record(&t.entry).await.unwrap().unwrap();
    assert_eq!(record.id_token.expose_secret(), "id-1");
    crowd(&t, 303).await;
    assert!(!t.sessions.holds(&t.entry, at(301)), "after that it gives way as before");
    assert!(!t.entry.is_ended());
}

#[tokio::test]
async fn a_session_that_has_given_way_is_refreshed_from_memory() {
    for second in [250, 301] {
        let (t, _) = setting().await;
        t.clock.set(at(second));
        crowd(&t, 302).await;
        assert!(!t.sessions.holds(&t.entry, at(301)));
        t.ask().await;
        t.landed().await;
        assert!(!t.entry.is_ended() && t.is_live().await, "at {second}");
        t.clock.set(at(301));
        assert_eq!(t.ask().await, if second == 250 { Freshness::Renewed } else { Freshness::Valid });
        assert_eq!((t.token().await.as_str(), t.provider.asked()), ("access-1", 1));
        assert!(t.sessions.holds(&t.entry, at(302)));
    }
}

/// A refresh whose session gives way while the provider is asked, which has not answered yet.
async fn gives_way_meanwhile(t: &Setting, store: &CookieStore) -> JoinSet<Freshness> {
    t.provider.answers.forget_permits(10_000);
    t.clock.set(at(301));
    let mut tasks = JoinSet::new();
    t.spawn(&mut tasks);
    while t.provider.asked() == 0 {
        tokio::task::yield_now().await;
    }
    store.give_way(t.entry.key());
    tasks
}

#[tokio::test]
async fn a_session_that_gives_way_while_the_provider_is_asked_keeps_its_new_tokens() {
    let (t, store) = setting().await;
    let tasks = gives_way_meanwhile(&t, &store).await;
    t.provider.answers.add_permits(1);
    assert_eq!(tasks.join_all().await, [Freshness::Renewed]);
    assert_eq!((t.token().await.as_str(), t.provider.discarded.load(Ordering::SeqCst)), ("access-1", 0));
    assert!(t.is_live().await);
}

#[tokio::test]
async fn what_has_ended_is_not_brought_back_by_its_refresh() {
    let (t, store) = setting().await;
    let tasks = gives_way_meanwhile(&t, &store).await;
    t.sessions.end_by_sid(&scope(), "op-session-1").await.unwrap();
    t.provider.answers.add_permits(1);
    assert_eq!(tasks.join_all().await, [Freshness::Ended]);
    assert_eq!(t.provider.discarded.load(Ordering::SeqCst), 1);
    assert_eq!(t.sessions.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_refusal_ends_a_session_that_has_given_way() {
    let (t, store) = setting().await;
    t.provider.live.lock().unwrap().clear();
    t.clock.set(at(301));
    store.give_way(t.entry.key());
    assert_eq!(t.ask().await, Freshness::Ended);
    assert!(!t.is_live().await);
}
