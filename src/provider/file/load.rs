//! One reading of the provider's files.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::interest::{Interest, is_configuration, is_shown};
use super::{NAME, Source, references, template};
use crate::config::dynamic::DynamicConfig;
use crate::config::source;
use crate::config::value::Position;
use crate::config::{ConfigError, ConfigErrors, Decoded, decode_dynamic};
use crate::provider::Fragment;

/// How many files and folders there may be, and how deep.
const MOST_FILES: usize = 10_000;
const DEEPEST_FOLDER: usize = 16;

/// What one reading found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What all files together say.
    pub decoded: Decoded,
    /// Whether nothing at all could be made of a file. Names that it defines are not known then.
    pub has_unread_file: bool,
    /// Where a change can change the outcome.
    pub interest: Interest,
    /// Tells one content from another.
    pub fingerprint: u64,
    /// Whether one of the files held nothing at all.
    pub has_empty_file: bool,
}

impl Loaded {
    /// A reading that failed as a whole. What would mend it is of interest as before.
    pub fn failed(source: &Source, message: String) -> Self {
        Self {
            fingerprint: hash(&message),
            decoded: Decoded { errors: vec![ConfigError::new(source.key, message)], ..Decoded::default() },
            has_unread_file: true,
            interest: interest(&source.path),
            has_empty_file: false,
        }
    }

    /// The configuration, unless there is a fault in it.
    ///
    /// # Errors
    /// Every fault.
    pub fn outcome(self) -> Result<Fragment, ConfigErrors> {
        let Decoded { config, errors, warnings } = self.decoded;
        if errors.is_empty() {
            Ok(Fragment { provider: NAME, config: Arc::new(config), warnings })
        } else {
            Err(ConfigErrors(errors))
        }
    }
}

/// Reads everything once. Blocks on files.
pub fn load(source: &Source) -> Loaded {
    let mut found = list(&source.path);
    if let Some(fault) = found.fault.take() {
        return Loaded::failed(source, fault);
    }
    let mut reading = Reading { log_template: source.log_template, ..Reading::default() };
    for file in &found.files {
        reading.file(file);
    }
    reading.finish(found, &source.also)
}

/// What matters before anything was read. Blocks on files.
pub fn interest(path: &Path) -> Interest {
    let mut interest = Interest::default();
    interest.add(path);
    list(path).add_to(&mut interest);
    interest
}

#[derive(Default)]
struct Reading {
    log_template: bool,
    decoded: Decoded,
    hasher: DefaultHasher,
    has_empty_file: bool,
    has_unread_file: bool,
}

impl Reading {
    fn file(&mut self, path: &Path) {
        let text = match read(path) {
            Ok(text) => text,
            Err(error) => return self.fail(path, error),
        };
        text.hash(&mut self.hasher);
        self.has_empty_file |= text.trim().is_empty();
        let parsed = template::render(path, &text, |name| std::env::var(name).ok()).and_then(|rendered| {
            if self.log_template {
                tracing::debug!(file = %path.display(), content = %rendered.text, "template executed");
            }
            self.decoded.warnings.extend(rendered.warnings);
            source::parse(path, &rendered.text)
        });
        match parsed {
            Ok(node) => {
                let Decoded { config, errors, warnings } = decode_dynamic(&node);
                self.decoded.errors.extend(errors);
                self.decoded.warnings.extend(warnings);
                self.merge(path, config);
            }
            Err(errors) => {
                self.has_unread_file = true;
                self.decoded.errors.extend(errors.0);
            }
        }
    }

    fn fail(&mut self, path: &Path, error: String) {
        error.hash(&mut self.hasher);
        self.has_unread_file = true;
        let at = Some(Position::whole(path.display().to_string()));
        self.decoded.errors.push(ConfigError { at, path: String::new(), message: error });
    }

    /// Adds a file's objects; of two with one name the first stays, as in Traefik.
    fn merge(&mut self, path: &Path, config: DynamicConfig) {
        let DynamicConfig { http, tls } = config;
        let merged = &mut self.decoded.config;
        let mut twice = Vec::new();
        adopt("http.routers", &mut merged.http.routers, http.routers, &mut twice);
        adopt("http.services", &mut merged.http.services, http.services, &mut twice);
        adopt("http.middlewares", &mut merged.http.middlewares, http.middlewares, &mut twice);
        let transports = &mut merged.http.servers_transports;
        adopt("http.serversTransports", transports, http.servers_transports, &mut twice);
        adopt("tls.options", &mut merged.tls.options, tls.options, &mut twice);
        adopt("tls.stores", &mut merged.tls.stores, tls.stores, &mut twice);
        merged.tls.certificates.extend(tls.certificates);
        self.decoded.warnings.extend(twice.into_iter().map(|key| ConfigError {
            at: Some(Position::whole(path.display().to_string())),
            path: key,
            message: "is defined in an earlier file too; that one is used".to_owned(),
        }));
    }

    fn finish(mut self, found: Found, also: &[PathBuf]) -> Loaded {
        let referenced = references::files(&self.decoded.config);
        let mut interest = Interest::default();
        found.add_to(&mut interest);
        for path in referenced.iter().chain(also) {
            // A file that cannot be read is the business of whoever needs it; here it only must count as a change.
            bytes(path).ok().hash(&mut self.hasher);
            interest.add(path);
        }
        let Self { decoded, has_empty_file, has_unread_file, hasher, .. } = self;
        Loaded { decoded, has_unread_file, interest, fingerprint: hasher.finish(), has_empty_file }
    }
}

fn adopt<T>(block: &str, into: &mut BTreeMap<String, T>, from: BTreeMap<String, T>, twice: &mut Vec<String>) {
    for (name, object) in from {
        match into.entry(name) {
            Entry::Occupied(first) => twice.push(format!("{block}.{}", first.key())),
            Entry::Vacant(free) => {
                free.insert(object);
            }
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    String::from_utf8(bytes(path)?).map_err(|error| format!("is not UTF-8: {error}"))
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    source::read(path).map_err(|error| error.to_string())
}

/// What lies at the provider's path.
#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    /// Device and number of each folder: links may lead to one twice, or in a circle.
    identities: HashSet<(u64, u64)>,
    /// Why that is not all.
    fault: Option<String>,
}

impl Found {
    fn add_to(&self, interest: &mut Interest) {
        self.files.iter().for_each(|file| interest.add(file));
        self.folders.iter().for_each(|folder| interest.add_folder(folder));
    }
}

/// The file itself, or the configuration files below a folder in name order.
fn list(path: &Path) -> Found {
    let mut found = Found::default();
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => found.fault = walk(path, &metadata, 0, &mut found).err(),
        Ok(_) => found.files.push(path.to_owned()),
        Err(error) => found.fault = Some(cannot_read(path, error)),
    }
    found.files.sort();
    found
}

fn walk(folder: &Path, metadata: &Metadata, depth: usize, found: &mut Found) -> Result<(), String> {
    if !found.identities.insert((metadata.dev(), metadata.ino())) {
        return Ok(());
    }
    found.folders.push(folder.to_owned());
    if depth > DEEPEST_FOLDER {
        return Err(cannot_read(folder, "folders are nested too deeply"));
    }
    let entries = match std::fs::read_dir(folder) {
        // It has been removed meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound && depth > 0 => return Ok(()),
        entries => entries.map_err(|error| cannot_read(folder, error))?,
    };
    for entry in entries {
        let path = entry.map_err(|error| cannot_read(folder, error))?.path();
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        if !is_shown(&path) {
            continue;
        }
        if metadata.is_dir() {
            walk(&path, &metadata, depth + 1, found)?;
        } else if is_configuration(&path) {
            found.files.push(path);
        }
        if found.files.len().max(found.folders.len()) > MOST_FILES {
            return Err(cannot_read(folder, format!("more than {MOST_FILES} files or folders")));
        }
    }
    Ok(())
}

fn cannot_read(path: &Path, why: impl std::fmt::Display) -> String {
    format!("cannot read {}: {why}", path.display())
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
