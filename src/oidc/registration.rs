//! A client that registers itself (RFC 7591), in the background, as discovery runs.
//!
//! ```text
//!            there, and good                         the secret ends soon, or the provider refuses the client
//! store ───▶ used; looked at again now and then ───▶ lease ─▶ registration request ─▶ checked ─▶ kept in the store
//!   └─ none ─────────────────────────────────────────┘
//! ```
//!
//! The client is kept where the sessions are, so a restart finds it, and of several processes one registers for all.
//! While there is none, logins get 503. What sessions and cookies belong to is not the identifier that the provider
//! gives but what is registered ([`RegistrationSettings::client_name`]), so they outlive a new registration. Their refresh
//! tokens are the former client's, which is kept for them until its secret ends. What is of no use any more is deleted at
//! the provider, if it has said how.
//!
//! [`RegistrationSettings::client_name`]: super::settings::RegistrationSettings::client_name

mod answer;
mod kept;
mod probe;
mod request;
mod retired;
mod task;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest::{Context, SHA256};
use dashmap::DashMap;
use secrecy::ExposeSecret;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::client_auth::Credentials;
use super::provider::Provider;
use super::session::{ScopeId, Sessions};
use super::settings::{InitialAccessToken, RegistrationSettings, Settings};

/// A client that registers itself. Dropping the last handle ends its background task.
pub(super) struct Registration {
    inner: Arc<Inner>,
    task: AbortHandle,
}

struct Inner {
    settings: RegistrationSettings,
    /// What the client can prove itself with beside a secret.
    template: Credentials,
    provider: Arc<Provider>,
    sessions: Sessions,
    scope: ScopeId,
    clients: ArcSwapOption<Clients>,
    /// Whether the first attempt is over.
    tried: watch::Sender<bool>,
    /// The identifier that the provider has refused.
    refused: Mutex<Option<String>>,
    look_again: Notify,
    /// When the provider was last asked whether it knows the client, in milliseconds since 1970.
    probed: tokio::sync::Mutex<Option<u64>>,
}

/// The client, and the one before it while its secret holds.
struct Clients {
    current: Arc<Credentials>,
    former: Option<Arc<Credentials>>,
}

impl Registration {
    fn spawn(settings: &Settings, registration: &RegistrationSettings, at: Place<'_>) -> Arc<Self> {
        let inner = Arc::new(Inner {
            settings: registration.clone(),
            template: settings.credentials.clone(),
            provider: Arc::clone(at.provider),
            sessions: at.sessions.clone(),
            scope: at.scope,
            clients: ArcSwapOption::empty(),
            tried: watch::Sender::new(false),
            refused: Mutex::default(),
            look_again: Notify::new(),
            probed: tokio::sync::Mutex::default(),
        });
        let task = at.provider.runtime().spawn(task::keep_registered(Arc::clone(&inner)));
        Arc::new(Self { inner, task: task.abort_handle() })
    }

    /// The client, if there is one.
    pub(super) fn current(&self) -> Option<Arc<Credentials>> {
        self.inner.current()
    }

    /// The one before it, while its secret holds.
    pub(super) fn former(&self) -> Option<Arc<Credentials>> {
        self.inner.clients.load().as_ref()?.former.clone()
    }

    /// The client; waits while the first attempt is under way, at most `patience`.
    pub(super) async fn within(&self, patience: Duration) -> Option<Arc<Credentials>> {
        if !*self.inner.tried.borrow() {
            let mut tried = self.inner.tried.subscribe();
            let _ = tokio::time::timeout(patience, tried.wait_for(|tried| *tried)).await;
        }
        self.current()
    }

    /// The provider does not know this client.
    pub(super) fn refused(&self, client: &Credentials) {
        if self.inner.refuse(client) {
            self.inner.look_again.notify_one();
        }
    }
}

impl Inner {
    fn current(&self) -> Option<Arc<Credentials>> {
        self.clients.load().as_ref().map(|clients| Arc::clone(&clients.current))
    }

    /// Notes that the provider does not know the present client; whether that is news. A refusal of the former one says
    /// nothing of it.
    fn refuse(&self, client: &Credentials) -> bool {
        if self.current().is_none_or(|current| current.id != client.id) {
            return false;
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.replace(client.id.clone()).as_ref() != Some(&client.id)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where a client belongs.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) provider: &'a Arc<Provider>,
    pub(super) sessions: &'a Sessions,
    pub(super) scope: ScopeId,
}

/// The clients of one provider that register themselves: equal ones are one, and a reload finds them again.
#[derive(Default)]
pub(super) struct Registrations(DashMap<[u8; 32], Vec<Weak<Registration>>>);

impl Registrations {
    /// The client of `settings`, started if it is not in use yet.
    pub(super) fn get(
        &self,
        settings: &Settings,
        registration: &RegistrationSettings,
        at: Place<'_>,
    ) -> Arc<Registration> {
        self.0.retain(|_, known| {
            known.retain(|weak| weak.strong_count() > 0);
            !known.is_empty()
        });
        let mut known = self.0.entry(identity(settings, registration, at.scope)).or_default();
        let living = known.iter().filter_map(Weak::upgrade);
        let same_store = |known: &Arc<Registration>| known.inner.sessions.is_same_store(at.sessions);
        if let Some(found) = living.into_iter().find(same_store) {
            return found;
        }
        let started = Registration::spawn(settings, registration, at);
        known.push(Arc::downgrade(&started));
        started
    }
}

/// A digest of all that a registration is made of, beside the provider and the store.
fn identity(settings: &Settings, registration: &RegistrationSettings, scope: ScopeId) -> [u8; 32] {
    let mut digest = Context::new(&SHA256);
    let mut add = |text: &str| {
        digest.update(&text.len().to_le_bytes());
        digest.update(text.as_bytes());
    };
    add(&registration.client_name());
    add(&scope.tag());
    add(settings.key.expose_secret());
    settings.previous_keys.iter().for_each(|key| add(key.expose_secret()));
    match &registration.access_token {
        None => add(""),
        Some(InitialAccessToken::Fixed(token)) => add(token.expose_secret()),
        Some(InitialAccessToken::File(path)) => add(&path.display().to_string()),
    }
    // An assertion's key is known by its own debug form, which holds no secret.
    add(&format!("{:?}", settings.credentials));
    let mut identity = [0; 32];
    identity.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
    identity
}
