//! Sessions whose access token must be active (`requireTokenIntrospection`).

use std::sync::Arc;
use std::time::SystemTime;

use super::clock::unix_millis;
use super::introspection::{Verdict, introspect};
use super::policy::Policy;
use super::provider::Source;
use super::session::SessionEntry;

/// Until when the present access token is known to be active, in milliseconds since 1970.
struct ActiveUntil(u64);

impl Policy {
    /// Whether the session's access token is active: known for each generation, asked again when
    /// the answer is too old. A session whose token is not, is over, whatever its ID token says; where
    /// nobody can say, it only does not count.
    pub(super) async fn has_active_token(&self, entry: &Arc<SessionEntry>, now: SystemTime) -> bool {
        let generation = entry.profile().generation;
        let known = entry.memo::<ActiveUntil>(self.introspected, generation);
        if known.is_some_and(|known| unix_millis(now) < known.0) {
            return true;
        }
        let Ok(Some(record)) = self.sessions.record(entry).await else { return false };
        let Some(client) = self.core.client_of(&record) else { return false };
        let (provider, token) = (&self.core.provider, &record.access_token);
        let answer = introspect(&client, provider, token, Source::Provider, now).await;
        match answer.verdict {
            Verdict::Active(_) => {
                entry.set_lasting_memo(self.introspected, generation, Arc::new(ActiveUntil(answer.until)));
                true
            }
            Verdict::Inactive => {
                tracing::info!(policy = %self.core.name, session = ?entry.key(), "the access token is not active any more");
                if let Err(error) = self.sessions.end(entry).await {
                    tracing::warn!(session = ?entry.key(), %error, "the session is ended in memory only");
                }
                false
            }
            Verdict::Unknown(_) => false,
        }
    }
}
