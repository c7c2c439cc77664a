//! Running: the process from its start to its end.
//!
//! Pingora's server owns two services with a runtime each. *Edge* has a thread for every core and
//! serves connections. *Control* does everything else: configuration, names, metadata of OpenID
//! providers, signals. When control is done, the process ends.

mod control;
mod listeners;
mod services;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};

use self::control::Control;
use self::services::{ControlService, EdgeService, Ending};
use crate::admin::Health;
use crate::config::{Loaded, StaticConfig};
use crate::lifecycle;
use crate::observe::{AccessLog, Log, Metrics};

/// How long the last lines of a log may take to be written.
const FLUSH: Duration = Duration::from_secs(2);
/// Idle upstream connections kept, for each thread.
const POOL: usize = 4096;

/// What is said once requests are served.
pub type Greeting = Box<dyn FnOnce() + Send + Sync>;

/// Serves until a signal says stop. `arguments` are those of the command, to read `log.level` again.
pub fn serve(arguments: Vec<String>, loaded: Loaded, greeting: Option<Greeting>) -> ExitCode {
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
    let control = Control { arguments, config: loaded.config, observed: observed.clone(), greeting };
    let failure = run(control);
    if let Some(access_log) = &observed.access_log {
        access_log.flush(FLUSH);
    }
    observed.log.flush(FLUSH);
    match failure {
        None => ExitCode::SUCCESS,
        Some(message) => {
            eprintln!("portcullis: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Runs both services; why the process could not go on, if so.
fn run(control: Control) -> Option<String> {
    let mut server = Server::new_with_opt_and_conf(None, server_conf());
    server.bootstrap();
    let (edge, edge_runtime) = EdgeService::new();
    let ending = Ending::default();
    server.add_service(edge);
    server.add_service(ControlService::new(control, edge_runtime, ending.clone()));
    server.run(RunArgs { shutdown_signal: Box::new(ending.clone()) });
    ending.failure()
}

fn server_conf() -> ServerConf {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    ServerConf {
        threads,
        upstream_keepalive_pool_size: POOL,
        // Control drains before it ends; a second wait would only be a wait.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    }
}

/// What the process says about itself.
#[derive(Clone)]
pub(super) struct Observed {
    metrics: Arc<Metrics>,
    log: Arc<Log>,
    access_log: Option<Arc<AccessLog>>,
    health: Arc<Health>,
}

impl Observed {
    fn start(config: &StaticConfig) -> Result<Self, String> {
        let metrics_config = config.metrics.as_ref();
        let prometheus = metrics_config.and_then(|metrics| metrics.prometheus.as_ref());
        let internals = metrics_config.is_some_and(|metrics| metrics.add_internals);
        let metrics = Metrics::new(prometheus).map_err(|error| error.to_string())?.with_internals(internals);
        let metrics = Arc::new(metrics);
        let log = Log::install(config.log.as_ref(), metrics.log_lines_dropped("process"));
        let log = log.map_err(|error| format!("log: {error}"))?;
        lifecycle::count_panics(Arc::clone(&metrics));
        let access_log = match config.access_log.as_ref() {
            Some(config) => {
                let opened = AccessLog::open(config, metrics.log_lines_dropped("access"));
                Some(Arc::new(opened.map_err(|error| format!("accessLog: {error}"))?))
            }
            None => None,
        };
        let health = Arc::new(Health::new(Arc::clone(&metrics), SystemTime::now()));
        Ok(Self { metrics, log: Arc::new(log), access_log, health })
    }
}
