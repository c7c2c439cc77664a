//! Requests that come in herds go on a few at a time.

use std::sync::LazyLock;

use crate::net::Turns;

static TURNS: LazyLock<Turns> = LazyLock::new(Turns::new);

/// For a request that is one of many at the same time: it was woken together with others, by the new tokens of their
/// session or by the first metadata of a provider; or its tokens have ended, or it starts a login, which thousands do in
/// the same second after an outage. A session whose tokens are good comes by no turnstile.
pub(super) async fn take_turn() {
    TURNS.take().await;
}
