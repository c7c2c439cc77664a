//! The policies that live, for the operator's view on their sessions.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::claims::Claims;
use super::session::{ScopeId, SessionEntry, SessionKey, Sessions};
use super::userinfo::Wish;

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
    /// What it wants of userinfo.
    pub wish: Wish,
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

    /// Whether any policy of this provider and client wants userinfo of a user of whom these claims are known.
    pub fn wants_userinfo(&self, scope: &ScopeId, claims: &Claims) -> bool {
        self.members().iter().any(|member| member.scope == *scope && member.wish.is_open(claims))
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
}
