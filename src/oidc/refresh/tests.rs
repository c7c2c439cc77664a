#![allow(clippy::unwrap_used, clippy::panic)]

mod outage;
mod processes;

use std::collections::HashSet;
use std::sync::atomic::AtomicUsize;

use secrecy::ExposeSecret;
use tokio::task::JoinSet;

use super::*;
use crate::oidc::clock::{Clock, ManualClock};
use crate::oidc::session::contract::at;
use crate::oidc::session::testing::{process, record, scope};
use crate::oidc::session::{Lookup, MemoryStore, SessionId};

/// What the provider does when it is asked next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mood {
    /// Grants, and takes each refresh token once; a second use revokes everything (as a strict provider does).
    Strict,
    Down,
    Hangs,
    OtherSubject,
}

/// A provider with single-use refresh tokens, seen through one token endpoint.
struct Provider {
    clock: Arc<ManualClock>,
    mood: Mutex<Mood>,
    live: Mutex<HashSet<String>>,
    grants: AtomicUsize,
    asked: AtomicUsize,
    reused: AtomicBool,
    discarded: AtomicUsize,
    /// Whether a refresh brings an ID token.
    id_tokens: AtomicBool,
    /// Permits to answer; many unless a test holds the provider back.
    answers: Semaphore,
    life: u64,
}

impl Provider {
    fn new(clock: &Arc<ManualClock>) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::clone(clock),
            mood: Mutex::new(Mood::Strict),
            live: Mutex::new(HashSet::from(["refresh-0".to_owned()])),
            grants: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            reused: AtomicBool::new(false),
            discarded: AtomicUsize::new(0),
            id_tokens: AtomicBool::new(true),
            answers: Semaphore::new(10_000),
            life: 300,
        })
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn grant(&self, token: &str) -> GrantResult {
        if !self.live.lock().unwrap().remove(token) {
            self.reused.store(true, Ordering::SeqCst);
            self.live.lock().unwrap().clear();
            return GrantResult::Invalid;
        }
        let number = self.grants.fetch_add(1, Ordering::SeqCst) + 1;
        let next = format!("refresh-{number}");
        self.live.lock().unwrap().insert(next.clone());
        let end = self.clock.now() + Duration::from_secs(self.life);
        GrantResult::Renewed(Box::new(RenewedTokens {
            access_token: format!("access-{number}").into(),
            access_expiry: Some(end),
            refresh_token: Some(next.into()),
            id_token: self.id_tokens.load(Ordering::SeqCst).then(|| (format!("id-{number}").into(), end)),
            claims: None,
            identifier: None,
            sid: None,
        }))
    }
}

#[async_trait]
impl RefreshGrant for Provider {
    async fn refresh(&self, record: &SessionRecord, refresh_token: &SecretString) -> GrantResult {
        assert_eq!(record.refresh_token.as_ref().unwrap().expose_secret(), refresh_token.expose_secret());
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Strict => {
                let result = self.grant(refresh_token.expose_secret());
                self.answers.acquire().await.unwrap().forget();
                result
            }
            Mood::Down => GrantResult::Transient { reason: "down", retry_after: None },
            Mood::Hangs => std::future::pending().await,
            Mood::OtherSubject => GrantResult::Ended("another sub"),
        }
    }

    async fn discard(&self, tokens: RenewedTokens) {
        assert!(tokens.refresh_token.is_some());
        self.discarded.fetch_add(1, Ordering::SeqCst);
    }
}

/// One process with one session, at a provider.
struct Setting {
    sessions: Sessions,
    clock: Arc<ManualClock>,
    provider: Arc<Provider>,
    grant: Arc<dyn RefreshGrant>,
    settings: RefreshSettings,
    entry: Arc<SessionEntry>,
    id: SessionId,
}

impl Setting {
    async fn new() -> Self {
        let (sessions, clock) = process(Arc::new(MemoryStore::new(100)));
        Self::of(sessions, clock).await
    }

    async fn of(sessions: Sessions, clock: Arc<ManualClock>) -> Self {
        let provider = Provider::new(&clock);
        let grant: Arc<dyn RefreshGrant> = Arc::clone(&provider) as _;
        let (id, entry) = sessions.create(record()).await.unwrap();
        Self { sessions, clock, provider, grant, settings: RefreshSettings::default(), entry, id }
    }

    /// One request at the clock's time.
    async fn ask(&self) -> Freshness {
        let now = self.clock.now();
        ensure_fresh(&self.sessions, &self.entry, now, &self.settings, &self.grant).await
    }

    fn spawn(&self, tasks: &mut JoinSet<Freshness>) {
        let (sessions, entry, now) = (self.sessions.clone(), Arc::clone(&self.entry), self.clock.now());
        let (settings, grant) = (self.settings.clone(), Arc::clone(&self.grant));
        tasks.spawn(async move { ensure_fresh(&sessions, &entry, now, &settings, &grant).await });
    }

    async fn landed(&self) {
        while self.entry.refresh.is_busy() {
            tokio::task::yield_now().await;
        }
    }

    async fn token(&self) -> String {
        let record = self.sessions.record(&self.entry).await.unwrap().unwrap();
        record.access_token.expose_secret().to_owned()
    }

    async fn is_live(&self) -> bool {
        matches!(self.sessions.lookup(&self.id, &scope(), self.clock.now()).await, Lookup::Live(_))
    }
}

fn retry(seconds: u64) -> Freshness {
    Freshness::Unavailable { retry_after: Duration::from_secs(seconds) }
}

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
    t.clock.set(at(301));
    let mut tasks = JoinSet::new();
    for _ in 0..500 {
        t.spawn(&mut tasks);
    }
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

#[tokio::test]
async fn nobody_waits_longer_than_fifteen_seconds() {
    let t = Setting::new().await;
    let all = t.settings.permits.clone().acquire_many_owned(64).await.unwrap();
    t.clock.set(at(301));
    let mut tasks = JoinSet::new();
    t.spawn(&mut tasks);
    while t.clock.sleepers() < 1 {
        tokio::task::yield_now().await;
    }
    t.clock.advance(Duration::from_secs(15));
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
    let over = ensure_fresh(&t.sessions, &entry, at(300), &t.settings, &t.grant).await;
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
