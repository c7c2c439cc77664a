//! What the operator sees of the traffic: access log, metrics and the process log.
//!
//! The proxy hands one [`RequestRecord`] per request to [`AccessLog`] and to the metric handles that
//! [`Metrics`] gave out when the configuration was compiled.

pub mod access_log;
mod audit;
pub mod log;
pub mod metrics;
mod record;
mod sink;
mod tls_names;

pub use access_log::{AccessLog, holds_credentials};
pub use audit::AuditLog;
pub use log::Log;
pub use metrics::{LevelMetrics, Metrics};
pub use record::{OriginRecord, Protocol, RequestRecord, TlsRecord};
