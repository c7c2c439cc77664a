//! From configuration to what requests are served by, and what outlives a change of it.
//!
//! [`Runtime::apply`] compiles what a provider sent and swaps routing and TLS as wholes. A fragment
//! that did not decode changes nothing; an item that does not work disables itself only.

mod chains;
mod compile;
mod counted_store;
pub mod entry_points;
mod events;
mod kept;
mod middlewares;
mod names;
mod redirect;
mod routers;
mod services;
mod sessions;
mod stores;
mod tls;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Mutex, watch};

pub use compile::{Compiled, compile};
pub use kept::Kept;
pub use middlewares::{check_blocks, plugin_blocks};
pub use stores::{OpenStore, Sight};

use crate::config::dynamic::DynamicConfig;
use crate::config::entry_point::EntryPoint;
use crate::config::{ConfigError, ConfigErrors, StaticConfig};
use crate::observe::metrics::CertificateExpiry;
use crate::provider::{Event, Fragment};
use crate::proxy::Snapshot;
use crate::tls::TlsSnapshot;

/// How long a new configuration waits for the first answers about names that it brings.
const FIRST_NAMES: Duration = Duration::from_secs(2);

/// What became of the last event: a line for the operator.
pub type Outcome = Result<String, String>;

/// The state that requests are served by.
pub struct Runtime {
    fixed: ArcSwap<StaticConfig>,
    kept: Kept,
    /// What a provider sent last that decoded.
    fragment: ArcSwapOption<Fragment>,
    /// Held while a configuration is compiled and swapped, so that an older one cannot come last.
    turn: Mutex<()>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    tls: Arc<ArcSwap<TlsSnapshot>>,
    generation: AtomicU64,
    outcomes: watch::Sender<Option<Outcome>>,
    /// What the last compilation told.
    told: ArcSwap<Vec<ConfigError>>,
}

impl Runtime {
    /// A runtime that serves nothing but the internal services yet.
    pub fn new(fixed: StaticConfig, kept: Kept) -> Self {
        let Compiled { snapshot, tls, errors, warnings: _ } =
            compile(0, &fixed, &DynamicConfig::default(), "file", &kept);
        if fixed.providers.file.is_none() {
            // Else they are told with, and are as short-lived as, those of the first configuration.
            report("static", &errors, &[], &kept);
        }
        Self {
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            tls: Arc::new(ArcSwap::from_pointee(tls)),
            generation: AtomicU64::new(0),
            outcomes: watch::Sender::new(None),
            told: ArcSwap::default(),
            fixed: ArcSwap::from_pointee(fixed),
            kept,
            fragment: ArcSwapOption::empty(),
            turn: Mutex::new(()),
        }
    }

    /// The routing state, for the proxy.
    pub fn snapshot(&self) -> &Arc<ArcSwap<Snapshot>> {
        &self.snapshot
    }

    /// The TLS state, for the listeners.
    pub fn tls(&self) -> &Arc<ArcSwap<TlsSnapshot>> {
        &self.tls
    }

    /// What outlives a reload.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The static configuration, with the entry points that there are now.
    pub fn fixed(&self) -> Arc<StaticConfig> {
        self.fixed.load_full()
    }

    /// Every configuration from now on is placed on these entry points in place of those that there are.
    pub async fn expect_entry_points(&self, entry_points: BTreeMap<String, EntryPoint>) {
        // What is being compiled for the others is over, and told, before this returns.
        let _turn = self.turn.lock().await;
        self.expect(entry_points);
    }

    fn expect(&self, entry_points: BTreeMap<String, EntryPoint>) {
        let fixed = StaticConfig { entry_points, ..StaticConfig::clone(&self.fixed()) };
        self.fixed.store(Arc::new(fixed));
    }

    /// Takes other entry points in place of those that there are, and places the routers on them that are in force.
    /// What was told of these is not told again.
    ///
    /// # Errors
    /// Nothing could be compiled; everything stays as it is.
    pub async fn set_entry_points(
        self: &Arc<Self>,
        entry_points: BTreeMap<String, EntryPoint>,
    ) -> Result<(), String> {
        let _turn = self.turn.lock().await;
        let before = self.fixed();
        self.expect(entry_points);
        let fragment = self.fragment.load_full().unwrap_or_else(|| Arc::new(Fragment::nothing("file")));
        match self.compile_apart(fragment, self.told.load_full()).await {
            Ok(compiled) => {
                self.swap(compiled).await;
                Ok(())
            }
            Err(error) => {
                self.fixed.store(before);
                Err(error)
            }
        }
    }

    /// Tells what became of each event from now on.
    pub fn outcomes(&self) -> watch::Receiver<Option<Outcome>> {
        self.outcomes.subscribe()
    }

    /// Deals with what a provider sent.
    pub async fn apply(self: &Arc<Self>, event: Event) {
        let _turn = self.turn.lock().await;
        let outcome = match event.outcome {
            Ok(fragment) => {
                let fragment = Arc::new(fragment);
                match self.compile_apart(Arc::clone(&fragment), Arc::default()).await {
                    Ok(compiled) => {
                        self.fragment.store(Some(fragment));
                        let status = self.swap(compiled).await;
                        self.kept.metrics.config_applied(SystemTime::now());
                        self.kept.health.configuration_live();
                        Ok(status)
                    }
                    Err(error) => Err(error),
                }
            }
            Err(errors) => Err(self.refuse(event.provider, errors)),
        };
        if outcome.is_err() {
            let meanwhile = match self.snapshot.load().generation {
                0 => "there is none yet, so nothing is served",
                _ => "the previous one stays in force",
            };
            tracing::error!(provider = event.provider, "configuration refused; {meanwhile}");
            self.kept.metrics.config_refused();
        }
        self.outcomes.send_replace(Some(outcome));
    }

    /// Serves without a provider: what the static configuration sets up is all there is.
    pub fn apply_nothing(&self) {
        self.kept.metrics.config_applied(SystemTime::now());
        self.kept.health.configuration_live();
    }

    /// Tells of faults that refuse a load as a whole.
    fn refuse(&self, provider: &str, mut errors: ConfigErrors) -> String {
        errors.0.iter_mut().for_each(|error| self.kept.place(error));
        report(provider, &errors.0, &[], &self.kept);
        errors.to_string()
    }

    /// Reads certificates and builds the index: not on a thread that others wait for.
    async fn compile_apart(
        self: &Arc<Self>,
        fragment: Arc<Fragment>,
        told: Arc<Vec<ConfigError>>,
    ) -> Result<Compiled, String> {
        let (runtime, provider) = (Arc::clone(self), fragment.provider);
        match tokio::task::spawn_blocking(move || runtime.compile(&fragment, &told)).await {
            Ok(Ok(compiled)) => Ok(compiled),
            Ok(Err(errors)) => Err(self.refuse(provider, errors)),
            Err(error) => Err(format!("the configuration could not be compiled: {error}")),
        }
    }

    /// Compiles it, and tells what of it has not been `told`.
    fn compile(&self, fragment: &Fragment, told: &[ConfigError]) -> Result<Compiled, ConfigErrors> {
        let fixed = self.fixed();
        check_blocks(&fragment.config, &fixed)?;
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let compiled = compile(generation, &fixed, &fragment.config, fragment.provider, &self.kept);
        let warnings: Vec<_> = fragment.warnings.iter().chain(&compiled.warnings).collect();
        for warning in warnings.iter().filter(|warning| !told.contains(warning)) {
            tracing::warn!(provider = fragment.provider, "{warning}");
        }
        report(fragment.provider, &compiled.errors, told, &self.kept);
        let all = warnings.into_iter().chain(&compiled.errors).cloned().collect();
        self.told.store(Arc::new(all));
        Ok(compiled)
    }

    async fn swap(&self, compiled: Compiled) -> String {
        let Compiled { snapshot, tls, errors, warnings: _ } = compiled;
        self.kept.services.names().asked(FIRST_NAMES).await;
        let expiries = tls.expiries().iter().map(|expiry| CertificateExpiry {
            cn: expiry.common_name.clone(),
            serial: expiry.serial.clone(),
            sans: expiry.sans.clone(),
            not_after: SystemTime::UNIX_EPOCH
                + Duration::from_secs(u64::try_from(expiry.not_after).unwrap_or(0)),
        });
        self.kept.metrics.set_certificates(expiries.collect());
        let routers: usize =
            snapshot.entry_points.values().map(|e| e.plain.routes.len() + e.tls.routes.len()).sum();
        let generation = snapshot.generation;
        // TLS first: a new router must not be reachable under old options.
        let old_tls = self.tls.swap(Arc::new(tls));
        let old = self.snapshot.swap(Arc::new(snapshot));
        // Freeing a large configuration takes a while.
        tokio::task::spawn_blocking(move || drop((old, old_tls)));
        let status =
            format!("configuration {generation}: {routers} routers, {} items with errors", errors.len());
        tracing::info!("{status}");
        status
    }
}

/// Lists `errors`, and logs those that have not been `told`.
fn report(provider: &str, errors: &[ConfigError], told: &[ConfigError], kept: &Kept) {
    for error in errors.iter().filter(|error| !told.contains(error)) {
        tracing::error!(provider, "{error}");
    }
    kept.health.set_config_errors(provider, errors.to_vec());
}
