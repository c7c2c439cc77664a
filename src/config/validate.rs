//! What decoding alone cannot see in a static configuration: references, addresses, words.

use std::net::SocketAddr;

use super::decode::Decoder;
use super::entry_point::EntryPoint;
use super::error::nearest;
use super::static_config::{PluginModule, StaticConfig};
use super::telemetry;
use super::value::{Node, Position, Value};

/// The end of the Go module that is native here, whoever owns it.
const NATIVE_MODULE: &str = "/traefikoidc";

/// Whether the plugin `alias` is traefikoidc: by the module that it is declared with, else by name.
pub fn is_native_plugin(config: &StaticConfig, alias: &str) -> bool {
    let experimental = &config.experimental;
    // Flags and variables lose their capitals.
    let is_it = |(declared, _): &(&String, &PluginModule)| declared.eq_ignore_ascii_case(alias);
    let declared =
        experimental.plugins.get(alias).or_else(|| experimental.local_plugins.get(alias)).or_else(|| {
            experimental
                .plugins
                .iter()
                .chain(&experimental.local_plugins)
                .find(is_it)
                .map(|(_, plugin)| plugin)
        });
    match declared {
        Some(plugin) => is_native(plugin),
        None => alias.eq_ignore_ascii_case("traefikoidc"),
    }
}

fn is_native(plugin: &PluginModule) -> bool {
    plugin.module_name.ends_with(NATIVE_MODULE)
}

/// Records what is wrong with `config`, which was decoded from `node`.
pub fn check(config: &StaticConfig, node: &Node, decoder: &mut Decoder) {
    // A block that did not decode is missing here: what refers to it is not wrong for that.
    let entry_points =
        decoder.is_clean("entryPoints") && (decoder.is_clean("") || !config.entry_points.is_empty());
    let providers = decoder.is_clean("providers");
    let mut judge = Judge { node, decoder };
    for (name, entry_point) in &config.entry_points {
        judge.entry_point(name, entry_point);
    }
    judge.plugins(config);
    judge.logs(config);
    judge.internals(config);
    judge.session_store(config);
    if entry_points {
        judge.shared_addresses(config);
        judge.redirections(config);
        judge.internal_entry_points(config);
    }
    if providers {
        let file = config.providers.file.as_ref();
        if file.is_some_and(|file| file.directory.is_none() && file.filename.is_none()) {
            judge.error(&["providers", "file"], "needs `filename` or `directory`");
        } else if file.is_some_and(|file| file.directory.is_some() && file.filename.is_some()) {
            judge.warn(&["providers", "file", "filename"], "has no effect beside `directory`");
        }
    }
}

struct Judge<'a> {
    node: &'a Node,
    decoder: &'a mut Decoder,
}

impl Judge<'_> {
    /// Records a fault at `path`, with the place of the deepest part of it that was written.
    fn error(&mut self, path: &[&str], message: impl Into<String>) {
        let at = self.place(path);
        self.decoder.at(&path.join("."), |decoder| decoder.error(&at, message));
    }

    /// Records at `path` what loads but deserves attention.
    fn warn(&mut self, path: &[&str], message: impl Into<String>) {
        let at = self.place(path);
        self.decoder.at(&path.join("."), |decoder| decoder.warn(&at, message));
    }

    /// Whether text was written at `path`, be it empty.
    fn is_text(&self, path: &[&str]) -> bool {
        let found = path.iter().try_fold(self.node, |node, key| node.get(key).map(|entry| &entry.node));
        found.is_some_and(|node| matches!(node.last().value, Value::Scalar(_)))
    }

    fn place(&self, path: &[&str]) -> Position {
        let mut node = self.node;
        let mut at = &node.at;
        for key in path {
            let Some(entry) = node.get(key) else { break };
            at = &entry.node.at;
            node = &entry.node;
        }
        at.clone()
    }

    fn entry_point(&mut self, name: &str, entry_point: &EntryPoint) {
        let path = |rest: &[&'static str]| [&["entryPoints", name], rest].concat();
        // An address that is missing or no text is told already.
        if self.is_text(&path(&["address"]))
            && let Err(message) = super::address::parse(&entry_point.address)
        {
            self.error(&path(&["address"]), message);
        }
        let trusted = &entry_point.forwarded_headers.trusted_ips;
        self.networks(&path(&["forwardedHeaders", "trustedIPs"]), trusted);
        if let Some(proxy_protocol) = entry_point.proxy_protocol.as_ref() {
            self.networks(&path(&["proxyProtocol", "trustedIPs"]), &proxy_protocol.trusted_ips);
        }
        if let Some(strategy) = &entry_point.http.alias_headers_strategy {
            self.one_of(&path(&["http", "aliasHeadersStrategy"]), strategy, &["keep", "delete", "reject"]);
        }
    }

    fn session_store(&mut self, config: &StaticConfig) {
        const BLOCK: &str = "oidc.session.store";
        let Some(store) = config.oidc.session.store.as_ref().filter(|_| self.decoder.is_clean(BLOCK)) else {
            return;
        };
        for (key, message) in store.faults() {
            let below = key.split('.').filter(|segment| !segment.is_empty());
            let path: Vec<&str> = ["oidc", "session", "store"].into_iter().chain(below).collect();
            self.error(&path, message);
        }
    }

    /// Two entry points cannot listen on one address.
    fn shared_addresses(&mut self, config: &StaticConfig) {
        let mut taken: Vec<(&str, SocketAddr)> = Vec::new();
        for (name, entry_point) in &config.entry_points {
            let Ok(address) = super::address::parse(&entry_point.address) else { continue };
            if let Some((other, _)) = taken.iter().find(|(_, other)| collide(*other, address)) {
                let message = format!("entry point `{other}` listens there already");
                self.error(&["entryPoints", name, "address"], message);
            }
            taken.push((name, address));
        }
    }

    fn redirections(&mut self, config: &StaticConfig) {
        for (name, entry_point) in &config.entry_points {
            let path = ["entryPoints", name, "http", "redirections", "entryPoint", "to"];
            let redirections = entry_point.http.redirections.as_ref();
            let Some(target) = redirections.and_then(|r| r.entry_point.as_ref()) else { continue };
            if target.scheme.is_empty() {
                let path = ["entryPoints", name, "http", "redirections", "entryPoint", "scheme"];
                self.error(&path, "expected a scheme such as https");
            }
            match target.to.strip_prefix(':') {
                Some(port) if port.parse::<u16>().is_err() => {
                    self.error(&path, format!("expected an entry point or :port, found `{}`", target.to));
                }
                Some(_) => {}
                None => self.reference(config, &path, &target.to),
            }
        }
    }

    fn reference(&mut self, config: &StaticConfig, path: &[&str], name: &str) {
        if !config.entry_points.contains_key(name) {
            let known = config.entry_points.keys().map(String::as_str);
            self.error(path, format!("entry point `{name}` does not exist{}", hint(name, known)));
        }
    }

    fn networks(&mut self, path: &[&str], networks: &[String]) {
        for network in networks {
            let network = network.trim();
            let valid =
                network.parse::<std::net::IpAddr>().is_ok() || network.parse::<ipnet::IpNet>().is_ok();
            if !valid {
                self.error(
                    path,
                    format!("`{network}` is neither an IP address nor a CIDR such as 10.0.0.0/8"),
                );
            }
        }
    }

    fn one_of(&mut self, path: &[&str], word: &str, known: &[&str]) {
        if !known.contains(&word) {
            let message = format!(
                "expected one of {}, found `{word}`{}",
                known.join(", "),
                hint(word, known.iter().copied())
            );
            self.error(path, message);
        }
    }

    fn plugins(&mut self, config: &StaticConfig) {
        let experimental = &config.experimental;
        let kinds = [("plugins", &experimental.plugins), ("localPlugins", &experimental.local_plugins)];
        for (kind, plugins) in kinds {
            for (alias, plugin) in plugins.iter().filter(|(_, plugin)| !is_native(plugin)) {
                // Empty: it is missing, which is told already.
                if !plugin.module_name.is_empty() {
                    let message = format!(
                        "plugin `{}` cannot be loaded: only traefikoidc is built in",
                        plugin.module_name
                    );
                    self.error(&["experimental", kind, alias], message);
                }
            }
        }
    }

    fn logs(&mut self, config: &StaticConfig) {
        if let Some(log) = config.log.as_ref() {
            const LEVELS: &[&str] = &["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "PANIC"];
            self.one_of(&["log", "level"], &log.level.to_ascii_uppercase(), LEVELS);
            self.one_of(&["log", "format"], &log.format, &["common", "json"]);
        }
        if let Some(audit) = config.oidc.audit.as_ref() {
            self.queue(&["oidc", "audit", "bufferingSize"], audit.buffering_size);
        }
        let Some(log) = config.access_log.as_ref() else { return };
        self.queue(&["accessLog", "bufferingSize"], log.buffering_size);
        self.one_of(&["accessLog", "format"], &log.format, &["common", "json", "genericCLF"]);
        for code in log.filters.status_codes.iter().filter(|code| !is_status_range(code)) {
            let message = format!("expected a status such as 500 or a range such as 500-599, found `{code}`");
            self.error(&["accessLog", "filters", "statusCodes"], message);
        }
        const FIELD: &[&str] = &["keep", "drop"];
        const HEADER: &[&str] = &["keep", "drop", "redact"];
        let fields = &log.fields;
        self.one_of(&["accessLog", "fields", "defaultMode"], &fields.default_mode, FIELD);
        for (name, mode) in &fields.names {
            let path = ["accessLog", "fields", "names", name];
            self.one_of(&path, mode, HEADER);
            if !access_log_fields().any(|known| known.eq_ignore_ascii_case(name)) {
                let message = format!("no line has this field{}", hint(name, access_log_fields()));
                self.warn(&path, message);
            }
        }
        self.one_of(&["accessLog", "fields", "headers", "defaultMode"], &fields.headers.default_mode, HEADER);
        for (name, mode) in &fields.headers.names {
            let path = ["accessLog", "fields", "headers", "names", name];
            self.one_of(&path, mode, HEADER);
            self.header(&path, name);
        }
        let mode = &fields.query_parameters.default_mode;
        self.one_of(&["accessLog", "fields", "queryParameters", "defaultMode"], mode, FIELD);
    }

    fn internals(&mut self, config: &StaticConfig) {
        if let Some(api) = config.api.as_ref() {
            let legal = |c: char| c.is_ascii_alphanumeric() || "/_.:~-".contains(c);
            if !api.base_path.starts_with('/') || !api.base_path.chars().all(legal) {
                self.error(&["api", "basePath"], "expected a path of letters, digits and /_.:~-");
            }
        }
        if config.ping.as_ref().is_some_and(|ping| !(200..600).contains(&ping.terminating_status_code)) {
            self.error(&["ping", "terminatingStatusCode"], "expected a status from 200 to 599");
        }
        if let Some(prometheus) = config.metrics.as_ref().and_then(|metrics| metrics.prometheus.as_ref()) {
            self.prometheus(prometheus);
        }
    }

    fn prometheus(&mut self, config: &telemetry::Prometheus) {
        let rises = config.buckets.windows(2).all(|pair| pair.first() < pair.last());
        if !rises || config.buckets.iter().any(|bound| !bound.is_finite() || *bound <= 0.0) {
            self.error(&["metrics", "prometheus", "buckets"], "expected numbers above 0 that rise");
        }
        for (label, header) in &config.header_labels {
            let path = ["metrics", "prometheus", "headerLabels", label];
            self.header(&path, header);
            if telemetry::LABELS.contains(&label.as_str()) {
                self.error(&path, "is a label of these counters already");
            } else if !telemetry::is_label(label) {
                self.error(&path, "expected a label of letters, digits and `_`, not a digit first");
            }
        }
    }

    fn header(&mut self, path: &[&str], name: &str) {
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            self.error(path, format!("`{name}` is not a header name"));
        }
    }

    fn queue(&mut self, path: &[&str], lines: usize) {
        if lines > telemetry::LONGEST_QUEUE {
            self.error(path, format!("expected at most {} lines, found {lines}", telemetry::LONGEST_QUEUE));
        }
    }

    fn internal_entry_points(&mut self, config: &StaticConfig) {
        let prometheus = config.metrics.as_ref().and_then(|metrics| metrics.prometheus.as_ref());
        // The entry point `traefik` is made when it is needed.
        let written = |name: &str| name != "traefik";
        if let Some(ping) = config.ping.as_ref().filter(|p| !p.manual_routing && written(&p.entry_point)) {
            self.reference(config, &["ping", "entryPoint"], &ping.entry_point);
        }
        if let Some(metrics) = prometheus.filter(|p| !p.manual_routing && written(&p.entry_point)) {
            self.reference(config, &["metrics", "prometheus", "entryPoint"], &metrics.entry_point);
        }
    }
}

/// Whether nobody can listen on both. `[::]` takes IPv4, too.
pub fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let covers =
        |all: SocketAddr, one: SocketAddr| all.ip().is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || covers(one, other) || covers(other, one))
}

/// Names that `accessLog.fields.names` takes: those of our lines, and those that only Traefik's have.
fn access_log_fields() -> impl Iterator<Item = &'static str> {
    telemetry::FIELDS.iter().chain(telemetry::FIELDS_OF_TRAEFIK).copied()
}

/// `500` or `500-599`.
fn is_status_range(text: &str) -> bool {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| text.parse::<u16>().ok().filter(|status| (100..1000).contains(status));
    matches!((status(first), status(last)), (Some(first), Some(last)) if first <= last)
}

fn hint<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(written, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests;
