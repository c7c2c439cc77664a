//! Running: the process from its start to its end.

mod control;
mod listeners;
mod reload;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::control::Control;
use crate::admin::Health;
use crate::config::{Loaded, StaticConfig};
use crate::lifecycle;
use crate::observe::{AccessLog, AuditLog, Log, Metrics};

/// How long the last lines of a log may take to be written.
const FLUSH: Duration = Duration::from_secs(2);

/// What is said once requests are served.
pub type Greeting = Box<dyn FnOnce() + Send + Sync>;

/// Serves until a signal says stop. `arguments` are those of the command, to read the static configuration again.
pub fn serve(arguments: Vec<String>, loaded: Loaded, greeting: Option<Greeting>) -> ExitCode {
    // Before there are threads; the demo has some, and waits for a moment.
    lifecycle::make_room();
    let observed = match Observed::start(&loaded.config) {
        Ok(observed) => observed,
        Err(message) => {
            eprintln!("portcullis: {message}");
            return ExitCode::FAILURE;
        }
    };
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), configuration = loaded.origin, "starting");
    let Loaded { config, places, outline, .. } = loaded;
    let control = Control { arguments, config, places, outline, observed: observed.clone(), greeting };
    // Driven from a thread of its own: its future borrows across awaits in ways that the compiler
    // cannot prove fit to move between threads.
    let outcome = lifecycle::serve(Box::new(|here, edge| here.block_on(control.run(edge))));
    if let Some(access_log) = &observed.access_log {
        access_log.flush(FLUSH);
    }
    if let Some(audit) = &observed.audit {
        audit.flush(FLUSH);
    }
    observed.log.flush(FLUSH);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("portcullis: {message}");
            ExitCode::FAILURE
        }
    }
}

/// What the process says about itself.
#[derive(Clone)]
pub(super) struct Observed {
    metrics: Arc<Metrics>,
    log: Arc<Log>,
    access_log: Option<Arc<AccessLog>>,
    audit: Option<Arc<AuditLog>>,
    health: Arc<Health>,
}

impl Observed {
    fn start(config: &StaticConfig) -> Result<Self, String> {
        let metrics_config = config.metrics.as_ref();
        let prometheus = metrics_config.and_then(|metrics| metrics.prometheus.as_ref());
        let metrics = Arc::new(Metrics::new(prometheus).map_err(|error| error.to_string())?);
        let log = Log::install(config.log.as_ref(), metrics.log_lines_dropped("process"));
        let log = log.map_err(|error| error.to_string())?;
        lifecycle::count_panics(Arc::clone(&metrics));
        let access_log = match config.access_log.as_ref() {
            Some(config) => {
                let opened = AccessLog::open(config, metrics.log_lines_dropped("access"));
                Some(Arc::new(opened.map_err(|error| error.to_string())?))
            }
            None => None,
        };
        let audit = match config.oidc.audit.as_ref() {
            Some(config) => {
                let opened = AuditLog::open(config, metrics.log_lines_dropped("audit"));
                Some(Arc::new(opened.map_err(|error| error.to_string())?))
            }
            None => None,
        };
        let health = Arc::new(Health::new(Arc::clone(&metrics), SystemTime::now()));
        Ok(Self { metrics, log: Arc::new(log), access_log, audit, health })
    }
}
