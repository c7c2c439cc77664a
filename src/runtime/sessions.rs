//! The session store of this process and where it lies.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::oidc::clock::SystemClock;
use crate::oidc::session::{
    DEFAULT_CACHED, MemoryStore, SessionKeys, SessionStore, Sessions, SqliteStore, random_bytes,
};

/// The file of the default store.
const FILE: &str = "sessions.sqlite";

/// Opens the sessions of this machine: a second process shares them by the same file. The folder is made if it is
/// missing, for nobody else.
///
/// # Errors
/// No random numbers, no thread. A folder or file that cannot be used is no error here: readiness tells of it, and it
/// is tried again.
pub fn open(folder: &Path) -> Result<Sessions, String> {
    let store = SqliteStore::open(folder.join(FILE)).map_err(|error| error.to_string())?;
    over(Arc::new(store))
}

/// The file of the default store.
///
/// # Errors
/// The environment names no folder.
pub fn file() -> Result<PathBuf, String> {
    Ok(state_folder()?.join(FILE))
}

/// Sessions that end with the process.
///
/// # Errors
/// No random numbers.
pub fn in_memory() -> Result<Sessions, String> {
    over(Arc::new(MemoryStore::new(DEFAULT_CACHED)))
}

fn over(store: Arc<dyn SessionStore>) -> Result<Sessions, String> {
    // Each policy looks at the sessions with its own secret; this one opens nothing.
    let nobody: [u8; 32] = random_bytes().map_err(|error| error.to_string())?;
    let secret: String = nobody.iter().map(|byte| format!("{byte:02x}")).collect();
    let keys = SessionKeys::new(&[secret.into()]).map_err(|error| error.to_string())?;
    Sessions::new(store, Arc::new(keys), Arc::new(SystemClock), DEFAULT_CACHED)
        .map_err(|error| error.to_string())
}

/// `$STATE_DIRECTORY`, which systemd sets, else the user's state folder (XDG).
///
/// # Errors
/// The environment names neither.
pub fn state_folder() -> Result<PathBuf, String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(given) = variable("STATE_DIRECTORY") {
        // systemd joins several with colons.
        return Ok(PathBuf::from(given.split(':').next().unwrap_or(&given)));
    }
    if let Some(state) = variable("XDG_STATE_HOME").filter(|path| path.starts_with('/')) {
        return Ok(Path::new(&state).join("portcullis"));
    }
    match variable("HOME") {
        Some(home) => Ok(Path::new(&home).join(".local/state/portcullis")),
        None => Err("no place for sessions: set STATE_DIRECTORY, XDG_STATE_HOME or HOME".to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn the_folder_is_closed_to_others() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("state/portcullis");
        open(&folder).unwrap().count().await.unwrap();
        let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
