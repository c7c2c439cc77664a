//! Load and failure, small enough for every run; `make storm` runs the same ones large. See [`crate::scenarios`]. P1, P2 and
//! P16 compare rates and look for drift, which a short run on a machine with other things to do cannot: they are only there.

use std::time::Duration;

use crate::harness::proxy::one_core;
use crate::scenarios::{Scale, hang, login, outage, refresh};

const SHORT: Scale = Scale::SHORT;
const ONE_WORKER: Scale = Scale { one_worker: true, ..SHORT };

#[tokio::test]
async fn p3_p4_many_requests_on_one_expired_session_make_one_grant_and_late_ones_none() {
    refresh::p3_p4_one_expired_session(SHORT).await.must_hold();
}

#[tokio::test]
async fn p5_sessions_that_expire_together_make_one_grant_each() {
    refresh::p5_mass_expiry(SHORT).await.must_hold();
}

#[tokio::test]
async fn p6_poisoned_sessions_do_not_touch_healthy_ones() {
    refresh::p6_poison(SHORT).await.must_hold();
}

#[tokio::test]
async fn p7_a_failing_token_endpoint_is_not_noticed_before_the_end() {
    outage::p7_token_endpoint_fails(SHORT).await.must_hold();
}

#[tokio::test]
async fn p7h_a_hanging_provider_delays_nobody_else() {
    hang::p7_hanging_provider_delays_nobody_else(SHORT).await.must_hold();
}

#[tokio::test]
async fn p8_the_refresh_survives_the_client_that_caused_it() {
    refresh::p8_leader_leaves(SHORT).await.must_hold();
}

#[tokio::test]
async fn p9_a_provider_that_is_down_at_start_stops_logins_only() {
    outage::p9_provider_down_at_start(SHORT).await.must_hold();
}

/// For an hour by a clock that can be set: `old_metadata_and_keys_serve_while_the_provider_is_away` of the engine.
#[tokio::test]
async fn p10_sessions_live_on_without_the_provider() {
    outage::p10_provider_down_when_warm(Scale { length: Duration::from_secs(2), ..SHORT }).await.must_hold();
}

#[tokio::test]
async fn p11_first_requests_share_one_discovery() {
    outage::p11_first_requests(SHORT).await.must_hold();
}

#[tokio::test]
async fn p12_keys_are_fetched_once_for_all() {
    login::p12_key_rotation(SHORT).await.must_hold();
}

#[tokio::test]
async fn p13_tabs_come_back_to_their_own_pages_or_are_told_why_not() {
    login::p13_login_storm(SHORT).await.must_hold();
}

#[tokio::test]
async fn p15_a_reload_under_storm_loses_no_session_and_doubles_no_grant() {
    refresh::p15_reload_under_storm(SHORT).await.must_hold();
}

#[tokio::test]
async fn p17_one_worker_thread_is_enough() {
    if !one_core("p17_one_worker_thread_is_enough") {
        return;
    }
    refresh::p17_one_worker(SHORT).await.must_hold();
}

#[tokio::test]
async fn p8_p11_with_one_worker_thread() {
    if !one_core("p8_p11_with_one_worker_thread") {
        return;
    }
    let (leader, first) =
        tokio::join!(refresh::p8_leader_leaves(ONE_WORKER), outage::p11_first_requests(ONE_WORKER));
    leader.must_hold();
    first.must_hold();
}

#[tokio::test]
async fn p7h_p10_with_one_worker_thread() {
    if !one_core("p7h_p10_with_one_worker_thread") {
        return;
    }
    hang::p7_hanging_provider_delays_nobody_else(ONE_WORKER).await.must_hold();
    let warm = Scale { length: Duration::from_secs(2), ..ONE_WORKER };
    outage::p10_provider_down_when_warm(warm).await.must_hold();
}

#[tokio::test]
async fn p3_p4_p6_p12_with_one_worker_thread() {
    if !one_core("p3_p4_p6_p12_with_one_worker_thread") {
        return;
    }
    let (one, poison, keys) = tokio::join!(
        refresh::p3_p4_one_expired_session(ONE_WORKER),
        refresh::p6_poison(ONE_WORKER),
        login::p12_key_rotation(ONE_WORKER),
    );
    one.must_hold();
    poison.must_hold();
    keys.must_hold();
}

#[tokio::test]
async fn p5_p15_with_one_worker_thread() {
    if !one_core("p5_p15_with_one_worker_thread") {
        return;
    }
    refresh::p5_mass_expiry(ONE_WORKER).await.must_hold();
    refresh::p15_reload_under_storm(ONE_WORKER).await.must_hold();
}

#[tokio::test]
async fn p7_p9_p13_with_one_worker_thread() {
    if !one_core("p7_p9_p13_with_one_worker_thread") {
        return;
    }
    let (endpoint, down, tabs) = tokio::join!(
        outage::p7_token_endpoint_fails(ONE_WORKER),
        outage::p9_provider_down_at_start(ONE_WORKER),
        login::p13_login_storm(ONE_WORKER),
    );
    endpoint.must_hold();
    down.must_hold();
    tabs.must_hold();
}
