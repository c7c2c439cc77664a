//! The policies that live, for the operator's view on their sessions.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::session::{ScopeId, SessionKey, SessionView, Sessions, StoreError};

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
        let revoked = self.end(view).await?;
        if revoked {
            self.told(Some(view), None);
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
                self.told(Some(&view.key), Some(user));
                ended += 1;
            }
        }
        Ok(ended)
    }

    /// Ends all sessions; how many.
    ///
    /// # Errors
    /// [`StoreError`]: not all are ended durably.
    pub async fn revoke_all(&self) -> Result<usize, StoreError> {
        let mut ended = 0;
        for store in self.directory.stores() {
            ended += store.revoke_all().await?;
        }
        self.told(None, None);
        Ok(ended)
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

    fn told(&self, session: Option<&SessionKey>, user: Option<&str>) {
        tracing::warn!(?session, user, "sessions revoked by the operator");
        let cause = if session.is_some() { "operator" } else { "operator: all sessions" };
        self.events.audit(&super::AuditRecord {
            session,
            user,
            cause: Some(cause),
            ..super::AuditRecord::new(super::AuditEvent::Revoked)
        });
    }
}
