//! `headerLabels`: request headers as labels of the counters of requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::MetricsError;
use crate::config::telemetry;

/// How many series one entry point, router or service may have by headers. Clients choose the values, so what comes
/// beyond counts as [`OTHER`].
const MOST_SERIES: usize = 1_000;

/// Bytes of a value that count.
const LONGEST: usize = 128;

/// Stands for values that are too many.
const OTHER: &[u8] = b"other";

/// Labels, and the headers that have their values.
#[derive(Debug, Default)]
pub(super) struct HeaderLabels(Vec<(String, HeaderName)>);

impl HeaderLabels {
    /// # Errors
    /// A label that Prometheus does not allow or that is there anyway, or what can be no header.
    pub(super) fn new(config: &BTreeMap<String, String>) -> Result<Self, MetricsError> {
        let label = |(label, header): (&String, &String)| {
            let header = HeaderName::try_from(header)
                .ok()
                .filter(|_| telemetry::is_label(label) && !telemetry::LABELS.contains(&&**label));
            let header = header.ok_or_else(|| MetricsError::HeaderLabel(label.clone()))?;
            Ok((label.clone(), header))
        };
        config.iter().map(label).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn shows(&self, name: &HeaderName) -> bool {
        self.0.iter().any(|(_, shown)| shown == name)
    }
}

/// How many requests there were with which headers.
pub(super) struct ByHeaders {
    labels: Arc<HeaderLabels>,
    /// By the request's packed key (four bytes) and each value with a NUL behind it, which no value holds.
    counts: DashMap<Box<[u8]>, AtomicU64>,
}

impl ByHeaders {
    pub(super) fn new(labels: Arc<HeaderLabels>) -> Self {
        Self { labels, counts: DashMap::new() }
    }

    pub(super) fn labels(&self) -> &HeaderLabels {
        &self.labels
    }

    /// Counts a request; a header that it has not got is an empty value, as in Traefik.
    pub(super) fn count(&self, request: u32, headers: &HeaderMap) {
        let value = |name: &HeaderName| {
            // A secret is no label.
            let value = headers.get(name).filter(|value| !value.is_sensitive());
            let value = value.map_or(&b""[..], HeaderValue::as_bytes);
            value.get(..LONGEST).unwrap_or(value)
        };
        let key = key(request, self.labels.0.iter().map(|(_, name)| value(name)));
        if let Some(count) = self.counts.get(key.as_slice()) {
            count.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let key = match self.counts.len() < MOST_SERIES {
            true => key,
            false => self::key(request, self.labels.0.iter().map(|_| OTHER)),
        };
        self.counts.entry(key.into_vec().into()).or_default().fetch_add(1, Ordering::Relaxed);
    }

    /// Shows each count with its request's key and its labels.
    pub(super) fn each(&self, mut show: impl FnMut(u32, &[(&str, &str)], u64)) {
        for entry in &self.counts {
            let Some((request, values)) = entry.key().split_first_chunk() else { continue };
            let values: Vec<_> = values.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
            let labels = self.labels.0.iter().zip(&values);
            let labels: Vec<_> = labels.map(|((label, _), value)| (label.as_str(), &**value)).collect();
            show(u32::from_be_bytes(*request), &labels, entry.value().load(Ordering::Relaxed));
        }
    }
}

fn key<'a>(request: u32, values: impl Iterator<Item = &'a [u8]>) -> SmallVec<[u8; 128]> {
    let mut key = SmallVec::from_slice(&request.to_be_bytes());
    for value in values {
        key.extend_from_slice(value);
        key.push(0);
    }
    key
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Result<HeaderLabels, MetricsError> {
        let pairs = pairs.iter().map(|(label, header)| ((*label).to_owned(), (*header).to_owned()));
        HeaderLabels::new(&pairs.collect())
    }

    fn shown(counts: &ByHeaders) -> Vec<(u32, String, u64)> {
        let mut all = Vec::new();
        counts.each(|request, labels, count| {
            let text: Vec<_> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
            all.push((request, text.join(","), count));
        });
        all.sort();
        all
    }

    #[test]
    fn requests_are_told_apart_by_their_headers() {
        let counts =
            ByHeaders::new(Arc::new(labels(&[("agent", "User-Agent"), ("tier", "X-Tier")]).unwrap()));
        let mut headers = HeaderMap::new();
        counts.count(7, &headers);
        headers.insert("x-tier", HeaderValue::from_static("gold"));
        counts.count(7, &headers);
        counts.count(7, &headers);
        let mut secret = HeaderValue::from_static("token");
        secret.set_sensitive(true);
        headers.insert("x-tier", secret);
        headers.insert("user-agent", HeaderValue::try_from("a".repeat(500)).unwrap());
        counts.count(8, &headers);
        let cut = format!("agent={},tier=", "a".repeat(LONGEST));
        assert_eq!(
            shown(&counts),
            [(7, "agent=,tier=".into(), 1), (7, "agent=,tier=gold".into(), 2), (8, cut, 1)]
        );
    }

    #[test]
    fn clients_cannot_make_series_without_end() {
        let counts = ByHeaders::new(Arc::new(labels(&[("agent", "User-Agent")]).unwrap()));
        let mut headers = HeaderMap::new();
        for number in 0..MOST_SERIES + 50 {
            headers.insert("user-agent", HeaderValue::from(number));
            counts.count(1, &headers);
        }
        let shown = shown(&counts);
        assert_eq!(shown.len(), MOST_SERIES + 1);
        assert!(shown.contains(&(1, "agent=other".into(), 50)));
    }

    #[test]
    fn labels_that_cannot_be_are_refused_by_name() {
        for (label, header) in
            [("code", "x"), ("a-b", "x"), ("1a", "x"), ("__a", "x"), ("", "x"), ("a", "x y")]
        {
            let error = labels(&[(label, header)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("metrics.prometheus.headerLabels.{label}: ")), "{error}");
        }
        assert!(labels(&[]).unwrap().is_empty());
    }
}
