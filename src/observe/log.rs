//! The process log: levels, formats and file of the `log` block.
//!
//! Lines look as Traefik's do, so that what collects them needs no change. Libraries that speak the `log`
//! crate, Pingora above all, are bridged and kept quieter than our own modules: they may print what a
//! client sent.

mod format;

use std::io::{self, IsTerminal};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::IntCounter;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, reload};

use super::sink::{Rotation, Sink, Target};
use crate::config::telemetry;
use format::{Common, Json};

/// Why the process log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `log.level` is no level.
    #[error("log.level: {0}")]
    Level(#[from] UnknownLevel),
    /// `log.format` is no format.
    #[error("log.format: `{0}` is not one of common, json")]
    Format(String),
    /// The file cannot be opened.
    #[error("log.filePath: cannot open {path}: {error}")]
    Open {
        /// The file.
        path: String,
        /// Why not.
        error: io::Error,
    },
    /// The process has a log already.
    #[error("the process log is set up already")]
    Installed,
}

/// A word that is no log level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL, PANIC")]
pub struct UnknownLevel(String);

/// How much is logged. Traefik's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `FATAL` and `PANIC`: nothing, for what would be logged there is printed before the process ends.
    Fatal,
    /// Defects and failures that need somebody.
    Error,
    /// What may become one.
    Warn,
    /// Milestones.
    Info,
    /// Decisions.
    Debug,
    /// Steps.
    Trace,
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        match text.to_ascii_uppercase().as_str() {
            "TRACE" => Ok(Self::Trace),
            "DEBUG" => Ok(Self::Debug),
            "INFO" => Ok(Self::Info),
            "WARN" | "WARNING" => Ok(Self::Warn),
            "ERROR" => Ok(Self::Error),
            "FATAL" | "PANIC" => Ok(Self::Fatal),
            _ => Err(UnknownLevel(text.to_owned())),
        }
    }
}

impl Level {
    /// Upper case, as the configuration has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }

    fn filter(self) -> LevelFilter {
        match self {
            Self::Trace => LevelFilter::TRACE,
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warn => LevelFilter::WARN,
            Self::Error => LevelFilter::ERROR,
            Self::Fatal => LevelFilter::OFF,
        }
    }

    /// Our modules at this level; libraries at most INFO, for below it HTTP libraries print header values.
    /// Pingora calls every client that hangs up an error: it speaks up only when somebody debugs. The only error that
    /// its connectors report is a pooled connection that ended while it was taken, for which a new one is made.
    fn targets(self) -> Targets {
        let debugging = self >= Self::Debug;
        let libraries = self.min(if debugging { Self::Info } else { Self::Warn });
        let pingora = self.min(if debugging { Self::Info } else { Self::Error });
        // It tells of its own life cycle, which is not ours: "SIGINT received" at every end.
        let server = self.min(if debugging { Self::Warn } else { Self::Error });
        Targets::new()
            .with_default(libraries.filter())
            .with_target("pingora", pingora.filter())
            .with_target("pingora_core::server", server.filter())
            .with_target(
                "pingora_core::connectors",
                if debugging { pingora.filter() } else { LevelFilter::OFF },
            )
            .with_target("portcullis", self.filter())
    }
}

/// The process log, for what changes while the process runs.
pub struct Log {
    filter: reload::Handle<Targets, Registry>,
    level: Mutex<Level>,
    sink: Sink,
    /// The subscriber of a silent log, in which its filter lives.
    _kept: Option<tracing::Dispatch>,
}

impl Log {
    /// Sets the log up for the whole process, from the `log` block or its defaults. `dropped` counts lines
    /// that are lost.
    ///
    /// # Errors
    /// A level or format that does not exist, a file that cannot be opened, a log that was set up before.
    pub fn install(config: Option<&telemetry::Log>, dropped: IntCounter) -> Result<Self, LogError> {
        let defaults = telemetry::Log::default();
        let (log, subscriber) = Self::build(config.unwrap_or(&defaults), dropped)?;
        tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Installed)?;
        tracing_log::LogTracer::builder()
            .with_max_level(log::LevelFilter::Info)
            .init()
            .map_err(|_| LogError::Installed)?;
        Ok(log)
    }

    /// A log that nothing is written to, for a configuration that is only tried out.
    ///
    /// # Errors
    /// The null device cannot be opened.
    pub fn silent(dropped: IntCounter) -> Result<Self, LogError> {
        let config = telemetry::Log { file_path: Some("/dev/null".into()), ..Default::default() };
        let (log, subscriber) = Self::build(&config, dropped)?;
        Ok(Self { _kept: Some(tracing::Dispatch::new(subscriber)), ..log })
    }

    fn build(
        config: &telemetry::Log,
        dropped: IntCounter,
    ) -> Result<(Self, impl Subscriber + Send + Sync + 'static), LogError> {
        let level: Level = config.level.parse()?;
        let json = match config.format.as_str() {
            "common" => false,
            "json" => true,
            other => return Err(LogError::Format(other.to_owned())),
        };
        let rotation = Rotation::new(config.max_size, config.max_age, config.max_backups, config.compress);
        let target = Target::from_config(config.file_path.as_deref()).rotated(rotation);
        let colour = !config.no_color && matches!(target, Target::Stdout) && io::stdout().is_terminal();
        let sink = Sink::open("log", target, 0, dropped)
            .map_err(|error| LogError::Open { path: config.file_path.clone().unwrap_or_default(), error })?;
        let (filter, handle) = reload::Layer::new(level.targets());
        let lines = tracing_subscriber::fmt::layer().with_writer(Lines(sink.clone()));
        let lines: Box<dyn Layer<_> + Send + Sync> = if json {
            Box::new(lines.with_ansi(false).event_format(Json))
        } else {
            Box::new(lines.with_ansi(colour).event_format(Common::local(colour)))
        };
        let subscriber = Registry::default().with(filter).with(lines);
        Ok((Self { filter: handle, level: Mutex::new(level), sink, _kept: None }, subscriber))
    }

    /// The level now.
    pub fn level(&self) -> Level {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the level at once.
    pub fn set_level(&self, level: Level) {
        let mut current = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        // Fails only when the subscriber is gone, and then nobody logs.
        if self.filter.reload(level.targets()).is_ok() {
            *current = level;
        }
    }

    /// Opens the file anew after it was renamed (SIGUSR1).
    pub fn reopen(&self) {
        self.sink.reopen();
    }

    /// Waits until what was logged so far is written, at most `limit`. True if it is. Blocks the thread;
    /// to be called last before the process ends.
    pub fn flush(&self, limit: Duration) -> bool {
        self.sink.flush(limit)
    }
}

/// Hands each line to the sink. The formatter writes a line in one call.
struct Lines(Sink);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

struct Line<'a>(&'a Sink);

impl io::Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    /// What `speak` logs into a file under `config`.
    fn logged(config: telemetry::Log, speak: impl FnOnce(&Log)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let config = telemetry::Log { file_path: Some(path.display().to_string()), ..config };
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let (log, subscriber) = Log::build(&config, dropped).unwrap();
        tracing::subscriber::with_default(subscriber, || speak(&log));
        assert!(log.flush(LONG));
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn the_level_changes_while_running() {
        let text = logged(telemetry::Log::default(), |log| {
            tracing::info!("early");
            tracing::error!("failure");
            log.set_level(Level::Debug);
            assert_eq!(log.level(), Level::Debug);
            tracing::debug!("detail");
            log.set_level(Level::Fatal);
            tracing::error!("muted");
        });
        assert!(text.contains("failure") && text.contains("detail"), "{text}");
        assert!(!text.contains("early") && !text.contains("muted"), "{text}");
    }

    #[test]
    fn libraries_are_quieter_than_we_are() {
        let text = logged(telemetry::Log { level: "trace".into(), ..Default::default() }, |_| {
            tracing::trace!(target: "h2::hpack", "cookie: secret");
            tracing::info!(target: "h2::hpack", "connected");
            tracing::info!(target: "pingora_core::server", "SIGINT received, exiting");
            tracing::warn!(target: "pingora_core::server", "cannot drop privileges");
            tracing::trace!(target: "portcullis::router", "matched");
        });
        assert!(!text.contains("secret") && !text.contains("SIGINT"), "{text}");
        assert!(text.contains("privileges"), "{text}");
        assert!(text.contains("connected") && text.contains("matched"), "{text}");
        let text = logged(telemetry::Log { level: "INFO".into(), ..Default::default() }, |_| {
            tracing::warn!(target: "pingora_proxy", "client went away");
            tracing::error!(target: "pingora_core::connectors", "client went away");
            tracing::error!(target: "pingora_core::server", "cannot listen");
            tracing::warn!(target: "notify", "watch lost");
        });
        assert!(!text.contains("went away") && text.contains("watch lost"), "{text}");
        assert!(text.contains("cannot listen"), "{text}");
    }

    #[test]
    fn levels_and_formats_that_do_not_exist_are_refused() {
        assert_eq!("Warn".parse(), Ok(Level::Warn));
        assert!("loud".parse::<Level>().is_err());
        let refused = |config: telemetry::Log| {
            Log::build(&config, IntCounter::new("dropped", "dropped").unwrap()).err().unwrap().to_string()
        };
        let level = telemetry::Log { level: "loud".into(), ..Default::default() };
        assert!(refused(level).starts_with("log.level: `loud`"));
        let format = telemetry::Log { format: "xml".into(), ..Default::default() };
        assert!(refused(format).starts_with("log.format: `xml`"));
    }

    #[test]
    fn json_lines_have_traefiks_keys() {
        let text = logged(telemetry::Log { format: "json".into(), ..Default::default() }, |_| {
            tracing::error!(router = "app@file", count = 3, error = %"a \"b\"\n", "router \"off\"");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "error");
        assert_eq!(line["message"], "router \"off\"");
        assert_eq!(line["router"], "app@file");
        assert_eq!(line["count"], 3);
        assert_eq!(line["error"], "a \"b\"\n");
        assert!(line["time"].as_str().unwrap().contains('T'));
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn common_lines_cannot_be_forged() {
        let text = logged(telemetry::Log::default(), |_| {
            tracing::error!(path = "/\n2026 ERR forged", n = 1, plain = "word", "first\x1b[31m\nsecond");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(r"ERR first\u{1b}[31m\nsecond"), "{text}");
        assert!(text.contains(r#" path="/\n2026 ERR forged" n=1 plain=word"#), "{text}");
    }
}
