//! The connections as the store sees them: there or not.
//!
//! While they are not, a command fails at once; a task of their own brings them back. So an outage costs the
//! commands that were under way one time-out, and nobody else anything.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind};
use tokio::sync::Notify;

use super::connect::{self, Conn};
use super::names::{BUCKETS, Bucket};
use super::scripts::Lua;
use crate::oidc::clock::unix_millis;
use crate::oidc::session::{RedisSettings, StoreError};

/// How long a part of a cluster is left alone that just failed.
const REST: u64 = 250;

/// The connections of one store.
pub(super) struct Link {
    settings: RedisSettings,
    name: String,
    live: ArcSwapOption<Live>,
    problem: ArcSwapOption<StoreError>,
    /// Server's clock less ours, in milliseconds.
    ahead: AtomicI64,
    /// Per bucket: until when (milliseconds since `start`) a cluster's node is not asked again.
    resting: [AtomicU64; BUCKETS],
    start: Instant,
    /// What was written last may have been lost: the link was down, or a node of the cluster.
    doubtful: AtomicBool,
    wake: Arc<Notify>,
}

struct Live {
    connections: Vec<Conn>,
    next: AtomicUsize,
}

impl Link {
    /// Begins to connect. Needs a Tokio runtime, on which the connections then live.
    pub(super) fn start(settings: RedisSettings) -> Arc<Self> {
        let link = Arc::new(Self {
            name: settings.name(),
            settings,
            live: ArcSwapOption::empty(),
            problem: ArcSwapOption::empty(),
            ahead: AtomicI64::new(0),
            resting: [const { AtomicU64::new(0) }; BUCKETS],
            start: Instant::now(),
            doubtful: AtomicBool::new(false),
            wake: Arc::default(),
        });
        tokio::spawn(keep(Arc::downgrade(&link), Arc::clone(&link.wake)));
        link
    }

    /// Sends a command about keys of `bucket`.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        bucket: Bucket,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        self.try_ask(bucket, command).await?.map_err(|error| self.told(&error))
    }

    /// Calls a script; a server that does not know it yet gets its text.
    pub(super) async fn call<T: FromRedisValue>(
        &self,
        bucket: Bucket,
        script: &Lua,
        keys: &[&str],
        arguments: &[&[u8]],
    ) -> Result<T, StoreError> {
        match self.try_ask(bucket, &script.by_hash(keys, arguments)).await? {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.ask(bucket, &script.by_text(keys, arguments)).await
            }
            answer => answer.map_err(|error| self.told(&error)),
        }
    }

    /// The outer error: nobody was asked.
    async fn try_ask<T: FromRedisValue>(
        &self,
        bucket: Bucket,
        command: &Cmd,
    ) -> Result<Result<T, RedisError>, StoreError> {
        let Some(live) = self.live.load_full() else {
            return Err(self.problem());
        };
        if self.rests(bucket) {
            return Err(self.problem());
        }
        let at = live.next.fetch_add(1, Ordering::Relaxed) % live.connections.len().max(1);
        let Some(mut connection) = live.connections.get(at).cloned() else {
            return Err(self.problem());
        };
        let answer = connection.ask(command).await;
        if let Err(error) = &answer
            && is_outage(error)
        {
            self.failed(bucket, &live, error);
        }
        Ok(answer)
    }

    fn problem(&self) -> StoreError {
        match self.problem.load().as_deref() {
            Some(problem) => problem.clone(),
            None => StoreError::Failed(format!("{}: not connected yet", self.name)),
        }
    }

    fn failed(&self, bucket: Bucket, live: &Arc<Live>, error: &RedisError) {
        self.problem.store(Some(Arc::new(self.told(error))));
        self.doubtful.store(true, Ordering::Release);
        if live.connections.iter().any(|connection| matches!(connection, Conn::Cluster(_))) {
            // The other nodes work, and the client finds a new primary by itself.
            if let Some(until) = self.resting.get(bucket.index()) {
                until.store(self.elapsed() + REST, Ordering::Relaxed);
            }
            return;
        }
        // Only if nobody has replaced it yet.
        self.live.compare_and_swap(live, None);
        self.wake.notify_one();
    }

    fn rests(&self, bucket: Bucket) -> bool {
        self.resting.get(bucket.index()).is_some_and(|until| self.elapsed() < until.load(Ordering::Relaxed))
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether writes may have been lost since this was last asked.
    pub(super) fn take_doubt(&self) -> bool {
        self.live.load().is_some() && self.doubtful.swap(false, Ordering::AcqRel)
    }

    /// Must be asked again.
    pub(super) fn doubt(&self) {
        self.doubtful.store(true, Ordering::Release);
    }

    /// A time of our clock by the server's, in milliseconds.
    pub(super) fn server_millis(&self, time: SystemTime) -> u64 {
        unix_millis(time).saturating_add_signed(self.ahead.load(Ordering::Relaxed))
    }

    /// A time of the server's clock by ours.
    pub(super) fn our_millis(&self, server: u64) -> u64 {
        server.saturating_add_signed(self.ahead.load(Ordering::Relaxed).saturating_neg())
    }

    /// Compares clocks again.
    pub(super) async fn compare_clocks(&self) -> Result<(), StoreError> {
        let before = SystemTime::now();
        let server = self.ask(Bucket::FIRST, &redis::cmd("TIME")).await?;
        self.ahead.store(clock_ahead(before, server), Ordering::Relaxed);
        Ok(())
    }

    async fn connect(&self) -> Result<(), RedisError> {
        let mut connections = connect::connect(&self.settings).await?;
        let Some(first) = connections.first_mut() else {
            return Err(RedisError::from((ErrorKind::InvalidClientConfig, "no connection")));
        };
        // Also refused while the server loads its data.
        let () = first.ask(redis::cmd("EXISTS").arg(format!("{}{{0}}:h", self.settings.key_prefix))).await?;
        let before = SystemTime::now();
        let server = first.ask(&redis::cmd("TIME")).await?;
        self.ahead.store(clock_ahead(before, server), Ordering::Relaxed);
        warn_of_eviction(first, &self.name).await;
        self.live.store(Some(Arc::new(Live { connections, next: AtomicUsize::new(0) })));
        Ok(())
    }

    /// What the caller learns. Redis does not repeat passwords or values in its messages.
    fn told(&self, error: &RedisError) -> StoreError {
        let text = format!("{}: {error}", self.name);
        match (error.kind(), error.code()) {
            (_, Some("OOM")) => StoreError::Full(text),
            (_, Some("MISCONF" | "NOREPLICAS")) | (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => {
                StoreError::ReadOnly(text)
            }
            _ => StoreError::Failed(text),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Its keeper waits for this, or for the pause to end.
        self.wake.notify_one();
    }
}

/// Connects whenever there is no connection, until the link is dropped.
async fn keep(link: Weak<Link>, wake: Arc<Notify>) {
    let mut failures = 0;
    loop {
        let Some(held) = link.upgrade() else { return };
        if held.live.load().is_some() {
            drop(held);
            wake.notified().await;
            continue;
        }
        match held.connect().await {
            Ok(()) => {
                tracing::debug!(store = held.name, "connected");
                failures = 0;
            }
            Err(error) => {
                held.problem.store(Some(Arc::new(held.told(&error))));
                held.doubt();
                drop(held);
                tokio::time::sleep(connect::pause(failures)).await;
                failures = failures.saturating_add(1);
            }
        }
    }
}

/// Whether the connection, or the server behind it, cannot be used any more.
fn is_outage(error: &RedisError) -> bool {
    let server = matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::ReadOnly
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
        )
    );
    server || error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error()
}

/// How far the server's clock (seconds, microseconds) is ahead of ours, in milliseconds; asked at `before`, told now.
fn clock_ahead(before: SystemTime, (seconds, micros): (u64, u64)) -> i64 {
    let half = before.elapsed().unwrap_or(Duration::ZERO) / 2;
    let server = Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros));
    let signed = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX);
    let server = u64::try_from(server.as_millis()).unwrap_or(u64::MAX);
    signed(server).saturating_sub(signed(unix_millis(before + half)))
}

/// A server that forgets sessions when memory is short logs users out.
async fn warn_of_eviction(connection: &mut Conn, name: &str) {
    let Conn::Node(_) = connection else { return };
    let Ok(memory) = connection.ask::<String>(redis::cmd("INFO").arg("memory")).await else { return };
    let value =
        |key: &str| memory.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
    let policy = value("maxmemory_policy").unwrap_or("noeviction");
    if value("maxmemory") != Some("0") && policy != "noeviction" {
        tracing::warn!(store = name, policy, "maxmemory-policy is not noeviction: users may be logged out");
    }
}
