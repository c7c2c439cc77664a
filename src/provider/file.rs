//! The file provider: one file or a folder, YAML or TOML, watched.

mod interest;
mod load;
mod references;
mod template;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, mpsc, watch as channel};
use tokio::time::Instant;

pub use load::{Loaded, load};

use super::Event;
use crate::config::StaticConfig;

/// The provider's name.
pub const NAME: &str = "file";

/// Changes are read once nothing has moved for this long, so that a save in several steps is one change.
const SETTLE: Duration = Duration::from_millis(100);
/// A file that stays busy is read after this long all the same.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);
/// An empty file is believed after this long: editors truncate before they write.
const EMPTY_PAUSE: Duration = Duration::from_millis(500);

/// What to read.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file, or the folder that is read recursively.
    pub path: PathBuf,
    /// Files that the static configuration names: a change of theirs is one, too.
    pub also: Vec<PathBuf>,
    /// Whether changes are picked up.
    pub watch: bool,
    /// Logs each file after template execution.
    pub log_template: bool,
    /// The key that says what to read.
    pub key: &'static str,
}

impl Source {
    /// What the operator wrote; `None` when it names neither a folder nor a file.
    pub fn new(fixed: &StaticConfig) -> Option<Self> {
        let config = fixed.providers.file.as_ref()?;
        let (path, key) = match (&config.directory, &config.filename) {
            (Some(folder), _) => (folder, "providers.file.directory"),
            (None, Some(file)) => (file, "providers.file.filename"),
            (None, None) => return None,
        };
        Some(Self {
            path: path.into(),
            also: references::of_static(fixed),
            key,
            watch: config.watch,
            log_template: config.debug_log_generated_template,
        })
    }
}

/// Reads files and sends what they say, again after each change.
pub struct FileProvider {
    source: Source,
    throttle: Duration,
    reread: Arc<Notify>,
}

impl FileProvider {
    /// A provider for `source` that sends at most once per `throttle`. A notification on `reread`
    /// makes it read and send even if nothing seems to have changed.
    pub fn new(source: Source, throttle: Duration, reread: Arc<Notify>) -> Self {
        Self { source, throttle, reread }
    }

    /// Runs until `stop` becomes true or nobody listens any more.
    pub async fn run(self, events: mpsc::Sender<Event>, mut stop: channel::Receiver<bool>) {
        tokio::select! {
            () = self.follow(events) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    async fn follow(self, events: mpsc::Sender<Event>) {
        let mut watcher = self.start_watching().await;
        let mut last = None;
        let mut force = true;
        loop {
            // Whoever has asked by now is answered by this reading.
            force |= self.reread.notified().now_or_never().is_some();
            let loaded = self.read().await;
            if let Some(watcher) = &mut watcher {
                watcher.follow(&loaded.interest);
            }
            if force || last != Some(loaded.fingerprint) {
                last = Some(loaded.fingerprint);
                let event = Event { provider: NAME, outcome: loaded.outcome() };
                if events.send(event).await.is_err() {
                    return;
                }
            }
            let sent = Instant::now();
            force = tokio::select! {
                () = self.reread.notified() => true,
                () = changed(watcher.as_mut()) => false,
                () = events.closed() => return,
            };
            settle(watcher.as_mut(), sent + self.throttle).await;
        }
    }

    /// Watches before the first reading, so that no change falls between the two.
    async fn start_watching(&self) -> Option<watch::Watcher> {
        if !self.source.watch {
            return None;
        }
        let path = self.source.path.clone();
        let interest = tokio::task::spawn_blocking(move || load::interest(&path)).await.unwrap_or_default();
        let mut watcher = watch::Watcher::new();
        watcher.follow(&interest);
        watcher.settle();
        Some(watcher)
    }

    /// Reads on a blocking thread; once more after a pause when a file is empty.
    async fn read(&self) -> Loaded {
        let first = self.read_once().await;
        if !first.has_empty_file {
            return first;
        }
        tokio::time::sleep(EMPTY_PAUSE).await;
        self.read_once().await
    }

    async fn read_once(&self) -> Loaded {
        let source = self.source.clone();
        match tokio::task::spawn_blocking(move || load(&source)).await {
            Ok(loaded) => loaded,
            Err(error) => Loaded::failed(&self.source, format!("reading failed: {error}")),
        }
    }
}

async fn changed(watcher: Option<&mut watch::Watcher>) {
    match watcher {
        Some(watcher) => watcher.changed().await,
        None => std::future::pending().await,
    }
}

/// Waits until changes have settled, and not before `earliest`.
async fn settle(watcher: Option<&mut watch::Watcher>, earliest: Instant) {
    let limit = Instant::now() + SETTLE_LIMIT;
    if let Some(watcher) = watcher {
        while Instant::now() < limit && tokio::time::timeout(SETTLE, watcher.changed()).await.is_ok() {}
    }
    tokio::time::sleep_until(earliest).await;
}

#[cfg(test)]
mod tests;
