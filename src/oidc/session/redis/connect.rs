//! Making connections: to one server, to the primary that sentinels name, to a cluster.

use std::time::Duration;

use futures_util::future::try_join_all;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ErrorKind, FromRedisValue,
    IntoConnectionInfo, RedisConnectionInfo, RedisError, RedisResult, TlsCertificates, TlsMode,
};
use secrecy::{ExposeSecret, SecretString};

use crate::config::pem;
use crate::oidc::session::{RedisSettings, RedisTls, Topology};

/// What a cluster command may take with its redirections, in answer times.
const CLUSTER_TRIES: u32 = 2;

/// A connection that many commands share. Cheap to clone.
#[derive(Clone)]
pub(super) enum Conn {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Conn {
    pub(super) async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Node(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

/// Opens as many connections as configured.
///
/// # Errors
/// The first one that fails, or not all within the configured times.
pub(super) async fn connect(settings: &RedisSettings) -> RedisResult<Vec<Conn>> {
    let limit = settings.connect_timeout + settings.answer_timeout;
    match tokio::time::timeout(limit, connect_all(settings)).await {
        Ok(connected) => connected,
        Err(_) => Err(RedisError::from((ErrorKind::Io, "connecting takes too long"))),
    }
}

async fn connect_all(settings: &RedisSettings) -> RedisResult<Vec<Conn>> {
    let certificates = match &settings.tls {
        Some(tls) => Some(certificates(tls).await?),
        None => None,
    };
    if matches!(settings.topology, Topology::Cluster) {
        return cluster(settings, certificates).await;
    }
    let client = match &settings.topology {
        Topology::Sentinel { set, username, password } => {
            let login = (username.as_deref(), password.as_ref());
            sentinels(settings, set, login, certificates)?.async_get_client().await?
        }
        Topology::Single | Topology::Cluster => single(settings, certificates)?,
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.connect_timeout))
        .set_response_timeout(Some(settings.answer_timeout));
    let connections = (0..settings.pool_size).map(|_| async {
        client.get_multiplexed_async_connection_with_config(&config).await.map(Conn::Node)
    });
    try_join_all(connections).await
}

fn single(settings: &RedisSettings, certificates: Option<TlsCertificates>) -> RedisResult<Client> {
    let address = addresses(settings).next();
    let address = address.ok_or_else(|| RedisError::from((ErrorKind::InvalidClientConfig, "no endpoint")))?;
    let mut login = RedisConnectionInfo::default().set_db(settings.database);
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password.expose_secret());
    }
    let info = address.into_connection_info()?.set_redis_settings(login);
    match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    }
}

fn sentinels(
    settings: &RedisSettings,
    set: &str,
    (username, password): (Option<&str>, Option<&SecretString>),
    certificates: Option<TlsCertificates>,
) -> RedisResult<SentinelClient> {
    let addresses: Vec<ConnectionAddr> = addresses(settings).collect();
    let mut builder = SentinelClientBuilder::new(addresses, set, SentinelServerType::Master)?
        .set_client_to_redis_db(settings.database);
    if let Some(username) = &settings.username {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = &settings.password {
        builder = builder.set_client_to_redis_password(password.expose_secret());
    }
    if let Some(username) = username {
        builder = builder.set_client_to_sentinel_username(username);
    }
    if let Some(password) = password {
        builder = builder.set_client_to_sentinel_password(password.expose_secret());
    }
    if let Some(certificates) = certificates {
        builder = builder
            .set_client_to_redis_tls_mode(mode(settings))
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates);
    }
    builder.build()
}

async fn cluster(settings: &RedisSettings, certificates: Option<TlsCertificates>) -> RedisResult<Vec<Conn>> {
    let mut builder = ClusterClientBuilder::new(addresses(settings))
        .connection_timeout(settings.connect_timeout)
        .response_timeout(settings.answer_timeout)
        .overall_response_timeout(Some(settings.answer_timeout * CLUSTER_TRIES))
        .retries(2)
        .min_retry_wait(20)
        .max_retry_wait(100);
    if let Some(username) = &settings.username {
        builder = builder.username(username);
    }
    if let Some(password) = &settings.password {
        builder = builder.password(password.expose_secret());
    }
    if let Some(certificates) = certificates {
        builder = builder.tls(mode(settings)).certs(certificates);
    }
    let client = builder.build()?;
    let connections =
        (0..settings.pool_size).map(|_| async { client.get_async_connection().await.map(Conn::Cluster) });
    try_join_all(connections).await
}

fn addresses(settings: &RedisSettings) -> impl Iterator<Item = ConnectionAddr> {
    settings.endpoints.iter().map(|(host, port)| match &settings.tls {
        None => ConnectionAddr::Tcp(host.clone(), *port),
        Some(tls) => ConnectionAddr::TcpTls {
            host: host.clone(),
            port: *port,
            insecure: tls.insecure_skip_verify,
            tls_params: None,
        },
    })
}

fn mode(settings: &RedisSettings) -> TlsMode {
    match &settings.tls {
        Some(tls) if tls.insecure_skip_verify => TlsMode::Insecure,
        _ => TlsMode::Secure,
    }
}

/// Read for each connection, so that renewed files count.
async fn certificates(tls: &RedisTls) -> RedisResult<TlsCertificates> {
    let root_cert = match &tls.ca {
        Some(ca) => Some(read_pem(ca).await?),
        None => None,
    };
    let client_tls = match &tls.client {
        Some((certificate, key)) => Some(ClientTlsConfig {
            client_cert: read_pem(certificate).await?,
            client_key: read_pem(key.expose_secret()).await?,
        }),
        None => None,
    };
    Ok(TlsCertificates { client_tls, root_cert })
}

/// Inline PEM, or what the file of that name holds.
async fn read_pem(source: &str) -> RedisResult<Vec<u8>> {
    if pem::is_inline(source) {
        return Ok(source.as_bytes().to_vec());
    }
    tokio::fs::read(source).await.map_err(|error| {
        RedisError::from((
            ErrorKind::InvalidClientConfig,
            "TLS file",
            format!("cannot read {source}: {error}"),
        ))
    })
}

/// How long to wait before the next try: doubling, with jitter, so that replicas do not come all at once.
pub(super) fn pause(failures: u32) -> Duration {
    const FIRST: u64 = 50;
    const LONGEST: u64 = 500;
    let millis = FIRST.saturating_mul(1 << failures.min(10)).min(LONGEST);
    let jitter = crate::oidc::session::random_bytes::<1>().map_or(0, |[byte]| u64::from(byte));
    Duration::from_millis(millis / 2 + millis * jitter / 512)
}
