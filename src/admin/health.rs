//! Whether Portcullis can do its work, and what keeps it from doing so.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::config::ConfigError;
use crate::observe::Metrics;

/// The state that `/ping`, `/readyz` and `/livez` tell. Shared by whoever knows a part of it.
pub struct Health {
    metrics: Arc<Metrics>,
    started: SystemTime,
    configured: AtomicBool,
    draining: AtomicBool,
    stuck: AtomicBool,
    details: Mutex<Details>,
}

#[derive(Default)]
struct Details {
    /// Components that cannot work, with the reason.
    problems: BTreeMap<String, String>,
    /// What is wrong in each provider's current configuration.
    config_errors: BTreeMap<String, Vec<ConfigError>>,
}

/// One reason not to send requests here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReady {
    /// Who cannot work.
    pub component: String,
    /// Why.
    pub reason: String,
}

impl Health {
    /// Not ready: no configuration is live yet.
    pub fn new(metrics: Arc<Metrics>, started: SystemTime) -> Self {
        Self {
            metrics,
            started,
            configured: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            details: Mutex::default(),
        }
    }

    /// When the process started.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// The first dynamic configuration is live. There is no way back: a later one that is refused leaves the
    /// previous one serving.
    pub fn configuration_live(&self) {
        self.configured.store(true, Ordering::Release);
        self.show();
    }

    /// Shutdown has begun: balancers shall look elsewhere while requests are still served.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
        self.show();
    }

    /// Whether shutdown has begun.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Tells that `component` (such as `session store`) cannot do its work, or that it can again.
    pub fn report(&self, component: &str, problem: Option<String>) {
        {
            let mut details = self.details();
            match problem {
                Some(reason) => details.problems.insert(component.to_owned(), reason),
                None => details.problems.remove(component),
            };
        }
        self.show();
    }

    /// Tells whether requests still get through the process, as the watchdog found.
    pub fn set_alive(&self, alive: bool) {
        self.stuck.store(!alive, Ordering::Release);
    }

    /// Whether the process should be left running.
    pub fn is_alive(&self) -> bool {
        !self.stuck.load(Ordering::Acquire)
    }

    /// Replaces what is wrong in the configuration of `provider`; the metric follows.
    pub fn set_config_errors(&self, provider: &str, errors: Vec<ConfigError>) {
        self.metrics.set_config_errors(provider, errors.len());
        self.details().config_errors.insert(provider.to_owned(), errors);
    }

    /// What is wrong in the current configuration, by provider.
    pub fn config_errors(&self) -> BTreeMap<String, Vec<ConfigError>> {
        self.details().config_errors.clone()
    }

    /// Whether requests should be sent here.
    pub fn is_ready(&self) -> bool {
        self.not_ready().is_empty()
    }

    /// Every reason not to send requests here; empty when ready.
    pub fn not_ready(&self) -> Vec<NotReady> {
        let mut reasons = Vec::new();
        let mut add = |component: &str, reason: &str| {
            reasons.push(NotReady { component: component.to_owned(), reason: reason.to_owned() });
        };
        if !self.configured.load(Ordering::Acquire) {
            add("configuration", "the first dynamic configuration is not live yet");
        }
        if self.is_draining() {
            add("process", "shutting down");
        }
        for (component, reason) in &self.details().problems {
            add(component, reason);
        }
        reasons
    }

    fn show(&self) {
        self.metrics.set_ready(self.is_ready());
    }

    fn details(&self) -> MutexGuard<'_, Details> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
