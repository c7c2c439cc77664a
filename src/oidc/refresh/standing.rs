//! How the tokens of a session stand: what the times of a session say, and nothing else.

use super::{RefreshSettings, millis};
use crate::oidc::session::Timing;

/// How the tokens of a session stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Good,
    /// Good, and it is time to refresh.
    Due,
    /// Not good any more, and there is a refresh token.
    Expired,
    /// Not good any more, for good.
    Over,
}

pub(super) fn standing(timing: &Timing, now: u64, settings: &RefreshSettings) -> Standing {
    let usable = is_usable(timing, now, settings);
    let both = timing.id.min(timing.access);
    if now >= timing.absolute {
        Standing::Over
    } else if !usable {
        let end = if settings.access_token_required { both } else { timing.id };
        if now < end { Standing::Good } else { Standing::Over }
    } else {
        // A provider whose tokens live shorter than the grace period would be asked all the time: half of their life
        // passes first. And tokens that are born expired count for a second (see `expiry`), else each request of a
        // burst would fetch its own.
        let (issued, end) = (issued(timing), expiry(timing));
        let half = issued.saturating_add(end.saturating_sub(issued) / 2);
        stand(now, end.saturating_sub(millis(settings.grace)).max(half), end)
    }
}

/// Whether there is a refresh token that may be used.
pub(super) fn is_usable(timing: &Timing, now: u64, settings: &RefreshSettings) -> bool {
    let age = now.saturating_sub(timing.refresh_token);
    timing.refresh_token != Timing::NEVER && settings.max_token_age.is_none_or(|max| age <= millis(max))
}

/// When tokens that can be refreshed end.
pub(super) fn expiry(timing: &Timing) -> u64 {
    timing.id.min(timing.access).max(issued(timing).saturating_add(1000))
}

/// When the present tokens were issued: at login or by a refresh.
fn issued(timing: &Timing) -> u64 {
    timing.created.max(timing.refreshed)
}

fn stand(now: u64, due: u64, end: u64) -> Standing {
    if now < due.min(end) {
        Standing::Good
    } else if now < end {
        Standing::Due
    } else {
        Standing::Expired
    }
}
