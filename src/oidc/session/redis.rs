//! Sessions in Redis or Valkey: several replicas share them.
//!
//! What must change together lies in one slot and is changed by one script: a session with its lease, the list of all
//! sessions, the feed of changes. The sets by `sid` and `sub` lie elsewhere. They are written before the session, so a
//! session is always found, and every member is checked before it counts, so a left-over finds nothing.
//!
//! Times given to Redis are by its own clock; the difference to ours is measured when connecting and with each health
//! check, so that leases hold between replicas whose clocks differ.
//!
//! Replication is asynchronous: a failover may lose the last writes. After each break of the link the ends and the
//! new generations of the last half minute are told again ([`journal`]).

mod connect;
mod feed;
mod journal;
mod link;
mod names;
mod scripts;
#[cfg(test)]
pub(crate) mod servers;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};

use super::id::{IndexKey, SessionKey, random_bytes};
use super::settings::RedisSettings;
use super::store::{CasOutcome, Changes, LeaseOutcome, OwnerId, SessionStore, StoreError, Stored};
use crate::oidc::clock::{from_unix_millis, unix_millis};
use feed::Feed;
use journal::Journal;
use link::Link;
use names::{Bucket, Names};
use scripts::Scripts;

/// Members of an index that are checked at once.
const CHECKED_AT_ONCE: usize = 256;

/// Expired sessions that one purge takes from each bucket.
const PURGED_AT_ONCE: usize = 1000;

/// One handle is one process's view: it does not report its own changes to itself.
pub struct RedisStore {
    link: Arc<Link>,
    names: Names,
    scripts: Scripts,
    feed: Feed,
    journal: Journal,
    /// Marks our own changes.
    origin: OwnerId,
    outage_tolerance: Duration,
}

impl RedisStore {
    /// Begins to connect; must be called on a Tokio runtime. A server that cannot be reached is no error here: every
    /// call, and [`SessionStore::health`], reports it at once, and it is tried again.
    ///
    /// # Errors
    /// [`StoreError::Crypto`] if there are no random numbers.
    pub fn open(settings: RedisSettings) -> Result<Self, StoreError> {
        Ok(Self {
            names: Names::new(&settings.key_prefix),
            outage_tolerance: settings.outage_tolerance,
            link: Link::start(settings),
            scripts: Scripts::new(),
            feed: Feed::default(),
            journal: Journal::default(),
            origin: OwnerId(random_bytes().map_err(|_| StoreError::Crypto)?),
        })
    }

    /// Whether a connection stands.
    #[cfg(test)]
    pub(crate) async fn connected(&self) -> bool {
        self.health().await.is_ok()
    }

    /// Arguments of the scripts that write a row; see [`scripts`].
    fn row(&self, key: &SessionKey, row: &Stored) -> [Vec<u8>; 8] {
        let number = |number: u64| number.to_string().into_bytes();
        [
            number(row.generation),
            number(unix_millis(row.expires)),
            row.sid.map(|sid| sid.bytes().to_vec()).unwrap_or_default(),
            row.sub.bytes().to_vec(),
            row.sealed.clone(),
            number(self.link.server_millis(row.expires)),
            self.now(),
            key.bytes().to_vec(),
        ]
    }

    fn now(&self) -> Vec<u8> {
        self.server(SystemTime::now())
    }

    fn server(&self, time: SystemTime) -> Vec<u8> {
        self.link.server_millis(time).to_string().into_bytes()
    }

    /// Lists the session under its `sid` and `sub`. Before it is written: it must never be there and not be found.
    async fn enlist(&self, key: &SessionKey, row: &Stored) -> Result<(), StoreError> {
        self.list_until(key, row.sid.into_iter().chain([row.sub]), row.expires).await
    }

    async fn list_until(
        &self,
        key: &SessionKey,
        indexes: impl Iterator<Item = IndexKey>,
        expires: SystemTime,
    ) -> Result<(), StoreError> {
        let (expires, now) = (self.server(expires), self.now());
        let listings = indexes.map(async |index| {
            let arguments = [key.bytes().as_slice(), &expires, &now];
            let (bucket, name) = (Bucket::of(index.bytes()), self.names.index(&index));
            self.link.call::<()>(bucket, &self.scripts.index, &[&name], &arguments).await
        });
        try_join_all(listings).await.map(drop)
    }

    /// Takes a session that is gone for good out of its indexes. What fails expires.
    async fn unlist(&self, key: &SessionKey, indexes: &[Vec<u8>]) {
        let indexes = indexes.iter().filter_map(|bytes| bytes.as_slice().try_into().ok());
        let removals = indexes.map(IndexKey::from_bytes).map(async |index| {
            let name = self.names.index(&index);
            let mut command = redis::cmd("ZREM");
            command.arg(name).arg(key.bytes());
            self.link.ask::<()>(Bucket::of(index.bytes()), &command).await
        });
        join_all(removals).await;
    }

    /// The sessions listed under `index` whose own `field` says the same.
    async fn listed(&self, index: &IndexKey, field: &str) -> Result<Vec<SessionKey>, StoreError> {
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(self.names.index(index)).arg(self.now()).arg("+inf");
        let members: Vec<Vec<u8>> = self.link.ask(Bucket::of(index.bytes()), &command).await?;
        let keys: Vec<SessionKey> = members.iter().filter_map(|member| key_of(member)).collect();
        let mut found = Vec::with_capacity(keys.len());
        for some in keys.chunks(CHECKED_AT_ONCE) {
            let checks = some.iter().map(async |key| {
                let mut command = redis::cmd("HGET");
                command.arg(self.names.session(key)).arg(field);
                let says: Option<Vec<u8>> = self.link.ask(Bucket::of(key.bytes()), &command).await?;
                Ok((says.as_deref() == Some(index.bytes().as_slice())).then_some(*key))
            });
            found.extend(try_join_all(checks).await?.into_iter().flatten());
        }
        Ok(found)
    }

    async fn swap(&self, key: &SessionKey, expected: u64, row: &Stored) -> Result<CasOutcome, StoreError> {
        self.enlist(key, row).await?;
        let written = self.row(key, row);
        let expected = expected.to_string();
        let mut arguments: Vec<&[u8]> = written.iter().map(Vec::as_slice).collect();
        arguments.extend([expected.as_bytes(), &self.origin.0]);
        let bucket = Bucket::of(key.bytes());
        let (name, all, feed) = (self.names.session(key), self.names.all(bucket), self.names.feed(bucket));
        let answer: Vec<String> =
            self.link.call(bucket, &self.scripts.swap, &[&name, &all, &feed], &arguments).await?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["swapped"] => Ok(CasOutcome::Swapped),
            ["gone"] => Ok(CasOutcome::Gone),
            ["conflict", generation] => generation.parse().map(CasOutcome::Conflict).map_err(|_| odd()),
            _ => Err(odd()),
        }
    }

    async fn remove(&self, key: &SessionKey) -> Result<bool, StoreError> {
        let bucket = Bucket::of(key.bytes());
        let (name, all, feed) = (self.names.session(key), self.names.all(bucket), self.names.feed(bucket));
        let arguments = [key.bytes().as_slice(), &self.origin.0];
        let was: Vec<Vec<u8>> =
            self.link.call(bucket, &self.scripts.delete, &[&name, &all, &feed], &arguments).await?;
        self.unlist(key, &was).await;
        Ok(!was.is_empty())
    }

    /// Tells the server again what it may have lost.
    async fn repeat(&self) {
        for (key, row) in self.journal.recent() {
            let told = match row {
                None => self.remove(&key).await.map(drop),
                Some(row) => self.repeat_swap(&key, &row).await,
            };
            if told.is_err() {
                return self.link.doubt();
            }
        }
    }

    /// Only over an older generation: whoever was faster, or has ended the session, counts.
    async fn repeat_swap(&self, key: &SessionKey, row: &Stored) -> Result<(), StoreError> {
        match self.load(key).await? {
            Some(there) if there.generation < row.generation => {
                self.swap(key, there.generation, row).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// All rows of a bucket that have not expired, in the order of their keys, with their ends.
    async fn rows_of(&self, bucket: Bucket) -> Result<Vec<(SessionKey, SystemTime)>, StoreError> {
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(self.names.all(bucket)).arg(self.now()).arg("+inf").arg("WITHSCORES");
        let members: Vec<(Vec<u8>, f64)> = self.link.ask(bucket, &command).await?;
        let mut rows: Vec<_> = members
            .into_iter()
            // Milliseconds since 1970 are whole numbers far below what a double holds exactly.
            .filter_map(|(member, end)| {
                Some((key_of(&member)?, from_unix_millis(self.link.our_millis(end as u64))))
            })
            .collect();
        rows.sort_unstable();
        Ok(rows)
    }

    /// Whether it is there, and a session ([`Stored::is_session`]).
    async fn is_session(&self, key: &SessionKey) -> Result<bool, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.names.session(key)).arg("u");
        let sub: Option<Vec<u8>> = self.link.ask(Bucket::of(key.bytes()), &command).await?;
        Ok(sub.is_some_and(|sub| sub != key.bytes()))
    }

    async fn purge_bucket(&self, bucket: Bucket, now: SystemTime) -> Result<u64, StoreError> {
        let all = self.names.all(bucket);
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(&all).arg("-inf").arg(self.server(now)).arg("LIMIT").arg(0).arg(PURGED_AT_ONCE);
        let members: Vec<Vec<u8>> = self.link.ask(bucket, &command).await?;
        let now = unix_millis(now).to_string();
        let purges = members.iter().filter_map(|member| key_of(member)).map(async |key| {
            let (name, arguments) = (self.names.session(&key), [key.bytes().as_slice(), now.as_bytes()]);
            self.link.call::<u64>(bucket, &self.scripts.expire, &[&name, &all], &arguments).await
        });
        Ok(try_join_all(purges).await?.iter().sum())
    }
}

#[async_trait]
impl SessionStore for RedisStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<Stored>, StoreError> {
        type Row = (Option<u64>, Option<u64>, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);
        let mut command = redis::cmd("HMGET");
        command.arg(self.names.session(key)).arg(&["g", "e", "i", "u", "v"]);
        let row: Row = self.link.ask(Bucket::of(key.bytes()), &command).await?;
        let (Some(generation), Some(expires), Some(sid), Some(sub), Some(sealed)) = row else {
            return Ok(None);
        };
        let index = |bytes: &[u8]| bytes.try_into().ok().map(IndexKey::from_bytes);
        let sub = index(&sub).ok_or_else(odd)?;
        Ok(Some(Stored { generation, expires: from_unix_millis(expires), sid: index(&sid), sub, sealed }))
    }

    async fn insert(&self, key: &SessionKey, row: Stored) -> Result<(), StoreError> {
        self.enlist(key, &row).await?;
        let bucket = Bucket::of(key.bytes());
        let (name, all) = (self.names.session(key), self.names.all(bucket));
        let written = self.row(key, &row);
        let arguments: Vec<&[u8]> = written.iter().map(Vec::as_slice).collect();
        // Nobody can have a new session in memory, so nobody is told.
        match self.link.call(bucket, &self.scripts.insert, &[&name, &all], &arguments).await? {
            true => Ok(()),
            false => Err(StoreError::Exists),
        }
    }

    async fn compare_and_swap(
        &self,
        key: &SessionKey,
        expected: u64,
        row: Stored,
    ) -> Result<CasOutcome, StoreError> {
        let outcome = self.swap(key, expected, &row).await?;
        if outcome == CasOutcome::Swapped {
            self.journal.swapped(*key, row);
        }
        Ok(outcome)
    }

    async fn extend(&self, key: &SessionKey, expires: SystemTime) -> Result<bool, StoreError> {
        let bucket = Bucket::of(key.bytes());
        let (name, all) = (self.names.session(key), self.names.all(bucket));
        let mut command = redis::cmd("HMGET");
        command.arg(&name).arg(&["i", "u"]);
        let (sid, sub): (Option<Vec<u8>>, Option<Vec<u8>>) = self.link.ask(bucket, &command).await?;
        let indexes = [sid, sub].into_iter().flatten().filter_map(|bytes| bytes.as_slice().try_into().ok());
        self.list_until(key, indexes.map(IndexKey::from_bytes), expires).await?;
        let (end, now) = (self.server(expires), self.now());
        let said = unix_millis(expires).to_string();
        let arguments: [&[u8]; 4] = [said.as_bytes(), &end, &now, key.bytes()];
        self.link.call(bucket, &self.scripts.extend, &[&name, &all], &arguments).await
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        let deleted = self.remove(key).await?;
        self.journal.deleted(*key);
        Ok(deleted)
    }

    async fn by_sid(&self, sid: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        self.listed(sid, "i").await
    }

    async fn by_sub(&self, sub: &IndexKey) -> Result<Vec<SessionKey>, StoreError> {
        self.listed(sub, "u").await
    }

    /// Buckets are in the order of their keys, so a page mostly needs one of them.
    async fn list(
        &self,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<(SessionKey, SystemTime)>, StoreError> {
        let first = after.map_or(0, |after| Bucket::of(after.bytes()).index());
        let mut listed = Vec::new();
        for bucket in Bucket::all().skip(first) {
            let mut rows = self.rows_of(bucket).await?;
            rows.retain(|(key, _)| after.is_none_or(|after| key > after));
            for some in rows.chunks(CHECKED_AT_ONCE) {
                let checks = try_join_all(some.iter().map(|(key, _)| self.is_session(key))).await?;
                let sessions = some.iter().zip(checks).filter(|(_, is)| *is).map(|(row, _)| *row);
                listed.extend(sessions.take(limit - listed.len()));
                if listed.len() == limit {
                    return Ok(listed);
                }
            }
        }
        Ok(listed)
    }

    async fn count(&self) -> Result<u64, StoreError> {
        let now = self.now();
        let counts = Bucket::all().map(async |bucket| {
            let mut command = redis::cmd("ZCOUNT");
            command.arg(self.names.all(bucket)).arg(&now).arg("+inf");
            self.link.ask::<u64>(bucket, &command).await
        });
        Ok(try_join_all(counts).await?.iter().sum())
    }

    async fn lease(
        &self,
        key: &SessionKey,
        owner: OwnerId,
        generation: u64,
        now: SystemTime,
        ttl: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        let generation = generation.to_string();
        let (now, until) = (self.server(now), self.server(now + ttl));
        let arguments: [&[u8]; 4] = [&owner.0, generation.as_bytes(), &now, &until];
        let name = self.names.session(key);
        let answer: Vec<String> =
            self.link.call(Bucket::of(key.bytes()), &self.scripts.lease, &[&name], &arguments).await?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| odd());
        match answer.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["granted"] => Ok(LeaseOutcome::Granted),
            ["gone"] => Ok(LeaseOutcome::Gone),
            ["moved", generation] => number(generation).map(LeaseOutcome::Moved),
            ["held", until] => Ok(LeaseOutcome::Held(from_unix_millis(self.link.our_millis(number(until)?)))),
            _ => Err(odd()),
        }
    }

    async fn release(&self, key: &SessionKey, owner: OwnerId, until: SystemTime) -> Result<(), StoreError> {
        let (name, until) = (self.names.session(key), self.server(until));
        let arguments: [&[u8]; 2] = [&owner.0, &until];
        self.link.call(Bucket::of(key.bytes()), &self.scripts.release, &[&name], &arguments).await
    }

    /// Redis drops expired sessions by itself; this tidies the list of all.
    async fn purge_expired(&self, now: SystemTime) -> Result<u64, StoreError> {
        let purges = Bucket::all().map(|bucket| self.purge_bucket(bucket, now));
        Ok(try_join_all(purges).await?.iter().sum())
    }

    async fn changes(&self, cursor: Option<u64>) -> Result<Changes, StoreError> {
        if self.link.take_doubt() {
            self.repeat().await;
        }
        self.feed.read(&self.link, &self.names, self.origin, cursor).await
    }

    fn in_browser(&self) -> Option<&super::CookieStore> {
        None
    }

    fn outage_tolerance(&self) -> Option<Duration> {
        Some(self.outage_tolerance)
    }

    /// Writes to every bucket, so that no part of a cluster is forgotten.
    async fn health(&self) -> Result<(), StoreError> {
        self.link.compare_clocks().await?;
        let writes = Bucket::all().map(async |bucket| {
            let mut command = redis::cmd("SET");
            command.arg(self.names.probe(bucket)).arg(1).arg("PX").arg(60_000);
            self.link.ask::<()>(bucket, &command).await
        });
        try_join_all(writes).await.map(drop)
    }
}

fn key_of(member: &[u8]) -> Option<SessionKey> {
    member.try_into().ok().map(SessionKey::from_bytes)
}

fn odd() -> StoreError {
    StoreError::Corrupt("something else uses our keys".to_owned())
}
