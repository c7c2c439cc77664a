//! The policies that live, for the operator's view on their sessions.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::session::{ScopeId, SessionEntry, SessionKey, SessionView, Sessions, StoreError};

/// One provider and client, as a policy sees its sessions.
pub struct Member {
    /// The middleware.
    pub name: Arc<str>,
    /// The provider's issuer, as configured.
    pub issuer: String,
    /// Provider and client.
    pub scope: ScopeId,
    /// The sessions, seen with the policy's secret.
    pub sessions: Sessions,
}

/// Who is there. A policy leaves it by ending.
#[derive(Default)]
pub struct Directory(Mutex<Vec<Weak<Member>>>);

impl Directory {
    /// Adds a policy for as long as it keeps what it gets.
    pub fn enter(&self, member: Member) -> Arc<Member> {
        let member = Arc::new(member);
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|known| known.strong_count() > 0);
        members.push(Arc::downgrade(&member));
        member
    }

    /// Everybody, oldest first.
    pub fn members(&self) -> Vec<Arc<Member>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
    }

    /// The provider of a scope, if a living policy has it.
    pub fn issuer(&self, scope: &ScopeId) -> Option<String> {
        self.members().into_iter().find(|member| member.scope == *scope).map(|member| member.issuer.clone())
    }

    /// The stores of all policies, each once.
    pub fn stores(&self) -> Vec<Sessions> {
        let mut stores: Vec<Sessions> = Vec::new();
        for member in self.members() {
            if !stores.iter().any(|known| known.is_same_store(&member.sessions)) {
                stores.push(member.sessions.clone());
            }
        }
        stores
    }

    /// What this process knows of the session of that name.
    pub fn known(&self, key: &SessionKey) -> Option<Arc<SessionEntry>> {
        self.stores().iter().find_map(|store| store.known(key))
    }

    /// The policies whose sessions are in this store, alone.
    #[must_use]
    pub fn within(&self, store: &Sessions) -> Self {
        let there = self.members().into_iter().filter(|member| member.sessions.is_same_store(store));
        Self(Mutex::new(there.map(|member| Arc::downgrade(&member)).collect()))
    }

    /// The sessions of `user` at every provider, each once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of_user(&self, user: &str) -> Result<Vec<SessionView>, StoreError> {
        let mut views: Vec<SessionView> = Vec::new();
        for member in self.members() {
            for view in member.sessions.of_user(&member.scope, user).await? {
                if !views.iter().any(|known| known.key == view.key) {
                    views.push(view);
                }
            }
        }
        Ok(views)
    }
}

/// What the operator does with sessions: those of every store that a policy uses.
#[derive(Clone)]
pub struct SessionDesk {
    /// The policies.
    pub directory: Arc<Directory>,
    /// Told of every session that is revoked.
    pub events: Arc<dyn super::Events>,
    /// By which request the operator does it.
    pub via: Option<Via>,
}

/// A request of the operator's, for the audit trail.
#[derive(Debug, Clone)]
pub struct Via {
    /// Whence it comes.
    pub client: Option<IpAddr>,
    /// Its name.
    pub request_id: String,
}

impl SessionDesk {
    /// Sessions after `after`, by their names, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`]; some stores cannot list.
    pub async fn list(
        &self,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<SessionView>, StoreError> {
        let mut views = Vec::new();
        for store in self.directory.stores() {
            views.extend(store.list(after, limit).await?);
        }
        views.sort_unstable_by_key(|view| view.key);
        views.truncate(limit);
        Ok(views)
    }

    /// Ends the session of this name; whether there was one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke(&self, view: &SessionKey) -> Result<bool, StoreError> {
        let known = self.directory.known(view);
        let revoked = self.end(view).await?;
        if revoked {
            let user = known.as_ref().map(|entry| entry.profile().identifier().to_owned());
            self.told(Some(view), known.as_deref(), user.as_deref(), ONE);
        }
        Ok(revoked)
    }

    /// Ends all sessions of `user`; how many.
    ///
    /// # Errors
    /// [`StoreError`]: not all are ended durably.
    pub async fn revoke_user(&self, user: &str) -> Result<usize, StoreError> {
        let mut ended = 0;
        for view in self.directory.of_user(user).await? {
            if self.end(&view.key).await? {
                self.told(Some(&view.key), view.known.as_deref(), Some(user), ONE);
                ended += 1;
            }
        }
        Ok(ended)
    }

    /// Ends all sessions; how many. A store that fails keeps none of another from its end.
    ///
    /// # Errors
    /// [`StoreError`]: not all are ended durably.
    pub async fn revoke_all(&self) -> Result<usize, StoreError> {
        let (mut ended, mut failure) = (0, None);
        for store in self.directory.stores() {
            let swept = store.revoke_all().await;
            ended += swept.ended;
            failure = failure.or(swept.failure);
        }
        let failed = failure.as_ref().map(|error| format!("; not all: {error}")).unwrap_or_default();
        self.told(None, None, None, &format!("operator: all sessions: {ended} ended{failed}"));
        failure.map_or(Ok(ended), Err)
    }

    /// In whichever store it is.
    async fn end(&self, key: &SessionKey) -> Result<bool, StoreError> {
        for store in self.directory.stores() {
            if store.revoke(key).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn told(
        &self,
        session: Option<&SessionKey>,
        known: Option<&SessionEntry>,
        user: Option<&str>,
        cause: &str,
    ) {
        tracing::warn!(?session, user, cause, "sessions revoked by the operator");
        let provider = known.and_then(|entry| self.directory.issuer(entry.scope()));
        self.events.audit(&super::AuditRecord {
            session,
            user,
            provider: provider.as_deref(),
            client: self.via.as_ref().and_then(|via| via.client),
            request_id: self.via.as_ref().map(|via| via.request_id.as_str()),
            cause: Some(cause),
            ..super::AuditRecord::new(super::AuditEvent::Revoked)
        });
    }
}

/// Why one session ends.
const ONE: &str = "operator";

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::oidc::session::SessionRecord;
    use crate::oidc::session::testing::{Faulty, process, record, scope};
    use crate::oidc::{AuditRecord, Events};

    /// Writes down user, provider, request and cause of what an audit is told.
    #[derive(Default)]
    struct Heard(Mutex<Vec<[Option<String>; 4]>>);

    impl Events for Heard {
        fn audit(&self, record: &AuditRecord<'_>) {
            let told = [record.user, record.provider, record.request_id, record.cause];
            self.0.lock().unwrap().push(told.map(|text| text.map(str::to_owned)));
        }
    }

    /// Two stores, of which the first can be made to fail, with three sessions each.
    async fn desk() -> (SessionDesk, Arc<Heard>, Arc<Faulty>, Vec<Arc<Member>>) {
        let (directory, heard) = (Arc::new(Directory::default()), Arc::new(Heard::default()));
        let stores = [Faulty::new(None), Faulty::new(None)];
        let mut members = Vec::new();
        for store in &stores {
            let (sessions, _) = process(Arc::clone(store) as _);
            for user in ["alice", "bob", "carol"] {
                sessions.create(SessionRecord { identifier: user.into(), ..record() }).await.unwrap();
            }
            let (name, issuer) = ("login".into(), "https://op.example".to_owned());
            members.push(directory.enter(Member { name, issuer, scope: scope(), sessions }));
        }
        let via = Some(Via { client: None, request_id: "request-7".to_owned() });
        let events = Arc::clone(&heard) as Arc<dyn Events>;
        let [first, _] = stores;
        (SessionDesk { directory, events, via }, heard, first, members)
    }

    #[tokio::test]
    async fn a_store_that_fails_keeps_no_other_from_its_end_and_the_trail_says_how_many() {
        let (desk, heard, first, members) = desk().await;
        first.fails(Some(StoreError::Failed("no route".to_owned())));
        assert!(desk.revoke_all().await.is_err());
        assert_eq!(members[1].sessions.count().await.unwrap(), 0);
        first.fails(None);
        assert_eq!(desk.revoke_all().await, Ok(3));
        let told = heard.0.lock().unwrap();
        let causes: Vec<&str> = told.iter().map(|line| line[3].as_deref().unwrap()).collect();
        assert!(causes[0].starts_with("operator: all sessions: 3 ended; not all: "), "{causes:?}");
        assert_eq!(causes[1..], ["operator: all sessions: 3 ended"]);
        assert!(told.iter().all(|line| line[2].as_deref() == Some("request-7")));
    }

    #[tokio::test]
    async fn the_trail_says_whose_session_was_ended_by_which_request() {
        let (desk, heard, _, members) = desk().await;
        let view = members[0].sessions.list(None, 1).await.unwrap().remove(0);
        let user = view.known.unwrap().profile().identifier().to_owned();
        assert!(desk.revoke(&view.key).await.unwrap());
        let told = heard.0.lock().unwrap().remove(0).map(Option::unwrap);
        assert_eq!(told, [user.as_str(), "https://op.example", "request-7", "operator"]);
    }
}
