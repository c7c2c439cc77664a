//! The audit log: one JSON object a line.

use std::io;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use prometheus::IntCounter;
use serde_json::{Map, Value};

use super::sink::{Sink, Target};
use crate::config::telemetry;

/// Why the audit log could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("oidc.audit.filePath: cannot open {path}: {error}")]
pub struct AuditLogError {
    /// The file; empty for standard output.
    path: String,
    /// Why not.
    error: io::Error,
}

/// Writes what it is told, on a thread of its own.
pub struct AuditLog(Sink);

impl AuditLog {
    /// Opens the log that `config` describes. `dropped` counts lines that are lost.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(config: &telemetry::Audit, dropped: IntCounter) -> Result<Self, AuditLogError> {
        let path = config.file_path.as_deref();
        let opened = Sink::open("audit-log", Target::from_config(path), config.buffering_size, dropped);
        opened.map(Self).map_err(|error| AuditLogError { path: path.unwrap_or_default().to_owned(), error })
    }

    /// Writes a line with these members, those without a value left out. Never waits.
    pub fn write<const N: usize>(&self, members: [(&str, Option<Value>); N]) {
        let time = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut line = Map::new();
        line.insert("time".to_owned(), Value::String(format!("{time:.3}")));
        for (name, value) in members {
            if let Some(value) = value {
                line.insert(name.to_owned(), value);
            }
        }
        self.0.write(format!("{}\n", Value::Object(line)).as_bytes());
    }

    /// Opens the file anew after it was renamed (SIGUSR1).
    pub fn reopen(&self) {
        self.0.reopen();
    }

    /// Waits until what was told so far is written, at most `limit`. True if it is. Blocks the thread.
    pub fn flush(&self, limit: Duration) -> bool {
        self.0.flush(limit)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_json_whatever_they_hold() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let config = telemetry::Audit { file_path: Some(path.display().to_string()), ..Default::default() };
        let log = AuditLog::open(&config, IntCounter::new("dropped", "dropped").unwrap()).unwrap();
        log.write([("event", Some("login".into())), ("user", Some("a\"\n\u{1b}b".into())), ("cause", None)]);
        assert!(log.flush(Duration::from_secs(30)));
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["event"], &line["user"], line.get("cause")),
            (&"login".into(), &"a\"\n\u{1b}b".into(), None)
        );
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }
}
