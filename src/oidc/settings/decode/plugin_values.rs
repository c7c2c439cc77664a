//! Values that the plugin refuses although the option does nothing here: they are mistakes all the same.

use super::Builder;
use crate::config::oidc::Redis;

/// The least `rateLimit` of the plugin.
const LEAST_RATE: i64 = 10;

impl Builder<'_> {
    pub(super) fn refuse_plugin_values(&mut self) {
        let block = self.block;
        self.one_of("logLevel", block.log_level.as_deref(), &["debug", "info", "error"]);
        if block.rate_limit.is_some_and(|rate| rate < LEAST_RATE) {
            self.error("rateLimit", format!("must be at least {LEAST_RATE}"));
        }
    }

    /// Those of a `redis` block that is used.
    pub(super) fn refuse_redis_values(&mut self, block: &Redis) {
        self.one_of("redis.cacheMode", block.cache_mode.as_deref(), &["redis", "memory", "hybrid"]);
        let numbers = [
            ("redis.circuitBreakerThreshold", block.circuit_breaker_threshold),
            ("redis.circuitBreakerTimeout", block.circuit_breaker_timeout),
            ("redis.healthCheckInterval", block.health_check_interval),
            ("redis.hybridL1Size", block.hybrid_l1_size),
            ("redis.hybridL1MemoryMB", block.hybrid_l1_memory_mb),
        ];
        for (key, _) in numbers.into_iter().filter(|(_, number)| number.is_some_and(|number| number < 0)) {
            self.error(key, "must not be negative");
        }
    }

    /// An empty text is the default, as in the plugin.
    fn one_of(&mut self, key: &str, value: Option<&str>, known: &[&str]) {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return };
        if !known.iter().any(|name| name.eq_ignore_ascii_case(value)) {
            let (last, others) = known.split_last().unwrap_or((&"", &[]));
            self.error(key, format!("must be {} or {last}", others.join(", ")));
        }
    }
}
