//! A small OpenID provider: it serves the demo and, with faults scripted from outside, the tests.
//!
//! Code flow with PKCE (S256), ID tokens in RS256 or ES256, single-use refresh tokens whose reuse ends the grant,
//! access tokens for machines (client credentials) and as JWT where an `audience` or `resource` is asked for,
//! userinfo, introspection, RP-initiated logout, revocation, registration of clients where that is asked for. Passwords
//! do not exist: whoever sees the login page picks a person,
//! which is why it listens on loopback only.

mod access_token;
mod account;
mod authorize;
mod claims;
mod discovery;
mod event;
mod fault;
mod introspection;
mod keys;
mod ledger;
mod logout;
mod options;
mod register;
mod state_file;
mod token;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use event::Event;
pub use fault::{Answer, Counters, Endpoint, Fault, Gate};
pub use keys::{CryptoError, Forgery};
pub use options::{Client, EventSink, ProviderOptions, Quirks, Rotation, Signing, User};
pub use register::Registration;

use keys::KeyRing;
use ledger::{Ledger, Millis, millis};
use wire::{Line, Lines, Wire};

/// The provider could not start, or could not do what its handle asked.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It listens on loopback only, because its login page asks for no password.
    #[error("the demo's OpenID provider listens on loopback only, not on {0}")]
    NotLoopback(SocketAddr),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The state file cannot be read or written.
    #[error("state file {path}: {reason}")]
    State {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// No key could be made.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// A document that a test may change before it leaves the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// The metadata.
    Discovery,
    /// Claims of an ID token, before it is signed.
    IdToken,
    /// The answer of the userinfo endpoint.
    Userinfo,
    /// The successful answer of the token endpoint.
    TokenResponse,
    /// Claims of an access token that is a JWT, before it is signed.
    AccessToken,
    /// The answer of the introspection endpoint.
    Introspection,
}

/// Changes a document; called for every one that is made.
pub type Tamper = Arc<dyn Fn(Document, &mut Map<String, Value>) + Send + Sync>;

/// What every request sees.
pub(super) struct Shared {
    options: ProviderOptions,
    /// `scheme://host:port`, no slash.
    origin: String,
    clients: Mutex<Vec<Client>>,
    keys: Mutex<KeyRing>,
    ledger: Mutex<Ledger>,
    faults: Mutex<Vec<Fault>>,
    counters: watch::Sender<Counters>,
    tamper: Mutex<Option<Tamper>>,
    forgery: Mutex<Option<Forgery>>,
    quirks: Quirks,
    /// Access token life in milliseconds; tests shorten it while the provider runs.
    access_life: AtomicU32,
    state_file: state_file::StateFile,
}

/// A secret of 256 bits as text, for a client or a cookie key.
pub(super) fn random_secret() -> Result<String, CryptoError> {
    keys::random_text()
}

/// A lock is only poisoned by a panic of ours elsewhere; the demo's data is as good as before it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn issuer(&self) -> String {
        let slash = if self.quirks().issuer_slash { "/" } else { "" };
        format!("{}{slash}", self.origin)
    }

    fn quirks(&self) -> Quirks {
        self.quirks
    }

    fn client(&self, id: &str) -> Option<Client> {
        locked(&self.clients).iter().find(|client| client.id == id).cloned()
    }

    fn user(&self, name: &str) -> Option<&User> {
        self.options.users.iter().find(|user| user.name == name)
    }

    fn now(&self) -> Millis {
        millis(SystemTime::now())
    }

    fn access_life(&self) -> Duration {
        Duration::from_millis(self.access_life.load(Ordering::Relaxed).into())
    }

    fn emit(&self, event: &Event) {
        if let Some(sink) = &self.options.events {
            sink(event);
        }
    }

    fn count(&self, name: &str) {
        self.counters.send_modify(|counters| *counters.0.entry(name.to_owned()).or_insert(0) += 1);
    }

    fn take_fault(&self, path: &str, grant_type: Option<&str>) -> Option<Fault> {
        fault::take(&mut locked(&self.faults), path, grant_type)
    }

    fn tampered(&self, document: Document, mut members: Map<String, Value>) -> Map<String, Value> {
        let tamper = locked(&self.tamper).clone();
        if let Some(tamper) = tamper {
            tamper(document, &mut members);
        }
        members
    }

    /// Writes the state file, if there is one. A failure is a warning: the demo goes on without memory.
    async fn save(&self) {
        let made = || {
            // As everywhere: who needs both locks takes the ledger's first.
            let ledger = locked(&self.ledger);
            state_file::to_json(&locked(&self.keys), &ledger)
        };
        if let Err(error) = self.state_file.write(made).await {
            tracing::warn!(%error, "the demo provider's state is not saved");
        }
    }
}

/// A running provider. Dropping it stops it.
pub struct Provider {
    shared: Arc<Shared>,
    address: SocketAddr,
    lines: Lines,
    server: Mutex<Option<JoinHandle<()>>>,
}

impl Provider {
    /// Starts a provider on the current Tokio runtime; it answers when this returns.
    ///
    /// # Errors
    /// When the address is not loopback or taken, the state file is unreadable or no key can be made.
    pub async fn start(options: ProviderOptions) -> Result<Self, ProviderError> {
        if !options.listen.ip().is_loopback() {
            return Err(ProviderError::NotLoopback(options.listen));
        }
        let (keys, ledger) = match &options.state_file {
            Some(path) => state_file::read(path, options.signing).await?,
            None => None,
        }
        .map_or_else(|| Ok((KeyRing::generate(options.signing)?, Ledger::default())), Ok::<_, CryptoError>)?;
        let listener = listen(options.listen).await?;
        let address = listener
            .local_addr()
            .map_err(|source| ProviderError::Listen { address: options.listen, source })?;
        let shared = Arc::new(Shared {
            origin: format!("http://{address}"),
            clients: Mutex::new(options.clients.clone()),
            keys: Mutex::new(keys),
            ledger: Mutex::new(ledger),
            faults: Mutex::default(),
            counters: watch::Sender::new(Counters(BTreeMap::new())),
            tamper: Mutex::default(),
            forgery: Mutex::default(),
            quirks: options.quirks,
            access_life: AtomicU32::new(clamped_millis(options.access_token_ttl)),
            state_file: state_file::StateFile::new(options.state_file.clone()),
            options,
        });
        shared.save().await;
        let provider = Self { shared, address, lines: Lines::default(), server: Mutex::default() };
        provider.serve(listener);
        Ok(provider)
    }

    fn serve(&self, listener: TcpListener) {
        let wire = Wire { listener, lines: self.lines.clone() };
        let service = routes(Arc::clone(&self.shared)).into_make_service_with_connect_info::<Line>();
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(wire, service).await {
                tracing::error!(%error, "the demo provider stopped");
            }
        });
        *locked(&self.server) = Some(server);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its issuer identifier.
    pub fn issuer(&self) -> String {
        self.shared.issuer()
    }

    /// Adds a client, or replaces the one of that id.
    pub fn register(&self, client: Client) {
        let mut clients = locked(&self.shared.clients);
        clients.retain(|known| known.id != client.id);
        clients.push(client);
    }

    /// The clients that it knows, those that registered themselves among them.
    pub fn clients(&self) -> Vec<Client> {
        locked(&self.shared.clients).clone()
    }

    /// Takes the provider off the network: nothing listens, open connections are cut. Its memory stays.
    pub async fn go_offline(&self) {
        let server = locked(&self.server).take();
        if let Some(server) = server {
            server.abort();
            // The listener is closed when its task is gone; the abort is the expected error.
            let _ = server.await;
        }
        self.lines.cut_all();
    }

    /// Brings it back on the same address.
    ///
    /// # Errors
    /// When something else took the address meanwhile.
    pub async fn go_online(&self) -> Result<(), ProviderError> {
        let listener = listen(self.address).await?;
        self.serve(listener);
        Ok(())
    }

    /// Scripts a fault; earlier ones come first.
    pub fn add_fault(&self, fault: Fault) {
        locked(&self.shared.faults).push(fault);
    }

    /// Forgets all scripted faults.
    pub fn clear_faults(&self) {
        locked(&self.shared.faults).clear();
    }

    /// What arrived so far.
    pub fn counters(&self) -> Counters {
        self.shared.counters.borrow().clone()
    }

    /// Returns once `reached` holds for the counters; the caller sets the deadline.
    pub async fn counted(&self, reached: impl Fn(&Counters) -> bool) {
        let mut changes = self.shared.counters.subscribe();
        // The sender lives in `self`, so the only error, its end, cannot happen while we wait.
        let _ = changes.wait_for(|counters| reached(counters)).await;
    }

    /// Signs with a new key. The old one stays published, or what it signed becomes unverifiable.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn rotate_keys(&self, keep_old: bool) -> Result<(), ProviderError> {
        Ok(locked(&self.shared.keys).rotate(keep_old)?)
    }

    /// A logout token for `client` about `target` (members such as `sid` and `sub`), for whoever wants to send it
    /// (OpenID Connect Back-Channel Logout 1.0 section 2.4). The provider sends none by itself.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn logout_token(&self, client: &str, target: Map<String, Value>) -> Result<String, ProviderError> {
        let issued = self.shared.now() / 1000;
        let mut claims = Map::new();
        for (name, value) in [
            ("iss", self.issuer().into()),
            ("aud", client.into()),
            ("iat", issued.into()),
            ("exp", issued.saturating_add(120).into()),
            ("jti", keys::random_text()?.into()),
            ("events", serde_json::json!({ "http://schemas.openid.net/event/backchannel-logout": {} })),
        ] {
            claims.insert(name.to_owned(), value);
        }
        claims.extend(target);
        self.sign("JWT", &claims, None)
    }

    /// Any claims as a token of type `typ`, for whoever wants to see what becomes of it.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn sign(
        &self,
        typ: &str,
        claims: &Map<String, Value>,
        forgery: Option<Forgery>,
    ) -> Result<String, ProviderError> {
        Ok(locked(&self.shared.keys).sign(typ, claims, forgery)?)
    }

    /// Changes every document by `tamper` from now on; none ends it.
    pub fn tamper(&self, tamper: Option<Tamper>) {
        *locked(&self.shared.tamper) = tamper;
    }

    /// Signs ID tokens wrongly from now on; none ends it.
    pub fn forge(&self, forgery: Option<Forgery>) {
        *locked(&self.shared.forgery) = forgery;
    }

    /// Life of the access and ID tokens issued from now on.
    pub fn set_access_token_ttl(&self, ttl: Duration) {
        self.shared.access_life.store(clamped_millis(ttl), Ordering::Relaxed);
    }

    /// Ends every grant: the next use of any token is refused.
    pub fn end_all_grants(&self) {
        locked(&self.shared.ledger).end_all_grants();
    }

    /// Makes every living access token expire now, as the provider sees it.
    pub fn expire_access_tokens(&self) {
        let now = self.shared.now();
        locked(&self.shared.ledger).expire_access_tokens(now);
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Some(server) = locked(&self.server).take() {
            server.abort();
        }
        self.lines.cut_all();
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ProviderError> {
    TcpListener::bind(address).await.map_err(|source| ProviderError::Listen { address, source })
}

fn clamped_millis(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX)
}

fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(Endpoint::Discovery.path(), get(discovery::metadata))
        .route(Endpoint::Jwks.path(), get(discovery::jwks))
        .route(Endpoint::Authorize.path(), get(authorize::ask).post(authorize::answer))
        .route(Endpoint::Token.path(), post(token::token))
        .route(Endpoint::Userinfo.path(), get(account::userinfo).post(account::userinfo))
        .route(Endpoint::Revocation.path(), post(account::revoke))
        .route(Endpoint::Introspection.path(), post(introspection::introspect))
        .route(Endpoint::Registration.path(), post(register::register))
        .route(Endpoint::EndSession.path(), get(logout::by_query).post(logout::by_form))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&shared), fault::layer))
        .layer(DefaultBodyLimit::max(fault::MOST_BODY))
        .with_state(shared)
}

#[cfg(test)]
mod tests;
