//! The provider fails, hangs or refuses.

use super::*;

#[tokio::test]
async fn an_outage_ends_no_session() {
    let t = Setting::new().await;
    t.provider.is(Mood::Down);
    t.clock.set(at(250));
    assert_eq!(t.ask().await, Freshness::ValidRefreshing);
    t.landed().await;
    assert_eq!(t.ask().await, Freshness::Valid, "the valid token serves on");
    t.clock.set(at(254));
    assert_eq!(t.ask().await, Freshness::Valid);
    assert_eq!(t.provider.asked(), 1, "no more than one attempt in 5 s");
    t.clock.set(at(255));
    assert_eq!(t.ask().await, Freshness::ValidRefreshing);
    t.landed().await;
    assert_eq!(t.provider.asked(), 2);

    t.clock.set(at(300));
    assert_eq!(t.ask().await, retry(5));
    t.clock.set(at(302));
    assert_eq!(t.ask().await, retry(3));
    assert_eq!(t.provider.asked(), 3);
    assert!(t.is_live().await);
    t.provider.is(Mood::Strict);
    t.clock.set(at(305));
    assert_eq!(t.ask().await, Freshness::Renewed);
}

#[tokio::test]
async fn a_provider_that_hangs_is_left_after_ten_seconds() {
    let t = Setting::new().await;
    t.provider.is(Mood::Hangs);
    t.clock.set(at(301));
    let mut tasks = JoinSet::new();
    t.spawn(&mut tasks);
    while t.provider.asked() == 0 {
        tokio::task::yield_now().await;
    }
    while t.clock.sleepers() < 2 {
        tokio::task::yield_now().await;
    }
    t.clock.advance(Duration::from_secs(10));
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), retry(5));
    assert_eq!(t.provider.asked(), 1, "it may have been taken: not repeated");
}

/// The token may be used up: it is not sent again before that is the only way on, and then ever less often.
#[tokio::test]
async fn a_token_that_may_be_used_up_is_not_sent_blindly_again() {
    let t = Setting::new().await;
    t.provider.is(Mood::Silent);
    t.clock.set(at(250));
    assert_eq!(t.ask().await, Freshness::ValidRefreshing);
    t.landed().await;
    for second in [255, 280, 299] {
        t.clock.set(at(second));
        assert_eq!(t.ask().await, Freshness::Valid);
    }
    assert_eq!(t.provider.asked(), 1, "the tokens are still good");
    let mut now = 300;
    for (times, pause) in [(2, 10), (3, 20), (4, 30), (5, 30)] {
        t.clock.set(at(now));
        assert_eq!(t.ask().await, retry(pause));
        assert_eq!(t.provider.asked(), times);
        now += pause;
        t.clock.set(at(now - 1));
        assert_eq!(t.ask().await, retry(1));
        assert_eq!(t.provider.asked(), times);
    }
    t.provider.is(Mood::Strict);
    t.clock.set(at(now));
    assert_eq!(t.ask().await, Freshness::Renewed, "it was not used up");
    t.provider.is(Mood::Silent);
    t.clock.set(at(now + 301));
    assert_eq!(t.ask().await, retry(5), "from the start");
}

#[tokio::test]
async fn nobody_waits_longer_than_twenty_seconds() {
    let t = Setting::new().await;
    let all = t.settings.permits.clone().acquire_many_owned(64).await.unwrap();
    t.clock.set(at(301));
    let mut tasks = JoinSet::new();
    t.spawn(&mut tasks);
    while t.clock.sleepers() < 1 {
        tokio::task::yield_now().await;
    }
    t.clock.advance(Duration::from_secs(20));
    assert!(matches!(tasks.join_next().await.unwrap().unwrap(), Freshness::Unavailable { .. }));
    drop(all);
    t.landed().await;
    assert_eq!(t.ask().await, Freshness::Valid, "the flight was queued, not refused");
}

#[tokio::test]
async fn invalid_grant_ends_the_session_once() {
    let t = Setting::new().await;
    t.provider.live.lock().unwrap().clear();
    t.clock.set(at(301));
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        t.spawn(&mut tasks);
    }
    assert!(tasks.join_all().await.into_iter().all(|answer| answer == Freshness::Ended));
    assert_eq!(t.provider.asked(), 1);
    assert!(!t.is_live().await);
    assert_eq!(t.sessions.count().await.unwrap(), 0);
    assert_eq!(t.ask().await, Freshness::Ended);
    assert_eq!(t.provider.asked(), 1);
}

#[tokio::test]
async fn an_answer_for_somebody_else_ends_the_session() {
    let t = Setting::new().await;
    t.provider.is(Mood::OtherSubject);
    t.clock.set(at(250));
    assert_eq!(t.ask().await, Freshness::ValidRefreshing);
    t.landed().await;
    assert!(!t.is_live().await);
}

#[tokio::test]
async fn a_session_that_ends_during_the_grant_stays_ended() {
    let t = Setting::new().await;
    t.provider.answers.forget_permits(usize::MAX >> 4);
    t.clock.set(at(301));
    let mut tasks = JoinSet::new();
    t.spawn(&mut tasks);
    while t.provider.asked() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(t.sessions.end_by_sid(&scope(), "op-session-1").await.unwrap(), 1);
    t.provider.answers.add_permits(1);
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), Freshness::Ended);
    assert!(!t.is_live().await);
    assert_eq!(t.provider.discarded.load(Ordering::SeqCst), 1);
}
