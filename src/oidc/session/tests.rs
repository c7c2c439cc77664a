#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};

use super::contract::at;
use super::testing::{process, record, scope};
use super::*;

fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(100))
}

async fn live(sessions: &Sessions, id: &SessionId) -> Option<Arc<SessionEntry>> {
    match sessions.lookup(id, &scope(), at(1)).await {
        Lookup::Live(entry) => Some(entry),
        _ => None,
    }
}

#[tokio::test]
async fn a_session_is_found_by_its_cookie_until_it_ends() {
    let (sessions, _) = process(memory());
    let (id, entry) = sessions.create(record()).await.unwrap();
    let cached = sessions.lookup_cached(&id, &scope(), at(1)).unwrap();
    assert!(Arc::ptr_eq(&cached, &entry));
    assert_eq!(cached.profile().claims().get("email").unwrap(), "alice@example.com");
    assert!(sessions.lookup_cached(&SessionId::random().unwrap(), &scope(), at(1)).is_none());
    sessions.end(&entry).await.unwrap();
    assert!(sessions.lookup_cached(&id, &scope(), at(1)).is_none());
    assert!(live(&sessions, &id).await.is_none());
    assert!(entry.is_ended(), "a kept reference knows");
    assert_eq!(sessions.count().await.unwrap(), 0);
}

#[tokio::test]
async fn its_absolute_end_is_the_end() {
    let (sessions, _) = process(memory());
    let (id, entry) = sessions.create(record()).await.unwrap();
    assert!(sessions.lookup_cached(&id, &scope(), at(3599)).is_some());
    assert!(sessions.lookup_cached(&id, &scope(), at(3600)).is_none());
    assert!(matches!(sessions.lookup(&id, &scope(), at(3600)).await, Lookup::None));
    assert!(!entry.is_live(crate::oidc::clock::unix_millis(at(3600))));
}

#[tokio::test]
async fn another_scope_or_secret_opens_nothing() {
    let (store, other) = (memory(), ScopeId::new("https://other.example", "client"));
    let (sessions, _) = process(Arc::clone(&store) as _);
    let (id, _) = sessions.create(record()).await.unwrap();
    assert!(sessions.lookup_cached(&id, &other, at(1)).is_none());
    assert!(matches!(sessions.lookup(&id, &other, at(1)).await, Lookup::None));
    // Also in a process that has not seen it yet.
    let (fresh, _) = process(store);
    assert!(matches!(fresh.lookup(&id, &other, at(1)).await, Lookup::None));

    let secret = |text: &str| SecretString::from(text);
    let new = secret("an example secret of 32 bytes, N");
    let foreign = sessions.with_keys(Arc::new(SessionKeys::new(std::slice::from_ref(&new)).unwrap()));
    assert!(foreign.lookup_cached(&id, &scope(), at(1)).is_none());
    assert!(live(&foreign, &id).await.is_none());
    let ring = [new, secret("an example secret of 32 bytes, T")];
    let rotated = fresh.with_keys(Arc::new(SessionKeys::new(&ring).unwrap()));
    assert!(live(&rotated, &id).await.is_some(), "the old secret still opens");
    assert_eq!(rotated.end_by_sub(&scope(), "alice").await.unwrap(), 1);
}

#[tokio::test]
async fn large_tokens_and_many_groups_come_back_whole() {
    let (sessions, _) = process(memory());
    let mut large = record();
    large.id_token = "t".repeat(40_000).into();
    let groups: Vec<String> = (0..1000).map(|n| format!("/organisation/unit-{n}")).collect();
    large.claims.insert("groups".to_owned(), groups.into());
    let (_, entry) = sessions.create(large.clone()).await.unwrap();
    let read = sessions.record(&entry).await.unwrap().unwrap();
    assert_eq!(read.id_token.expose_secret(), large.id_token.expose_secret());
    assert_eq!(read.claims, large.claims);
    assert_eq!(read.refresh_token.unwrap().expose_secret(), "refresh-0");
    assert_eq!(read.absolute_expiry, large.absolute_expiry);
    assert!(!format!("{large:?}").contains("alice"));
}

/// A store whose reads can be held back, to end a session while it is being read, and whose disk can be full.
struct Slow {
    store: MemoryStore,
    full: std::sync::atomic::AtomicBool,
    gate: tokio::sync::Semaphore,
    reads: tokio::sync::Semaphore,
}

#[async_trait::async_trait]
impl SessionStore for Slow {
    async fn load(&self, key: &SessionKey) -> Result<Option<Stored>, StoreError> {
        let row = self.store.load(key).await;
        self.reads.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
        row
    }
    async fn insert(&self, key: &SessionKey, row: Stored) -> Result<(), StoreError> {
        self.health().await?;
        self.store.insert(key, row).await
    }
    async fn compare_and_swap(
        &self,
        key: &SessionKey,
        expected: u64,
        row: Stored,
    ) -> Result<CasOutcome, StoreError> {
        self.store.compare_and_swap(key, expected, row).await
    }
    async fn extend(&self, key: &SessionKey, expires: SystemTime) -> Result<bool, StoreError> {
        self.store.extend(key, expires).await
    }
    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.store.delete(key).await
    }
    async fn by_sid(&self, sid: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        self.store.by_sid(sid).await
    }
    async fn by_sub(&self, sub: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        self.store.by_sub(sub).await
    }
    async fn list(
        &self,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<(SessionKey, std::time::SystemTime)>, StoreError> {
        self.store.list(after, limit).await
    }
    async fn count(&self) -> Result<u64, StoreError> {
        self.store.count().await
    }
    async fn lease(
        &self,
        key: &SessionKey,
        owner: OwnerId,
        generation: u64,
        now: std::time::SystemTime,
        ttl: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        self.store.lease(key, owner, generation, now, ttl).await
    }
    async fn release(
        &self,
        key: &SessionKey,
        owner: OwnerId,
        until: std::time::SystemTime,
    ) -> Result<(), StoreError> {
        self.store.release(key, owner, until).await
    }
    async fn purge_expired(&self, now: std::time::SystemTime) -> Result<u64, StoreError> {
        self.store.purge_expired(now).await
    }
    fn in_browser(&self) -> Option<&CookieStore> {
        None
    }

    fn outage_tolerance(&self) -> Option<Duration> {
        None
    }
    async fn changes(&self, cursor: Option<u64>) -> Result<Changes, StoreError> {
        self.store.changes(cursor).await
    }
    async fn health(&self) -> Result<(), StoreError> {
        let full = self.full.load(std::sync::atomic::Ordering::Relaxed);
        if full { Err(StoreError::Full("no room".to_owned())) } else { Ok(()) }
    }
}

fn slow() -> Arc<Slow> {
    Arc::new(Slow {
        store: MemoryStore::new(10),
        full: false.into(),
        gate: tokio::sync::Semaphore::new(0),
        reads: tokio::sync::Semaphore::new(0),
    })
}

/// Reads go on working when the disk is full; they must not make a failing store look well.
#[tokio::test]
async fn a_failure_of_the_store_lasts_until_its_health_is_good() {
    let store = slow();
    let (sessions, _) = process(Arc::clone(&store) as _);
    store.full.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(sessions.create(record()).await.is_err());
    sessions.poll_changes().await;
    assert!(matches!(sessions.health(), Err(StoreError::Full(_))));
    sessions.check_store().await;
    assert!(matches!(sessions.health(), Err(StoreError::Full(_))));
    store.full.store(false, std::sync::atomic::Ordering::Relaxed);
    sessions.check_store().await;
    assert_eq!(sessions.health(), Ok(()));
}

#[tokio::test]
async fn a_session_that_ends_while_it_is_read_does_not_come_back() {
    let slow = slow();
    let (first, _) = process(Arc::clone(&slow) as _);
    let (id, _) = first.create(record()).await.unwrap();
    let (sessions, _) = process(Arc::clone(&slow) as _);
    let reading = tokio::spawn({
        let sessions = sessions.clone();
        async move { live(&sessions, &id).await.is_some() }
    });
    // The row has been read, and is on its way.
    slow.reads.acquire().await.unwrap().forget();
    assert_eq!(sessions.end_by_sub(&scope(), "alice").await.unwrap(), 1);
    slow.gate.add_permits(10);
    assert!(!reading.await.unwrap());
    assert!(sessions.lookup_cached(&id, &scope(), at(1)).is_none());
}

#[tokio::test]
async fn upkeep_ends_with_its_sessions() {
    let (sessions, clock) = process(memory());
    let upkeep = sessions.spawn_upkeep();
    tokio::task::yield_now().await;
    drop(sessions);
    while !upkeep.is_finished() {
        clock.advance(upkeep::POLL);
        tokio::task::yield_now().await;
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// `cargo test --lib resident_memory -- --ignored --nocapture`
#[tokio::test]
#[ignore = "a measurement: writes 500 MB"]
async fn resident_memory_of_100_000_sessions() {
    const COUNT: usize = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(folder.path().join("s.db")).unwrap());
    let clock = Arc::new(crate::oidc::clock::ManualClock::new(at(0)));
    let sessions = Sessions::new(store, testing::keys(), clock, DEFAULT_CACHED).unwrap();
    let policy = PolicyId::next();
    let names = ["forwarded-user", "user-groups", "user-roles", "auth-request-user", "auth-request-redirect"]
        .map(|name| http::HeaderName::try_from(format!("x-{name}")).unwrap());
    let before = resident();
    for n in 0..COUNT {
        let mut record = record();
        record.subject = format!("f81d4fae-7dec-11d0-a765-{n:012}").into();
        record.identifier = format!("first.last.{n}@example.com").into();
        record.sid = Some(format!("a81d4fae-7dec-11d0-a765-{n:012}").into());
        record.claims.insert("name".to_owned(), format!("First Last {n}").into());
        let groups: Vec<_> = (0..12).map(|g| format!("department-{n}-group-{g}")).collect();
        record.claims.insert("groups".to_owned(), groups.into());
        record.id_token = "i".repeat(1300).into();
        record.access_token = "a".repeat(1300).into();
        record.refresh_token = Some("r".repeat(700).into());
        let (_, entry) = sessions.create(record).await.unwrap();
        // What a policy keeps: five ready headers and a verdict.
        let user = http::HeaderValue::try_from(format!("first.last.{n}@example.com")).unwrap();
        let headers: Arc<[_]> = names.each_ref().map(|name| (name.clone(), user.clone())).into();
        entry.set_memo(policy, 0, Arc::new(headers));
    }
    let used = resident() - before;
    println!("{} sessions: {} MB resident, {} bytes each", sessions.cached(), used / 1_000_000, used / COUNT);
    assert!(used < 200_000_000);
}

/// As many sessions as there are may have something to tell after an outage.
#[tokio::test]
async fn a_store_that_is_back_is_told_of_every_end() {
    let store = testing::Faulty::new(None);
    let (sessions, _) = process(Arc::clone(&store) as _);
    let mut entries = Vec::new();
    for _ in 0..100 {
        entries.push(sessions.create(record()).await.unwrap().1);
    }
    store.fails(Some(StoreError::Busy));
    for entry in &entries {
        assert!(sessions.end(entry).await.is_err());
        assert!(sessions.end(entry).await.is_err(), "owed once");
    }
    assert_eq!(sessions.inner.owing().len(), 100);
    sessions.save_unsaved().await;
    assert_eq!(sessions.inner.owing().len(), 100, "still away");
    store.fails(None);
    sessions.save_unsaved().await;
    assert_eq!((sessions.count().await.unwrap(), sessions.cached(), testing::owes(&sessions)), (0, 0, false));
}

#[tokio::test]
async fn what_has_ended_here_is_over_although_the_store_cannot_be_asked() {
    let store = testing::Faulty::new(Some(Duration::from_secs(30)));
    let (sessions, clock) = process(Arc::clone(&store) as _);
    let ((ended, entry), (live, _)) =
        (sessions.create(record()).await.unwrap(), sessions.create(record()).await.unwrap());
    sessions.poll_changes().await;
    store.fails(Some(StoreError::Busy));
    assert!(sessions.end(&entry).await.is_err());
    clock.set(at(31));
    sessions.poll_changes().await;
    assert!(matches!(sessions.lookup(&ended, &scope(), at(31)).await, Lookup::None));
    assert!(matches!(sessions.lookup(&live, &scope(), at(31)).await, Lookup::StoreDown));
}

/// A part of a cluster is cut off from this process, and the others are not.
#[tokio::test]
async fn sessions_of_a_part_that_is_silent_are_not_believed_for_ever() {
    let store = testing::Faulty::new(Some(Duration::from_secs(30)));
    let (sessions, clock) = process(Arc::clone(&store) as _);
    sessions.poll_changes().await;
    let mut of_part = Vec::new();
    while of_part.len() < 2 {
        let (id, entry) = sessions.create(record()).await.unwrap();
        if of_part.first().is_none_or(|(_, part)| *part != entry.key().part()) {
            of_part.push((id, entry.key().part()));
        }
    }
    let [(cut, part), (other, _)] = of_part[..] else { unreachable!() };
    store.is_silent_in(part);
    for second in [10, 20, 40] {
        clock.set(at(second));
        sessions.poll_changes().await;
    }
    let found = async |id| sessions.lookup(&id, &scope(), at(40)).await;
    assert!(matches!(found(cut).await, Lookup::StoreDown));
    assert!(sessions.lookup_cached(&cut, &scope(), at(40)).is_none());
    assert!(matches!(found(other).await, Lookup::Live(_)));
}
