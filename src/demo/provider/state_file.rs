//! The provider's memory on disk, so that a login outlives a restart of the demo.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::ProviderError;
use super::keys::{CryptoError, KeyRing, SigningKey};
use super::ledger::Ledger;
use super::options::Signing;
use crate::demo::private_file;

#[derive(Serialize)]
struct Written<'a> {
    algorithm: &'a str,
    kid: String,
    pkcs8: String,
    ledger: &'a Ledger,
}

#[derive(Deserialize)]
struct Read {
    algorithm: String,
    kid: String,
    pkcs8: String,
    ledger: Ledger,
}

fn name(signing: Signing) -> &'static str {
    match signing {
        Signing::Rs256 => "RS256",
        Signing::Es256 => "ES256",
    }
}

pub(super) fn to_json(keys: &KeyRing, ledger: &Ledger) -> Result<Vec<u8>, CryptoError> {
    let (kid, pkcs8) = keys.active.to_stored()?;
    let written = Written { algorithm: name(keys.signing), kid, pkcs8, ledger };
    serde_json::to_vec(&written).map_err(|_| CryptoError)
}

/// Reads the file; none if there is none yet, or if it is of another algorithm and so of no use.
pub(super) async fn read(path: &Path, signing: Signing) -> Result<Option<(KeyRing, Ledger)>, ProviderError> {
    let bad = |reason: String| ProviderError::State { path: path.display().to_string(), reason };
    let text = match tokio::fs::read(path).await {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(bad(error.to_string())),
    };
    let read: Read = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    if read.algorithm != name(signing) {
        return Ok(None);
    }
    let active = SigningKey::from_stored(&read.kid, signing, &read.pkcs8)?;
    Ok(Some((KeyRing { signing, active, retired: Vec::new() }, read.ledger)))
}

/// Where the memory goes; writers queue, so that the newest state is the last to be written.
pub(super) struct StateFile {
    path: Option<PathBuf>,
    turn: Mutex<()>,
}

impl StateFile {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self { path, turn: Mutex::new(()) }
    }

    /// Replaces the file by what `make` returns.
    pub(super) async fn write(
        &self,
        make: impl FnOnce() -> Result<Vec<u8>, CryptoError>,
    ) -> Result<(), ProviderError> {
        let Some(path) = &self.path else { return Ok(()) };
        let _turn = self.turn.lock().await;
        let text = make()?;
        let to = path.clone();
        let written = tokio::task::spawn_blocking(move || private_file::replace(&to, &text)).await;
        let reason = match written {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Err(ProviderError::State { path: path.display().to_string(), reason })
    }
}
