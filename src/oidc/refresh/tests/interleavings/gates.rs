//! Store, provider and clock as the processes see them. Whatever they ask waits at a gate.

use std::collections::HashSet;
use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::sync::oneshot;

use super::super::*;
use super::world::Scenario;
use crate::oidc::clock::{ManualClock, Pause};
use crate::oidc::session::{
    CasOutcome, Changes, IndexKey, LeaseOutcome, MemoryStore, OwnerId, SessionKey, SessionStore, StoreError,
    Stored,
};

/// What becomes of an operation at its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    /// It was not done, and whoever asked is told of a failure.
    Failed,
    /// It was done, and whoever asked is told of a failure.
    DoneUnsaid,
}

/// An operation that waits.
#[derive(Clone, Copy)]
pub(super) struct Op {
    pub(super) id: usize,
    pub(super) process: usize,
    pub(super) name: &'static str,
}

/// What all processes share.
#[derive(Clone)]
pub(super) struct Gated {
    state: Arc<Mutex<State>>,
    pub(super) store: Arc<MemoryStore>,
    pub(super) clock: ModelClock,
    scenario: Scenario,
}

pub(super) struct State {
    /// Nothing passes by itself any more.
    closed: bool,
    waiting: Vec<(Op, oneshot::Sender<Verdict>)>,
    next: usize,
    /// What each process has been told, in order.
    heard: Vec<u64>,
    /// The refresh token that a process has got and not stored yet.
    holds: Vec<Option<u64>>,
    /// Generation and number of the refresh token in the store.
    pub(super) stored: (u64, u64),
    lease_end: SystemTime,
    holder: usize,
    /// The provider's newest refresh token, and those that were used.
    pub(super) live: u64,
    used: HashSet<u64>,
    revoked: bool,
    pub(super) asked: usize,
    pub(super) reused: bool,
    pub(super) lost_rotation: bool,
    pub(super) violation: Option<String>,
}

impl State {
    pub(super) fn fingerprint(&self, hasher: &mut DefaultHasher) {
        for (op, gate) in &self.waiting {
            if !gate.is_closed() {
                (op.process, op.name).hash(hasher);
            }
        }
        (&self.heard, &self.holds, self.stored, self.lease_end, self.holder).hash(hasher);
        (self.live, self.revoked, self.asked, self.reused, self.lost_rotation).hash(hasher);
    }
}

impl Gated {
    pub(super) fn new(scenario: Scenario) -> Self {
        let state = State {
            closed: false,
            waiting: Vec::new(),
            next: 0,
            heard: vec![0; scenario.processes],
            holds: vec![None; scenario.processes],
            stored: (0, 0),
            lease_end: at(0),
            holder: 0,
            live: 0,
            used: HashSet::new(),
            revoked: false,
            asked: 0,
            reused: false,
            lost_rotation: false,
            violation: None,
        };
        let clock = ModelClock { clock: Arc::new(ManualClock::new(at(1))), pauses: Arc::default() };
        Self { state: Arc::new(Mutex::new(state)), store: Arc::new(MemoryStore::new(10)), clock, scenario }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// From here on operations wait.
    pub(super) fn close(&self) {
        self.state().closed = true;
    }

    /// What waits, by process and age.
    pub(super) fn pending(&self) -> Vec<Op> {
        let mut state = self.state();
        state.waiting.retain(|(_, gate)| !gate.is_closed());
        let mut ops: Vec<Op> = state.waiting.iter().map(|(op, _)| *op).collect();
        ops.sort_by_key(|op| (op.process, op.id));
        ops
    }

    pub(super) fn name(&self, id: usize) -> String {
        let state = self.state();
        let (op, _) = state.waiting.iter().find(|(op, _)| op.id == id).unwrap();
        format!("{}: {}", op.process, op.name)
    }

    pub(super) fn pass(&self, id: usize, verdict: Verdict) {
        let gate = {
            let mut state = self.state();
            let at = state.waiting.iter().position(|(op, _)| op.id == id).unwrap();
            state.waiting.remove(at).1
        };
        gate.send(verdict).unwrap();
    }

    /// Tokens that a dead process had got and not stored are lost.
    pub(super) fn crashed(&self, process: usize) {
        let mut state = self.state();
        state.lost_rotation |= state.holds[process].is_some();
        state.holds[process] = None;
    }

    /// A lease that ends does not protect any more what is not stored yet.
    pub(super) fn moves_to(&self, time: SystemTime) {
        {
            let mut state = self.state();
            state.lost_rotation |= time >= state.lease_end && state.holds.iter().any(Option::is_some);
        }
        self.clock.set(time);
    }

    /// The times that somebody waits for, and the end of the lease.
    pub(super) fn times(&self) -> Vec<SystemTime> {
        let mut times = self.clock.pauses();
        times.push(self.state().lease_end);
        times.retain(|time| *time > self.clock.now());
        times.sort_unstable();
        times.dedup();
        times
    }

    /// The end of a lease that somebody looks at again and again; else the next time that somebody waits for.
    pub(super) fn next_time(&self) -> Option<SystemTime> {
        let (lease_end, now) = (self.state().lease_end, self.clock.now());
        let waits = self.clock.pauses().into_iter().filter(|time| *time > now).min()?;
        Some(if lease_end > now { lease_end } else { waits })
    }

    async fn gate(&self, process: usize, name: &'static str) -> Verdict {
        let passed = {
            let mut state = self.state();
            if !state.closed {
                return Verdict::Done;
            }
            let (gate, passed) = oneshot::channel();
            let id = state.next;
            state.next += 1;
            state.waiting.push((Op { id, process, name }, gate));
            passed
        };
        match passed.await {
            Ok(verdict) => verdict,
            Err(_) => pending().await,
        }
    }

    /// What a process is told becomes part of its state.
    fn told(&self, process: usize, what: impl std::fmt::Debug) {
        let mut hasher = DefaultHasher::new();
        let mut state = self.state();
        (state.heard[process], format!("{what:?}"), self.clock.now()).hash(&mut hasher);
        state.heard[process] = hasher.finish();
    }
}

/// The store as one process sees it.
pub(super) struct Handle {
    pub(super) process: usize,
    pub(super) gated: Gated,
}

impl Handle {
    /// Waits at the gate, does `operation`, and tells what came of it.
    async fn pass<T: std::fmt::Debug>(
        &self,
        name: &'static str,
        operation: impl Future<Output = Result<T, StoreError>> + Send,
        telling: impl Fn(&T) -> String + Send + Sync,
    ) -> Result<T, StoreError> {
        let result = match self.gated.gate(self.process, name).await {
            Verdict::Failed => Err(StoreError::Busy),
            Verdict::Done => operation.await,
            Verdict::DoneUnsaid => operation.await.and(Err(StoreError::Busy)),
        };
        self.gated.told(self.process, (name, result.as_ref().map(telling)));
        result
    }

    fn swapped(&self, expected: u64, generation: u64, outcome: CasOutcome) {
        let mut state = self.gated.state();
        match outcome {
            CasOutcome::Swapped => {
                if generation <= expected {
                    state.violation = Some("an older generation replaced a newer one".to_owned());
                }
                let token = state.holds[self.process].take().unwrap_or(state.stored.1);
                (state.stored, state.lease_end) = ((generation, token), at(0));
            }
            // It is tried again, on this one.
            CasOutcome::Conflict(behind) if behind < expected => {}
            CasOutcome::Conflict(_) | CasOutcome::Gone => state.holds[self.process] = None,
        }
    }
}

#[async_trait]
impl SessionStore for Handle {
    async fn load(&self, key: &SessionKey) -> Result<Option<Stored>, StoreError> {
        let stored = |row: &Option<Stored>| row.is_some().then(|| self.gated.state().stored);
        self.pass("load", self.gated.store.load(key), |row| format!("{:?}", stored(row))).await
    }

    async fn compare_and_swap(
        &self,
        key: &SessionKey,
        expected: u64,
        row: Stored,
    ) -> Result<CasOutcome, StoreError> {
        let generation = row.generation;
        let swap = async {
            let outcome = self.gated.store.compare_and_swap(key, expected, row).await?;
            self.swapped(expected, generation, outcome);
            Ok(outcome)
        };
        self.pass("swap", swap, |outcome| format!("{outcome:?}")).await
    }

    async fn extend(&self, key: &SessionKey, expires: SystemTime) -> Result<bool, StoreError> {
        self.gated.store.extend(key, expires).await
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.pass("delete", self.gated.store.delete(key), bool::to_string).await
    }

    async fn lease(
        &self,
        key: &SessionKey,
        owner: OwnerId,
        generation: u64,
        now: SystemTime,
        ttl: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        let lease = async {
            let outcome = self.gated.store.lease(key, owner, generation, now, ttl).await?;
            if outcome == LeaseOutcome::Granted {
                let mut state = self.gated.state();
                (state.lease_end, state.holder) = (now + ttl, self.process);
            }
            Ok(outcome)
        };
        self.pass("lease", lease, |outcome| format!("{outcome:?}")).await
    }

    async fn release(&self, key: &SessionKey, owner: OwnerId, until: SystemTime) -> Result<(), StoreError> {
        let release = async {
            self.gated.store.release(key, owner, until).await?;
            let mut state = self.gated.state();
            if state.holder == self.process && state.lease_end != at(0) {
                state.lease_end = until;
            }
            Ok(())
        };
        self.pass("release", release, |()| String::new()).await
    }

    fn in_browser(&self) -> Option<&crate::oidc::session::CookieStore> {
        None
    }

    fn outage_tolerance(&self) -> Option<Duration> {
        self.gated.scenario.shared.then_some(Duration::from_secs(30))
    }

    async fn insert(&self, _: &SessionKey, _: Stored) -> Result<(), StoreError> {
        Err(StoreError::Unsupported("do this here"))
    }
    async fn by_sid(&self, _: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        Err(StoreError::Unsupported("do this here"))
    }
    async fn by_sub(&self, _: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        Err(StoreError::Unsupported("do this here"))
    }
    async fn list(
        &self,
        _: Option<&SessionKey>,
        _: usize,
    ) -> Result<Vec<(SessionKey, SystemTime)>, StoreError> {
        Err(StoreError::Unsupported("do this here"))
    }
    async fn count(&self) -> Result<u64, StoreError> {
        Err(StoreError::Unsupported("do this here"))
    }
    async fn purge_expired(&self, _: SystemTime) -> Result<u64, StoreError> {
        Err(StoreError::Unsupported("do this here"))
    }
    async fn changes(&self, _: Option<u64>) -> Result<Changes, StoreError> {
        Err(StoreError::Unsupported("do this here"))
    }
    async fn health(&self) -> Result<(), StoreError> {
        Err(StoreError::Unsupported("do this here"))
    }
}

/// The provider as one process sees it.
pub(super) struct Issuer {
    pub(super) process: usize,
    pub(super) gated: Gated,
}

impl Issuer {
    /// The provider takes the token, or not; the number of the next one.
    fn take(&self, token: u64) -> Option<u64> {
        let mut state = self.gated.state();
        state.asked += 1;
        let again = !state.used.insert(token);
        state.reused |= again;
        state.revoked |= again && self.gated.scenario.strict;
        if state.revoked {
            return None;
        }
        state.live += 1;
        let next = state.live;
        state.holds[self.process] = Some(next);
        Some(next)
    }
}

/// An answer that nobody hears is a lost rotation.
struct Undelivered<'a>(&'a Gated, bool);

impl Drop for Undelivered<'_> {
    fn drop(&mut self) {
        self.0.state().lost_rotation |= self.1;
    }
}

#[async_trait]
impl RefreshGrant for Issuer {
    async fn refresh(&self, _: &SessionRecord, refresh_token: &SecretString) -> GrantResult {
        if self.gated.gate(self.process, "ask").await == Verdict::Failed {
            self.gated.told(self.process, "503");
            return GrantResult::Transient { reason: "503", detail: None, retry_after: None };
        }
        let token = refresh_token.expose_secret().trim_start_matches("refresh-").parse().unwrap();
        let next = self.take(token);
        let mut undelivered = Undelivered(&self.gated, next.is_some());
        self.gated.gate(self.process, "answer").await;
        undelivered.1 = false;
        self.gated.told(self.process, next);
        let Some(next) = next else { return GrantResult::Invalid };
        let end = self.gated.clock.now() + Duration::from_secs(300);
        GrantResult::Renewed(Box::new(RenewedTokens {
            client_id: "client".into(),
            access_token: format!("access-{next}").into(),
            access_expiry: Some(end),
            refresh_token: Some(format!("refresh-{next}").into()),
            id_token: Some((format!("id-{next}").into(), end)),
            claims: None,
            identifier: None,
            sid: None,
        }))
    }
}

/// A clock that knows what is waited for.
#[derive(Clone)]
pub(super) struct ModelClock {
    clock: Arc<ManualClock>,
    pauses: Arc<Mutex<Vec<Waiting>>>,
}

/// Shared with the one who waits, and until when that is.
type Waiting = (Arc<()>, SystemTime);

impl ModelClock {
    pub(super) fn set(&self, time: SystemTime) {
        self.clock.set(time);
    }

    /// When the pauses end that somebody still waits for.
    fn pauses(&self) -> Vec<SystemTime> {
        let mut pauses = self.pauses.lock().unwrap();
        pauses.retain(|(waits, _)| Arc::strong_count(waits) > 1);
        pauses.iter().map(|(_, until)| *until).collect()
    }
}

impl Clock for ModelClock {
    fn now(&self) -> SystemTime {
        self.clock.now()
    }

    fn sleep(&self, duration: Duration) -> Pause {
        let (waits, pause) = (Arc::new(()), self.clock.sleep(duration));
        self.pauses.lock().unwrap().push((Arc::clone(&waits), self.now() + duration));
        Box::pin(async move {
            pause.await;
            drop(waits);
        })
    }
}
