//! Rotation of a log file, as Traefik's logger does it (lumberjack).
//!
//! A file that would become too large is renamed to `NAME-2026-01-31T23-59-59.000.EXT` (UTC), and a new one is begun.
//! Then, on a thread of its own, those that are too many or too old are removed and the others compressed.

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};

const MEGABYTE: u64 = 1024 * 1024;
/// The largest file in megabytes when the configuration says nothing.
const USUAL_SIZE: u64 = 100;
const TIME: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// When a file is rotated, and what is kept of the old ones.
#[derive(Debug, Clone)]
pub(in crate::observe) struct Rotation {
    /// Bytes of a file.
    pub(super) largest: u64,
    /// Old files; 0 = all.
    backups: usize,
    /// Age of old files; none = any.
    age: Option<Duration>,
    compress: bool,
    /// One tidies up at a time.
    tidying: Arc<Mutex<()>>,
}

impl Rotation {
    /// `maxSize` in megabytes (0 = 100), `maxAge` in days and `maxBackups` (0 = all), `compress`.
    pub(in crate::observe) fn new(size: u64, age: u64, backups: usize, compress: bool) -> Self {
        let size = if size == 0 { USUAL_SIZE } else { size };
        Self {
            largest: size.saturating_mul(MEGABYTE),
            backups,
            age: (age > 0).then(|| Duration::from_secs(age.saturating_mul(86_400))),
            compress,
            tidying: Arc::default(),
        }
    }

    /// Gives the file at `path` the name of an old one.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub(super) fn set_aside(path: &Path, now: Timestamp) -> io::Result<()> {
        let mut at = now;
        // Two within a millisecond must not become one.
        while backup(path, at).exists() {
            at = at.checked_add(SignedDuration::from_millis(1)).map_err(io::Error::other)?;
        }
        fs::rename(path, backup(path, at))
    }

    /// Removes and compresses old files, on a thread of its own.
    pub(super) fn tidy_up_beside(&self, path: &Path) {
        let (rotation, path) = (self.clone(), path.to_owned());
        let tidy = move || {
            if let Err(error) = rotation.tidy_up(&path, Timestamp::now()) {
                tracing::warn!(file = %path.display(), %error, "old log files cannot be tidied up");
            }
        };
        // Without a thread they stay until the next time.
        let _ = thread::Builder::new().name("log-rotation".to_owned()).spawn(tidy);
    }

    fn tidy_up(&self, path: &Path, now: Timestamp) -> io::Result<()> {
        let _alone = self.tidying.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files = old_files(path)?;
        // The newest first.
        files.sort_by_key(|(time, _)| Reverse(*time));
        let mut times: Vec<Timestamp> = files.iter().map(|(time, _)| *time).collect();
        times.dedup();
        let kept = if self.backups == 0 { times.len() } else { self.backups };
        let oldest = self.age.and_then(|age| now.checked_sub(age).ok());
        for (time, file) in files {
            let rank = times.iter().position(|known| *known == time).unwrap_or(usize::MAX);
            if rank >= kept || oldest.is_some_and(|oldest| time < oldest) {
                fs::remove_file(file)?;
            } else if self.compress && file.extension().is_none_or(|ending| ending != "gz") {
                compress(&file)?;
            }
        }
        Ok(())
    }
}

/// The name of the file `path` that was set aside at `time`.
fn backup(path: &Path, time: Timestamp) -> PathBuf {
    let (stem, ending) = parts(path);
    let time = time.to_zoned(TimeZone::UTC).strftime(TIME);
    path.with_file_name(format!("{stem}-{time}{ending}"))
}

/// The name without its ending, and the ending with its dot.
fn parts(path: &Path) -> (String, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.rsplit_once('.') {
        Some((stem, ending)) => (stem.to_owned(), format!(".{ending}")),
        None => (name, String::new()),
    }
}

/// The files that were set aside, with when that was.
fn old_files(path: &Path) -> io::Result<Vec<(Timestamp, PathBuf)>> {
    let (stem, ending) = parts(path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let time = name.strip_prefix(&stem).and_then(|rest| rest.strip_prefix('-'));
        let time = time.and_then(|rest| rest.strip_suffix(&ending)).and_then(parse);
        found.extend(time.map(|time| (time, file)));
    }
    Ok(found)
}

fn parse(time: &str) -> Option<Timestamp> {
    let time = civil::DateTime::strptime(TIME, time).ok()?;
    time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// Puts a compressed file in the place of a plain one. A half-written one is overwritten the next time.
fn compress(file: &Path) -> io::Result<()> {
    let mut packed = file.as_os_str().to_owned();
    packed.push(".gz");
    let mut reader = File::open(file)?;
    let target = File::create(&packed)?;
    target.set_permissions(reader.metadata()?.permissions())?;
    let mut writer = GzEncoder::new(target, Compression::default());
    io::copy(&mut reader, &mut writer)?;
    writer.finish()?.sync_all()?;
    fs::remove_file(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A folder with a log and three old ones.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.log");
        for day in ["2026-01-01", "2026-01-02", "2026-01-03"] {
            fs::write(&path, day).unwrap();
            Rotation::set_aside(&path, at(&format!("{day}T10:20:30.456Z"))).unwrap();
        }
        fs::write(folder.path().join("edge-2026.log"), "not ours").unwrap();
        fs::write(&path, "now").unwrap();
        (folder, path)
    }

    #[test]
    fn old_files_are_named_by_time_and_stay_when_nothing_is_said() {
        let (folder, path) = folder();
        Rotation::new(0, 0, 0, false).tidy_up(&path, at("2030-01-01T00:00:00Z")).unwrap();
        let expected = [
            "edge-2026-01-01T10-20-30.456.log",
            "edge-2026-01-02T10-20-30.456.log",
            "edge-2026-01-03T10-20-30.456.log",
            "edge-2026.log",
            "edge.log",
        ];
        assert_eq!(names(folder.path()), expected);
    }

    #[test]
    fn those_that_are_too_many_or_too_old_go() {
        let (folder, path) = folder();
        Rotation::new(0, 0, 2, false).tidy_up(&path, at("2026-01-04T00:00:00Z")).unwrap();
        assert_eq!(names(folder.path()).len(), 4);
        Rotation::new(0, 1, 2, false).tidy_up(&path, at("2026-01-04T00:00:00Z")).unwrap();
        let expected = ["edge-2026-01-03T10-20-30.456.log", "edge-2026.log", "edge.log"];
        assert_eq!(names(folder.path()), expected);
    }

    #[test]
    fn those_that_stay_are_compressed_once() {
        let (folder, path) = folder();
        let rotation = Rotation::new(0, 0, 2, true);
        for _ in 0..2 {
            rotation.tidy_up(&path, at("2026-01-04T00:00:00Z")).unwrap();
            let expected = [
                "edge-2026-01-02T10-20-30.456.log.gz",
                "edge-2026-01-03T10-20-30.456.log.gz",
                "edge-2026.log",
                "edge.log",
            ];
            assert_eq!(names(folder.path()), expected);
        }
        let packed = File::open(folder.path().join("edge-2026-01-02T10-20-30.456.log.gz")).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
        assert_eq!(text, "2026-01-02");
    }

    #[test]
    fn two_in_one_millisecond_are_two() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for text in ["one", "two"] {
            fs::write(&path, text).unwrap();
            Rotation::set_aside(&path, at("2026-01-01T00:00:00Z")).unwrap();
        }
        assert_eq!(names(folder.path()), ["log-2026-01-01T00-00-00.000", "log-2026-01-01T00-00-00.001"]);
    }
}
