//! Endpoints for single-page applications.

use super::Builder;
use crate::oidc::settings::{LogoutChannels, SessionEndpoints, check};

impl Builder<'_> {
    /// `others` and `channels` hold the paths that the policy answers already. Off unless asked for: in the folder of
    /// the callback may be pages of the application.
    pub(super) fn session_endpoints(
        &mut self,
        callback: &str,
        others: [&str; 2],
        channels: Option<&LogoutChannels>,
    ) -> Option<Option<SessionEndpoints>> {
        const KEY: &str = "sessionEndpoints";
        let written = self.block.session_endpoints.as_deref().filter(|text| !text.is_empty());
        let prefix = match written {
            None => return Some(None),
            Some("auto") => callback.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned(),
            Some(path) => self.checked(KEY, check::own_path(path))?.trim_end_matches('/').to_owned(),
        };
        let endpoints =
            SessionEndpoints { session: format!("{prefix}/session"), refresh: format!("{prefix}/refresh") };
        let taken = channels.into_iter().flat_map(|channels| [&channels.back, &channels.front]).flatten();
        let mut taken = taken.map(String::as_str).chain(others);
        if taken.any(|path| path == endpoints.session || path == endpoints.refresh) {
            self.error(KEY, "one of the paths is another endpoint's already");
            return None;
        }
        Some(Some(endpoints))
    }
}
