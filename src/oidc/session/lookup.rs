//! From a cookie to its session, and from a session to its end.

use std::sync::Arc;
use std::time::SystemTime;

use super::entry::{SessionEntry, State};
use super::id::{ScopeId, SessionId, SessionKey};
use super::keys::{Place, RingKey};
use super::record::SessionRecord;
use super::store::{StoreError, Stored};
use super::{RandomError, Sessions};
use crate::oidc::clock::unix_millis;

/// What a cookie value stands for.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// A session. Its tokens may still have to be refreshed.
    Live(Arc<SessionEntry>),
    /// None: unknown, ended, expired, or of another scope or secret.
    None,
    /// The store cannot tell. Not the same as none: the answer is 503, not a login.
    StoreDown,
}

impl Sessions {
    /// The session if it is in memory and needs no look at the store. Takes no lock that is held for long,
    /// allocates nothing, never waits.
    #[must_use]
    pub fn lookup_cached(
        &self,
        id: &SessionId,
        scope: &ScopeId,
        now: SystemTime,
    ) -> Option<Arc<SessionEntry>> {
        let entry = self.inner.cache.get(id)?;
        let now = unix_millis(now);
        if self.inner.hearing.is_lost(&entry.key, now) {
            return None;
        }
        if !self.may_open(&entry, scope) || !entry.is_live(now) {
            return None;
        }
        entry.touch(now / 1000);
        Some(entry)
    }

    /// The session, from memory or from the store.
    pub async fn lookup(&self, id: &SessionId, scope: &ScopeId, now: SystemTime) -> Lookup {
        let millis = unix_millis(now);
        let is_lost = |entry: &SessionEntry| self.inner.hearing.is_lost(&entry.key, millis);
        let found = match self.inner.cache.get(id) {
            Some(entry) if !self.may_open(&entry, scope) => return Lookup::None,
            // For that no news are needed.
            Some(entry) if entry.is_ended() => return Lookup::None,
            Some(entry) if is_lost(&entry) => return Lookup::StoreDown,
            Some(entry) => self.recheck(entry).await,
            None => self.load(id, scope).await,
        };
        match found {
            Ok(Some(entry)) if is_lost(&entry) => Lookup::StoreDown,
            Ok(Some(entry)) if millis < entry.profile().timing.absolute => {
                match self.has_idled_out(&entry, now).await {
                    Ok(true) => return Lookup::None,
                    Err(_) => return Lookup::StoreDown,
                    Ok(false) => {}
                }
                entry.touch(millis / 1000);
                Lookup::Live(entry)
            }
            Ok(_) => Lookup::None,
            Err(_) => Lookup::StoreDown,
        }
    }

    /// Starts a session with a new id; `record.generation` counts from 0.
    ///
    /// # Errors
    /// [`StoreError`]: the session was not stored, so there is none.
    pub async fn create(
        &self,
        mut record: SessionRecord,
    ) -> Result<(SessionId, Arc<SessionEntry>), StoreError> {
        record.generation = 0;
        let ring = self.keys.newest().ok_or(StoreError::Crypto)?;
        let id = ring.new_id(&record.scope).map_err(|RandomError| StoreError::Crypto)?;
        let key = ring.session_key(&record.scope, &id);
        let entry = SessionEntry::new(id, key, ring, &record);
        self.inner.note(self.inner.store.insert(&key, entry.seal(&record)?).await)?;
        entry.touch(unix_millis(record.created) / 1000);
        self.note_idle(&entry);
        Ok((id, self.inner.cache.insert(entry)))
    }

    /// The whole record with its tokens, read from the store (or memory, while that could not take it).
    /// None if the session is gone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record(&self, entry: &SessionEntry) -> Result<Option<SessionRecord>, StoreError> {
        if let Some(record) = entry.unsaved_record() {
            return Ok(Some(record));
        }
        self.stored(entry).await
    }

    /// The record as the store has it; none if the session is gone. A row that cannot be opened is damaged, which is
    /// the store's failure and not the session's end. Nor is it one if the row has given way to others.
    pub(super) async fn stored(&self, entry: &SessionEntry) -> Result<Option<SessionRecord>, StoreError> {
        let Some(row) = self.inner.note(self.inner.store.load(&entry.key).await)? else {
            return if self.is_gone(entry) { Ok(None) } else { Err(StoreError::GivenWay) };
        };
        match open(entry.ring(), &entry.id, entry.scope(), &entry.key, &row) {
            Some(record) => Ok(Some(record)),
            None => Err(StoreError::Corrupt("the record of a live session cannot be opened".to_owned())),
        }
    }

    /// Ends a session: at once here, durably in the store, within a second in other processes.
    ///
    /// # Errors
    /// [`StoreError`]: it is ended here, and the store will be told as soon as it works again.
    pub async fn end(&self, entry: &Arc<SessionEntry>) -> Result<(), StoreError> {
        self.end_in_memory(entry);
        let deleted = self.inner.store.delete(&entry.key).await;
        if let Err(error) = self.inner.note(deleted) {
            // Until the store has forgotten it the ended entry stays, so that nobody loads it again.
            self.inner.owe(entry);
            return Err(error);
        }
        self.inner.upsets.add();
        self.inner.cache.remove(entry);
        Ok(())
    }

    /// Ends what memory has of the wanted sessions while the store cannot say which there are. The store is told of each as
    /// soon as it works again.
    pub(in crate::oidc) fn end_known(
        &self,
        wanted: impl Fn(&SessionEntry) -> bool,
    ) -> Vec<Arc<SessionEntry>> {
        let entries = self.inner.cache.select(|entry| !entry.is_ended() && wanted(entry));
        for entry in &entries {
            self.end_in_memory(entry);
            self.inner.owe(entry);
        }
        entries
    }

    fn end_in_memory(&self, entry: &SessionEntry) {
        self.inner.upsets.add();
        entry.end();
        if let Some(store) = self.inner.store.in_browser() {
            // A cookie may say a later idle end than the row: the store hears of that beside the request, and of what
            // another process has put into cookies never.
            store.remember_end(&entry.key, entry.profile().timing.absolute);
        }
    }

    /// What memory has of a session while the store cannot be asked for it, and memory may not be believed any more: to be
    /// ended, and for nothing else.
    pub(in crate::oidc) fn remembered(&self, id: &SessionId, scope: &ScopeId) -> Option<Arc<SessionEntry>> {
        let entry = self.inner.cache.get(id)?;
        (self.may_open(&entry, scope) && !entry.is_ended()).then_some(entry)
    }

    /// Ends a session of which memory has nothing while the store cannot be asked for it: that is told once it works again.
    /// Its name there; none if it is no session of ours.
    pub(in crate::oidc) fn end_unheard(&self, id: &SessionId, scope: &ScopeId) -> Option<SessionKey> {
        let ring = self.keys.iter().find(|ring| ring.made(scope, id))?;
        let key = ring.session_key(scope, id);
        self.inner.owe_end(key);
        Some(key)
    }

    /// Ends the sessions with the provider's session id `sid`; how many.
    ///
    /// # Errors
    /// [`StoreError`]: not all are ended durably; the caller must not report success.
    pub async fn end_by_sid(&self, scope: &ScopeId, sid: &str) -> Result<usize, StoreError> {
        let mut ended = 0;
        for ring in self.keys.iter() {
            let keys = self.inner.store.by_sid(&ring.sid_key(scope, sid)).await;
            ended += self.end_all(self.inner.note(keys)?).await?;
        }
        let cached =
            |entry: &SessionEntry| *entry.scope() == *scope && entry.profile().sid().as_deref() == Some(sid);
        Ok(ended + self.end_cached(cached).await?)
    }

    /// Ends all sessions of the subject `sub`; how many.
    ///
    /// # Errors
    /// As [`Sessions::end_by_sid`].
    pub async fn end_by_sub(&self, scope: &ScopeId, sub: &str) -> Result<usize, StoreError> {
        let mut ended = 0;
        for ring in self.keys.iter() {
            let keys = self.inner.store.by_sub(&ring.sub_key(scope, sub)).await;
            ended += self.end_all(self.inner.note(keys)?).await?;
        }
        let cached = |entry: &SessionEntry| *entry.scope() == *scope && &*entry.profile().subject() == sub;
        Ok(ended + self.end_cached(cached).await?)
    }

    pub(super) async fn end_all(&self, keys: Vec<SessionKey>) -> Result<usize, StoreError> {
        let mut ended = 0;
        for key in keys {
            match self.inner.cache.get_by_key(&key) {
                Some(entry) => self.end(&entry).await?,
                None => {
                    self.inner.note(self.inner.store.delete(&key).await)?;
                    self.inner.upsets.add();
                    // A load that ran meanwhile may have brought it in just now.
                    if let Some(entry) = self.inner.cache.get_by_key(&key) {
                        entry.end();
                        self.inner.cache.remove(&entry);
                    }
                }
            }
            ended += 1;
        }
        Ok(ended)
    }

    /// Whether the entry is of this scope and one of our secrets.
    fn may_open(&self, entry: &SessionEntry, scope: &ScopeId) -> bool {
        *entry.scope() == *scope && self.keys.has(entry.ring())
    }

    /// A session that is not in memory.
    async fn load(&self, id: &SessionId, scope: &ScopeId) -> Result<Option<Arc<SessionEntry>>, StoreError> {
        for ring in self.keys.iter().filter(|ring| ring.made(scope, id)) {
            let key = ring.session_key(scope, id);
            let before = self.inner.upsets.count();
            let Some(row) = self.inner.note(self.inner.store.load(&key).await)? else {
                continue;
            };
            let Some(record) = open(ring, id, scope, &key, &row) else {
                tracing::warn!(session = ?key, "a stored session could not be opened and counts as none");
                continue;
            };
            let entry = self.inner.cache.insert(SessionEntry::new(*id, key, ring, &record));
            entry.idle.raise(unix_millis(row.expires));
            self.note_idle(&entry);
            entry.doubt(&self.inner.upsets, before);
            return self.recheck(entry).await;
        }
        Ok(None)
    }

    /// Reads a stale entry again. While the store is down the old state serves on.
    pub(super) async fn recheck(
        &self,
        entry: Arc<SessionEntry>,
    ) -> Result<Option<Arc<SessionEntry>>, StoreError> {
        // Bounded: under a storm of changes the last state read is at most some milliseconds old.
        for _ in 0..3 {
            match entry.state() {
                State::Live => break,
                State::Ended => return Ok(None),
                State::Stale => {}
            }
            let before = self.inner.upsets.count();
            match self.record(&entry).await {
                Err(_) => break,
                Ok(None) => {
                    entry.end();
                    self.inner.cache.remove(&entry);
                    return Ok(None);
                }
                Ok(Some(record)) => entry.install(&record),
            }
            entry.settle(&self.inner.upsets, before);
        }
        Ok((!entry.is_ended()).then_some(entry))
    }
}

/// A record as a row.
pub(super) fn seal(
    ring: &RingKey,
    id: &SessionId,
    key: &SessionKey,
    record: &SessionRecord,
    expires: SystemTime,
) -> Result<Stored, StoreError> {
    let scope = &record.scope;
    let generation = record.generation;
    let plain = record.encode().map_err(|_| StoreError::Crypto)?;
    let place = Place { scope, id, key, generation, name: "" };
    Ok(Stored {
        generation,
        expires,
        sid: record.sid.as_ref().map(|sid| ring.sid_key(scope, sid)),
        sub: ring.sub_key(scope, &record.subject),
        sealed: ring.seal(&place, &plain).map_err(|_| StoreError::Crypto)?,
    })
}

/// A row as a record; none if it is damaged or not of this place.
pub(super) fn open(
    ring: &RingKey,
    id: &SessionId,
    scope: &ScopeId,
    key: &SessionKey,
    row: &Stored,
) -> Option<SessionRecord> {
    let generation = row.generation;
    let plain = ring.open(&Place { scope, id, key, generation, name: "" }, &row.sealed)?;
    let record = SessionRecord::decode(&plain).ok()?;
    (record.generation == generation && record.scope == *scope).then_some(record)
}
