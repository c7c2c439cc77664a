//! Client assertions (RFC 7523, section 3): short, used once, for one provider.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde_json::json;
use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

use super::signer::{KeyFault, Signer};
use crate::oidc::session::random_bytes;

/// How long an assertion holds.
const LIFE: Duration = Duration::from_secs(60);

/// Longest key file, in bytes.
const MAX_KEY: u64 = 64 * 1024;

/// Where the key is.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// In the configuration.
    Fixed(Arc<Signer>),
    /// In a file, which may change while we run.
    File(Arc<KeyFile>),
}

/// A key in a file, read again for each assertion and parsed when it has changed.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    algorithm: &'static str,
    current: ArcSwapOption<Loaded>,
}

struct Loaded {
    pem: Zeroizing<Vec<u8>>,
    signer: Arc<Signer>,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.signer.fmt(f)
    }
}

/// Makes assertions.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// The key.
    pub key: KeySource,
    /// Its `kid`.
    pub key_id: Option<String>,
}

/// Why there is no assertion.
#[derive(Debug, thiserror::Error)]
pub enum AssertionError {
    /// The key file cannot be read.
    #[error("clientAssertionKeyPath: cannot read {path}: {source}")]
    File {
        /// Path.
        path: String,
        /// Reason.
        source: std::io::Error,
    },
    /// It holds no fitting key.
    #[error("clientAssertionKeyPath: {0} {1}")]
    Key(String, KeyFault),
    /// Signing failed.
    #[error("client assertion: {0}")]
    Signing(#[from] KeyFault),
    /// No random numbers.
    #[error("client assertion: no random numbers")]
    Random,
}

impl KeySource {
    /// The key in the file at `path`, which signs by `algorithm`. Not read yet.
    pub fn file(path: impl Into<PathBuf>, algorithm: &'static str) -> Self {
        Self::File(Arc::new(KeyFile { path: path.into(), algorithm, current: ArcSwapOption::empty() }))
    }
}

impl Assertion {
    /// Assertions by the client secret.
    pub(super) fn by_secret(secret: &SecretString) -> Self {
        Self { key: KeySource::Fixed(Arc::new(Signer::from_secret(secret))), key_id: None }
    }

    /// Reads a key file now.
    ///
    /// # Errors
    /// [`AssertionError::File`] and [`AssertionError::Key`].
    pub(super) fn load(&self) -> Result<(), AssertionError> {
        let KeySource::File(file) = &self.key else { return Ok(()) };
        let pem = std::fs::read(&file.path).map_err(|source| file.unreadable(source))?;
        file.take(Zeroizing::new(pem)).map(drop)
    }

    /// An assertion towards `audience` that `client_id` is who is asking.
    pub(super) async fn sign(&self, client_id: &str, audience: &str) -> Result<SecretString, AssertionError> {
        let signer = match &self.key {
            KeySource::Fixed(signer) => Arc::clone(signer),
            KeySource::File(file) => file.signer().await?,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = random_bytes::<16>().map_err(|_| AssertionError::Random)?;
        let mut header = json!({ "alg": signer.name(), "typ": "JWT" });
        if let (Some(kid), Some(header)) = (&self.key_id, header.as_object_mut()) {
            header.insert("kid".to_owned(), json!(kid));
        }
        let claims = json!({
            "iss": client_id, "sub": client_id, "aud": audience, "jti": URL_SAFE_NO_PAD.encode(id),
            "iat": now.as_secs(), "exp": (now + LIFE).as_secs(),
        });
        let encode = |part: &serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let signature = signer.sign(message.as_bytes())?;
        Ok(SecretString::from(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

impl KeyFile {
    /// The present key. A file that is gone or half written must not end logins: the last good key
    /// serves on.
    async fn signer(&self) -> Result<Arc<Signer>, AssertionError> {
        let fresh = match read(&self.path).await {
            Ok(pem) => self.take(pem),
            Err(source) => Err(self.unreadable(source)),
        };
        match (fresh, self.current.load_full()) {
            (Err(error), Some(last)) => {
                tracing::warn!(%error, "client assertions are signed with the last good key");
                Ok(Arc::clone(&last.signer))
            }
            (result, _) => result,
        }
    }

    fn take(&self, pem: Zeroizing<Vec<u8>>) -> Result<Arc<Signer>, AssertionError> {
        if let Some(current) = self.current.load_full().filter(|current| *current.pem == *pem) {
            return Ok(Arc::clone(&current.signer));
        }
        let signer = Signer::from_pem(&pem, self.algorithm)
            .map_err(|fault| AssertionError::Key(self.path.display().to_string(), fault))?;
        let signer = Arc::new(signer);
        self.current.store(Some(Arc::new(Loaded { pem, signer: Arc::clone(&signer) })));
        Ok(signer)
    }

    fn unreadable(&self, source: std::io::Error) -> AssertionError {
        AssertionError::File { path: self.path.display().to_string(), source }
    }
}

async fn read(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut pem = Zeroizing::new(Vec::new());
    tokio::fs::File::open(path).await?.take(MAX_KEY).read_to_end(&mut pem).await?;
    Ok(pem)
}
