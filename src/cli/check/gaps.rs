//! Names that may be missing only because what defines them did not decode.

use crate::config::error::is_within;
use crate::config::{ConfigError, Loaded};
use crate::provider::file;

/// The sections whose names are not all known.
pub struct Gaps(Vec<&'static str>);

impl Gaps {
    /// Those of the static configuration `fixed`, in which `faults` were found, and of what its files say.
    pub fn find(fixed: &Loaded, faults: &[ConfigError], read: &file::Loaded) -> Self {
        let mut gaps = Vec::new();
        let entry_points = faults.iter().any(|fault| is_within(&fault.path, "entryPoints"));
        let unknown =
            fixed.config.entry_points.is_empty() && faults.iter().any(|fault| fault.path.is_empty());
        if entry_points || unknown {
            gaps.push("entryPoints");
        }
        let (http, tls) = (&read.decoded.config.http, &read.decoded.config.tls);
        let sections = [
            ("http.services", http.services.is_empty()),
            ("http.middlewares", http.middlewares.is_empty()),
            ("http.serversTransports", http.servers_transports.is_empty()),
            ("tls.options", tls.options.is_empty()),
        ];
        for (section, is_empty) in sections {
            // A key that nobody knows may have been meant to be the section.
            let hidden = || read.decoded.errors.iter().any(|fault| is_within(section, &fault.path));
            if read.has_unread_file || (is_empty && hidden()) {
                gaps.push(section);
            }
        }
        Self(gaps)
    }

    /// Whether `fault` is about a name out of one of them.
    pub fn explain(&self, fault: &ConfigError) -> bool {
        named_section(&fault.path).is_some_and(|section| self.0.contains(&section))
    }
}

/// The section that the value at the key path `path` names something of.
fn named_section(path: &str) -> Option<&'static str> {
    let kinds: &[(&str, &str, &str)] = &[
        ("http.routers.", ".entryPoints", "entryPoints"),
        ("http.routers.", ".service", "http.services"),
        ("http.routers.", ".middlewares", "http.middlewares"),
        ("http.routers.", ".tls.options", "tls.options"),
        ("http.middlewares.", ".chain.middlewares", "http.middlewares"),
        ("http.services.", ".loadBalancer.serversTransport", "http.serversTransports"),
        ("entryPoints.", ".http.middlewares", "http.middlewares"),
        ("entryPoints.", ".http.tls.options", "tls.options"),
    ];
    let found = kinds.iter().find(|(start, end, _)| path.starts_with(start) && path.ends_with(end));
    found.map(|(.., section)| *section)
}
