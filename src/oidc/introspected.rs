//! Sessions whose access token must be active (`requireTokenIntrospection`).

use std::sync::Arc;
use std::time::SystemTime;

use super::clock::unix_millis;
use super::introspection::{Verdict, introspect};
use super::policy::Policy;
use super::provider::Source;
use super::session::SessionEntry;
use super::{AuditEvent, RequestParts};

/// Until when the present access token is known to be active, in milliseconds since 1970.
struct ActiveUntil(u64);

/// What is known of a session's access token.
pub(super) enum Activity {
    Active,
    /// It is not, and the session is over; or nobody can say, and the session does not count.
    NotActive,
    /// The store, which has the token, cannot be asked.
    StoreDown,
}

impl Policy {
    /// Whether the session's access token is active: known for each generation, asked again when
    /// the answer is too old. A session whose token is not, is over, whatever its ID token says; where
    /// nobody can say, it only does not count.
    pub(super) async fn activity(
        &self,
        request: &RequestParts<'_>,
        entry: &Arc<SessionEntry>,
        now: SystemTime,
    ) -> Activity {
        let generation = entry.profile().generation;
        let known = entry.memo::<ActiveUntil>(self.introspected, generation);
        if known.is_some_and(|known| unix_millis(now) < known.0) {
            return Activity::Active;
        }
        let record = match self.sessions.record(entry).await {
            Ok(Some(record)) => record,
            Ok(None) => return Activity::NotActive,
            Err(_) => return Activity::StoreDown,
        };
        let Some(client) = self.core.client_of(&record) else { return Activity::NotActive };
        let (provider, token) = (&self.core.provider, &record.access_token);
        let answer = introspect(&client, provider, token, Source::Provider, now).await;
        match answer.verdict {
            Verdict::Active(_) => {
                entry.set_lasting_memo(self.introspected, generation, Arc::new(ActiveUntil(answer.until)));
                Activity::Active
            }
            Verdict::Inactive => {
                self.end_inactive(request, entry).await;
                Activity::NotActive
            }
            Verdict::Unknown(_) => Activity::NotActive,
        }
    }

    async fn end_inactive(&self, request: &RequestParts<'_>, entry: &Arc<SessionEntry>) {
        tracing::info!(
            policy = %self.core.name, session = ?entry.key(), request_id = request.request_id,
            "the access token is not active any more: the session is over"
        );
        if let Err(error) = self.sessions.end(entry).await {
            tracing::warn!(session = ?entry.key(), %error, "the session is ended in memory only");
        }
        self.audit(AuditEvent::Revoked, request, Some(entry), None, Some("inactive by introspection"));
    }
}
