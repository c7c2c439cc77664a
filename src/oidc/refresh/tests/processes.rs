//! Two processes that share one file.

use super::*;
use crate::oidc::session::SqliteStore;

/// Two processes on one file.
async fn two(folder: &tempfile::TempDir) -> (Setting, Setting) {
    let open = || Arc::new(SqliteStore::open(folder.path().join("sessions.db")).unwrap());
    let (sessions, clock) = process(open());
    let a = Setting::of(sessions, clock).await;
    // One clock for both, as two processes of one machine have.
    let other: Arc<dyn Clock> = Arc::clone(&a.clock) as _;
    let keys = crate::oidc::session::testing::keys();
    let sessions = Sessions::new(open(), keys, other, 100).unwrap();
    let Lookup::Live(entry) = sessions.lookup(&a.id, &scope(), at(1)).await else {
        panic!("the other process does not see the session");
    };
    let b = Setting {
        sessions,
        clock: Arc::clone(&a.clock),
        provider: Arc::clone(&a.provider),
        grant: Arc::clone(&a.grant),
        settings: RefreshSettings::default(),
        entry,
        id: a.id,
    };
    (a, b)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_make_one_grant() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = two(&folder).await;
    a.provider.answers.forget_permits(usize::MAX >> 4);
    a.clock.set(at(301));
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        a.spawn(&mut tasks);
        b.spawn(&mut tasks);
    }
    while a.provider.asked() == 0 {
        a_moment().await;
    }
    a.provider.answers.add_permits(1);
    // The process that does not have the lease looks every 100 ms.
    while !tasks.is_empty() {
        a.clock.advance(Duration::from_millis(100));
        while let Some(answer) = tasks.try_join_next() {
            let answer = answer.unwrap();
            assert!(matches!(answer, Freshness::Renewed | Freshness::Valid), "{answer:?}");
        }
        a_moment().await;
    }
    assert_eq!(a.provider.asked(), 1);
    assert_eq!(a.entry.profile().generation, 1);
    assert_eq!(b.entry.profile().generation, 1);
    assert_eq!(b.token().await, "access-1");
}

#[tokio::test]
async fn a_lease_of_a_dead_process_runs_out() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = two(&folder).await;
    a.clock.set(at(301));
    // This process takes the lease and is gone before it asks the provider.
    let ttl = Duration::from_secs(4);
    let lease = a.sessions.lease(&a.entry, 0, at(301), ttl).await.unwrap();
    assert_eq!(lease, crate::oidc::session::LeaseOutcome::Granted);
    let mut tasks = JoinSet::new();
    b.spawn(&mut tasks);
    while b.provider.asked() == 0 {
        let held = b.clock.now() < at(305);
        assert!(tasks.try_join_next().is_none());
        b.clock.advance(Duration::from_millis(100));
        a_moment().await;
        assert!(!held || b.provider.asked() == 0 || b.clock.now() >= at(305));
    }
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), Freshness::Renewed);
    assert_eq!(b.provider.asked(), 1);
}

#[tokio::test]
async fn a_pause_after_a_failure_holds_for_all_processes() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = two(&folder).await;
    a.provider.is(Mood::Down);
    a.clock.set(at(301));
    assert_eq!(a.ask().await, retry(5));
    let mut tasks = JoinSet::new();
    b.spawn(&mut tasks);
    while b.provider.asked() == 1 {
        assert!(b.clock.now() < at(308));
        b.clock.advance(Duration::from_millis(100));
        a_moment().await;
    }
    assert!(b.clock.now() >= at(306));
    assert!(matches!(tasks.join_next().await.unwrap().unwrap(), Freshness::Unavailable { .. }));
}

#[tokio::test]
async fn the_loser_takes_the_winners_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = two(&folder).await;
    a.clock.set(at(301));
    assert_eq!(a.ask().await, Freshness::Renewed);
    // It has not heard of it yet, and its own state says that the tokens have expired.
    assert_eq!(b.entry.profile().generation, 0);
    assert_eq!(b.ask().await, Freshness::Renewed);
    assert_eq!(b.entry.profile().generation, 1);
    assert_eq!(b.provider.asked(), 1);
}
