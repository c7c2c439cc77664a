//! What SIGHUP reads again of the static configuration: entry points and the log level.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;

use super::listeners::{self, Connections};
use crate::cli;
use crate::config::entry_point::EntryPoint;
use crate::config::{Outline, StaticConfig};
use crate::entrypoint::{ListenerSpec, ReconcileError, Supervisor};
use crate::observe::log::Level;
use crate::observe::{Log, Metrics};
use crate::proxy::Edge;
use crate::runtime::{Outcome, Runtime};

/// How long a provider may take to read its files again before whoever asked for it is told that it failed.
const RELOAD: Duration = Duration::from_secs(30);

/// Keys whose changes count while running, with all that is below them.
const TAKEN_OVER: [&str; 2] = ["entrypoints", "log.level"];

/// Reads the static configuration again.
pub(super) struct Reload {
    /// Those of the command.
    pub(super) arguments: Vec<String>,
    /// Where connections are served.
    pub(super) edge: Handle,
    pub(super) supervisor: Arc<Supervisor<Edge>>,
    pub(super) connections: Arc<Connections>,
    pub(super) runtime: Arc<Runtime>,
    pub(super) log: Arc<Log>,
    pub(super) metrics: Arc<Metrics>,
    /// Makes the provider read its files again; none if there is no provider.
    pub(super) reread: Option<Arc<Notify>>,
    /// What the process was started with.
    pub(super) started: Outline,
    /// What the entry points are of that there are now.
    pub(super) current: Mutex<Outline>,
}

impl Reload {
    /// Takes over what can be changed while running, warns of every other key that has changed, and has the dynamic
    /// configuration read again.
    ///
    /// # Errors
    /// The static configuration is faulty, and nothing has changed; or the dynamic one was refused, or ports could not be
    /// opened: the others are, and the next reload tries again.
    pub(super) async fn run(&self) -> Result<String, String> {
        let loaded = cli::load(&self.arguments).map_err(|errors| errors.to_string())?;
        let level = loaded.config.log.0.clone().unwrap_or_default().level;
        let level: Level = level.parse().map_err(|error| format!("log.level: {error}"))?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        self.runtime.kept().set_places(loaded.places);
        let mut current = self.current.lock().await;
        self.log.set_level(level);
        let (read, unopened) = match current.changes(&loaded.outline).into_iter().any(is_entry_point) {
            true => self.entry_points(loaded.config.entry_points).await?,
            false => (self.read_again().await, None),
        };
        for path in self.started.changes(&loaded.outline).into_iter().filter(|path| !is_taken_over(path)) {
            tracing::warn!("{path}: this change counts from the next start");
        }
        if unopened.is_none() {
            *current = loaded.outline;
        }
        let status = read.unwrap_or_else(|| Ok("static configuration read again".to_owned()));
        match (status, unopened) {
            (status, None) => status,
            (Ok(_), Some(unopened)) => Err(unopened),
            (Err(refused), Some(unopened)) => Err(format!("{refused}\n{unopened}")),
        }
    }

    /// What became of the dynamic configuration, read again, and which ports could not be opened. Routes come first, so
    /// that no port opens to 404 for everything; those that go keep theirs until they are closed.
    async fn entry_points(
        &self,
        wanted: BTreeMap<String, EntryPoint>,
    ) -> Result<(Option<Outcome>, Option<String>), String> {
        let before = self.runtime.fixed();
        let after = StaticConfig { entry_points: wanted.clone(), ..StaticConfig::clone(&before) };
        let specs = listeners::wanted(&after)?;
        self.connections.expect(&specs, &self.metrics);
        let mut both = before.entry_points.clone();
        both.extend(wanted.clone());
        let some_go = both.len() > wanted.len();
        self.runtime.expect_entry_points(both.clone()).await;
        let read = self.read_again().await;
        if !matches!(read, Some(Ok(_))) {
            // What is in force goes on, and is placed on them as well.
            self.runtime.set_entry_points(both).await?;
        }
        let opened = open(&self.edge, &self.supervisor, specs).await;
        if some_go {
            self.runtime.set_entry_points(wanted).await?;
        }
        Ok((read, opened.err()))
    }

    /// Has the provider read its files again: what became of it, or none without a provider.
    async fn read_again(&self) -> Option<Outcome> {
        let reread = self.reread.as_ref()?;
        let mut outcomes = self.runtime.outcomes();
        outcomes.mark_unchanged();
        reread.notify_one();
        let outcome = match timeout(RELOAD, outcomes.changed()).await {
            Ok(Ok(())) => outcomes.borrow().clone().unwrap_or_else(|| Err("nothing was read".to_owned())),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer from the provider".to_owned()),
        };
        Some(outcome)
    }
}

fn is_taken_over(path: &str) -> bool {
    let path = path.to_lowercase();
    TAKEN_OVER
        .iter()
        .any(|key| path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

fn is_entry_point(path: &str) -> bool {
    is_taken_over(path) && !path.to_lowercase().starts_with("log.")
}

/// Opens the listeners of `specs` and closes all others.
///
/// # Errors
/// Those that cannot be opened.
pub(super) async fn open(
    edge: &Handle,
    supervisor: &Arc<Supervisor<Edge>>,
    specs: Vec<ListenerSpec>,
) -> Result<(), String> {
    let supervisor = Arc::clone(supervisor);
    let opened = edge.spawn(async move { supervisor.reconcile(specs).await });
    let errors: Vec<ReconcileError> = opened.await.map_err(|error| error.to_string())?;
    if errors.is_empty() {
        return Ok(());
    }
    Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_count_while_running() {
        for path in ["entryPoints", "entryPoints.web.address", "ENTRYPOINTS.web", "log.level"] {
            assert!(is_taken_over(path), "{path}");
        }
        for path in ["log", "log.levels", "log.format", "entryPointsX", "providers.file.filename"] {
            assert!(!is_taken_over(path), "{path}");
        }
        assert!(is_entry_point("entryPoints.web") && !is_entry_point("log.level"));
    }
}
