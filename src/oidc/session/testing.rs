//! Makings for tests of sessions.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;

use super::contract::at;
use super::{ScopeId, SessionKeys, SessionRecord, SessionStore, Sessions};
use crate::oidc::clock::ManualClock;

pub(crate) fn keys() -> Arc<SessionKeys> {
    let secret = SecretString::from("an example secret of 32 bytes, T");
    Arc::new(SessionKeys::new(&[secret]).unwrap())
}

pub(crate) fn scope() -> ScopeId {
    ScopeId::new("https://op.example", "client")
}

/// A session that began at `at(0)`, with tokens until `at(300)` and an end at `at(3600)`.
pub(crate) fn record() -> SessionRecord {
    let claims = json!({"email": "alice@example.com", "groups": ["a", "b"]});
    SessionRecord {
        scope: scope(),
        subject: "alice".into(),
        identifier: "alice@example.com".into(),
        claims: claims.as_object().unwrap().clone(),
        id_token: "an.id.token".into(),
        access_token: "access-0".into(),
        refresh_token: Some("refresh-0".into()),
        id_expiry: Some(at(300)),
        access_expiry: Some(at(300)),
        created: at(0),
        refreshed_at: None,
        refresh_token_issued: Some(at(0)),
        absolute_expiry: at(3600),
        sid: Some("op-session-1".into()),
        generation: 0,
    }
}

/// Sessions as one process has them, and the clock they go by, which shows `at(0)`.
pub(crate) fn process(store: Arc<dyn SessionStore>) -> (Sessions, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(at(0)));
    let sessions = Sessions::new(store, keys(), Arc::clone(&clock) as _, 1000).unwrap();
    (sessions, clock)
}

/// Lets other tasks and the store's thread go on.
pub(crate) async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}
