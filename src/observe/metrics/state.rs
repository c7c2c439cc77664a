//! Series that live as long as the configuration item that they describe.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};

use super::level::{FAMILIES, Level, LevelMetrics, LevelSamples};
use super::names::{self, Family};
use super::{ServerUp, exposition, unix_seconds};

/// Handles by identity, so that a reload finds the counters of what it had before.
pub(super) struct Handles<K, V>(Mutex<HashMap<K, Arc<V>>>);

impl<K, V> Default for Handles<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone, V> Handles<K, V> {
    /// The handle of `key`, made on first use.
    pub(super) fn get(&self, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut handles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(handles.entry(key).or_insert_with(|| Arc::new(make())))
    }

    /// Visits all, then forgets those that nobody else holds: no snapshot and no request in flight can
    /// count there any more, and a scrape has just seen the last value.
    fn visit_and_prune(&self, mut visit: impl FnMut(&K, &V)) {
        let mut handles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked before the visit: a handle dropped during it is shown once more.
        handles.retain(|key, value| {
            let used = Arc::strong_count(value) > 1;
            visit(key, value);
            used
        });
    }
}

/// When a certificate in use expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateExpiry {
    /// Common name of the subject.
    pub cn: String,
    /// Serial number in decimal.
    pub serial: String,
    /// DNS names, joined by commas.
    pub sans: String,
    /// End of validity.
    pub not_after: SystemTime,
}

/// The series behind [`super::Metrics`] that come and go.
#[derive(Default)]
pub(super) struct State {
    pub(super) levels: Handles<Level, LevelMetrics>,
    pub(super) servers: Handles<(Box<str>, Box<str>), ServerUp>,
    pub(super) certificates: ArcSwap<Vec<CertificateExpiry>>,
}

/// Shows [`State`] to the registry.
pub(super) struct StateCollector {
    state: Arc<State>,
    descriptors: Vec<Desc>,
}

impl StateCollector {
    pub(super) fn new(state: Arc<State>) -> prometheus::Result<Self> {
        let mut families = vec![names::SERVICE_RETRIES, names::SERVICE_SERVER_UP, names::TLS_CERTS_NOT_AFTER];
        for level in FAMILIES {
            families.extend([level.requests, level.requests_tls, level.duration]);
            families.extend([level.requests_bytes, level.responses_bytes]);
        }
        let descriptors = families.iter().map(Family::desc).collect::<Result<_, _>>()?;
        Ok(Self { state, descriptors })
    }

    fn levels(&self, out: &mut Vec<MetricFamily>) {
        let mut samples: [LevelSamples; FAMILIES.len()] = Default::default();
        self.state.levels.visit_and_prune(|_, level| {
            let families = level.families();
            let index = FAMILIES.iter().position(|known| std::ptr::eq(*known, families));
            if let Some(samples) = index.and_then(|index| samples.get_mut(index)) {
                level.collect(samples);
            }
        });
        for (families, samples) in FAMILIES.iter().zip(samples) {
            out.extend([
                exposition::family(&families.requests, MetricType::COUNTER, samples.requests),
                exposition::family(&families.requests_tls, MetricType::COUNTER, samples.requests_tls),
                exposition::family(&families.duration, MetricType::HISTOGRAM, samples.duration),
                exposition::family(&families.requests_bytes, MetricType::COUNTER, samples.requests_bytes),
                exposition::family(&families.responses_bytes, MetricType::COUNTER, samples.responses_bytes),
                exposition::family(&names::SERVICE_RETRIES, MetricType::COUNTER, samples.retries),
            ]);
        }
    }

    fn servers(&self, out: &mut Vec<MetricFamily>) {
        let mut samples = Vec::new();
        self.state.servers.visit_and_prune(|(service, url), up| {
            let labels = exposition::labels(&names::SERVICE_SERVER_UP, &[service, url]);
            samples.push(exposition::gauge(labels, f64::from(u8::from(up.get()))));
        });
        out.push(exposition::family(&names::SERVICE_SERVER_UP, MetricType::GAUGE, samples));
    }

    #[allow(clippy::cast_precision_loss)]
    fn certificates(&self, out: &mut Vec<MetricFamily>) {
        let sample = |certificate: &CertificateExpiry| {
            let CertificateExpiry { cn, serial, sans, not_after } = certificate;
            let labels = exposition::labels(&names::TLS_CERTS_NOT_AFTER, &[cn, sans, serial]);
            exposition::gauge(labels, unix_seconds(*not_after) as f64)
        };
        let samples = self.state.certificates.load().iter().map(sample).collect();
        out.push(exposition::family(&names::TLS_CERTS_NOT_AFTER, MetricType::GAUGE, samples));
    }
}

impl Collector for StateCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptors.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut out = Vec::new();
        self.levels(&mut out);
        self.servers(&mut out);
        self.certificates(&mut out);
        out
    }
}
