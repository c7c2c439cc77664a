//! Where sessions live: `oidc.session.store` of the static configuration for all OIDC middlewares, `session.store` of
//! one of them for itself. The names are those of Traefik Hub's OIDC middleware, and of Traefik's own Redis clients.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::decode::{BlockKeys, Decode, Decoder, Presence};
use super::value::Node;
use crate::schema;

schema! {
    /// Sessions of all OIDC middlewares.
    pub struct OidcSessions {
        /// Where they live.
        "store" => store: Option<SessionStore>,
    }
}

schema! {
    /// A session store: exactly one kind.
    pub struct SessionStore {
        /// In memory; they end with the process.
        "memory" => memory: Presence<NoOptions>,
        /// In an SQLite file on this machine.
        "sqlite" => sqlite: Presence<SqliteStore>,
        /// In Redis or Valkey, for several replicas.
        "redis" => redis: Option<RedisStore>,
        /// In the browser, sealed.
        "cookie" => cookie: Presence<NoOptions>,
    }
}

schema! {
    /// The SQLite file.
    pub struct SqliteStore {
        /// Its path; by default `sessions.sqlite` in the state folder.
        "path" => path: Option<String>,
    }
}

schema! {
    /// Redis or Valkey.
    pub struct RedisStore {
        /// Server, sentinels or cluster nodes, each as `host:port`.
        "endpoints" => endpoints: Vec<String>,
        /// User of the access control list.
        "username" => username: Option<String>,
        /// Password.
        "password" => password: Option<SecretString>,
        /// Database number.
        "database" => database: i64 = 0,
        /// In front of every key.
        "keyPrefix" => key_prefix: String = "portcullis:".to_owned(),
        /// The endpoints are nodes of a cluster.
        "cluster" => cluster: Presence<NoOptions>,
        /// The endpoints are sentinels.
        "sentinel" => sentinel: Option<RedisSentinel>,
        /// TLS.
        "tls" => tls: Presence<RedisTls>,
        /// Connections to each server, which many requests share.
        "poolSize" => pool_size: i64 = 4,
        /// Longest wait for a connection.
        "dialTimeout" => dial_timeout: Duration = Duration::from_secs(5),
        /// Longest wait for an answer.
        "readTimeout" => read_timeout: Duration = Duration::from_secs(3),
        /// Longest time to send.
        "writeTimeout" => write_timeout: Duration = Duration::from_secs(3),
        /// How long live sessions go on from memory while it cannot be reached.
        "outageTolerance" => outage_tolerance: Duration = Duration::from_secs(30),
    }
}

schema! {
    /// Sentinels.
    pub struct RedisSentinel {
        /// Name of the set whose primary is used.
        "masterSet" => master_set: String,
        /// User at the sentinels.
        "username" => username: Option<String>,
        /// Password at the sentinels.
        "password" => password: Option<SecretString>,
    }
    required: ["masterSet"],
}

schema! {
    /// TLS towards Redis.
    pub struct RedisTls {
        /// Certificate authorities, PEM or path; they replace the system's (Traefik's name).
        "ca" => ca: Option<String>,
        /// The same (Hub's name).
        "caBundle" => ca_bundle: Option<String>,
        /// Client certificate, PEM or path.
        "cert" => cert: Option<String>,
        /// Its key, PEM or path.
        "key" => key: Option<SecretString>,
        /// Do not verify the server's certificate.
        "insecureSkipVerify" => insecure_skip_verify: bool = false,
    }
}

/// A block that only has to be there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoOptions;

impl Decode for NoOptions {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        const NONE: BlockKeys = BlockKeys { known: &[], required: &[], later: &[], refused: &[], idle: &[] };
        NONE.check(node, decoder).map(|_| Self)
    }
}

/// A fault of a block: the key below it, dotted, and what is expected.
pub type Fault = (&'static str, String);

impl SessionStore {
    /// What decoding alone cannot see.
    pub fn faults(&self) -> Vec<Fault> {
        let kinds =
            [self.memory.0.is_some(), self.sqlite.0.is_some(), self.redis.is_some(), self.cookie.0.is_some()];
        if kinds.into_iter().filter(|is| *is).count() != 1 {
            return vec![("", "needs exactly one of memory, sqlite, redis and cookie".to_owned())];
        }
        self.redis.as_ref().map(RedisStore::faults).unwrap_or_default()
    }
}

impl RedisStore {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut expect = |good: bool, key: &'static str, expected: &str| {
            if !good {
                faults.push((key, expected.to_owned()));
            }
        };
        let clustered = self.cluster.0.is_some();
        expect(!self.endpoints.is_empty(), "redis.endpoints", "needs at least one `host:port`");
        expect(
            self.endpoints.iter().all(|endpoint| host_and_port(endpoint).is_some()),
            "redis.endpoints",
            "each must be `host:port`",
        );
        expect(
            self.endpoints.len() <= 1 || clustered || self.sentinel.is_some(),
            "redis.endpoints",
            "several need `cluster` or `sentinel`",
        );
        expect(!(clustered && self.sentinel.is_some()), "redis.sentinel", "cannot stand beside `cluster`");
        expect(!clustered || self.database == 0, "redis.database", "must be 0 in a cluster");
        expect((0..=1_000_000).contains(&self.database), "redis.database", "must not be negative");
        expect((1..=256).contains(&self.pool_size), "redis.poolSize", "must be 1 to 256");
        expect(is_prefix(&self.key_prefix), "redis.keyPrefix", PREFIX);
        let nameless = self.username.as_ref().is_none_or(String::is_empty) || self.password.is_some();
        expect(nameless, "redis.username", "needs a `password`");
        for (key, timeout) in [
            ("redis.dialTimeout", self.dial_timeout),
            ("redis.readTimeout", self.read_timeout),
            ("redis.writeTimeout", self.write_timeout),
        ] {
            expect(!timeout.is_zero() && timeout <= MOST_TIMEOUT, key, "must be more than 0 and at most 60s");
        }
        if let Some(tls) = self.tls.as_ref() {
            let key = tls.key.as_ref().is_some_and(|key| !key.expose_secret().is_empty());
            expect(key == tls.cert.is_some(), "redis.tls.cert", "needs `key`, and `key` needs it");
            expect(tls.ca.is_none() || tls.ca_bundle.is_none(), "redis.tls.caBundle", "is the same as `ca`");
        }
        faults
    }
}

const MOST_TIMEOUT: Duration = Duration::from_secs(60);

/// What a key prefix must be like.
pub const PREFIX: &str =
    "must have 1 to 128 visible ASCII characters, no braces (they are the hash tags of a cluster)";

/// Whether it can be in front of keys.
pub fn is_prefix(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'{' | b'}'))
}

/// `host:port`, with an IPv6 address in brackets.
pub fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let bracketed = host.len() + 2 == text.len() - port.len() - 1;
    let legal = !host.is_empty() && !host.contains(['/', '@', ' ']) && (bracketed || !host.contains(':'));
    Some((host.to_owned(), port.parse().ok().filter(|port| *port != 0)?)).filter(|_| legal)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn redis(endpoints: &[&str]) -> RedisStore {
        RedisStore {
            endpoints: endpoints.iter().map(|&endpoint| endpoint.to_owned()).collect(),
            ..RedisStore::default()
        }
    }

    fn keys(redis: RedisStore) -> Vec<&'static str> {
        let store = SessionStore { redis: Some(redis), ..SessionStore::default() };
        store.faults().into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn hosts_and_ports() {
        assert_eq!(host_and_port("redis:6379"), Some(("redis".to_owned(), 6379)));
        assert_eq!(host_and_port("[::1]:6379"), Some(("::1".to_owned(), 6379)));
        for bad in ["redis", "::1:6379", ":6379", "redis:0", "redis:x", "redis://a:1", "u@a:1", ""] {
            assert_eq!(host_and_port(bad), None, "{bad}");
        }
    }

    #[test]
    fn faults_have_their_keys() {
        assert!(keys(redis(&["a:1"])).is_empty());
        assert_eq!(keys(redis(&[])), ["redis.endpoints"]);
        assert_eq!(keys(redis(&["a:1", "b:1"])), ["redis.endpoints"]);
        let cluster = Presence(Some(NoOptions));
        assert!(keys(RedisStore { cluster: cluster.clone(), ..redis(&["a:1", "b:1"]) }).is_empty());
        assert_eq!(keys(RedisStore { cluster, database: 1, ..redis(&["a:1"]) }), ["redis.database"]);
        assert_eq!(keys(RedisStore { key_prefix: "{a}".to_owned(), ..redis(&["a:1"]) }), ["redis.keyPrefix"]);
        assert_eq!(keys(RedisStore { pool_size: -1, ..redis(&["a:1"]) }), ["redis.poolSize"]);
        assert_eq!(SessionStore::default().faults().len(), 1);
        let both = SessionStore { cookie: Presence(Some(NoOptions)), ..SessionStore::default() };
        assert!(both.faults().is_empty());
        assert_eq!(SessionStore { memory: Presence(Some(NoOptions)), ..both }.faults().len(), 1);
    }
}
