#![allow(clippy::unwrap_used, clippy::panic)]

mod carried;
mod interleavings;
mod outage;
mod processes;
mod provider;
mod setting;

use std::sync::atomic::Ordering;

use secrecy::ExposeSecret;
use tokio::task::JoinSet;

use super::*;
use crate::oidc::clock::Clock;
use crate::oidc::session::contract::at;
use crate::oidc::session::testing::{a_moment, process, record, scope};
use crate::oidc::session::{Lookup, SessionRecord, Timing};
use setting::{Mood, Setting, retry};

#[tokio::test]
async fn nothing_is_done_while_nothing_is_due() {
    let t = Setting::new().await;
    t.clock.set(at(239));
    assert_eq!(fresh_now(&t.entry, at(239), &t.settings), Some(Freshness::Valid));
    assert_eq!(t.ask().await, Freshness::Valid);
    assert_eq!(t.provider.asked(), 0);
}

#[tokio::test]
async fn inside_the_grace_period_one_refresh_runs_beside_the_requests() {
    let t = Setting::new().await;
    t.clock.set(at(240));
    for _ in 0..100 {
        assert_eq!(t.ask().await, Freshness::ValidRefreshing);
    }
    t.landed().await;
    assert_eq!(t.provider.asked(), 1);
    assert_eq!(t.ask().await, Freshness::Valid);
    assert_eq!(t.token().await, "access-1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_requests_on_an_expired_session_make_one_grant() {
    let t = Setting::new().await;
    t.provider.answers.forget_permits(usize::MAX >> 4);
    t.clock.set(at(301));
    let mut tasks = JoinSet::new();
    for _ in 0..500 {
        t.spawn(&mut tasks);
    }
    // All of them have time to ask before the first one is answered.
    while t.provider.asked() == 0 {
        a_moment().await;
    }
    for _ in 0..20 {
        a_moment().await;
    }
    assert_eq!(t.provider.asked(), 1);
    t.provider.answers.add_permits(500);
    for answer in tasks.join_all().await {
        // Those that began after it had landed find nothing to do.
        assert!(matches!(answer, Freshness::Renewed | Freshness::Valid), "{answer:?}");
    }
    assert_eq!(t.provider.asked(), 1);
    assert!(!t.provider.reused.load(Ordering::SeqCst));
    assert_eq!(t.entry.profile().generation, 1);
    // A late request with the old cookie, which is also the new one.
    t.clock.set(at(356));
    assert_eq!(t.ask().await, Freshness::Valid);
    assert_eq!(t.provider.asked(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_takes_no_refresh_with_it() {
    let t = Setting::new().await;
    t.provider.answers.forget_permits(usize::MAX >> 4);
    t.clock.set(at(301));
    let mut leader = JoinSet::new();
    t.spawn(&mut leader);
    while t.provider.asked() == 0 {
        tokio::task::yield_now().await;
    }
    let mut followers = JoinSet::new();
    for _ in 0..50 {
        t.spawn(&mut followers);
    }
    leader.abort_all();
    assert!(leader.join_next().await.unwrap().is_err());
    t.provider.answers.add_permits(1);
    assert!(followers.join_all().await.into_iter().all(|answer| answer == Freshness::Renewed));
    assert_eq!(t.provider.asked(), 1);
    assert_eq!(t.token().await, "access-1");
}

#[tokio::test]
async fn without_a_refresh_token_the_session_ends_with_its_token() {
    let t = Setting::new().await;
    let mut plain = record();
    plain.refresh_token = None;
    plain.access_expiry = Some(at(100));
    let (_, entry) = t.sessions.create(plain).await.unwrap();
    let strict = RefreshSettings { access_token_required: true, ..RefreshSettings::default() };
    assert_eq!(fresh_now(&entry, at(299), &t.settings), Some(Freshness::Valid));
    assert_eq!(fresh_now(&entry, at(99), &strict), Some(Freshness::Valid));
    assert_eq!(fresh_now(&entry, at(100), &strict), None);
    let over = t.refresher().ensure_fresh(&entry, at(300)).await;
    assert_eq!(over, Freshness::Ended);
    assert_eq!(t.provider.asked(), 0);
}

#[tokio::test]
async fn an_old_refresh_token_is_not_used() {
    let mut t = Setting::new().await;
    t.settings.max_token_age = Some(Duration::from_secs(200));
    t.clock.set(at(250));
    assert_eq!(t.ask().await, Freshness::Valid);
    t.clock.set(at(300));
    assert_eq!(t.ask().await, Freshness::Ended);
    assert_eq!(t.provider.asked(), 0);
}

#[test]
fn what_a_provider_leaves_out_stays() {
    let now = at(200);
    let tokens = RenewedTokens {
        client_id: "client".into(),
        access_token: "new".into(),
        access_expiry: Some(at(500)),
        refresh_token: None,
        id_token: None,
        claims: None,
        identifier: None,
        sid: None,
    };
    let old = record();
    let new = tokens.apply(record(), now);
    assert_eq!(new.refresh_token.unwrap().expose_secret(), "refresh-0");
    assert_eq!(new.refresh_token_issued, Some(at(0)));
    assert_eq!(new.id_token.expose_secret(), old.id_token.expose_secret());
    assert_eq!((new.claims, new.sid, new.generation), (old.claims, old.sid, 1));
    // The old ID token must not end a session that its access token carries on.
    assert_eq!(new.id_expiry, None);
    assert_eq!(new.absolute_expiry, old.absolute_expiry);
}

#[test]
fn short_lived_tokens_are_not_refreshed_all_the_time() {
    let settings = RefreshSettings::default();
    let ms = |seconds| unix_millis(at(seconds));
    let timing = |refreshed, end| Timing {
        absolute: ms(3600),
        id: ms(end),
        access: ms(end),
        created: ms(0),
        refreshed,
        refresh_token: ms(0),
    };
    // 30 s tokens inside 60 s of grace: at half-life, those of the login too.
    assert_eq!(standing(&timing(0, 30), ms(14), &settings), Standing::Good);
    assert_eq!(standing(&timing(0, 30), ms(15), &settings), Standing::Due);
    let again = timing(ms(100), 130);
    assert_eq!(standing(&again, ms(114), &settings), Standing::Good);
    assert_eq!(standing(&again, ms(115), &settings), Standing::Due);
    assert_eq!(standing(&again, ms(130), &settings), Standing::Expired);
    // Born expired: good for a second, so that one burst makes one grant.
    assert_eq!(standing(&timing(ms(100), 90), ms(100), &settings), Standing::Good);
    assert_eq!(standing(&timing(ms(100), 90), ms(101), &settings), Standing::Expired);
}

#[tokio::test]
async fn a_stop_answers_waiters_after_the_refreshes_under_way() {
    let t = Setting::new().await;
    t.provider.is(Mood::Hangs);
    t.clock.set(at(301));
    let mut tasks = JoinSet::new();
    t.spawn(&mut tasks);
    while t.provider.asked() == 0 {
        tokio::task::yield_now().await;
    }
    let closing = tokio::spawn({
        let sessions = t.sessions.clone();
        async move { sessions.close(Duration::from_secs(3)).await }
    });
    // The attempt's limit, the waiter's and the closer's.
    while t.clock.sleepers() < 3 {
        tokio::task::yield_now().await;
    }
    t.clock.advance(Duration::from_secs(3));
    closing.await.unwrap();
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), retry(1));
}

/// The clock was wrong by an hour when an attempt failed, and is right again.
#[tokio::test]
async fn a_clock_that_is_set_back_makes_no_pause_of_an_hour() {
    let t = Setting::new().await;
    t.provider.is(Mood::Down);
    t.clock.set(at(3000));
    assert_eq!(t.ask().await, retry(5));
    t.clock.set(at(250));
    assert_eq!(t.ask().await, Freshness::Valid);
    t.provider.is(Mood::Strict);
    t.clock.set(at(301));
    assert_eq!(t.ask().await, Freshness::Renewed);
}
