//! Which store sessions live in, decided: typed, checked, comparable.

use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::digest;
use secrecy::{ExposeSecret, SecretString};

use crate::config::session_store::{RedisStore, SessionStore, host_and_port};

/// The store that a middleware's sessions live in.
#[derive(Clone, Debug)]
pub enum StoreSettings {
    /// In memory: they end with the process.
    Memory,
    /// In an SQLite file; none: the default file in the state folder.
    Sqlite(Option<PathBuf>),
    /// In the browser.
    Cookie,
    /// In Redis or Valkey.
    Redis(Box<RedisSettings>),
}

/// How Redis is reached.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// Host and port of each server: one, or sentinels, or seeds of a cluster.
    pub endpoints: Vec<(String, u16)>,
    /// How they are to be taken.
    pub topology: Topology,
    /// User of the access control list; none is `default`.
    pub username: Option<String>,
    /// Password of that user.
    pub password: Option<SecretString>,
    /// Database number.
    pub database: i64,
    /// In front of every key.
    pub key_prefix: String,
    /// Connections to each server. Commands of many requests share one.
    pub pool_size: usize,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for an answer, sending included.
    pub answer_timeout: Duration,
    /// TLS towards servers and sentinels.
    pub tls: Option<RedisTls>,
    /// See [`SessionStore::outage_tolerance`](super::SessionStore::outage_tolerance).
    pub outage_tolerance: Duration,
}

/// What the endpoints are.
#[derive(Clone, Debug)]
pub enum Topology {
    /// One server.
    Single,
    /// Nodes of a cluster.
    Cluster,
    /// Sentinels, which know the primary.
    Sentinel {
        /// Name of the set that they watch.
        set: String,
        /// User at the sentinels.
        username: Option<String>,
        /// Password at the sentinels.
        password: Option<SecretString>,
    },
}

/// TLS towards Redis.
#[derive(Clone, Debug, Default)]
pub struct RedisTls {
    /// Certificate authorities, as PEM or a path; they replace the system's.
    pub ca: Option<String>,
    /// Client certificate and its key, each as PEM or a path.
    pub client: Option<(String, SecretString)>,
    /// Do not verify the server's certificate.
    pub insecure_skip_verify: bool,
}

/// Which store it is: middlewares whose settings have one id share it. Secrets cannot be told from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StoreId([u8; 32]);

impl StoreSettings {
    /// What a block without faults says.
    #[must_use]
    pub fn of(store: &SessionStore) -> Self {
        if store.cookie.0.is_some() {
            return Self::Cookie;
        }
        match (&store.redis, store.sqlite.as_ref()) {
            (Some(redis), _) => Self::Redis(Box::new(RedisSettings::of(redis))),
            (None, Some(sqlite)) => Self::Sqlite(filled(&sqlite.path).map(PathBuf::from)),
            (None, None) => Self::Memory,
        }
    }

    /// The same for equal settings, another one for others.
    #[must_use]
    pub fn id(&self) -> StoreId {
        let mut text = Canonical(digest::Context::new(&digest::SHA256));
        match self {
            Self::Memory => text.add("memory"),
            Self::Cookie => text.add("cookie"),
            Self::Sqlite(path) => {
                text.add("sqlite");
                text.add(&format!("{path:?}"));
            }
            Self::Redis(redis) => text.redis(redis),
        }
        StoreId(text.0.finish().as_ref().first_chunk().copied().unwrap_or_default())
    }

    /// How long it may take until the store is reached for the first time.
    #[must_use]
    pub fn patience(&self) -> Duration {
        match self {
            Self::Redis(redis) => redis.connect_timeout + redis.answer_timeout,
            Self::Memory | Self::Cookie | Self::Sqlite(_) => Duration::ZERO,
        }
    }

    /// For logs and readiness; no secret.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Memory => "memory".to_owned(),
            Self::Cookie => "cookie".to_owned(),
            Self::Sqlite(None) => "sqlite".to_owned(),
            Self::Sqlite(Some(path)) => format!("sqlite {}", path.display()),
            Self::Redis(redis) => redis.name(),
        }
    }
}

fn filled(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

fn secret(secret: &Option<SecretString>) -> Option<SecretString> {
    secret.clone().filter(|secret| !secret.expose_secret().is_empty())
}

impl RedisSettings {
    fn of(redis: &RedisStore) -> Self {
        let topology = match (&redis.sentinel, redis.cluster.as_ref()) {
            (Some(sentinel), _) => Topology::Sentinel {
                set: sentinel.master_set.clone(),
                username: filled(&sentinel.username),
                password: secret(&sentinel.password),
            },
            (None, Some(_)) => Topology::Cluster,
            (None, None) => Topology::Single,
        };
        let tls = redis.tls.as_ref().map(|tls| RedisTls {
            ca: filled(&tls.ca).or_else(|| filled(&tls.ca_bundle)),
            client: filled(&tls.cert).zip(secret(&tls.key)),
            insecure_skip_verify: tls.insecure_skip_verify,
        });
        Self {
            endpoints: redis.endpoints.iter().filter_map(|endpoint| host_and_port(endpoint)).collect(),
            topology,
            username: filled(&redis.username),
            password: secret(&redis.password),
            database: redis.database,
            key_prefix: redis.key_prefix.clone(),
            pool_size: usize::try_from(redis.pool_size).unwrap_or(1),
            connect_timeout: redis.dial_timeout,
            answer_timeout: redis.read_timeout.saturating_add(redis.write_timeout),
            tls,
            outage_tolerance: redis.outage_tolerance,
        }
    }

    /// For logs and readiness; no secret.
    #[must_use]
    pub fn name(&self) -> String {
        let endpoints: Vec<String> =
            self.endpoints.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let kind = match &self.topology {
            Topology::Single => "redis".to_owned(),
            Topology::Cluster => "redis cluster".to_owned(),
            Topology::Sentinel { set, .. } => format!("redis set {set} of sentinels"),
        };
        format!("{kind} {}", endpoints.join(","))
    }
}

/// Fields with their lengths, so that they cannot run together.
struct Canonical(digest::Context);

impl Canonical {
    fn add(&mut self, text: &str) {
        self.0.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(text.as_bytes());
    }

    fn maybe(&mut self, text: Option<&str>) {
        self.add(if text.is_some() { "some" } else { "none" });
        self.add(text.unwrap_or_default());
    }

    fn redis(&mut self, redis: &RedisSettings) {
        // Every field by name: a new one cannot be forgotten here.
        let RedisSettings {
            endpoints,
            topology,
            username,
            password,
            database,
            key_prefix,
            pool_size,
            connect_timeout,
            answer_timeout,
            tls,
            outage_tolerance,
        } = redis;
        let numbers = (database, pool_size, connect_timeout, answer_timeout, outage_tolerance);
        self.add(&format!("redis {endpoints:?} {numbers:?}"));
        self.add(key_prefix);
        self.maybe(username.as_deref());
        self.maybe(password.as_ref().map(ExposeSecret::expose_secret));
        match topology {
            Topology::Single => self.add("single"),
            Topology::Cluster => self.add("cluster"),
            Topology::Sentinel { set, username, password } => {
                self.add(set);
                self.maybe(username.as_deref());
                self.maybe(password.as_ref().map(ExposeSecret::expose_secret));
            }
        }
        let Some(RedisTls { ca, client, insecure_skip_verify }) = tls else { return };
        self.add(&format!("tls {insecure_skip_verify}"));
        self.maybe(ca.as_deref());
        self.maybe(client.as_ref().map(|(certificate, _)| certificate.as_str()));
        self.maybe(client.as_ref().map(|(_, key)| key.expose_secret()));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::oidc::session::DEFAULT_OUTAGE_TOLERANCE;

    pub(crate) fn redis(port: u16) -> RedisSettings {
        RedisSettings {
            endpoints: vec![("127.0.0.1".to_owned(), port)],
            topology: Topology::Single,
            username: None,
            password: None,
            database: 0,
            key_prefix: "test:".to_owned(),
            pool_size: 2,
            connect_timeout: Duration::from_secs(2),
            answer_timeout: Duration::from_secs(2),
            tls: None,
            outage_tolerance: DEFAULT_OUTAGE_TOLERANCE,
        }
    }

    #[test]
    fn only_equal_settings_are_one_store() {
        let id = |redis: RedisSettings| StoreSettings::Redis(Box::new(redis)).id();
        let with = |password: &str| RedisSettings { password: Some(password.into()), ..redis(1) };
        assert_eq!(id(redis(1)), id(redis(1)));
        assert_ne!(id(redis(1)), id(redis(2)));
        assert_ne!(id(redis(1)), id(with("a")));
        assert_ne!(id(with("a")), id(with("b")));
        assert_ne!(StoreSettings::Memory.id(), StoreSettings::Sqlite(None).id());
        assert!(!format!("{:?}", with("hunter2")).contains("hunter2"));
    }
}
