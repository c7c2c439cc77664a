//! Logs, metrics, ping and API: what Portcullis says about itself.

use std::collections::BTreeMap;
use std::time::Duration;

use super::decode::Presence;
use crate::schema;

schema! {
    /// The process log.
    pub struct Log {
        /// TRACE, DEBUG, INFO, WARN, ERROR, FATAL or PANIC.
        "level" => level: String = "ERROR".to_owned(),
        /// `common` or `json`.
        "format" => format: String = "common".to_owned(),
        /// No colours; common format only.
        "noColor" => no_color: bool = false,
        /// A file instead of standard output.
        "filePath" => file_path: Option<String>,
        /// Megabytes of the file before it is set aside and a new one begun; 0 = 100.
        "maxSize" => max_size: u64,
        /// Days that files set aside are kept; 0 = for ever.
        "maxAge" => max_age: u64,
        /// Files set aside that are kept; 0 = all.
        "maxBackups" => max_backups: usize,
        /// Whether they are compressed (gzip).
        "compress" => compress: bool = false,
    }
    not supported yet: ["otlp"],
}

/// How many lines a log may queue: room for them is made at once.
pub const LONGEST_QUEUE: usize = 1_000_000;

schema! {
    /// The access log.
    pub struct AccessLog {
        /// A file instead of standard output.
        "filePath" => file_path: Option<String>,
        /// `common`, `json` or `genericCLF`.
        "format" => format: String = "common".to_owned(),
        /// Which requests are logged: any filter that matches keeps the line.
        "filters" => filters: AccessLogFilters,
        /// Which fields are logged.
        "fields" => fields: AccessLogFields,
        /// Lines queued for the writer; 0 = the default.
        "bufferingSize" => buffering_size: usize,
        /// Also requests to `@internal` services.
        "addInternals" => add_internals: bool = false,
    }
    not supported yet: ["dualOutput", "otlp"],
}

schema! {
    /// The audit log of the OIDC middlewares.
    pub struct Audit {
        /// A file instead of standard output.
        "filePath" => file_path: Option<String>,
        /// Lines queued for the writer; 0 = the default.
        "bufferingSize" => buffering_size: usize,
    }
}

schema! {
    /// Which requests are logged.
    pub struct AccessLogFilters {
        /// Codes such as `500` and ranges such as `500-599`.
        "statusCodes" => status_codes: Vec<String>,
        /// Requests that were retried.
        "retryAttempts" => retry_attempts: bool = false,
        /// Requests that took longer.
        "minDuration" => min_duration: Duration,
    }
}

schema! {
    /// Which fields are logged.
    pub struct AccessLogFields {
        /// `keep` or `drop`.
        "defaultMode" => default_mode: String = "keep".to_owned(),
        /// Mode by field.
        "names" => names: BTreeMap<String, String>,
        /// Request and response headers.
        "headers" => headers: AccessLogHeaders,
        /// The query of the request target.
        "queryParameters" => query_parameters: AccessLogQueryParameters,
    }
}

/// The fields of a line of the access log.
pub const FIELDS: &[&str] = &[
    "ClientAddr",
    "ClientHost",
    "ClientPort",
    "ClientUsername",
    "DownstreamContentSize",
    "DownstreamStatus",
    "Duration",
    "GzipRatio",
    "OriginContentSize",
    "OriginDuration",
    "OriginStatus",
    "Overhead",
    "RequestAddr",
    "RequestContentSize",
    "RequestCount",
    "RequestHost",
    "RequestId",
    "RequestMethod",
    "RequestPath",
    "RequestPort",
    "RequestProtocol",
    "RequestScheme",
    "RetryAttempts",
    "RouterName",
    "ServiceAddr",
    "ServiceName",
    "ServiceURL",
    "StartLocal",
    "StartUTC",
    "TLSCipher",
    "TLSClientSubject",
    "TLSVersion",
    "entryPointName",
];

/// Names that Traefik's documentation or Kubernetes provider knows and no line of ours has yet.
pub const FIELDS_OF_TRAEFIK: &[&str] = &[
    "RequestLine",
    "OriginStatusLine",
    "DownstreamStatusLine",
    "trace_id",
    "span_id",
    "TraceId",
    "SpanId",
    "KubernetesIngressNamespace",
    "KubernetesIngressName",
    "KubernetesServiceName",
    "KubernetesServicePort",
];

schema! {
    /// Which headers are logged.
    pub struct AccessLogHeaders {
        /// `keep`, `drop` or `redact`.
        "defaultMode" => default_mode: String = "drop".to_owned(),
        /// Mode by header.
        "names" => names: BTreeMap<String, String>,
    }
}

schema! {
    /// Whether queries are logged.
    pub struct AccessLogQueryParameters {
        /// `keep` or `drop`.
        "defaultMode" => default_mode: String = "keep".to_owned(),
    }
}

schema! {
    /// What is recorded of the requests of an entry point, or of a router, which wins key by key.
    pub struct Observability {
        /// Lines in the access log; yes to begin with.
        "accessLogs" => access_logs: Option<bool>,
        /// Metrics, of the entry point too; yes to begin with.
        "metrics" => metrics: Option<bool>,
    }
    not supported yet: ["tracing", "traceVerbosity"],
}

schema! {
    /// Metrics exporters.
    pub struct Metrics {
        /// Also for `@internal` services.
        "addInternals" => add_internals: bool = false,
        /// The Prometheus endpoint.
        "prometheus" => prometheus: Presence<Prometheus>,
    }
    not supported yet: ["otlp", "datadog", "statsD", "influxDB2"],
    refused: {
        "influxDB" => "has been removed in Traefik v3: write `influxDB2` (not supported yet here)",
    },
}

schema! {
    /// The Prometheus endpoint.
    pub struct Prometheus {
        /// Upper bounds of the duration histograms, in seconds.
        "buckets" => buckets: Vec<f64> = vec![0.1, 0.3, 1.2, 5.0],
        /// Entry-point metrics.
        "addEntryPointsLabels" => add_entry_points_labels: bool = true,
        /// Router metrics.
        "addRoutersLabels" => add_routers_labels: bool = false,
        /// Service metrics.
        "addServicesLabels" => add_services_labels: bool = true,
        /// Where `/metrics` is served.
        "entryPoint" => entry_point: String = "traefik".to_owned(),
        /// No automatic router.
        "manualRouting" => manual_routing: bool = false,
        /// Labels of the counters of requests, and the request headers that have their values.
        "headerLabels" => header_labels: BTreeMap<String, String>,
    }
}

/// Labels that the counters of requests have anyway.
pub const LABELS: [&str; 6] = ["code", "entrypoint", "method", "protocol", "router", "service"];

/// Whether Prometheus takes `label`: letters, digits and `_`, no digit first; two `_` are Prometheus' own.
pub fn is_label(label: &str) -> bool {
    let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let first = label.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    plain && first && !label.starts_with("__")
}

schema! {
    /// The `/ping` endpoint.
    pub struct Ping {
        /// Where it is served.
        "entryPoint" => entry_point: String = "traefik".to_owned(),
        /// No automatic router.
        "manualRouting" => manual_routing: bool = false,
        /// Status while shutting down.
        "terminatingStatusCode" => terminating_status_code: u16 = 503,
    }
}

schema! {
    /// The API.
    pub struct Api {
        /// Path below which it is served.
        "basePath" => base_path: String = "/".to_owned(),
        /// Serves it on the entry point `traefik` without a router of the operator's.
        "insecure" => insecure: bool = false,
    }
    without effect: {
        "dashboard" => "there is no dashboard yet",
        "debug" => "there are no debug endpoints yet",
        "disableDashboardAd" => "there is no dashboard yet",
        "dashboardName" => "there is no dashboard yet",
    },
}
