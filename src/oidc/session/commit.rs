//! Writing a new generation of a session, and the lease that keeps other processes from doing the same.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret;

use super::Sessions;
use super::entry::SessionEntry;
use super::record::SessionRecord;
use super::store::{CasOutcome, LeaseOutcome, StoreError};

/// What became of a new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::oidc) enum Committed {
    /// In the store.
    Saved,
    /// In memory only: the store failed. It is written as soon as that works again.
    Unsaved,
    /// Another process was faster; its generation counts and has been read.
    Overtaken,
    /// The session has ended meanwhile, and stays so.
    Gone,
}

impl Sessions {
    /// Writes `record`, made of generation `expected`, and lets requests see it.
    pub(in crate::oidc) async fn commit(
        &self,
        entry: &Arc<SessionEntry>,
        expected: u64,
        record: SessionRecord,
    ) -> Committed {
        if entry.is_ended() {
            return Committed::Gone;
        }
        self.used_by_refresh(entry);
        let mut swapped = self.swap(entry, expected, &record).await;
        if let Ok(CasOutcome::Conflict(behind)) = swapped
            && behind < expected
        {
            // It could not take the generations before this one; this one contains them.
            swapped = self.swap(entry, behind, &record).await;
        }
        match swapped {
            Ok(CasOutcome::Swapped) => {
                entry.set_unsaved(None);
                entry.install(&record);
                // An end that came while the row was being written has deleted it, before or after.
                if entry.is_ended() { Committed::Gone } else { Committed::Saved }
            }
            Ok(CasOutcome::Conflict(_)) => {
                entry.set_unsaved(None);
                self.reread(entry).await;
                Committed::Overtaken
            }
            Ok(CasOutcome::Gone) => {
                self.forget(entry);
                Committed::Gone
            }
            Err(error) => {
                tracing::warn!(session = ?entry.key(), %error, "refreshed tokens are kept in memory until the store works");
                entry.set_unsaved(entry.seal(&record).ok());
                entry.install(&record);
                self.inner.owe(entry);
                if entry.is_ended() { Committed::Gone } else { Committed::Unsaved }
            }
        }
    }

    /// Tries once more to write what the store could not take. The generation that the store still has is not
    /// known any more (several may have been lost), so it is read first. Without new tokens it is the idle end.
    pub(super) async fn save(&self, entry: &Arc<SessionEntry>) -> Result<(), StoreError> {
        let Some(record) = entry.unsaved_record() else {
            return self.tell_end(entry).await;
        };
        let behind = match self.inner.note(self.inner.store.load(&entry.key).await)? {
            Some(row) if row.generation >= record.generation => {
                entry.set_unsaved(None);
                return Ok(());
            }
            None if self.is_gone(entry) => {
                self.forget(entry);
                return Ok(());
            }
            row => row.map_or(0, |row| row.generation),
        };
        if self.swap(entry, behind, &record).await? == CasOutcome::Swapped {
            // A newer one may have come meanwhile; it is written by the next round.
            if entry.unsaved_generation() == Some(record.generation) {
                entry.set_unsaved(None);
            }
        }
        Ok(())
    }

    async fn swap(
        &self,
        entry: &SessionEntry,
        expected: u64,
        record: &SessionRecord,
    ) -> Result<CasOutcome, StoreError> {
        let whole = self.completed(entry, record).await?;
        let record = whole.as_ref().unwrap_or(record);
        let swapped = self.inner.store.compare_and_swap(&entry.key, expected, entry.seal(record)?).await;
        let swapped = self.inner.note(swapped)?;
        match self.inner.store.in_browser() {
            // Its row has given way to others. Nobody but this process writes here, so none is newer.
            Some(store) if swapped == CasOutcome::Gone && !self.is_gone(entry) => {
                let kept = store.offer(&entry.key, entry.seal(record)?)?;
                Ok(if kept { CasOutcome::Swapped } else { CasOutcome::Gone })
            }
            _ => Ok(swapped),
        }
    }

    /// A record that was refreshed from memory, by a provider that sends no new ID token, has none: only the store has
    /// the last one. None if nothing is missing.
    async fn completed(
        &self,
        entry: &SessionEntry,
        record: &SessionRecord,
    ) -> Result<Option<SessionRecord>, StoreError> {
        if !record.id_token.expose_secret().is_empty() {
            return Ok(None);
        }
        match self.stored(entry).await {
            Ok(stored) => {
                Ok(stored.map(|stored| SessionRecord { id_token: stored.id_token, ..record.clone() }))
            }
            // A damaged row, or none: what replaces it is better than nothing.
            Err(StoreError::Corrupt(_) | StoreError::GivenWay) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The session as far as memory has it, for a refresh while the store is down: see `SessionProfile::recall`.
    /// None if it has ended.
    pub(in crate::oidc) fn recall(&self, entry: &SessionEntry) -> Option<SessionRecord> {
        (!entry.is_ended()).then(|| entry.profile().recall(*entry.scope(), entry.idle.lifetime()))
    }

    /// Reads what the store has into the entry, past what memory keeps for it; which generation that is, or none if
    /// the session is gone.
    pub(in crate::oidc) async fn follow(&self, entry: &Arc<SessionEntry>) -> Result<Option<u64>, StoreError> {
        let record = match self.stored(entry).await {
            Ok(Some(record)) => record,
            Ok(None) => {
                self.forget(entry);
                return Ok(None);
            }
            // Nobody but this process could have gone on from what memory has.
            Err(StoreError::GivenWay) => return Ok(Some(entry.profile().generation)),
            Err(error) => return Err(error),
        };
        // A swap whose answer was lost, and another process has gone on from there.
        if entry.unsaved_generation().is_some_and(|unsaved| unsaved <= record.generation) {
            entry.set_unsaved(None);
        }
        entry.install(&record);
        Ok(Some(record.generation))
    }

    /// Reads the newest generation that there is into the entry; none if the session is gone, or the store down.
    pub(in crate::oidc) async fn reread(&self, entry: &Arc<SessionEntry>) -> Option<SessionRecord> {
        match self.record(entry).await {
            Ok(Some(record)) => {
                entry.install(&record);
                Some(record)
            }
            Ok(None) => {
                self.forget(entry);
                None
            }
            Err(_) => None,
        }
    }

    /// Asks for the right to refresh the entry's present generation.
    pub(in crate::oidc) async fn lease(
        &self,
        entry: &SessionEntry,
        generation: u64,
        now: SystemTime,
        ttl: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        let (store, owner) = (&self.inner.store, self.inner.owner);
        match self.inner.note(store.lease(&entry.key, owner, generation, now, ttl).await) {
            Ok(LeaseOutcome::Gone) if !self.is_gone(entry) => Err(StoreError::GivenWay),
            answer => answer,
        }
    }

    /// Gives the lease back; nobody may take it before `until`.
    pub(in crate::oidc) async fn release(&self, entry: &SessionEntry, until: SystemTime) {
        let released = self.inner.store.release(&entry.key, self.inner.owner, until).await;
        // If it fails the lease ends by itself.
        let _ = self.inner.note(released);
    }

    /// Drops an entry that the store does not know any more.
    pub(super) fn forget(&self, entry: &SessionEntry) {
        entry.end();
        self.inner.upsets.add();
        self.inner.cache.remove(entry);
    }
}
