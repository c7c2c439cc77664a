//! The processes, and what is around them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use tokio::runtime::Runtime;
use tokio::task::yield_now;

use super::super::*;
use super::gates::{Gated, Handle, Issuer, Op, Verdict};
use crate::oidc::session::testing::{keys, owes};
use crate::oidc::session::{MemoryStore, SessionId, SessionKey, SessionKeys, SessionStore, Stored};

/// What a run may hold.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Scenario {
    pub(super) processes: usize,
    /// The tokens have ended: requests wait. Else they are due, and requests go on.
    pub(super) expired: bool,
    /// The provider takes each refresh token once; a second use revokes all.
    pub(super) strict: bool,
    /// The store is one that machines share.
    pub(super) shared: bool,
    pub(super) crashes: usize,
    /// Operations that the store fails: not done, or done without saying so.
    pub(super) store_failures: usize,
    /// Grants that the provider answers with 503.
    pub(super) provider_failures: usize,
    /// How often time moves on before its time: to when anybody waits for, or when the lease ends.
    pub(super) time_jumps: usize,
}

/// What may happen next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    /// What waits at this gate takes place.
    Pass(usize, Verdict),
    /// The process is no more.
    Crash(usize),
    /// It is time for the upkeep of this process.
    Upkeep(usize),
    /// Time moves on.
    Time(SystemTime),
    /// No fault any more.
    Rest,
}

/// One session as it is stored, and its name; made once, for sealing takes time.
static SESSION: LazyLock<(SessionId, SessionKey, Stored, Arc<SessionKeys>)> = LazyLock::new(|| {
    let store = Arc::new(MemoryStore::new(10));
    let clock = Arc::new(crate::oidc::clock::ManualClock::new(at(0)));
    let ring = keys();
    let sessions = Sessions::new(Arc::clone(&store) as _, Arc::clone(&ring), clock, 10).unwrap();
    let runtime = runtime();
    let (id, entry) = runtime.block_on(sessions.create(record())).unwrap();
    let row = runtime.block_on(store.load(entry.key())).unwrap().unwrap();
    (id, *entry.key(), row, ring)
});

fn runtime() -> Runtime {
    // Time is for turns that other tests have taken.
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// A process: it ends when its runtime is dropped.
struct Process {
    runtime: Runtime,
    sessions: Sessions,
    entry: Arc<SessionEntry>,
    grant: Arc<dyn RefreshGrant>,
    settings: RefreshSettings,
    answers: Arc<Mutex<Vec<Freshness>>>,
    asked: usize,
}

impl Process {
    fn new(number: usize, shared: &Gated) -> Self {
        let (id, _, _, ring) = &*SESSION;
        let runtime = runtime();
        let store = Arc::new(Handle { process: number, gated: shared.clone() });
        let clock = Arc::new(shared.clock.clone());
        let sessions = Sessions::new(store, Arc::clone(ring), clock, 10).unwrap();
        let Lookup::Live(entry) = runtime.block_on(sessions.lookup(id, &scope(), at(1))) else {
            panic!("the session is not there");
        };
        let grant = Arc::new(Issuer { process: number, gated: shared.clone() });
        let settings = RefreshSettings::default();
        Self { runtime, sessions, entry, grant, settings, answers: Arc::default(), asked: 0 }
    }

    fn request(&mut self) {
        let (sessions, entry, grant) =
            (self.sessions.clone(), Arc::clone(&self.entry), Arc::clone(&self.grant));
        let (settings, answers) = (self.settings.clone(), Arc::clone(&self.answers));
        self.asked += 1;
        self.runtime.spawn(async move {
            let now = sessions.clock().now();
            let refresher = Refresher {
                sessions: &sessions,
                settings: &settings,
                grant: &grant,
                request_id: "request-1",
            };
            let answer = refresher.ensure_fresh(&entry, now).await;
            answers.lock().unwrap().push(answer);
        });
    }

    fn upkeep(&self) {
        let sessions = self.sessions.clone();
        self.runtime.spawn(async move { sessions.save_unsaved().await });
    }

    /// Lets it run until all its tasks wait.
    fn run(&self) {
        self.runtime.block_on(async {
            for _ in 0..8 {
                yield_now().await;
            }
        });
    }

    fn is_answered(&self) -> bool {
        self.answers.lock().unwrap().len() == self.asked
    }
}

pub(super) struct World {
    scenario: Scenario,
    gated: Gated,
    processes: Vec<Option<Process>>,
    faults: usize,
    done: Vec<String>,
    rests: bool,
}

impl World {
    /// Each process has one request.
    pub(super) fn new(scenario: Scenario) -> Self {
        let (_, key, row, _) = &*SESSION;
        let gated = Gated::new(scenario);
        runtime().block_on(gated.store.insert(key, row.clone())).unwrap();
        let processes = (0..scenario.processes).map(|number| Some(Process::new(number, &gated))).collect();
        let mut world = Self { scenario, gated, processes, faults: 0, done: Vec::new(), rests: false };
        world.gated.clock.set(at(if scenario.expired { 301 } else { 250 }));
        world.gated.close();
        world.request();
        world
    }

    fn living(&self) -> impl Iterator<Item = (usize, &Process)> {
        self.processes.iter().enumerate().filter_map(|(number, process)| Some((number, process.as_ref()?)))
    }

    fn request(&mut self) {
        for process in self.processes.iter_mut().flatten() {
            process.request();
        }
        self.run();
    }

    fn run(&self) {
        self.living().for_each(|(_, process)| process.run());
    }

    /// What can happen now. Empty: nothing that leaves a choice.
    pub(super) fn actions(&self) -> Vec<Action> {
        if self.rests {
            return Vec::new();
        }
        let ops = self.gated.pending();
        let mut actions: Vec<Action> = ops.iter().map(|op| Action::Pass(op.id, Verdict::Done)).collect();
        let owing = self.living().filter(|(_, process)| owes(&process.sessions));
        actions.extend(owing.map(|(number, _)| Action::Upkeep(number)));
        if actions.is_empty() {
            actions.push(Action::Rest);
        }
        for op in ops {
            actions.extend(self.failures_of(op).iter().map(|verdict| Action::Pass(op.id, *verdict)));
        }
        if self.scenario.crashes > 0 {
            actions.extend(self.living().map(|(number, _)| Action::Crash(number)));
        }
        if self.scenario.time_jumps > 0 {
            actions.extend(self.gated.times().into_iter().map(Action::Time));
        }
        actions
    }

    fn failures_of(&self, op: Op) -> &'static [Verdict] {
        match op.name {
            "ask" if self.scenario.provider_failures > 0 => &[Verdict::Failed],
            "ask" | "answer" => &[],
            _ if self.scenario.store_failures == 0 => &[],
            "load" => &[Verdict::Failed],
            _ => &[Verdict::Failed, Verdict::DoneUnsaid],
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        self.done.push(match action {
            Action::Pass(id, verdict) => format!("{} {verdict:?}", self.gated.name(id)),
            action => format!("{action:?}"),
        });
        match action {
            Action::Pass(id, verdict) => {
                let name = self.gated.name(id);
                if verdict != Verdict::Done {
                    self.faults += 1;
                    match name.ends_with("ask") {
                        true => self.scenario.provider_failures -= 1,
                        false => self.scenario.store_failures -= 1,
                    }
                }
                self.gated.pass(id, verdict);
            }
            Action::Crash(number) => {
                self.faults += 1;
                self.scenario.crashes -= 1;
                self.gated.crashed(number);
                self.processes[number] = None;
            }
            Action::Upkeep(number) => self.processes[number].as_ref().unwrap().upkeep(),
            Action::Time(time) => {
                // A look at the lease of another process comes every 100 ms; all else that ends is somebody's limit.
                let limit = time > self.gated.clock.now() + Duration::from_secs(1);
                self.faults += usize::from(limit);
                self.scenario.time_jumps -= 1;
                self.gated.moves_to(time);
            }
            Action::Rest => self.rests = true,
        }
        self.run();
        if let Some(violation) = &self.gated.state().violation {
            self.fails(violation);
        }
    }

    /// What the future depends on.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.scenario.hash(&mut hasher);
        self.gated.clock.now().hash(&mut hasher);
        self.gated.times().hash(&mut hasher);
        for (number, process) in self.living() {
            (number, process.answers.lock().unwrap().len(), owes(&process.sessions)).hash(&mut hasher);
        }
        self.gated.state().fingerprint(&mut hasher);
        hasher.finish()
    }

    /// Without faults from here on, and in order: all is answered. Later each process is asked once more.
    pub(super) fn finish(mut self) {
        self.settle();
        self.check_answers();
        let later = self.gated.clock.now() + Duration::from_secs(20);
        self.gated.moves_to(later);
        self.run();
        self.settle();
        self.done.push("once more".to_owned());
        self.request();
        self.settle();
        self.check();
    }

    fn settle(&mut self) {
        for _ in 0..400 {
            let next = self.gated.pending().first().map(|op| op.id);
            let owing = self.living().find(|(_, process)| owes(&process.sessions)).map(|(number, _)| number);
            match (next, owing) {
                (Some(id), _) => self.act(Action::Pass(id, Verdict::Done)),
                (None, Some(number)) => self.act(Action::Upkeep(number)),
                (None, None) if self.living().all(|(_, p)| p.is_answered() && !p.entry.refresh.is_busy()) => {
                    return;
                }
                (None, None) => {
                    if let Some(time) = self.gated.next_time() {
                        self.done.push(format!("{:?}", Action::Time(time)));
                        self.gated.moves_to(time);
                    } else {
                        // Turns are those of the whole process: the tests beside this one take some, too.
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    self.run();
                }
            }
        }
        self.fails("somebody waits for ever");
    }

    /// Those of before the faults were over.
    fn check_answers(&self) {
        if self.faults > 0 {
            return;
        }
        for (_, process) in self.living() {
            let answers = process.answers.lock().unwrap();
            self.holds(answers.iter().all(is_good), &format!("without a fault all is well: {answers:?}"));
        }
    }

    fn check(&self) {
        let (_, key, _, _) = &*SESSION;
        let state = self.gated.state();
        let most = 1 + self.faults;
        self.holds(state.asked <= most, &format!("{} grants, {} faults", state.asked, self.faults));
        let row = runtime().block_on(self.gated.store.load(key)).unwrap();
        if state.lost_rotation {
            self.holds(
                self.scenario.strict || row.is_some(),
                "a provider that allows reuse, and the session ended",
            );
            return;
        }
        self.holds(!state.reused, "a token was used twice, and no rotation was lost");
        let Some(row) = row else { self.fails("the session ended, and no rotation was lost") };
        self.holds(row.generation == state.stored.0, "the store holds what was written last");
        self.holds(state.stored.1 == state.live, "the store holds the newest token");
        for (number, process) in self.living() {
            let answer = *process.answers.lock().unwrap().last().unwrap();
            let serves = !process.entry.is_ended() && is_good(&answer);
            self.holds(serves, &format!("process {number} does not serve the session: {answer:?}"));
        }
    }

    fn holds(&self, condition: bool, what: &str) {
        if !condition {
            self.fails(what);
        }
    }

    fn fails(&self, what: &str) -> ! {
        panic!("{what}\n{:?}\n{}", self.scenario, self.trace());
    }

    /// What was done so far.
    pub(super) fn trace(&self) -> String {
        self.done.join("\n")
    }
}

fn is_good(answer: &Freshness) -> bool {
    matches!(answer, Freshness::Renewed | Freshness::Valid | Freshness::ValidRefreshing)
}
