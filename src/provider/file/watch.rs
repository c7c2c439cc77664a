//! Tells when files change, however they are saved.
//!
//! Folders are watched and not files: editors and Kubernetes replace files by renaming, and a watch
//! on a file follows the old one into oblivion. For the same reason a folder is watched anew when
//! another one stands at its path. What else is written in such a folder (a log, say) does not count: changes are told
//! from it by name.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::interest::{Interest, is_change};

/// Watches folders.
pub struct Watcher {
    inner: Option<RecommendedWatcher>,
    changed: mpsc::Sender<()>,
    changes: mpsc::Receiver<()>,
    /// Device and number of what stood at the path when it was watched.
    watched: BTreeMap<PathBuf, Option<(u64, u64)>>,
    interest: Arc<ArcSwap<Interest>>,
}

impl Watcher {
    /// A watcher that watches nothing yet.
    pub fn new() -> Self {
        // One waiting change says all: whoever wakes reads everything.
        let (changed, changes) = mpsc::channel(1);
        let sender = changed.clone();
        let interest = Arc::<ArcSwap<Interest>>::default();
        let current = Arc::clone(&interest);
        let handler = move |event: notify::Result<notify::Event>| {
            if is_change(&event, &current.load()) {
                let _ = sender.try_send(());
            }
        };
        let inner = notify::recommended_watcher(handler)
            .inspect_err(
                |error| tracing::error!(%error, "files cannot be watched; send SIGHUP after a change"),
            )
            .ok();
        Self { inner, changed, changes, watched: BTreeMap::new(), interest }
    }

    /// Watches exactly these places. What was not watched before counts as a change, since it may have
    /// changed between its reading and now.
    pub fn follow(&mut self, interest: &Interest) {
        let folders = interest.folders();
        let gone: Vec<PathBuf> =
            self.watched.keys().filter(|path| !folders.contains(*path)).cloned().collect();
        for folder in gone {
            self.forget(&folder);
        }
        if !self.interest.load().covers(interest) {
            let _ = self.changed.try_send(());
        }
        if **self.interest.load() != *interest {
            self.interest.store(Arc::new(interest.clone()));
        }
        self.watch_anew(folders);
    }

    fn watch_anew(&mut self, folders: &BTreeSet<PathBuf>) {
        for folder in folders {
            let identity = std::fs::metadata(folder).ok().map(|metadata| (metadata.dev(), metadata.ino()));
            if self.watched.get(folder) == Some(&identity) {
                continue;
            }
            self.forget(folder);
            self.watch(folder);
            self.watched.insert(folder.clone(), identity);
        }
    }

    /// Forgets the changes so far: everything is about to be read.
    pub fn settle(&mut self) {
        while self.changes.try_recv().is_ok() {}
    }

    /// Waits for a change.
    pub async fn changed(&mut self) {
        // Never ends: one sender is ours.
        let _ = self.changes.recv().await;
    }

    fn watch(&mut self, folder: &Path) {
        let Some(inner) = &mut self.inner else { return };
        match inner.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => drop(self.changed.try_send(())),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "folder cannot be watched; send SIGHUP after a change");
            }
        }
    }

    fn forget(&mut self, folder: &Path) {
        if self.watched.remove(folder).is_some()
            && let Some(inner) = &mut self.inner
        {
            // A folder that is gone has taken its watch along.
            let _ = inner.unwatch(folder);
        }
    }
}
