//! Request metrics of one entry point, router or service: the part that every request touches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderName;
use prometheus::proto::Metric;

use super::exposition;
use super::header_labels::{ByHeaders, HeaderLabels};
use super::names::{self, Family};
use super::slots::Slots;
use crate::observe::record::{Protocol, RequestRecord};
use crate::observe::tls_names;

/// Whose requests are counted. The order is that of the labels in the exposition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Level {
    EntryPoint(Box<str>),
    Router { router: Box<str>, service: Box<str> },
    Service(Box<str>),
}

/// The five families of a level.
pub(super) struct LevelFamilies {
    pub(super) requests: Family,
    pub(super) requests_tls: Family,
    pub(super) duration: Family,
    pub(super) requests_bytes: Family,
    pub(super) responses_bytes: Family,
}

static ENTRY_POINT: LevelFamilies = LevelFamilies {
    requests: names::ENTRY_POINT_REQUESTS,
    requests_tls: names::ENTRY_POINT_REQUESTS_TLS,
    duration: names::ENTRY_POINT_DURATION,
    requests_bytes: names::ENTRY_POINT_REQUESTS_BYTES,
    responses_bytes: names::ENTRY_POINT_RESPONSES_BYTES,
};
static ROUTER: LevelFamilies = LevelFamilies {
    requests: names::ROUTER_REQUESTS,
    requests_tls: names::ROUTER_REQUESTS_TLS,
    duration: names::ROUTER_DURATION,
    requests_bytes: names::ROUTER_REQUESTS_BYTES,
    responses_bytes: names::ROUTER_RESPONSES_BYTES,
};
static SERVICE: LevelFamilies = LevelFamilies {
    requests: names::SERVICE_REQUESTS,
    requests_tls: names::SERVICE_REQUESTS_TLS,
    duration: names::SERVICE_DURATION,
    requests_bytes: names::SERVICE_REQUESTS_BYTES,
    responses_bytes: names::SERVICE_RESPONSES_BYTES,
};
/// Every level's families.
pub(super) static FAMILIES: [&LevelFamilies; 3] = [&ENTRY_POINT, &ROUTER, &SERVICE];

/// The histogram's upper bounds, in the unit that requests are measured in.
#[derive(Debug)]
pub(super) struct Bounds {
    seconds: Vec<f64>,
    micros: Vec<u64>,
}

impl Bounds {
    /// `None` unless the bounds are positive, finite and ascending.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn new(seconds: &[f64]) -> Option<Self> {
        let ascending = seconds.windows(2).all(|pair| matches!(pair, [low, high] if low < high));
        let usable = seconds.iter().all(|bound| bound.is_finite() && *bound > 0.0);
        (ascending && usable).then(|| Self {
            seconds: seconds.to_vec(),
            micros: seconds.iter().map(|bound| (bound * 1e6).round() as u64).collect(),
        })
    }
}

/// The metric handle of one entry point, router or service.
///
/// Configuration time asks [`super::Metrics`] for it and keeps it beside the route; a request then adds to
/// a few atomics. The series disappear after the scrape that follows the drop of the last handle.
pub struct LevelMetrics {
    level: Level,
    bounds: Arc<Bounds>,
    slots: Slots<Slot>,
    tls: Slots<AtomicU64>,
    retries: AtomicU64,
    /// Only with `headerLabels`.
    by_headers: Option<ByHeaders>,
}

/// The counters of one (method, protocol, code). The number of requests is the sum of the buckets.
struct Slot {
    /// One per bound, the last one for everything slower.
    buckets: Box<[AtomicU64]>,
    sum_micros: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl LevelMetrics {
    pub(super) fn new(level: Level, bounds: Arc<Bounds>, labels: &Arc<HeaderLabels>) -> Self {
        Self {
            level,
            bounds,
            slots: Slots::new(),
            tls: Slots::new(),
            retries: AtomicU64::new(0),
            by_headers: (!labels.is_empty()).then(|| ByHeaders::new(Arc::clone(labels))),
        }
    }

    /// Whether a header's value is a label, so that it must hold no secret.
    pub fn shows_header(&self, name: &HeaderName) -> bool {
        self.by_headers.as_ref().is_some_and(|by_headers| by_headers.labels().shows(name))
    }

    /// Whether any header's value is a label.
    pub fn shows_headers(&self) -> bool {
        self.by_headers.is_some()
    }

    /// Counts a finished request. A service counts only what reached it.
    pub fn record(&self, record: &RequestRecord<'_>) {
        let (status, duration, bytes_out) = match (&self.level, &record.origin) {
            (Level::Service(_), None) => return,
            (Level::Service(_), Some(origin)) => (origin.status, origin.duration, origin.bytes),
            _ => (record.status, record.duration, record.response_bytes),
        };
        let key = pack(record.method, record.protocol, code(record, status));
        let make = || Slot::new(&self.bounds);
        self.slots.with(key, make, |slot| slot.add(&self.bounds, duration, record.request_bytes, bytes_out));
        if let Some(by_headers) = &self.by_headers {
            by_headers.count(key, record.request_headers);
        }
        if let Some(tls) = &record.tls {
            let key = tls_names::pack(tls.version, tls.cipher);
            self.tls.with(key, AtomicU64::default, |n| n.fetch_add(1, Ordering::Relaxed));
        }
        if record.retry_attempts > 0 && matches!(self.level, Level::Service(_)) {
            self.retries.fetch_add(record.retry_attempts.into(), Ordering::Relaxed);
        }
    }

    pub(super) fn families(&self) -> &'static LevelFamilies {
        match self.level {
            Level::EntryPoint(_) => &ENTRY_POINT,
            Level::Router { .. } => &ROUTER,
            Level::Service(_) => &SERVICE,
        }
    }

    /// Appends this level's samples.
    pub(super) fn collect(&self, out: &mut LevelSamples) {
        let before = out.requests.len();
        for (key, slot) in self.slots.all().iter() {
            slot.collect(&self.bounds, &self.request_labels(*key), self.families(), out);
        }
        if let Some(by_headers) = &self.by_headers {
            // The same requests, with more labels.
            out.requests.truncate(before);
            by_headers.each(|key, more, count| {
                let values = self.request_labels(key);
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                let labels = exposition::labels_and(&self.families().requests, &values, more);
                out.requests.push(exposition::counter(labels, count));
            });
        }
        for (key, count) in self.tls.all().iter() {
            let (version, cipher) = tls_names::unpack(*key);
            let values = match &self.level {
                Level::EntryPoint(name) | Level::Service(name) => vec![&**name, cipher, version],
                Level::Router { router, service } => vec![&**router, &**service, cipher, version],
            };
            let labels = exposition::labels(&self.families().requests_tls, &values);
            out.requests_tls.push(exposition::counter(labels, count.load(Ordering::Relaxed)));
        }
        let retries = self.retries.load(Ordering::Relaxed);
        if let (Level::Service(name), 1..) = (&self.level, retries) {
            let labels = exposition::labels(&names::SERVICE_RETRIES, &[name]);
            out.retries.push(exposition::counter(labels, retries));
        }
    }

    /// Label values of a slot, in the table's order.
    fn request_labels(&self, key: u32) -> Vec<String> {
        let (method, protocol, code) = unpack(key);
        let code = code.to_string();
        let values: &[&str] = match &self.level {
            Level::EntryPoint(name) => &[&code, name, method, protocol],
            Level::Router { router, service } => &[&code, method, protocol, router, service],
            Level::Service(name) => &[&code, method, protocol, name],
        };
        values.iter().map(|value| (*value).to_owned()).collect()
    }
}

impl Slot {
    fn new(bounds: &Bounds) -> Self {
        Self {
            buckets: (0..=bounds.micros.len()).map(|_| AtomicU64::new(0)).collect(),
            sum_micros: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        }
    }

    fn add(&self, bounds: &Bounds, duration: Duration, bytes_in: u64, bytes_out: u64) {
        let micros = u64::try_from((duration.as_nanos() + 500) / 1_000).unwrap_or(u64::MAX);
        let bucket = bounds.micros.partition_point(|bound| *bound < micros);
        if let Some(count) = self.buckets.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
        self.bytes_in.fetch_add(bytes_in, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes_out, Ordering::Relaxed);
    }

    #[allow(clippy::cast_precision_loss)]
    fn collect(&self, bounds: &Bounds, values: &[String], families: &LevelFamilies, out: &mut LevelSamples) {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let labels = || exposition::labels(&families.requests, &values);
        let mut total = 0;
        let mut cumulative = Vec::with_capacity(self.buckets.len());
        for count in &self.buckets {
            total += count.load(Ordering::Relaxed);
            cumulative.push(total);
        }
        let buckets = bounds.seconds.iter().copied().zip(cumulative);
        let sum = self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6;
        out.requests.push(exposition::counter(labels(), total));
        out.duration.push(exposition::histogram(labels(), buckets, total, sum));
        out.requests_bytes.push(exposition::counter(labels(), self.bytes_in.load(Ordering::Relaxed)));
        out.responses_bytes.push(exposition::counter(labels(), self.bytes_out.load(Ordering::Relaxed)));
    }
}

/// Samples of one kind of level, per family.
#[derive(Default)]
pub(super) struct LevelSamples {
    pub(super) requests: Vec<Metric>,
    pub(super) requests_tls: Vec<Metric>,
    pub(super) duration: Vec<Metric>,
    pub(super) requests_bytes: Vec<Metric>,
    pub(super) responses_bytes: Vec<Metric>,
    pub(super) retries: Vec<Metric>,
}

/// The `code` label: the HTTP status, or the gRPC status of a gRPC answer (2, unknown, if it has none).
fn code(record: &RequestRecord<'_>, status: u16) -> u16 {
    match record.protocol {
        Protocol::Grpc | Protocol::GrpcWeb => record.grpc_status.unwrap_or(2),
        _ => status,
    }
}

/// The methods with a label value of their own. Any other is `EXTENSION_METHOD`, so that clients cannot
/// create series at will.
const METHODS: [&str; 11] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "CONNECT",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "PRI",
    "EXTENSION_METHOD",
];
const PROTOCOLS: [Protocol; 5] =
    [Protocol::Http, Protocol::Websocket, Protocol::Sse, Protocol::Grpc, Protocol::GrpcWeb];

#[allow(clippy::cast_possible_truncation)]
fn pack(method: &str, protocol: Protocol, code: u16) -> u32 {
    let method = METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len() - 1);
    ((method as u32) << 24) | (u32::from(protocol as u8) << 16) | u32::from(code)
}

fn unpack(key: u32) -> (&'static str, &'static str, u16) {
    let [method, protocol, high, low] = key.to_be_bytes();
    let method = METHODS.get(usize::from(method)).copied().unwrap_or("EXTENSION_METHOD");
    let protocol = PROTOCOLS.get(usize::from(protocol)).copied().unwrap_or(Protocol::Http);
    (method, protocol.as_str(), u16::from_be_bytes([high, low]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_packing() {
        for (index, protocol) in PROTOCOLS.into_iter().enumerate() {
            assert_eq!(protocol as usize, index);
            assert_eq!(unpack(pack("PATCH", protocol, 599)), ("PATCH", protocol.as_str(), 599));
        }
        assert_eq!(unpack(pack("BREW", Protocol::Http, 418)), ("EXTENSION_METHOD", "http", 418));
    }

    #[test]
    fn bounds_must_ascend() {
        assert!(Bounds::new(&[0.1, 0.3]).is_some());
        assert!(Bounds::new(&[]).is_some());
        for wrong in [&[0.3, 0.1][..], &[0.1, 0.1], &[0.0], &[f64::NAN], &[f64::INFINITY]] {
            assert!(Bounds::new(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn a_bound_is_inclusive() {
        let bounds = Bounds::new(&[0.1]).unwrap_or_else(|| unreachable!());
        let slot = Slot::new(&bounds);
        for millis in [100, 101] {
            slot.add(&bounds, Duration::from_millis(millis), 0, 0);
        }
        let counts: Vec<_> = slot.buckets.iter().map(|n| n.load(Ordering::Relaxed)).collect();
        assert_eq!(counts, [1, 1]);
    }
}
