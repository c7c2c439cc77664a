//! The entry points that really exist: those written, and those that Traefik makes by itself.

use std::collections::BTreeMap;

use crate::config::StaticConfig;
use crate::config::entry_point::EntryPoint;

/// The entry point that is made for ping, metrics and the API.
pub const INTERNAL: &str = "traefik";

/// Every entry point by name.
///
/// None written means `http` on `:80`; `traefik` on `:8080` exists whenever ping, metrics or the
/// insecure API are on and point at it.
pub fn effective(config: &StaticConfig) -> BTreeMap<String, EntryPoint> {
    let mut entry_points = config.entry_points.clone();
    if entry_points.is_empty() {
        entry_points.insert("http".to_owned(), at(":80"));
    }
    if needs_internal(config) && !entry_points.contains_key(INTERNAL) {
        entry_points.insert(INTERNAL.to_owned(), at(":8080"));
    }
    entry_points
}

/// The entry points of a router that names none.
pub fn defaults(entry_points: &BTreeMap<String, EntryPoint>) -> Vec<String> {
    let marked: Vec<String> =
        entry_points.iter().filter(|(_, e)| e.as_default).map(|(name, _)| name.clone()).collect();
    if !marked.is_empty() {
        return marked;
    }
    entry_points.keys().filter(|name| *name != INTERNAL).cloned().collect()
}

fn needs_internal(config: &StaticConfig) -> bool {
    let ping = config.ping.as_ref().is_some_and(|p| !p.manual_routing && p.entry_point == INTERNAL);
    let api = config.api.as_ref().is_some_and(|a| a.insecure);
    let metrics = config
        .metrics
        .as_ref()
        .and_then(|m| m.prometheus.as_ref())
        .is_some_and(|p| !p.manual_routing && p.entry_point == INTERNAL);
    ping || api || metrics
}

fn at(address: &str) -> EntryPoint {
    EntryPoint { address: address.to_owned(), ..EntryPoint::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Presence;
    use crate::config::telemetry::Ping;

    #[test]
    fn nothing_written_is_http_on_80() {
        let made = effective(&StaticConfig::default());
        assert_eq!(made.keys().collect::<Vec<_>>(), ["http"]);
        assert_eq!(made["http"].address, ":80");
    }

    #[test]
    fn ping_makes_the_internal_entry_point() {
        let config = StaticConfig { ping: Presence(Some(Ping::default())), ..StaticConfig::default() };
        let made = effective(&config);
        assert_eq!(made["traefik"].address, ":8080");
        assert_eq!(defaults(&made), ["http"]);
    }

    #[test]
    fn a_marked_entry_point_is_the_only_default() {
        let mut made = effective(&StaticConfig::default());
        made.insert("web".into(), EntryPoint { as_default: true, ..at(":81") });
        assert_eq!(defaults(&made), ["web"]);
    }
}
