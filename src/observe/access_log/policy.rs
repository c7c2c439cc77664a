//! What of a request is logged: filters, fields and headers.

use std::collections::HashMap;
use std::time::Duration;

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE};

use super::AccessLogError;
use crate::config::telemetry;
use crate::observe::record::RequestRecord;

/// What happens to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Keep,
    Drop,
    /// `REDACTED` stands for the value. (Traefik takes the word for fields too, without an effect.)
    Redact,
}

macro_rules! fields {
    ($($field:ident = $key:literal),* $(,)?) => {
        /// The fields of a line, in the order of their JSON keys.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Field { $($field),* }

        impl Field {
            const ALL: &[Self] = &[$(Self::$field),*];

            /// The JSON key.
            pub(super) fn key(self) -> &'static str {
                match self { $(Self::$field => $key),* }
            }
        }
    };
}

fields! {
    ClientAddr = "ClientAddr",
    ClientHost = "ClientHost",
    ClientPort = "ClientPort",
    ClientUsername = "ClientUsername",
    DownstreamContentSize = "DownstreamContentSize",
    DownstreamStatus = "DownstreamStatus",
    Duration = "Duration",
    GzipRatio = "GzipRatio",
    OriginContentSize = "OriginContentSize",
    OriginDuration = "OriginDuration",
    OriginStatus = "OriginStatus",
    Overhead = "Overhead",
    RequestAddr = "RequestAddr",
    RequestContentSize = "RequestContentSize",
    RequestCount = "RequestCount",
    RequestHost = "RequestHost",
    RequestId = "RequestId",
    RequestMethod = "RequestMethod",
    RequestPath = "RequestPath",
    RequestPort = "RequestPort",
    RequestProtocol = "RequestProtocol",
    RequestScheme = "RequestScheme",
    RetryAttempts = "RetryAttempts",
    RouterName = "RouterName",
    ServiceAddr = "ServiceAddr",
    ServiceName = "ServiceName",
    ServiceUrl = "ServiceURL",
    StartLocal = "StartLocal",
    StartUtc = "StartUTC",
    TlsCipher = "TLSCipher",
    TlsClientSubject = "TLSClientSubject",
    TlsVersion = "TLSVersion",
    EntryPointName = "entryPointName",
}

/// Headers that carry credentials. A default of `keep` redacts them; only their own name keeps them.
const CREDENTIALS: [HeaderName; 5] =
    [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE, HeaderName::from_static("x-auth-request-token")];

/// The `filters` and `fields` of the configuration, ready to be asked for every request.
#[derive(Debug)]
pub(super) struct Policy {
    statuses: Vec<(u16, u16)>,
    retried: bool,
    slower_than: Duration,
    fields: Vec<Mode>,
    header_default: Mode,
    headers: HashMap<HeaderName, Mode>,
    keep_query: bool,
}

impl Policy {
    pub(super) fn new(config: &telemetry::AccessLog) -> Result<Self, AccessLogError> {
        let headers = &config.fields.headers;
        let query = &config.fields.query_parameters.default_mode;
        Ok(Self {
            statuses: config.filters.status_codes.iter().map(|text| range(text)).collect::<Result<_, _>>()?,
            retried: config.filters.retry_attempts,
            slower_than: config.filters.min_duration,
            fields: fields(&config.fields)?,
            header_default: mode("fields.headers.defaultMode", &headers.default_mode)?,
            headers: header_names(headers)?,
            keep_query: query_mode(query)?,
        })
    }

    /// Whether the request is logged: yes when no filter is set, else if any of them matches.
    pub(super) fn keeps(&self, record: &RequestRecord<'_>) -> bool {
        let filtered = !self.statuses.is_empty() || self.retried || !self.slower_than.is_zero();
        !filtered
            || self.statuses.iter().any(|(low, high)| (*low..=*high).contains(&record.status))
            || (self.retried && record.retry_attempts > 0)
            || (!self.slower_than.is_zero() && record.duration > self.slower_than)
    }

    pub(super) fn field(&self, field: Field) -> Mode {
        self.fields.get(field as usize).copied().unwrap_or(Mode::Drop)
    }

    pub(super) fn header(&self, name: &HeaderName) -> Mode {
        match (self.headers.get(name), self.header_default) {
            (Some(mode), _) => *mode,
            (None, Mode::Keep) if CREDENTIALS.contains(name) => Mode::Redact,
            (None, default) => default,
        }
    }

    /// Whether no header can ever be logged, so that none need be looked at.
    pub(super) fn drops_all_headers(&self) -> bool {
        self.header_default == Mode::Drop && self.headers.is_empty()
    }

    /// The query to log.
    pub(super) fn query<'a>(&self, record: &RequestRecord<'a>) -> Option<&'a str> {
        record.query.filter(|_| self.keep_query && !record.hide_query)
    }
}

fn fields(config: &telemetry::AccessLogFields) -> Result<Vec<Mode>, AccessLogError> {
    let default = mode("fields.defaultMode", &config.default_mode)?;
    let mut modes = vec![default; Field::ALL.len()];
    for (name, value) in &config.names {
        let mode = mode(&format!("fields.names.{name}"), value)?;
        // A name that no line has was told when the configuration was decoded.
        let index = Field::ALL.iter().position(|field| field.key().eq_ignore_ascii_case(name));
        if let Some(slot) = index.and_then(|index| modes.get_mut(index)) {
            *slot = mode;
        }
    }
    Ok(modes)
}

fn header_names(config: &telemetry::AccessLogHeaders) -> Result<HashMap<HeaderName, Mode>, AccessLogError> {
    let entry = |(name, value): (&String, &String)| {
        let key = format!("fields.headers.names.{name}");
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| AccessLogError::Value {
            key: "fields.headers.names".into(),
            value: name.clone(),
            expected: "header names",
        })?;
        Ok((header, mode(&key, value)?))
    };
    config.names.iter().map(entry).collect()
}

fn mode(key: &str, value: &str) -> Result<Mode, AccessLogError> {
    match value {
        "keep" => Ok(Mode::Keep),
        "drop" => Ok(Mode::Drop),
        "redact" => Ok(Mode::Redact),
        _ => Err(AccessLogError::Value {
            key: key.into(),
            value: value.into(),
            expected: "keep, drop, redact",
        }),
    }
}

/// True for `keep`. Traefik takes `redact` here and then keeps; that surprise is refused.
fn query_mode(value: &str) -> Result<bool, AccessLogError> {
    match value {
        "keep" => Ok(true),
        "drop" => Ok(false),
        _ => Err(AccessLogError::Value {
            key: "fields.queryParameters.defaultMode".into(),
            value: value.into(),
            expected: "keep, drop",
        }),
    }
}

/// `500` or `500-599`.
fn range(text: &str) -> Result<(u16, u16), AccessLogError> {
    let code = |text: &str| text.trim().parse::<u16>().ok().filter(|code| (100..=999).contains(code));
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (code(low), code(high)) {
        (Some(low), Some(high)) if low <= high => Ok((low, high)),
        _ => Err(AccessLogError::Value {
            key: "filters.statusCodes".into(),
            value: text.into(),
            expected: "status codes such as 500 and ranges such as 500-599",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_declared_in_the_order_of_their_keys() {
        assert!(Field::ALL.is_sorted_by_key(|field| field.key()));
    }

    #[test]
    fn the_configuration_knows_the_fields() {
        let keys: Vec<_> = Field::ALL.iter().map(|field| field.key()).collect();
        assert_eq!(keys, telemetry::FIELDS);
    }

    #[test]
    fn status_ranges_are_read_or_refused() {
        assert_eq!(range("500").ok(), Some((500, 500)));
        assert_eq!(range("500-599").ok(), Some((500, 599)));
        for wrong in ["", "5xx", "599-500", "-500", "99", "500-"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
