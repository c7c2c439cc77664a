//! What the sessions of one provider and client that were made with one secret have in common.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::dictionary::Dictionaries;
use super::id::ScopeId;
use super::keys::RingKey;

/// A secret and a scope. There is one for all their sessions, which therefore hold a pointer each.
pub(super) struct Realm {
    pub(super) ring: Arc<RingKey>,
    pub(super) scope: ScopeId,
    pub(super) dictionaries: Dictionaries,
}

/// The realms of one secret: as many as policies have scopes.
#[derive(Default)]
pub(super) struct Realms(Mutex<HashMap<ScopeId, Weak<Realm>>>);

impl RingKey {
    /// That of its sessions of this scope. Asked once for each session.
    pub(super) fn realm(self: &Arc<Self>, scope: ScopeId) -> Arc<Realm> {
        let mut realms = self.realms.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = realms.get(&scope).and_then(Weak::upgrade) {
            return known;
        }
        let new = Arc::new(Realm { ring: Arc::clone(self), scope, dictionaries: Dictionaries::default() });
        realms.insert(scope, Arc::downgrade(&new));
        new
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::oidc::session::testing;

    #[test]
    fn one_for_each_scope_as_long_as_it_has_sessions() {
        let keys = testing::keys();
        let ring = keys.newest().unwrap();
        let (a, b) = (ScopeId::new("https://op.example", "a"), ScopeId::new("https://op.example", "b"));
        let realm = ring.realm(a);
        assert!(Arc::ptr_eq(&realm, &ring.realm(a)) && !Arc::ptr_eq(&realm, &ring.realm(b)));
        let gone = Arc::downgrade(&realm);
        drop(realm);
        assert!(gone.upgrade().is_none());
        assert!(ring.realm(a).scope == a);
    }
}
