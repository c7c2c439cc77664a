//! What the operator sees of sessions, and does to them.
//!
//! A row of the store is sealed with a key that takes the browser's cookie, and named by a keyed hash. So of a session
//! that no request has brought to this process only its name and its end can be told. Who it belongs to is known of
//! those in memory; and all sessions of a given subject can be found, by the hash of that.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Sessions;
use super::entry::SessionEntry;
use super::id::{ScopeId, SessionKey};
use super::store::StoreError;

/// Rows that are read at once where all are wanted.
const PAGE: usize = 500;

/// A session as the operator sees it.
#[derive(Debug, Clone)]
pub struct SessionView {
    /// Its name in the store.
    pub key: SessionKey,
    /// When it ends unless it is used: its idle end or its absolute one.
    pub expires: SystemTime,
    /// What this process knows of it.
    pub known: Option<Arc<SessionEntry>>,
}

/// How often a store is tried that has only begun to connect.
const RETRY: Duration = Duration::from_millis(50);

/// How far the ending of sessions of a store has come.
#[derive(Debug, Default)]
pub struct Swept {
    /// So many have ended durably.
    pub ended: usize,
    /// So many have ended in this process, and the store will be told of them.
    pub pending: usize,
    /// Why it went no further; others have not ended.
    pub failure: Option<StoreError>,
}

impl Sessions {
    /// Tries the store, and again for as long as `patience` while it fails: it may have only begun to connect.
    ///
    /// # Errors
    /// What it failed with last.
    pub async fn reached(&self, patience: Duration) -> Result<(), StoreError> {
        let until = self.inner.clock.now() + patience;
        loop {
            match self.inner.store.health().await {
                Err(_) if self.inner.clock.now() < until => self.inner.clock.sleep(RETRY).await,
                told => return told,
            }
        }
    }

    /// The same, with a name for the operator.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The name of the store for the operator.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What this process knows of the session of that name.
    #[must_use]
    pub fn known(&self, key: &SessionKey) -> Option<Arc<SessionEntry>> {
        self.inner.cache.get_by_key(key)
    }

    /// Sessions of the store after `after`, by their names, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`]; some stores cannot list.
    pub async fn list(
        &self,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<SessionView>, StoreError> {
        let rows = self.inner.note(self.inner.store.list(after, limit).await)?;
        let view = |(key, expires)| SessionView { key, expires, known: self.inner.cache.get_by_key(&key) };
        Ok(rows.into_iter().map(view).collect())
    }

    /// The sessions of `user`: of that subject, and of every subject that this process knows by that name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of_user(&self, scope: &ScopeId, user: &str) -> Result<Vec<SessionView>, StoreError> {
        let is_theirs =
            |entry: &SessionEntry| *entry.scope() == *scope && &*entry.profile().identifier() == user;
        let mut subjects: Vec<Arc<str>> = vec![user.into()];
        subjects.extend(
            self.inner.cache.select(is_theirs).iter().map(|entry| (*entry.profile().subject()).into()),
        );
        subjects.sort_unstable();
        subjects.dedup();
        let mut views = Vec::new();
        for ring in self.keys.iter() {
            for subject in &subjects {
                let keys = self.inner.store.by_sub(&ring.sub_key(scope, subject)).await;
                for key in self.inner.note(keys)? {
                    let Some(row) = self.inner.note(self.inner.store.load(&key).await)? else { continue };
                    let known = self.inner.cache.get_by_key(&key);
                    views.push(SessionView { key, expires: row.expires, known });
                }
            }
        }
        Ok(views)
    }

    /// Ends what memory has of the sessions of `user`, by subject or name, while the store cannot say which there are.
    pub(in crate::oidc) fn end_known_of_user(&self, scope: &ScopeId, user: &str) -> Vec<Arc<SessionEntry>> {
        self.end_known(|entry| {
            let profile = entry.profile();
            entry.scope() == scope && (&*profile.identifier() == user || &*profile.subject() == user)
        })
    }

    /// Ends the session of this name.
    pub async fn revoke(&self, key: &SessionKey) -> Swept {
        let mut swept = Swept::default();
        let ended = self.try_revoke(key).await;
        self.conclude(&mut swept, ended, |entry| entry.key == *key);
        swept
    }

    async fn try_revoke(&self, key: &SessionKey) -> Result<usize, StoreError> {
        let row = self.inner.note(self.inner.store.load(key).await)?;
        if row.is_none_or(|row| !row.is_session(key)) {
            return self.end_cached(|entry| entry.key == *key).await;
        }
        self.end_all(vec![*key]).await
    }

    /// Ends every session of the store, as far as that works.
    pub async fn revoke_all(&self) -> Swept {
        let mut swept = Swept::default();
        let all = self.sweep(&mut swept.ended).await;
        self.conclude(&mut swept, all.map(|()| 0), |_| true);
        swept
    }

    /// What the store cannot be told now ends in this process at once.
    fn conclude(
        &self,
        swept: &mut Swept,
        ended: Result<usize, StoreError>,
        wanted: impl Fn(&SessionEntry) -> bool,
    ) {
        match ended {
            Ok(ended) => swept.ended += ended,
            Err(error) => {
                self.end_known(&wanted);
                // Only those that a store has yet to be told of stay in memory when they have ended.
                swept.pending = self.inner.cache.select(|entry| entry.is_ended() && wanted(entry)).len();
                swept.failure = Some(error);
            }
        }
    }

    async fn sweep(&self, ended: &mut usize) -> Result<(), StoreError> {
        self.end_unlisted();
        *ended += self.end_cached(|_| true).await?;
        let mut after = None;
        loop {
            let page = self.list(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key);
            for view in page {
                *ended += self.end_all(vec![view.key]).await?;
            }
        }
    }
}

impl SessionKey {
    /// The whole name as 64 hexadecimal digits. It logs nobody in.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Reads what [`SessionKey::to_text`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::oidc::session::contract::at;
    use crate::oidc::session::marks::Mark;
    use crate::oidc::session::testing::{process, record, scope};
    use crate::oidc::session::{Lookup, MemoryStore};

    #[tokio::test]
    async fn sessions_are_listed_by_pages_and_marks_are_none() {
        let (sessions, _) = process(Arc::new(MemoryStore::new(100)));
        for _ in 0..7 {
            sessions.create(record()).await.unwrap();
        }
        sessions.set_mark(Mark::Subject, &scope(), "alice", at(0), at(900)).await.unwrap();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = sessions.list(after.as_ref(), 3).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.key);
            seen.extend(page.iter().map(|view| view.key));
        }
        assert_eq!(seen.len(), 7);
        assert!(seen.is_sorted());
        let swept = sessions.revoke_all().await;
        assert_eq!((swept.ended, swept.failure), (7, None));
        assert!(sessions.mark(Mark::Subject, &scope(), "alice").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn one_user_is_found_by_subject_or_by_a_known_name() {
        let store: Arc<MemoryStore> = Arc::new(MemoryStore::new(100));
        let (here, _) = process(Arc::clone(&store) as _);
        let (there, _) = process(Arc::clone(&store) as _);
        let (id, _) = here.create(record()).await.unwrap();
        let bob = crate::oidc::session::SessionRecord {
            subject: "bob".into(),
            identifier: "b@x".into(),
            ..record()
        };
        here.create(bob).await.unwrap();
        let found = async |sessions: &Sessions, user| sessions.of_user(&scope(), user).await.unwrap().len();
        assert_eq!((found(&here, "alice").await, found(&there, "alice").await), (1, 1));
        assert_eq!(found(&here, "alice@example.com").await, 1);
        assert_eq!(found(&there, "alice@example.com").await, 0, "never seen there");
        let view = there.of_user(&scope(), "alice").await.unwrap().remove(0);
        assert!(view.known.is_none() && view.expires == at(3600));
        assert_eq!(SessionKey::parse(&view.key.to_text()), Some(view.key));
        assert_eq!(there.revoke(&view.key).await.ended, 1);
        assert_eq!(there.revoke(&view.key).await.ended, 0);
        assert_eq!(found(&here, "alice").await, 0);
        assert!(matches!(there.lookup(&id, &scope(), at(1)).await, Lookup::None));
    }
}
