//! Where the provider's own logouts arrive.

use super::{Builder, Dialect};
use crate::oidc::settings::{LogoutChannels, check};

const NEEDS_PATH: &str = "has no effect without a path";
const NEEDS_SWITCH: &str = "has no effect: the plugin's block needs the switch beside the path";

impl Builder<'_> {
    /// `others` are the paths that the policy answers already.
    pub(super) fn channels(&mut self, others: [&str; 2]) -> Option<LogoutChannels> {
        let block = self.block;
        let back = self.channel(
            ("enableBackchannelLogout", block.enable_backchannel_logout),
            ("backchannelLogoutURL", block.backchannel_logout_url.as_deref()),
        );
        let front = self.channel(
            ("enableFrontchannelLogout", block.enable_frontchannel_logout),
            ("frontchannelLogoutURL", block.frontchannel_logout_url.as_deref()),
        );
        let (back, front) = (back?, front?);
        for (key, path) in [("backchannelLogoutURL", &back), ("frontchannelLogoutURL", &front)] {
            if path.as_deref().is_some_and(|path| others.contains(&path)) {
                self.error(key, "is the callback or logout path already");
                return None;
            }
        }
        if back.is_some() && back == front {
            self.error("frontchannelLogoutURL", "must not be the path of back-channel logout");
            return None;
        }
        if block.backchannel_logout_sessions_required && back.is_none() {
            self.warn("backchannelLogoutSessionsRequired", NEEDS_PATH);
        }
        Some(LogoutChannels { back, front, sid_required: block.backchannel_logout_sessions_required })
    }

    /// The plugin needs its switch beside the path; for Hub's words the path is enough.
    fn channel(&mut self, switch: (&str, bool), path: (&str, Option<&str>)) -> Option<Option<String>> {
        let ((switch, on), (key, path)) = (switch, path);
        match path.filter(|path| !path.is_empty()) {
            None => {
                if on {
                    self.warn(switch, NEEDS_PATH);
                }
                Some(None)
            }
            Some(_) if !on && self.dialect == Dialect::Plugin => {
                self.warn(key, NEEDS_SWITCH);
                Some(None)
            }
            // The plugin puts the slash at the beginning.
            Some(path) if !path.contains("://") => {
                self.checked(key, check::own_path(&format!("/{}", path.trim_start_matches('/')))).map(Some)
            }
            Some(path) => self.checked(key, check::own_path(path)).map(Some),
        }
    }
}
