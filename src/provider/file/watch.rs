//! Tells when files change, however they are saved.
//!
//! The folders are watched and not the files: editors and Kubernetes replace files by renaming, and
//! a watch on a file follows the old one into oblivion.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// Watches the folders of a set of files.
pub struct Watcher {
    inner: Option<RecommendedWatcher>,
    changes: mpsc::Receiver<()>,
    watched: BTreeSet<PathBuf>,
}

impl Watcher {
    /// Watches `path`: a folder with all below it, or a file's folder.
    pub fn new(path: &Path) -> Self {
        // One waiting change says all: whoever wakes reads everything.
        let (changed, changes) = mpsc::channel(1);
        let handler = move |event: notify::Result<notify::Event>| {
            if !matches!(event, Ok(notify::Event { kind: EventKind::Access(_), .. })) {
                let _ = changed.try_send(());
            }
        };
        let inner = notify::recommended_watcher(handler)
            .inspect_err(
                |error| tracing::error!(%error, "files cannot be watched; send SIGHUP after a change"),
            )
            .ok();
        let mut watcher = Self { inner, changes, watched: BTreeSet::new() };
        if path.is_dir() {
            watcher.watch(path, RecursiveMode::Recursive);
        } else {
            watcher.watch_folder_of(path);
        }
        watcher
    }

    /// Also watches the folders of `files`.
    pub fn follow(&mut self, files: &[PathBuf]) {
        for file in files {
            self.watch_folder_of(file);
        }
    }

    /// Waits for a change.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    fn watch_folder_of(&mut self, file: &Path) {
        let folder = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        self.watch(folder, RecursiveMode::NonRecursive);
    }

    fn watch(&mut self, folder: &Path, mode: RecursiveMode) {
        let Some(inner) = &mut self.inner else { return };
        let below = |watched: &PathBuf| mode == RecursiveMode::NonRecursive && folder == watched;
        if self.watched.iter().any(below) {
            return;
        }
        match inner.watch(folder, mode) {
            Ok(()) => drop(self.watched.insert(folder.to_owned())),
            Err(error) => tracing::warn!(folder = %folder.display(), %error, "folder cannot be watched"),
        }
    }
}
