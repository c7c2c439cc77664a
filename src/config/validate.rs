//! What decoding alone cannot see in a static configuration: references, addresses, words.

use super::decode::Decoder;
use super::entry_point::EntryPoint;
use super::error::nearest;
use super::static_config::{PluginModule, StaticConfig};
use super::value::{Node, Position};

/// The end of the Go module that is native here, whoever owns it.
const NATIVE_MODULE: &str = "/traefikoidc";

/// Whether the plugin `alias` is traefikoidc: by the module that it is declared with, else by name.
pub fn is_native_plugin(config: &StaticConfig, alias: &str) -> bool {
    let experimental = &config.experimental;
    let declared = experimental.plugins.get(alias).or_else(|| experimental.local_plugins.get(alias));
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
    let mut judge = Judge { node, decoder };
    for (name, entry_point) in &config.entry_points {
        judge.entry_point(config, name, entry_point);
    }
    judge.plugins(config);
    judge.words(config);
    judge.internal_entry_points(config);
    if let Some(file) = &config.providers.file
        && file.directory.is_none()
        && file.filename.is_none()
    {
        judge.error(&["providers", "file"], "needs `filename` or `directory`");
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
        let Some((last, parents)) = path.split_last() else { return };
        self.within(parents, last, &at, message.into());
    }

    fn within(&mut self, parents: &[&str], last: &str, at: &Position, message: String) {
        match parents {
            [] => self.decoder.at(last, |decoder| decoder.error(at, message)),
            [first, rest @ ..] => {
                let node = self.node;
                self.decoder.at(first, |decoder| Judge { node, decoder }.within(rest, last, at, message));
            }
        }
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

    fn entry_point(&mut self, config: &StaticConfig, name: &str, entry_point: &EntryPoint) {
        let path = |rest: &[&'static str]| [&["entryPoints", name], rest].concat();
        if let Err(message) = super::address::parse(&entry_point.address) {
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
        let target = entry_point.http.redirections.as_ref().and_then(|r| r.entry_point.as_ref());
        if let Some(target) = target
            && !target.to.starts_with(':')
            && !config.entry_points.contains_key(&target.to)
        {
            let known = config.entry_points.keys().map(String::as_str);
            let message = format!("entry point `{}` does not exist{}", target.to, hint(&target.to, known));
            self.error(&path(&["http", "redirections", "entryPoint", "to"]), message);
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
        if !known.iter().any(|name| name.eq_ignore_ascii_case(word)) {
            let message = format!("expected one of {}, found `{word}`", known.join(", "));
            self.error(path, message);
        }
    }

    fn plugins(&mut self, config: &StaticConfig) {
        let experimental = &config.experimental;
        let kinds = [("plugins", &experimental.plugins), ("localPlugins", &experimental.local_plugins)];
        for (kind, plugins) in kinds {
            for (alias, plugin) in plugins.iter().filter(|(_, plugin)| !is_native(plugin)) {
                let message =
                    format!("plugin `{}` cannot be loaded: only traefikoidc is built in", plugin.module_name);
                self.error(&["experimental", kind, alias], message);
            }
        }
    }

    fn words(&mut self, config: &StaticConfig) {
        if let Some(log) = config.log.as_ref() {
            const LEVELS: &[&str] = &["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "PANIC"];
            self.one_of(&["log", "level"], &log.level, LEVELS);
            self.one_of(&["log", "format"], &log.format, &["common", "json"]);
        }
        if let Some(log) = config.access_log.as_ref() {
            self.one_of(&["accessLog", "format"], &log.format, &["common", "json", "genericCLF"]);
            let fields = &log.fields;
            self.one_of(&["accessLog", "fields", "defaultMode"], &fields.default_mode, &["keep", "drop"]);
            let path = ["accessLog", "fields", "headers", "defaultMode"];
            self.one_of(&path, &fields.headers.default_mode, &["keep", "drop", "redact"]);
        }
        if let Some(api) = config.api.as_ref() {
            let legal = |c: char| c.is_ascii_alphanumeric() || "/_.:~-".contains(c);
            if !api.base_path.starts_with('/') || !api.base_path.chars().all(legal) {
                self.error(&["api", "basePath"], "expected a path of letters, digits and /_.:~-");
            }
        }
    }

    fn internal_entry_points(&mut self, config: &StaticConfig) {
        let prometheus = config.metrics.as_ref().and_then(|metrics| metrics.prometheus.as_ref());
        if let Some(ping) = config.ping.as_ref().filter(|ping| !ping.manual_routing) {
            self.internal(config, &["ping", "entryPoint"], &ping.entry_point);
        }
        if let Some(prometheus) = prometheus.filter(|prometheus| !prometheus.manual_routing) {
            self.internal(config, &["metrics", "prometheus", "entryPoint"], &prometheus.entry_point);
        }
    }

    fn internal(&mut self, config: &StaticConfig, path: &[&str], name: &str) {
        if name != "traefik" && !config.entry_points.contains_key(name) {
            let known = config.entry_points.keys().map(String::as_str);
            self.error(path, format!("entry point `{name}` does not exist{}", hint(name, known)));
        }
    }
}

fn hint<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(written, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::decode::Decode;
    use crate::config::source::yaml;

    fn errors(text: &str) -> String {
        let node = yaml::parse("t.yml", text).unwrap();
        let mut decoder = Decoder::new();
        let config = StaticConfig::decode(&node, &mut decoder);
        if let Some(config) = &config {
            check(config, &node, &mut decoder);
        }
        decoder.finish(config).err().map(|errors| errors.to_string()).unwrap_or_default()
    }

    #[test]
    fn references_are_checked_with_their_place() {
        let text = "entryPoints:\n  web:\n    address: ':80'\n    http:\n      redirections:\n        entryPoint:\n          to: websecur\n  websecure:\n    address: ':443'\n";
        assert_eq!(
            errors(text),
            "t.yml:7:15: entryPoints.web.http.redirections.entryPoint.to: entry point `websecur` does not exist; \
             did you mean `websecure`?"
        );
    }

    #[test]
    fn only_one_plugin_is_native() {
        let text = |module: &str| {
            format!("experimental: {{plugins: {{oidc: {{moduleName: {module}, version: v1}}}}}}")
        };
        assert_eq!(errors(&text("github.com/someone/traefikoidc")), "");
        assert!(
            errors(&text("github.com/someone/geoblock")).contains("`github.com/someone/geoblock` cannot be")
        );
    }

    #[test]
    fn words_and_networks() {
        let text = "log: {level: LOUD}\nentryPoints: {web: {address: ':80', forwardedHeaders: {trustedIPs: [10.0.0.0/8, nonsense]}}}";
        let said = errors(text);
        assert!(said.contains("log.level: expected one of TRACE"), "{said}");
        assert!(said.contains("`nonsense` is neither"), "{said}");
    }
}
