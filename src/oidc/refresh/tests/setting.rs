//! One process with one session, and a provider that counts.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use async_trait::async_trait;
use secrecy::SecretString;

use super::*;
use crate::oidc::clock::ManualClock;
use crate::oidc::session::{MemoryStore, SessionId};

/// What the provider does when it is asked next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mood {
    /// Grants, and takes each refresh token once; a second use revokes everything (as a strict provider does).
    Strict,
    Down,
    Hangs,
    /// Takes the request and drops the connection.
    Silent,
    OtherSubject,
}

/// A provider with single-use refresh tokens, seen through one token endpoint.
pub(super) struct Provider {
    pub(super) clock: Arc<ManualClock>,
    pub(super) mood: Mutex<Mood>,
    pub(super) live: Mutex<HashSet<String>>,
    pub(super) grants: AtomicUsize,
    pub(super) asked: AtomicUsize,
    pub(super) reused: AtomicBool,
    pub(super) discarded: AtomicUsize,
    /// Whether a refresh brings an ID token.
    pub(super) id_tokens: AtomicBool,
    /// Permits to answer; many unless a test holds the provider back.
    pub(super) answers: Semaphore,
    pub(super) life: u64,
}

impl Provider {
    pub(super) fn new(clock: &Arc<ManualClock>) -> Arc<Self> {
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

    pub(super) fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(super) fn grant(&self, token: &str) -> GrantResult {
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
            client_id: "client".into(),
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
            Mood::Down => GrantResult::Transient { reason: "down", detail: None, retry_after: None },
            Mood::Silent => GrantResult::Unknown { detail: None },
            Mood::Hangs => std::future::pending().await,
            Mood::OtherSubject => GrantResult::Ended { reason: "another sub", detail: None },
        }
    }

    async fn discard(&self, tokens: RenewedTokens) {
        assert!(tokens.refresh_token.is_some());
        self.discarded.fetch_add(1, Ordering::SeqCst);
    }
}

/// One process with one session, at a provider.
pub(super) struct Setting {
    pub(super) sessions: Sessions,
    pub(super) clock: Arc<ManualClock>,
    pub(super) provider: Arc<Provider>,
    pub(super) grant: Arc<dyn RefreshGrant>,
    pub(super) settings: RefreshSettings,
    pub(super) entry: Arc<SessionEntry>,
    pub(super) id: SessionId,
}

impl Setting {
    pub(super) async fn new() -> Self {
        let (sessions, clock) = process(Arc::new(MemoryStore::new(100)));
        Self::of(sessions, clock).await
    }

    pub(super) async fn of(sessions: Sessions, clock: Arc<ManualClock>) -> Self {
        let provider = Provider::new(&clock);
        let grant: Arc<dyn RefreshGrant> = Arc::clone(&provider) as _;
        let (id, entry) = sessions.create(record()).await.unwrap();
        Self { sessions, clock, provider, grant, settings: RefreshSettings::default(), entry, id }
    }

    pub(super) fn refresher(&self) -> Refresher<'_> {
        Refresher {
            sessions: &self.sessions,
            settings: &self.settings,
            grant: &self.grant,
            request_id: "request-1",
        }
    }

    /// One request at the clock's time.
    pub(super) async fn ask(&self) -> Freshness {
        self.refresher().ensure_fresh(&self.entry, self.clock.now()).await
    }

    pub(super) fn spawn(&self, tasks: &mut JoinSet<Freshness>) {
        let (sessions, entry, now) = (self.sessions.clone(), Arc::clone(&self.entry), self.clock.now());
        let (settings, grant) = (self.settings.clone(), Arc::clone(&self.grant));
        tasks.spawn(async move {
            let refresher = Refresher {
                sessions: &sessions,
                settings: &settings,
                grant: &grant,
                request_id: "request-1",
            };
            refresher.ensure_fresh(&entry, now).await
        });
    }

    pub(super) async fn landed(&self) {
        while self.entry.refresh.is_busy() {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn token(&self) -> String {
        let record = self.sessions.record(&self.entry).await.unwrap().unwrap();
        record.access_token.expose_secret().to_owned()
    }

    pub(super) async fn is_live(&self) -> bool {
        matches!(self.sessions.lookup(&self.id, &scope(), self.clock.now()).await, Lookup::Live(_))
    }
}

pub(super) fn retry(seconds: u64) -> Freshness {
    Freshness::Unavailable { retry_after: Duration::from_secs(seconds) }
}
