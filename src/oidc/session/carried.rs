//! A session as the browser carries it: the whole record, compressed, and sealed with the key that also takes the
//! cookie's name.
//!
//! What a cookie says is believed only where this process knows nothing newer: see [`Sessions::adopt`].

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::Sessions;
use super::compact::{pack, unpack};
use super::cookie::CookieStore;
use super::entry::{SessionEntry, State};
use super::id::{ScopeId, SessionId, SessionKey};
use super::keys::{Place, RingKey};
use super::lookup::seal;
use super::marks::Mark;
use super::record::SessionRecord;
use super::store::StoreError;
use crate::oidc::clock::{from_unix_millis, unix_millis};

/// The longest record before it is compressed. A cookie cannot be made that takes more memory than this.
const MOST_PLAIN: usize = 256 * 1024;

/// What [`Sessions::carry`] says of a longer one.
const TOO_LONG: StoreError = StoreError::Unsupported("hold a session of that size");

/// What a browser brings, taken apart but not looked into.
pub(in crate::oidc) struct Brought<'a> {
    pub(in crate::oidc) id: SessionId,
    pub(in crate::oidc) generation: u64,
    pub(in crate::oidc) sealed: &'a [u8],
    /// The cookie's name, which it is sealed for.
    pub(in crate::oidc) name: &'a str,
}

/// What it was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::oidc) struct Adopted {
    pub(in crate::oidc) generation: u64,
    /// When it ends unless it is used, in milliseconds since 1970.
    pub(in crate::oidc) ends: u64,
}

/// What a browser is to carry.
pub(in crate::oidc) struct Carried {
    pub(in crate::oidc) is: Adopted,
    pub(in crate::oidc) sealed: Vec<u8>,
    /// When the browser may forget it.
    pub(in crate::oidc) expires: SystemTime,
}

/// Opened with this key, found under this one.
struct Opened {
    ring: Arc<RingKey>,
    key: SessionKey,
    record: SessionRecord,
    ends: u64,
}

impl Sessions {
    /// Whether sessions live in the browser.
    pub(in crate::oidc) fn in_browser(&self) -> bool {
        self.inner.store.in_browser().is_some()
    }

    /// Sessions are made that last so long.
    pub(in crate::oidc) fn may_last(&self, life: Duration) {
        if let Some(store) = self.inner.store.in_browser() {
            store.may_last(life);
        }
    }

    /// How long a session may last that no store lists; zero where a store has them all.
    pub(in crate::oidc) fn longest_unlisted(&self) -> Duration {
        self.inner.store.in_browser().map_or(Duration::ZERO, CookieStore::longest)
    }

    /// Whether the newest generation of the session is at hand, for all that may follow.
    pub(in crate::oidc) fn holds(&self, entry: &SessionEntry, now: SystemTime) -> bool {
        let store = self.inner.store.in_browser();
        store.is_some_and(|store| store.holds(&entry.key, unix_millis(now) / 1000))
    }

    /// Whether it was sealed here, whatever became of its session.
    pub(in crate::oidc) fn is_genuine(&self, brought: &Brought<'_>, scope: &ScopeId) -> bool {
        self.open_brought(brought, scope).is_some()
    }

    /// Takes over what a browser brings, so that [`Sessions::lookup`] finds the session, in its newest generation. None
    /// if it is no session, or has ended as far as this process knows.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(in crate::oidc) async fn adopt(
        &self,
        brought: &Brought<'_>,
        scope: &ScopeId,
        now: SystemTime,
    ) -> Result<Option<Adopted>, StoreError> {
        let Some(store) = self.inner.store.in_browser() else { return Ok(None) };
        let Some(opened) = self.open_brought(brought, scope) else { return Ok(None) };
        let Opened { ring, key, record, ends } = opened;
        let (cached, stored) = (self.inner.cache.get(&brought.id), store.end_of(&key));
        // A request before this one may have moved the idle end.
        let known = cached.as_ref().map(|entry| entry.row_end(&record)).max(stored);
        let end = known.map_or(from_unix_millis(ends), |known| known.max(from_unix_millis(ends)));
        if now >= end || now >= record.absolute_expiry {
            return Ok(None);
        }
        store.may_last(record.absolute_expiry.duration_since(record.created).unwrap_or_default());
        if store.is_void(unix_millis(record.created)) {
            return Ok(None);
        }
        if self.was_logged_out(&record).await? {
            // The mark may go before this session does.
            store.remember_end(&key, unix_millis(record.absolute_expiry));
            return Ok(None);
        }
        let put = |record: &SessionRecord| {
            let kept = store.offer(&key, seal(&ring, &brought.id, &key, record, end)?)?;
            Ok::<_, StoreError>(kept.then_some(record.generation))
        };
        let restored = cached.as_ref().filter(|_| stored.is_none()).and_then(|entry| {
            let restored = restored(entry, &record)?;
            // A refresh that goes on from memory puts back what is newer than both.
            entry.refresh.unless_busy(|| put(&restored))
        });
        let Some(newest) = restored.unwrap_or_else(|| put(&record))? else { return Ok(None) };
        if let Some(entry) = cached {
            entry.idle.raise(ends);
            if entry.profile().generation < newest {
                self.inner.upsets.add();
                entry.turn(State::Live, State::Stale);
            }
        }
        Ok(Some(Adopted { generation: record.generation, ends }))
    }

    /// Whether a session of which the store has no row has ended. Of those that browsers carry the row may have given way.
    pub(super) fn is_gone(&self, entry: &SessionEntry) -> bool {
        entry.is_ended() || self.inner.store.in_browser().is_none_or(|store| store.has_ended(&entry.key))
    }

    /// Whether the provider has ended the session when it was not in this process.
    async fn was_logged_out(&self, record: &SessionRecord) -> Result<bool, StoreError> {
        let mut ended = self.mark(Mark::Subject, &record.scope, &record.subject).await?;
        if let Some(sid) = &record.sid {
            ended = ended.max(self.mark(Mark::Session, &record.scope, sid).await?);
        }
        Ok(ended.is_some_and(|time| time > unix_millis(record.created)))
    }

    /// The present generation for the browser, under this cookie name, without an ID token that is longer than that.
    /// None if the session has just ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(in crate::oidc) async fn carry(
        &self,
        entry: &SessionEntry,
        name: &str,
        longest_id_token: usize,
    ) -> Result<Option<Carried>, StoreError> {
        let Some(mut record) = self.record(entry).await? else { return Ok(None) };
        if record.id_token.expose_secret().len() > longest_id_token {
            record.id_token = SecretString::default();
        }
        let ends = unix_millis(entry.row_end(&record));
        let plain = encode(&record, ends).ok_or(TOO_LONG)?;
        let generation = record.generation;
        let place = Place { scope: entry.scope(), id: &entry.id, key: &entry.key, generation, name };
        let sealed = entry.ring().seal(&place, &plain).map_err(|_| StoreError::Crypto)?;
        Ok(Some(Carried { is: Adopted { generation, ends }, sealed, expires: record.absolute_expiry }))
    }

    fn open_brought(&self, brought: &Brought<'_>, scope: &ScopeId) -> Option<Opened> {
        #[cfg(test)]
        OPENED.set(OPENED.get() + 1);
        let Brought { id, generation, sealed, name } = brought;
        self.keys.iter().filter(|ring| ring.made(scope, id)).find_map(|ring| {
            let key = ring.session_key(scope, id);
            let place = Place { scope, id, key: &key, generation: *generation, name };
            let (record, ends) = decode(&ring.open(&place, sealed)?)?;
            let fits = record.generation == *generation && record.scope == *scope;
            fits.then(|| Opened { ring: Arc::clone(ring), key, record, ends })
        })
    }

    /// Ends sessions in memory whose rows may have given way.
    pub(super) async fn end_cached(
        &self,
        wanted: impl Fn(&SessionEntry) -> bool,
    ) -> Result<usize, StoreError> {
        if !self.in_browser() {
            return Ok(0);
        }
        let entries = self.inner.cache.select(|entry| !entry.is_ended() && wanted(entry));
        for entry in &entries {
            self.end(entry).await?;
        }
        Ok(entries.len())
    }

    /// Ends what no store lists: sessions that only browsers have.
    pub(super) fn end_unlisted(&self) {
        if let Some(store) = self.inner.store.in_browser() {
            store.void_before(unix_millis(self.inner.clock.now()));
        }
    }
}

#[cfg(test)]
thread_local! {
    /// How often a session that a browser brought was opened, on this thread.
    pub(in crate::oidc) static OPENED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// A session whose row has given way, of which memory has a newer generation than a browser brings: all that memory has,
/// and the tokens that only the older one has. It is the next generation, so that browsers get it. None if memory has no
/// newer one.
///
/// The entry stays the same one: its streams wait for news of it, and only it has the refresh token that is still good.
fn restored(entry: &SessionEntry, older: &SessionRecord) -> Option<SessionRecord> {
    let profile = entry.profile();
    let newest = (profile.generation > older.generation)
        .then(|| profile.recall(*entry.scope(), entry.idle.lifetime()))?;
    Some(SessionRecord {
        generation: newest.generation.saturating_add(1),
        id_token: older.id_token.clone(),
        access_token: older.access_token.clone(),
        id_expiry: older.id_expiry,
        access_expiry: older.access_expiry,
        refreshed_at: older.refreshed_at,
        ..newest
    })
}

/// The end, then the compressed rest: the record without its tokens, and each token as the bytes that its text stands
/// for, so that what ID token and claims have in common is there once. None if it is too long.
fn encode(record: &SessionRecord, ends: u64) -> Option<Zeroizing<Vec<u8>>> {
    let empty = SecretString::default;
    let lean = SessionRecord {
        id_token: empty(),
        access_token: empty(),
        refresh_token: record.refresh_token.as_ref().map(|_| empty()),
        ..record.clone()
    };
    let mut plain = Zeroizing::new(Vec::with_capacity(16 * 1024));
    add(&mut plain, &lean.encode().ok()?)?;
    for token in [Some(&record.id_token), Some(&record.access_token), record.refresh_token.as_ref()] {
        let mut packed = Zeroizing::new(Vec::new());
        pack(token.map(ExposeSecret::expose_secret).unwrap_or_default(), &mut packed);
        add(&mut plain, &packed)?;
    }
    if plain.len() > MOST_PLAIN {
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(plain.len()));
    bytes.extend_from_slice(&ends.to_be_bytes());
    let mut encoder = DeflateEncoder::new(&mut *bytes, Compression::best());
    encoder.write_all(&plain).ok()?;
    encoder.finish().ok()?;
    Some(bytes)
}

fn add(to: &mut Vec<u8>, part: &[u8]) -> Option<()> {
    to.extend_from_slice(&u32::try_from(part.len()).ok()?.to_be_bytes());
    to.extend_from_slice(part);
    Some(())
}

fn decode(bytes: &[u8]) -> Option<(SessionRecord, u64)> {
    let (ends, packed) = bytes.split_first_chunk()?;
    let mut plain = Zeroizing::new(Vec::with_capacity(MOST_PLAIN.min(packed.len() * 8)));
    let limit = u64::try_from(MOST_PLAIN).ok()?;
    DeflateDecoder::new(packed).take(limit).read_to_end(&mut plain).ok()?;
    Some((read(&plain)?, u64::from_be_bytes(*ends)))
}

/// Reads what was decompressed.
fn read(plain: &[u8]) -> Option<SessionRecord> {
    let mut left = plain;
    let mut part = || {
        let (length, rest) = left.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        left = rest;
        Some(part)
    };
    let mut record = SessionRecord::decode(part()?).ok()?;
    record.id_token = unpack(part()?)?;
    record.access_token = unpack(part()?)?;
    let refresh_token = unpack(part()?)?;
    record.refresh_token = record.refresh_token.map(|_| refresh_token);
    Some(record)
}

/// See [`fuzzing::read_carried`](crate::oidc::fuzzing::read_carried).
#[cfg(feature = "fuzzing")]
pub(in crate::oidc) fn read_carried(bytes: &[u8]) -> [Option<(SessionRecord, u64)>; 2] {
    [decode(bytes), read(bytes).map(|record| (record, 0))]
}

/// See [`fuzzing::write_carried`](crate::oidc::fuzzing::write_carried).
#[cfg(feature = "fuzzing")]
pub(in crate::oidc) fn write_carried(record: &SessionRecord, ends: u64) -> Option<Vec<u8>> {
    encode(record, ends).map(|bytes| bytes.to_vec())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
