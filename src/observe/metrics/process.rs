//! The `process_*` metrics of Prometheus' client libraries, read from `/proc/self` at each scrape.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};

use super::exposition;
use super::names::{self, Family};

/// Clock ticks per second in `/proc/self/stat`. Linux fixes it at 100 for user space on every architecture
/// that Portcullis is built for.
const TICKS_PER_SECOND: f64 = 100.0;
/// Unit of the resident size in `/proc/self/stat`, unless `/proc/self/smaps` tells another one.
const DEFAULT_PAGE: f64 = 4096.0;

pub(super) struct ProcessCollector {
    descriptors: Vec<Desc>,
    started: f64,
    page: f64,
}

impl ProcessCollector {
    pub(super) fn new() -> prometheus::Result<Self> {
        let families = [
            names::PROCESS_CPU,
            names::PROCESS_OPEN_FDS,
            names::PROCESS_MAX_FDS,
            names::PROCESS_VIRTUAL_MEMORY,
            names::PROCESS_RESIDENT_MEMORY,
            names::PROCESS_START_TIME,
            names::PROCESS_THREADS,
        ];
        let descriptors = families.iter().map(Family::desc).collect::<Result<_, _>>()?;
        let page = fs::read_to_string("/proc/self/smaps").ok().and_then(|text| page_size(&text));
        // The boot time that `/proc/self/stat` counts from is hidden by `ProcSubset=pid`; metrics are set up
        // within milliseconds of the start.
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Ok(Self { descriptors, started, page: page.unwrap_or(DEFAULT_PAGE) })
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptors.iter().collect()
    }

    #[allow(clippy::cast_precision_loss)]
    fn collect(&self) -> Vec<MetricFamily> {
        let mut out = Vec::new();
        let mut show = |family: &Family, value: f64| {
            out.push(exposition::family(
                family,
                MetricType::GAUGE,
                vec![exposition::gauge(Vec::new(), value)],
            ));
        };
        let stat = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse);
        if let Some(stat) = &stat {
            show(&names::PROCESS_VIRTUAL_MEMORY, stat.virtual_bytes);
            show(&names::PROCESS_RESIDENT_MEMORY, stat.resident_pages * self.page);
            show(&names::PROCESS_THREADS, stat.threads);
        }
        show(&names::PROCESS_START_TIME, self.started);
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            show(&names::PROCESS_OPEN_FDS, entries.count() as f64);
        }
        if let Some(limit) = fs::read_to_string("/proc/self/limits").ok().and_then(|text| max_fds(&text)) {
            show(&names::PROCESS_MAX_FDS, limit);
        }
        if let Some(stat) = stat {
            let seconds = exposition::seconds(stat.cpu_ticks / TICKS_PER_SECOND);
            out.push(exposition::family(&names::PROCESS_CPU, MetricType::COUNTER, vec![seconds]));
        }
        out
    }
}

/// The fields of `/proc/<pid>/stat` that are shown; proc_pid_stat(5).
struct Stat {
    cpu_ticks: f64,
    threads: f64,
    virtual_bytes: f64,
    resident_pages: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The program's name may hold blanks and parentheses; what follows its last one is plain. Fields are
        // numbered from 1, the one after the name is 3.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| -> Option<f64> { fields.get(number - 3)?.parse().ok() };
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// `MMUPageSize:           4 kB`
fn page_size(smaps: &str) -> Option<f64> {
    let line = smaps.lines().find_map(|line| line.strip_prefix("MMUPageSize:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024.0)
}

/// `Max open files            1024                 524288               files`
fn max_fds(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        soft => soft.parse().ok(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_an_odd_name() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 12345 8192000 321 18446744073709551615 1";
        let stat = Stat::parse(text).unwrap();
        assert_eq!(stat.cpu_ticks, 300.0);
        assert_eq!(stat.threads, 9.0);
        assert_eq!(stat.virtual_bytes, 8_192_000.0);
        assert_eq!(stat.resident_pages, 321.0);
        assert!(Stat::parse("7 (x) S 1").is_none());
    }

    #[test]
    fn limits_and_units_are_read() {
        assert_eq!(
            max_fds("Max open files            1024                 524288               files"),
            Some(1024.0)
        );
        assert_eq!(page_size("Size: 4 kB\nMMUPageSize:           64 kB\n"), Some(65536.0));
    }
}
