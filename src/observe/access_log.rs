//! One line per request, in Traefik's formats.

mod clf;
mod json;
mod policy;
mod text;
mod time;
mod values;

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderName;
use prometheus::IntCounter;

use super::record::RequestRecord;
use super::sink::{Sink, Target};
use crate::config::telemetry;
use policy::{Mode, Policy};
use time::Clock;

pub use values::holds_credentials;

/// Why the access log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum AccessLogError {
    /// A value of the `accessLog` block is none of those that the key takes.
    #[error("accessLog.{key}: `{value}` is not one of {expected}")]
    Value {
        /// Key below `accessLog`.
        key: String,
        /// What was written.
        value: String,
        /// What may be written.
        expected: &'static str,
    },
    /// The file cannot be opened.
    #[error("accessLog.filePath: cannot open {path}: {error}")]
    Open {
        /// The file.
        path: String,
        /// Why not.
        error: io::Error,
    },
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Traefik's common log format: CLF with referer, agent, count, router, server and duration.
    Common,
    /// CLF with referer and agent alone.
    GenericClf,
    /// One JSON object, keys sorted.
    Json,
}

/// The access log. [`AccessLog::write`] formats on the caller's thread and never waits for the disk.
pub struct AccessLog {
    format: Format,
    policy: Policy,
    clock: Clock,
    requests: AtomicU64,
    sink: Sink,
}

thread_local! {
    /// The line being formatted. Kept, so that only its copy for the writer is allocated.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl AccessLog {
    /// Opens the log that `config` describes. `dropped` counts lines that are lost.
    ///
    /// # Errors
    /// A format, mode or status range that does not exist, or a file that cannot be opened.
    pub fn open(config: &telemetry::AccessLog, dropped: IntCounter) -> Result<Self, AccessLogError> {
        let format = match config.format.as_str() {
            "common" => Format::Common,
            "genericCLF" => Format::GenericClf,
            "json" => Format::Json,
            other => {
                return Err(AccessLogError::Value {
                    key: "format".into(),
                    value: other.into(),
                    expected: "common, json, genericCLF",
                });
            }
        };
        let target = Target::from_config(config.file_path.as_deref());
        let sink = Sink::open("access-log", target, config.buffering_size, dropped).map_err(|error| {
            AccessLogError::Open { path: config.file_path.clone().unwrap_or_default(), error }
        })?;
        Ok(Self {
            format,
            policy: Policy::new(config)?,
            clock: Clock::system(),
            requests: AtomicU64::new(0),
            sink,
        })
    }

    /// Logs a finished request unless a filter leaves it out.
    pub fn write(&self, record: &RequestRecord<'_>) {
        let count = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.policy.keeps(record) {
            return;
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            self.format(record, count, line);
            self.sink.write(line);
        });
    }

    /// Whether a line may hold any header of a request or a service's answer, so that they must be kept until it is written.
    pub fn keeps_headers(&self) -> bool {
        self.format == Format::Json && !self.policy.drops_all_headers()
    }

    /// Whether a line may hold this header, so that what is secret in it has to be taken out before.
    pub fn keeps_header(&self, name: &HeaderName) -> bool {
        self.format == Format::Json && self.policy.header(name) == Mode::Keep
    }

    /// Opens the file anew after it was renamed (SIGUSR1).
    pub fn reopen(&self) {
        self.sink.reopen();
    }

    /// Waits until what was logged so far is written, at most `limit`. True if it is. Blocks the thread.
    pub fn flush(&self, limit: Duration) -> bool {
        self.sink.flush(limit)
    }

    fn format(&self, record: &RequestRecord<'_>, count: u64, line: &mut Vec<u8>) {
        match self.format {
            Format::Common => clf::common(record, count, &self.policy, &self.clock, line),
            Format::GenericClf => clf::generic(record, &self.policy, &self.clock, line),
            Format::Json => json::write(record, count, &self.policy, &self.clock, line),
        }
        line.push(b'\n');
    }
}

/// The protocol as Go prints it.
fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_09 => "HTTP/0.9",
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2.0",
        http::Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// Appends what `value` displays as.
fn display(value: impl std::fmt::Display, line: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    let _ = write!(line, "{value}");
}

#[cfg(test)]
mod tests;
