//! Logins whose answer nobody reads.

use std::sync::Arc;

use super::policy::Policy;
use super::session::SessionEntry;
use crate::net::Undo;

impl Policy {
    /// Ends a session whose browser left before it was told the id: nobody will ever use it.
    pub(super) fn end_unread(&self, entry: Arc<SessionEntry>) -> Undo {
        let (core, sessions) = (Arc::clone(&self.core), self.sessions.clone());
        let runtime = self.runtime.clone();
        Undo::new(move || {
            let (core, sessions, entry) = (Arc::clone(&core), sessions.clone(), Arc::clone(&entry));
            runtime.spawn(async move {
                let record = sessions.record(&entry).await.ok().flatten();
                if let Err(error) = sessions.end(&entry).await {
                    tracing::warn!(session = ?entry.key(), %error, "the session is ended; the store will be told later");
                }
                tracing::info!(
                    policy = %core.name, session = ?entry.key(),
                    "the browser left before its login was answered: the session is ended"
                );
                if let Some(record) = record {
                    core.forget(&record).await;
                }
            });
        })
    }
}
