//! Small constructors for what the text encoder takes.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::names::Family;

/// The labels of `family` with `values`, in the table's order.
pub(super) fn labels(family: &Family, values: &[&str]) -> Vec<LabelPair> {
    debug_assert_eq!(family.labels.len(), values.len(), "{}", family.name);
    family.labels.iter().zip(values).map(|(name, value)| pair(name, value)).collect()
}

/// The same with `more` labels, all of them sorted.
pub(super) fn labels_and(family: &Family, values: &[&str], more: &[(&str, &str)]) -> Vec<LabelPair> {
    let mut all = labels(family, values);
    all.extend(more.iter().map(|(name, value)| pair(name, value)));
    all.sort_by(|a, b| a.name().cmp(b.name()));
    all
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

/// A counter's sample.
#[allow(clippy::cast_precision_loss)]
pub(super) fn counter(labels: Vec<LabelPair>, value: u64) -> Metric {
    fractional_counter(labels, value as f64)
}

/// The sample of a counter of seconds, without labels.
pub(super) fn seconds(value: f64) -> Metric {
    fractional_counter(Vec::new(), value)
}

fn fractional_counter(labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut sample = Counter::default();
    sample.set_value(value);
    let mut metric = Metric::from_label(labels);
    metric.set_counter(sample);
    metric
}

/// A gauge's sample.
pub(super) fn gauge(labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut sample = Gauge::default();
    sample.set_value(value);
    let mut metric = Metric::from_label(labels);
    metric.set_gauge(sample);
    metric
}

/// A histogram's sample. `buckets` are upper bounds with cumulative counts; the infinite one is `count`.
pub(super) fn histogram(
    labels: Vec<LabelPair>,
    buckets: impl Iterator<Item = (f64, u64)>,
    count: u64,
    sum: f64,
) -> Metric {
    let bucket = |(bound, cumulative)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(cumulative);
        bucket
    };
    let mut sample = Histogram::default();
    sample.set_bucket(buckets.map(bucket).collect());
    sample.set_sample_count(count);
    sample.set_sample_sum(sum);
    let mut metric = Metric::from_label(labels);
    metric.set_histogram(sample);
    metric
}

/// A family with its samples.
pub(super) fn family(family: &Family, kind: MetricType, samples: Vec<Metric>) -> MetricFamily {
    let mut out = MetricFamily::default();
    out.set_name(family.name.to_owned());
    out.set_help(family.help.to_owned());
    out.set_field_type(kind);
    out.set_metric(samples);
    out
}
