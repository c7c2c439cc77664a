//! Which store the sessions of a middleware live in: `session.store`, or the plugin's `redis`.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::Builder;
use crate::config::oidc::Redis;
use crate::config::session_store::{PREFIX, host_and_port, is_prefix};
use crate::oidc::session::{DEFAULT_OUTAGE_TOLERANCE, RedisSettings, RedisTls, StoreSettings, Topology};

impl Builder<'_> {
    /// Outer none: it is faulty. Inner none: not written here.
    pub(super) fn store(&mut self) -> Option<Option<StoreSettings>> {
        let native = self.block.session.as_ref().and_then(|session| session.store.as_ref());
        let plugin = self.plugin_redis()?;
        let Some(store) = native else { return Some(plugin) };
        if plugin.is_some() {
            self.error("redis", "stands beside `session.store`; write one of them");
            return None;
        }
        let faults = store.faults();
        for (key, message) in &faults {
            let key = format!("session.store.{key}");
            self.error(key.trim_end_matches('.'), message.clone());
        }
        faults.is_empty().then(|| Some(StoreSettings::of(store)))
    }

    fn plugin_redis(&mut self) -> Option<Option<StoreSettings>> {
        let Some(block) = self.block.redis.as_ref() else { return Some(None) };
        let block = with_environment(block, &|name| std::env::var(name).ok());
        if !block.enabled {
            self.warn("redis", "has no effect while `enabled` is false");
            return Some(None);
        }
        self.refuse_redis_values(&block);
        let address = block.address.as_deref().unwrap_or_default();
        let endpoint = host_and_port(address).or_else(|| host_and_port(&format!("{address}:6379")));
        let endpoint =
            self.checked("redis.address", endpoint.ok_or_else(|| "must be `host:port`".to_owned()));
        let prefix = block.key_prefix.clone().filter(|prefix| !prefix.is_empty());
        let prefix = prefix.unwrap_or_else(|| "traefikoidc:".to_owned());
        let prefix = is_prefix(&prefix).then_some(prefix).ok_or_else(|| PREFIX.to_owned());
        let prefix = self.checked("redis.keyPrefix", prefix);
        let database = self.number("redis.db", block.db, 0, 1_000_000);
        let pool_size = self.number("redis.poolSize", block.pool_size, 10, 256);
        let connect = self.number("redis.connectTimeout", block.connect_timeout, 5, 60);
        let read = self.number("redis.readTimeout", block.read_timeout, 3, 60);
        let write = self.number("redis.writeTimeout", block.write_timeout, 3, 60);
        let insecure_skip_verify = block.tls_skip_verify == Some(true);
        if insecure_skip_verify {
            self.warn("redis.tlsSkipVerify", "the server's certificate is not verified: for tests only");
        }
        let seconds = |number: i64| Duration::from_secs(number.unsigned_abs());
        Some(Some(StoreSettings::Redis(Box::new(RedisSettings {
            endpoints: vec![endpoint?],
            topology: Topology::Single,
            username: None,
            password: block.password.filter(|password| !password.expose_secret().is_empty()),
            database: database?,
            key_prefix: prefix?,
            pool_size: usize::try_from(pool_size?).ok()?,
            connect_timeout: seconds(connect?),
            answer_timeout: seconds(read?.saturating_add(write?)),
            tls: (block.enable_tls == Some(true))
                .then(|| RedisTls { insecure_skip_verify, ..RedisTls::default() }),
            outage_tolerance: DEFAULT_OUTAGE_TOLERANCE,
        }))))
    }

    /// As in the plugin, 0 is the default.
    fn number(&mut self, key: &str, value: Option<i64>, default: i64, most: i64) -> Option<i64> {
        let value = value.filter(|value| *value != 0).unwrap_or(default);
        let range = (0..=most).contains(&value).then_some(value);
        self.checked(key, range.ok_or_else(|| format!("must be 0 to {most}")))
    }
}

/// The plugin takes what its block leaves out from the environment.
fn with_environment(block: &Redis, variable: &dyn Fn(&str) -> Option<String>) -> Redis {
    let text = |name: &str| variable(name).filter(|value| !value.is_empty());
    let number = |name: &str| text(name)?.parse().ok();
    let flag = |name: &str| text(name).map(|value| matches!(value.as_str(), "true" | "1"));
    let filled = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let password = block.password.clone().filter(|password| !password.expose_secret().is_empty());
    Redis {
        enabled: block.enabled || flag("REDIS_ENABLED") == Some(true),
        address: filled(&block.address).or_else(|| text("REDIS_ADDRESS")),
        password: password.or_else(|| text("REDIS_PASSWORD").map(SecretString::from)),
        db: block.db.or_else(|| number("REDIS_DB")),
        key_prefix: filled(&block.key_prefix).or_else(|| text("REDIS_KEY_PREFIX")),
        pool_size: block.pool_size.or_else(|| number("REDIS_POOL_SIZE")),
        connect_timeout: block.connect_timeout.or_else(|| number("REDIS_CONNECT_TIMEOUT")),
        read_timeout: block.read_timeout.or_else(|| number("REDIS_READ_TIMEOUT")),
        write_timeout: block.write_timeout.or_else(|| number("REDIS_WRITE_TIMEOUT")),
        enable_tls: block.enable_tls.or_else(|| flag("REDIS_ENABLE_TLS")),
        tls_skip_verify: block.tls_skip_verify.or_else(|| flag("REDIS_TLS_SKIP_VERIFY")),
        ..block.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_fills_what_is_not_written() {
        let block = Redis { enabled: true, db: Some(2), ..Redis::default() };
        let filled = with_environment(&block, &|name| match name {
            "REDIS_ADDRESS" => Some("redis:6379".to_owned()),
            "REDIS_PASSWORD" => Some("secret".to_owned()),
            "REDIS_DB" => Some("7".to_owned()),
            "REDIS_POOL_SIZE" => Some("many".to_owned()),
            _ => None,
        });
        assert_eq!(filled.address.as_deref(), Some("redis:6379"));
        assert_eq!(filled.password.unwrap().expose_secret(), "secret");
        assert_eq!((filled.db, filled.pool_size), (Some(2), None));
    }
}
