//! Sessions whose access token must be for an audience (`strictAudienceValidation`). A login sees to it, but policies of
//! one client share sessions, and the one that made this may ask for another audience or for none.

use std::sync::Arc;

use secrecy::ExposeSecret;

use super::client_auth::Credentials;
use super::id_token;
use super::policy::Policy;
use super::session::{SessionEntry, StoreError};
use super::settings::Settings;

/// Whether the present access token is for the audience of a policy.
struct IsForUs(bool);

/// Whom access tokens of sessions must be for.
pub(super) fn wanted<'a>(settings: &'a Settings, client: &'a Credentials) -> &'a str {
    settings.audience.as_deref().or(settings.resource.as_deref()).unwrap_or(&client.id)
}

impl Policy {
    /// Whether the session's access token names the audience: found out once for each generation. An opaque one names
    /// nobody, and is not judged.
    ///
    /// # Errors
    /// [`StoreError`]: only the store has the token.
    pub(super) async fn has_wanted_audience(&self, entry: &SessionEntry) -> Result<bool, StoreError> {
        let generation = entry.profile().generation;
        if let Some(known) = entry.memo::<IsForUs>(self.audience, generation) {
            return Ok(known.0);
        }
        let Some(record) = self.sessions.record(entry).await? else { return Ok(false) };
        let Some(client) = self.core.client_of(&record) else { return Ok(false) };
        let token = record.access_token.expose_secret();
        // The provider gave it to us for a code or a refresh token, so nobody else can have made it.
        let is_for_us = !id_token::looks_like_jwt(token)
            || id_token::claims_of_stored(token)
                .is_some_and(|claims| claims.strings("aud").contains(&wanted(&self.core.settings, &client)));
        entry.set_lasting_memo(self.audience, generation, Arc::new(IsForUs(is_for_us)));
        Ok(is_for_us)
    }
}
