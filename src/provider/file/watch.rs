//! Tells when files change, however they are saved.
//!
//! Folders are watched and not files: editors and Kubernetes replace files by renaming, and a watch
//! on a file follows the old one into oblivion. For the same reason a folder is watched anew when
//! another one stands at its path.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// How many symbolic links a path may lead through.
const MOST_LINKS: usize = 32;

/// Watches folders.
pub struct Watcher {
    inner: Option<RecommendedWatcher>,
    changed: mpsc::Sender<()>,
    changes: mpsc::Receiver<()>,
    /// Device and number of what stood at the path when it was watched.
    watched: BTreeMap<PathBuf, Option<(u64, u64)>>,
}

impl Watcher {
    /// A watcher that watches nothing yet.
    pub fn new() -> Self {
        // One waiting change says all: whoever wakes reads everything.
        let (changed, changes) = mpsc::channel(1);
        let sender = changed.clone();
        let handler = move |event: notify::Result<notify::Event>| {
            if is_change(&event) {
                let _ = sender.try_send(());
            }
        };
        let inner = notify::recommended_watcher(handler)
            .inspect_err(
                |error| tracing::error!(%error, "files cannot be watched; send SIGHUP after a change"),
            )
            .ok();
        Self { inner, changed, changes, watched: BTreeMap::new() }
    }

    /// Watches exactly these folders. A folder that was not watched before counts as a change, since
    /// it may have changed between its reading and now.
    pub fn follow(&mut self, folders: &BTreeSet<PathBuf>) {
        let gone: Vec<PathBuf> =
            self.watched.keys().filter(|path| !folders.contains(*path)).cloned().collect();
        for folder in gone {
            self.forget(&folder);
        }
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

/// Whether something was written; reading tells us nothing new, and we read ourselves.
fn is_change(event: &notify::Result<notify::Event>) -> bool {
    match event {
        Ok(event) => match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            EventKind::Access(_) => false,
            _ => true,
        },
        Err(_) => true,
    }
}

/// Adds the folders in which a change can change what `path` leads to: its own, and those of the
/// symbolic links on the way. Of a path that leads nowhere, the last folder that exists.
pub fn trail(path: &Path, folders: &mut BTreeSet<PathBuf>) {
    let mut path = if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) };
    for _ in 0..MOST_LINKS {
        match first_link(&path) {
            Some((folder, target)) => {
                folders.insert(folder);
                path = target;
            }
            None => break,
        }
    }
    let mut folder = path.parent();
    while let Some(missing) = folder.filter(|folder| !folder.is_dir()) {
        folder = missing.parent();
    }
    folders.insert(folder.unwrap_or(Path::new(".")).to_owned());
}

/// The folder of the first symbolic link in `path`, and the path with that link followed.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut walked = PathBuf::new();
    let mut components = path.components();
    while let Some(component) = components.next() {
        let next = walked.join(component);
        if matches!(component, Component::Normal(_))
            && let Ok(target) = std::fs::read_link(&next)
        {
            let followed = walked.join(target).join(components.as_path());
            return Some((walked, followed));
        }
        walked = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_leads_through_links() {
        let folder = tempfile::TempDir::new().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        std::fs::create_dir_all(at("real/deep")).unwrap();
        std::fs::create_dir(at("beside")).unwrap();
        std::fs::write(at("real/deep/file"), "").unwrap();
        std::os::unix::fs::symlink("real", at("link")).unwrap();
        std::os::unix::fs::symlink("../link/deep/file", at("beside/file")).unwrap();
        let mut folders = BTreeSet::new();
        trail(&at("beside/file"), &mut folders);
        // `beside/..` is how the link says it.
        let expected = [at("beside"), at("beside/.."), at("beside/../real/deep")];
        assert_eq!(folders, expected.into_iter().collect());
    }

    #[test]
    fn of_a_missing_path_the_last_folder_counts() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut folders = BTreeSet::new();
        trail(&folder.path().join("none/at/all.yml"), &mut folders);
        assert_eq!(folders, [folder.path().to_owned()].into_iter().collect());
    }

    #[test]
    fn links_in_a_circle_end() {
        let folder = tempfile::TempDir::new().unwrap();
        std::os::unix::fs::symlink("b", folder.path().join("a")).unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("b")).unwrap();
        let mut folders = BTreeSet::new();
        trail(&folder.path().join("a"), &mut folders);
        assert_eq!(folders, [folder.path().to_owned()].into_iter().collect());
    }
}
