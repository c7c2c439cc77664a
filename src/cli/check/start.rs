//! What would keep the process from starting: settings that only whoever applies them can judge, and logs that cannot be
//! written.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use rustix::fs::{Access, access};

use crate::config::entry_point::EntryPoint;
use crate::config::{ConfigError, StaticConfig, address, validate};
use crate::entrypoint::Settings;
use crate::observe::Metrics;
use crate::runtime::entry_points;

/// Everything of it. Nothing is written.
pub fn faults(config: &StaticConfig) -> Vec<ConfigError> {
    let mut faults = Vec::new();
    for (name, entry_point) in entry_points::effective(config) {
        let settings = Settings::from_config(&entry_point);
        faults.extend(
            settings.err().map(|error| ConfigError::new(format!("entryPoints.{name}"), error.to_string())),
        );
    }
    faults.extend(collisions(config));
    let prometheus = config.metrics.as_ref().and_then(|metrics| metrics.prometheus.as_ref());
    let metrics = Metrics::new(prometheus).err();
    faults.extend(metrics.map(|error| ConfigError::new("metrics.prometheus", error.to_string())));
    let logs = [
        ("log.filePath", config.log.as_ref().map(|log| &log.file_path)),
        ("accessLog.filePath", config.access_log.as_ref().map(|log| &log.file_path)),
        ("oidc.audit.filePath", config.oidc.audit.as_ref().map(|log| &log.file_path)),
    ];
    for (key, path) in logs {
        let path = path.and_then(|path| path.as_deref()).filter(|path| !path.is_empty());
        if let Some(error) = path.and_then(|path| can_append(Path::new(path)).err()) {
            faults.push(ConfigError::new(key, format!("cannot open {}: {error}", path.unwrap_or_default())));
        }
    }
    faults
}

/// Entry points that listen where one does that is made without being written.
fn collisions(config: &StaticConfig) -> Vec<ConfigError> {
    let all = entry_points::effective(config);
    let address = |entry_point: &EntryPoint| address::parse(&entry_point.address).ok();
    let made = all.iter().filter(|(name, _)| !config.entry_points.contains_key(*name));
    let pairs = made.flat_map(|made| config.entry_points.iter().map(move |written| (made, written)));
    let told = pairs.filter_map(|((made, there), (written, here))| {
        let message = format!(
            "entry point `{made}`, which ping, metrics or the API bring along, listens on {} already; write one of \
             that name with another address",
            there.address
        );
        let collide = validate::collide(address(there)?, address(here)?);
        collide.then(|| ConfigError::new(format!("entryPoints.{written}.address"), message))
    });
    told.collect()
}

/// Whether lines could be appended to the file at `path`, which would be made with its folders if it is not there.
fn can_append(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if found.is_file() => OpenOptions::new().append(true).open(path).map(drop),
        // Opening a pipe would wait for its reader.
        Ok(_) => Ok(access(path, Access::WRITE_OK)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => can_create(path),
        Err(error) => Err(error),
    }
}

fn can_create(path: &Path) -> io::Result<()> {
    let folders = path.ancestors().skip(1);
    let folders = folders.map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    for folder in folders {
        match fs::metadata(folder) {
            Ok(found) if found.is_dir() => return Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?),
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_judged_without_being_made() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "x").unwrap();
        for good in ["file", "new", "a/b/new"] {
            assert!(can_append(&at(good)).is_ok(), "{good}");
        }
        for bad in [at(""), at("file/new"), "/dev/null/new".into()] {
            assert!(can_append(&bad).is_err(), "{}", bad.display());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read(at("file")).unwrap(), b"x");
    }
}
