//! A provider's keys, and asking for them again because of a token that none of them fits.
//!
//! Nobody waits for a lookup that may not be made. Two kinds of token may ask for one, each as often as its
//! [`Source`] says, so that strangers who make up key ids take nothing from logins and refreshes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Inner, Provider};
use crate::oidc::jwks::KeySet;
use crate::oidc::metadata::Metadata;

/// Where a token comes from: how often a key that is not known may be looked up for its sake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The provider, which has answered a call of ours: nobody else can make it name a key.
    Provider,
    /// Anybody who can send a request.
    Anybody,
}

impl Source {
    /// At most one lookup in this time.
    pub const fn pause(self) -> Duration {
        match self {
            Self::Provider => Duration::from_secs(1),
            Self::Anybody => Duration::from_secs(10),
        }
    }
}

/// Keys as the provider has published them.
#[derive(Debug)]
pub struct Published {
    /// The keys.
    pub set: KeySet,
    /// When they were asked for. Of a token that is newer than this they prove nothing but that it is good.
    pub asked: Instant,
}

/// The provider's keys could not be fetched, or may not be asked for at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keys of the OpenID provider could not be fetched")]
pub struct NoKeys;

/// The lookup under way, and when there may be another.
#[derive(Default)]
pub(super) struct Lookups(Mutex<State>);

#[derive(Default)]
struct State {
    /// Closes when the lookup is over.
    under_way: Option<watch::Receiver<()>>,
    /// Whether the last one has brought keys.
    came: bool,
    rests: Rests,
}

/// When each source may ask again.
#[derive(Default)]
struct Rests {
    provider: Option<Instant>,
    anybody: Option<Instant>,
}

/// What becomes of whoever wants a lookup.
enum Turn {
    /// This one is for them, too.
    Join(watch::Receiver<()>),
    /// None before this time.
    Rest(Instant),
    /// None, and the last one has failed.
    Refused,
}

impl Lookups {
    /// Held for a few instructions.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rests {
    fn of(&mut self, source: Source) -> &mut Option<Instant> {
        match source {
            Source::Provider => &mut self.provider,
            Source::Anybody => &mut self.anybody,
        }
    }
}

impl Provider {
    /// The present keys.
    pub fn keys(&self) -> Option<Arc<Published>> {
        self.inner.keys.load_full()
    }

    /// Other keys than `known`, of which none fits a token of this source: what has come meanwhile, or what the provider
    /// publishes now. All who ask at the same time share one fetch. For a token of the provider's own the next one is
    /// waited for; anybody else's is told at once.
    ///
    /// # Errors
    /// [`NoKeys`]: nobody can say what the provider signs with now.
    pub async fn newer_keys(
        &self,
        known: Option<&Arc<Published>>,
        source: Source,
    ) -> Result<Arc<Published>, NoKeys> {
        let newer = || {
            let is_newer = |keys: &Arc<Published>| known.is_none_or(|known| !Arc::ptr_eq(keys, known));
            self.keys().filter(is_newer)
        };
        loop {
            if let Some(newer) = newer() {
                return Ok(newer);
            }
            match self.inner.turn(self.metadata().ok_or(NoKeys)?, source) {
                Turn::Join(mut lookup) => {
                    // It ends by being closed.
                    let _ = lookup.changed().await;
                    return newer().ok_or(NoKeys);
                }
                Turn::Rest(until) if source == Source::Provider => tokio::time::sleep_until(until).await,
                Turn::Rest(_) | Turn::Refused => return Err(NoKeys),
            }
        }
    }
}

impl Inner {
    /// Takes over keys that were asked for at `asked`, unless others were asked for later.
    pub(super) fn publish(&self, set: KeySet, asked: Instant) {
        let published = Arc::new(Published { set, asked });
        self.keys.rcu(|present| match present {
            Some(present) if present.asked > asked => Some(Arc::clone(present)),
            _ => Some(Arc::clone(&published)),
        });
    }

    /// Joins the lookup under way, or begins one if the source may.
    fn turn(self: &Arc<Self>, metadata: Arc<Metadata>, source: Source) -> Turn {
        let mut state = self.lookups.lock();
        if let Some(lookup) = state.under_way.as_ref().filter(|lookup| lookup.has_changed().is_ok()) {
            return Turn::Join(lookup.clone());
        }
        let came = state.came;
        if let Some(until) = state.rests.of(source).filter(|until| Instant::now() < *until) {
            return if came { Turn::Rest(until) } else { Turn::Refused };
        }
        let (ends, lookup) = watch::channel(());
        state.under_way = Some(lookup.clone());
        // A task of its own: whoever has caused it may go away, and others wait for it.
        self.runtime.spawn(Arc::clone(self).look_up(metadata, source, ends));
        Turn::Join(lookup)
    }

    async fn look_up(self: Arc<Self>, metadata: Arc<Metadata>, source: Source, ends: watch::Sender<()>) {
        self.events.keys_fetched(&self.issuer);
        let asked = Instant::now();
        let fetched = self.fetch_keys(&metadata).await;
        let came = fetched.is_ok();
        match fetched {
            Ok(set) => self.publish(set, asked),
            Err(error) => {
                tracing::warn!(issuer = self.issuer, cause = %error, "keys of the OpenID provider not fetched");
            }
        }
        {
            let mut state = self.lookups.lock();
            (state.under_way, state.came) = (None, came);
            *state.rests.of(source) = Some(Instant::now() + source.pause());
        }
        drop(ends);
    }
}
