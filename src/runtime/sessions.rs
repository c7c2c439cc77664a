//! Opening a session store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::oidc::clock::SystemClock;
use crate::oidc::session::{
    CookieStore, DEFAULT_CACHED, DEFAULT_CARRIED, MemoryStore, RedisStore, SessionKeys, SessionStore,
    Sessions, SqliteStore, StoreError, StoreSettings, random_bytes,
};

/// The file of the default store.
const FILE: &str = "sessions.sqlite";

/// Opens a store. A file or a server that cannot be used is no error here: readiness tells of it, and it is tried
/// again. Redis needs a Tokio runtime around this.
///
/// # Errors
/// No folder, no random numbers, no thread.
pub fn store(settings: &StoreSettings) -> Result<Arc<dyn SessionStore>, String> {
    let told = |error: StoreError| error.to_string();
    Ok(match settings {
        StoreSettings::Memory => Arc::new(MemoryStore::new(DEFAULT_CACHED)),
        StoreSettings::Cookie => Arc::new(CookieStore::new(DEFAULT_CARRIED)),
        StoreSettings::Sqlite(named) => Arc::new(SqliteStore::open(path(named.as_deref())?).map_err(told)?),
        StoreSettings::Redis(redis) => Arc::new(RedisStore::open((**redis).clone()).map_err(told)?),
    })
}

/// Where the file of an SQLite store is.
///
/// # Errors
/// None is named, and the environment names no folder.
pub fn path(named: Option<&Path>) -> Result<PathBuf, String> {
    named.map_or_else(|| Ok(state_folder()?.join(FILE)), |path| Ok(path.to_owned()))
}

/// The sessions of a store.
///
/// # Errors
/// No random numbers.
pub fn over(store: Arc<dyn SessionStore>) -> Result<Sessions, String> {
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
        let file = StoreSettings::Sqlite(Some(folder.join(FILE)));
        store(&file).unwrap().count().await.unwrap();
        let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
