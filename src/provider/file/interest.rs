//! Which changes in watched folders can change the configuration.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use notify::EventKind;
use notify::event::{AccessKind, AccessMode};

/// How many symbolic links a path may lead through.
const MOST_LINKS: usize = 32;

/// What is of interest: folders, and the names in them that count.
///
/// Names count in every folder: one folder may be reached in several ways, of which an event tells only one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interest {
    folders: BTreeSet<PathBuf>,
    names: BTreeSet<OsString>,
    /// Folders, by their real paths, in which configuration files and folders count whatever their names.
    whole: BTreeSet<PathBuf>,
    /// Whatever happens: there is a path whose end has no name.
    anything: bool,
}

impl Interest {
    /// The folders to be watched.
    pub fn folders(&self) -> &BTreeSet<PathBuf> {
        &self.folders
    }

    /// Whether every name of `other` counts here too. (New folders are noticed by themselves.)
    pub fn covers(&self, other: &Self) -> bool {
        self.anything
            || !other.anything
                && self.names.is_superset(&other.names)
                && (!self.whole.is_empty() || other.whole.is_empty())
    }

    /// Adds a folder that is read whole.
    pub fn add_folder(&mut self, folder: &Path) {
        self.folders.insert(folder.to_owned());
        self.whole.extend(folder.canonicalize());
        self.add(folder);
    }

    /// Adds what a change of which can change what `path` leads to: its name in its folder, and those of the symbolic
    /// links on the way. Of a path that leads nowhere, what is missing first.
    pub fn add(&mut self, path: &Path) {
        let mut path = if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) };
        for _ in 0..MOST_LINKS {
            let Some((link, target)) = first_link(&path) else { break };
            self.add_name(link.parent(), link.file_name());
            path = target;
        }
        let (mut folder, mut name) = (path.parent(), path.file_name());
        while let Some(missing) = folder.filter(|folder| !folder.is_dir()) {
            (folder, name) = (missing.parent(), missing.file_name());
        }
        self.add_name(folder, name);
    }

    fn add_name(&mut self, folder: Option<&Path>, name: Option<&OsStr>) {
        self.folders.insert(folder.unwrap_or(Path::new(".")).to_owned());
        match name {
            Some(name) => {
                self.names.insert(name.to_owned());
            }
            None => self.anything = true,
        }
    }

    fn counts(&self, path: &Path) -> bool {
        let Some(name) = path.file_name() else { return true };
        self.anything
            || self.names.contains(name)
            // The folder itself was moved or removed.
            || self.folders.contains(path)
            || (is_configuration(path) || is_shown(path) && path.is_dir()) && self.is_in_whole(path)
    }

    fn is_in_whole(&self, path: &Path) -> bool {
        let folder = path.parent().filter(|_| !self.whole.is_empty());
        folder
            .and_then(|folder| folder.canonicalize().ok())
            .is_some_and(|folder| self.whole.contains(&folder))
    }
}

/// Whether a file of a folder holds configuration, by its name's ending; capitals make no difference, as in Traefik.
pub fn is_configuration(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ["toml", "yaml", "yml"].iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// Whether something in a folder is looked at. Kubernetes mounts a ConfigMap as links into `..data`, itself a link: the
/// links beside it are what counts.
pub fn is_shown(path: &Path) -> bool {
    path.file_name().is_none_or(|name| !name.to_string_lossy().starts_with(".."))
}

/// Whether something of interest was written; reading tells us nothing new, and we read ourselves.
pub fn is_change(event: &notify::Result<notify::Event>, interest: &Interest) -> bool {
    let Ok(event) = event else { return true };
    let written = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    };
    // Without a path it says that events were lost.
    written && (event.paths.is_empty() || event.paths.iter().any(|path| interest.counts(path)))
}

/// The first symbolic link in `path`, and the path with that link followed.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut walked = PathBuf::new();
    let mut components = path.components();
    while let Some(component) = components.next() {
        let next = walked.join(component);
        if matches!(component, Component::Normal(_))
            && let Ok(target) = std::fs::read_link(&next)
        {
            let followed = walked.join(target).join(components.as_path());
            return Some((next, followed));
        }
        walked = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, Event, ModifyKind, RemoveKind, RenameMode};

    use super::*;

    fn of(path: &Path) -> Interest {
        let mut interest = Interest::default();
        interest.add(path);
        interest
    }

    fn names(interest: &Interest) -> Vec<&str> {
        interest.names.iter().map(|name| name.to_str().unwrap()).collect()
    }

    #[test]
    fn a_trail_leads_through_links() {
        let folder = tempfile::TempDir::new().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        std::fs::create_dir_all(at("real/deep")).unwrap();
        std::fs::create_dir(at("beside")).unwrap();
        std::fs::write(at("real/deep/file"), "").unwrap();
        std::os::unix::fs::symlink("real", at("link")).unwrap();
        std::os::unix::fs::symlink("../link/deep/file", at("beside/other")).unwrap();
        let interest = of(&at("beside/other"));
        // `beside/..` is how the link says it.
        let expected = [at("beside"), at("beside/.."), at("beside/../real/deep")];
        assert_eq!(interest.folders, expected.into_iter().collect());
        assert_eq!(names(&interest), ["file", "link", "other"]);
    }

    #[test]
    fn of_a_missing_path_the_last_folder_counts() {
        let folder = tempfile::TempDir::new().unwrap();
        let interest = of(&folder.path().join("none/at/all.yml"));
        assert_eq!(interest.folders, [folder.path().to_owned()].into_iter().collect());
        assert_eq!(names(&interest), ["none"]);
    }

    #[test]
    fn links_in_a_circle_end() {
        let folder = tempfile::TempDir::new().unwrap();
        std::os::unix::fs::symlink("b", folder.path().join("a")).unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("b")).unwrap();
        let interest = of(&folder.path().join("a"));
        assert_eq!(interest.folders, [folder.path().to_owned()].into_iter().collect());
        assert_eq!(names(&interest), ["a", "b"]);
    }

    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));

    fn changes(interest: &Interest, kind: EventKind, paths: &[&Path]) -> bool {
        let event = paths.iter().fold(Event::new(kind), |event, path| event.add_path(path.to_path_buf()));
        is_change(&Ok(event), interest)
    }

    #[test]
    fn beside_a_file_nothing_else_counts() {
        let folder = tempfile::TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        let interest = of(&at("dynamic.yml"));
        for name in
            ["access.log", "portcullis.db-wal", ".dynamic.yml.swp", "dynamic.yml~", "other.yml", "4913"]
        {
            assert!(!changes(&interest, WRITTEN, &[&at(name)]), "{name}");
        }
        assert!(changes(&interest, WRITTEN, &[&at("dynamic.yml")]));
        assert!(changes(&interest, EventKind::Remove(RemoveKind::File), &[&at("dynamic.yml")]));
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::Both));
        assert!(changes(&interest, renamed, &[&at(".dynamic.yml.swp"), &at("dynamic.yml")]));
        assert!(changes(&interest, renamed, &[folder.path()]), "the folder itself");
        assert!(changes(&interest, EventKind::Other, &[]), "events were lost");
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
        assert!(!changes(&interest, opened, &[&at("dynamic.yml")]));
    }

    #[test]
    fn in_a_folder_configuration_and_folders_count() {
        let folder = tempfile::TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut interest = Interest::default();
        interest.add_folder(folder.path());
        for name in ["new.yml", "new.yaml", "new.toml"] {
            assert!(changes(&interest, EventKind::Create(CreateKind::File), &[&at(name)]), "{name}");
        }
        std::fs::create_dir(at("sub")).unwrap();
        std::fs::create_dir(at("..2026_1")).unwrap();
        std::fs::write(at("access.log"), "").unwrap();
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        assert!(changes(&interest, renamed, &[&at("sub")]));
        assert!(!changes(&interest, EventKind::Create(CreateKind::Folder), &[&at("..2026_1")]));
        assert!(!changes(&interest, WRITTEN, &[&at("access.log")]));
    }

    #[test]
    fn beside_a_folder_nothing_else_counts() {
        let root = tempfile::TempDir::new().unwrap();
        let at = |name: &str| root.path().join(name);
        for folder in ["conf", "other"] {
            std::fs::create_dir(at(folder)).unwrap();
        }
        std::os::unix::fs::symlink("conf", at("link")).unwrap();
        let mut interest = Interest::default();
        interest.add_folder(&at("conf"));
        for name in ["other", "new.yml"] {
            assert!(!changes(&interest, EventKind::Create(CreateKind::Any), &[&at(name)]), "{name}");
        }
        for name in ["conf", "conf/new.yml", "link/new.yml"] {
            assert!(changes(&interest, EventKind::Create(CreateKind::Any), &[&at(name)]), "{name}");
        }
    }

    #[test]
    fn a_new_name_is_not_covered() {
        let root = tempfile::TempDir::new().unwrap();
        let one = of(&root.path().join("one"));
        let mut both = one.clone();
        both.add(&root.path().join("two"));
        assert!(both.covers(&one) && !one.covers(&both));
        let mut folder = one.clone();
        folder.add_folder(root.path());
        assert!(!one.covers(&folder) && folder.covers(&one));
        assert!(of(Path::new("/")).covers(&folder), "anything covers everything");
    }
}
