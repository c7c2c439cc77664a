//! Every call of the contract arrives at the store, with what it was called with, and its answer comes back.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::time::UNIX_EPOCH;

use super::*;
use crate::observe::metrics::Metrics;

const KEY: SessionKey = SessionKey::from_bytes([1; 32]);
const INDEX: IndexKey = IndexKey::from_bytes([2; 32]);
const OWNER: OwnerId = OwnerId([3; 16]);

fn time() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1000)
}

fn row() -> Stored {
    Stored { generation: 4, expires: time(), sid: Some(INDEX), sub: INDEX, sealed: vec![5] }
}

/// Writes down what it is asked. Each answer is one that no default would give.
#[derive(Default)]
struct Recorder {
    calls: Mutex<Vec<String>>,
    fails: bool,
}

impl Recorder {
    fn called<T>(&self, call: String, answer: T) -> Result<T, StoreError> {
        self.calls.lock().unwrap().push(call);
        if self.fails { Err(StoreError::Busy) } else { Ok(answer) }
    }
}

#[async_trait]
impl SessionStore for Recorder {
    async fn load(&self, key: &SessionKey) -> Result<Option<Stored>, StoreError> {
        self.called(format!("load {key:?}"), Some(row()))
    }
    async fn insert(&self, key: &SessionKey, row: Stored) -> Result<(), StoreError> {
        self.called(format!("insert {key:?} {row:?}"), ())
    }
    async fn compare_and_swap(
        &self,
        key: &SessionKey,
        expected: u64,
        row: Stored,
    ) -> Result<CasOutcome, StoreError> {
        self.called(format!("compare_and_swap {key:?} {expected} {row:?}"), CasOutcome::Conflict(9))
    }
    async fn extend(&self, key: &SessionKey, expires: SystemTime) -> Result<bool, StoreError> {
        self.called(format!("extend {key:?} {expires:?}"), true)
    }
    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.called(format!("delete {key:?}"), true)
    }
    async fn by_sid(&self, sid: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        self.called(format!("by_sid {sid:?}"), vec![KEY])
    }
    async fn by_sub(&self, sub: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        self.called(format!("by_sub {sub:?}"), vec![KEY, KEY])
    }
    async fn list(
        &self,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<(SessionKey, SystemTime)>, StoreError> {
        self.called(format!("list {after:?} {limit}"), vec![(KEY, time())])
    }
    async fn count(&self) -> Result<u64, StoreError> {
        self.called("count".to_owned(), 6)
    }
    async fn lease(
        &self,
        key: &SessionKey,
        owner: OwnerId,
        generation: u64,
        now: SystemTime,
        ttl: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        let call = format!("lease {key:?} {owner:?} {generation} {now:?} {ttl:?}");
        self.called(call, LeaseOutcome::Moved(7))
    }
    async fn release(&self, key: &SessionKey, owner: OwnerId, until: SystemTime) -> Result<(), StoreError> {
        self.called(format!("release {key:?} {owner:?} {until:?}"), ())
    }
    async fn purge_expired(&self, now: SystemTime) -> Result<u64, StoreError> {
        self.called(format!("purge_expired {now:?}"), 8)
    }
    fn in_browser(&self) -> Option<&CookieStore> {
        None
    }

    fn outage_tolerance(&self) -> Option<Duration> {
        Some(Duration::from_secs(77))
    }
    async fn changes(&self, cursor: Option<u64>) -> Result<Changes, StoreError> {
        let changes = Changes { cursor: 10, rows: vec![(KEY, None)], lost: true, ..Changes::default() };
        self.called(format!("changes {cursor:?}"), changes)
    }
    async fn health(&self) -> Result<(), StoreError> {
        self.called("health".to_owned(), ())
    }
}

/// Calls every method once; what each gave.
async fn call_all(store: &dyn SessionStore) -> Vec<String> {
    let ttl = Duration::from_secs(15);
    vec![
        format!("{:?}", store.load(&KEY).await),
        format!("{:?}", store.insert(&KEY, row()).await),
        format!("{:?}", store.compare_and_swap(&KEY, 3, row()).await),
        format!("{:?}", store.extend(&KEY, time()).await),
        format!("{:?}", store.delete(&KEY).await),
        format!("{:?}", store.by_sid(&INDEX).await),
        format!("{:?}", store.by_sub(&INDEX).await),
        format!("{:?}", store.list(Some(&KEY), 11).await),
        format!("{:?}", store.count().await),
        format!("{:?}", store.lease(&KEY, OWNER, 4, time(), ttl).await),
        format!("{:?}", store.release(&KEY, OWNER, time()).await),
        format!("{:?}", store.purge_expired(time()).await),
        format!("{:?}", store.changes(Some(12)).await),
        format!("{:?}", store.health().await),
    ]
}

fn counted(store: &Arc<Recorder>) -> (CountedStore, Metrics) {
    let metrics = Metrics::new(None).unwrap();
    (CountedStore::new(Arc::clone(store) as _, metrics.oidc().clone()), metrics)
}

#[tokio::test]
async fn every_call_arrives_and_every_answer_comes_back() {
    let (inner, alone) = (Arc::new(Recorder::default()), Recorder::default());
    let (store, _) = counted(&inner);
    assert_eq!(call_all(&store).await, call_all(&alone).await);
    assert_eq!(*inner.calls.lock().unwrap(), *alone.calls.lock().unwrap());
    assert_eq!(inner.calls.lock().unwrap().len(), 14);
    assert_eq!(store.outage_tolerance(), inner.outage_tolerance());
    assert!(store.in_browser().is_none());
    let browsers = CountedStore::new(Arc::new(CookieStore::new(1)), counted(&inner).1.oidc().clone());
    assert!(browsers.in_browser().is_some());
}

#[tokio::test]
async fn every_failure_is_counted_by_its_operation_and_comes_back() {
    let inner = Arc::new(Recorder { fails: true, ..Recorder::default() });
    let (store, metrics) = counted(&inner);
    assert!(call_all(&store).await.iter().all(|answer| answer == "Err(Busy)"));
    let text = metrics.encode().unwrap();
    for call in inner.calls.lock().unwrap().iter() {
        let operation = call.split(' ').next().unwrap();
        let line = format!("portcullis_oidc_session_store_errors_total{{operation=\"{operation}\"}} 1");
        assert!(text.contains(&line), "{line}\n{text}");
    }
}
