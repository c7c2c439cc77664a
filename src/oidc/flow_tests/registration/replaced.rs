//! A client that has taken the place of another: what is still done as the former, and when that goes.

use super::super::super::client::Client;
use super::*;

/// A provider revokes a token for nobody but the client that it was issued to (RFC 7009, section 2.1).
#[tokio::test]
async fn tokens_of_a_session_that_ended_meanwhile_are_revoked_as_their_own_client() {
    let shared = Shared::new().await;
    let (world, policy, mut browser) = shared.session_of_a_replaced_client(CLIENT).await;
    {
        let mut script = shared.provider.script();
        script.audience = "client-1".to_owned();
        script.token_delay = Duration::from_millis(200);
    }
    let asked = shared.provider.count("asked");
    let mut tab = browser.clone();
    let refreshed = tab.send(&world, &policy, "GET", "/", API);
    let logged_out = async {
        until(async || shared.provider.count("asked") > asked).await;
        browser.send(&world, &policy, "POST", "/logout", &[("sec-fetch-site", "same-origin")]).await
    };
    let (refreshed, _) = tokio::join!(refreshed, logged_out);
    assert_eq!(refreshed.status(), 401);
    until(async || shared.provider.count("revoke") == 2).await;
    let one = Some(basic("client-1:secret-1"));
    assert_eq!(shared.provider.script().revokers, [one.clone(), one]);
}

#[tokio::test]
async fn a_refusal_of_the_former_client_hides_none_of_the_present_one() {
    let shared = Shared::new().await;
    let (world, policy, _) = shared.session_of_a_replaced_client(CLIENT).await;
    let Client::Registered(registration) = &policy.core.client else { panic!("it registers itself") };
    let (present, former) = (registration.current().unwrap(), registration.former().unwrap());
    for _ in 0..3 {
        registration.refused(&former);
    }
    shared.clock.advance(Duration::from_secs(61));
    settled(&world, &policy, "client-2").await;
    assert_eq!(shared.registrations(), 2, "the present one is good");
    registration.refused(&present);
    registration.refused(&former);
    shared.registered(3).await;
    settled(&world, &policy, "client-3").await;
}

/// Its refresh tokens would go with it (RFC 7592, section 2.3).
#[tokio::test]
async fn a_former_client_is_deleted_when_its_secret_has_ended_and_not_before() {
    let shared = Shared::new().await;
    let (world, policy, mut browser) = shared.session_of_a_replaced_client(CLIENT).await;
    let other = shared.process();
    let of_other = other.policy(CLIENT);
    settled(&other, &of_other, "client-2").await;
    shared.clock.advance(Duration::from_secs(200));
    settled(&world, &policy, "client-2").await;
    shared.provider.script().audience = "client-1".to_owned();
    assert!(browser.get(&world, &policy, "/").await.identity().user.is_some());
    assert_eq!(shared.provider.count("unregister"), 0, "sessions still need it");
    // A provider that is away for a while is asked again.
    shared.provider.script().unregister_status = Some(503);
    until(async || {
        shared.clock.advance(SECOND);
        shared.provider.count("unregister") > 0
    })
    .await;
    shared.provider.script().unregister_status = None;
    until(async || {
        shared.clock.advance(SECOND);
        shared.provider.count("unregister") > 1
    })
    .await;
    assert_eq!(shared.provider.script().unregistered, [(1, "Bearer manage-1".to_owned())]);
    for _ in 0..20 {
        shared.clock.advance(Duration::from_secs(31));
        assert_eq!(client_id(&other, &of_other).await, "client-2");
        assert_eq!(client_id(&world, &policy).await, "client-2");
    }
    assert_eq!(
        (shared.provider.count("unregister"), shared.registrations()),
        (2, 2),
        "once for all processes"
    );
}

#[tokio::test]
async fn a_client_that_was_refused_is_deleted_when_it_is_replaced() {
    let shared = Shared::new().await;
    let world = shared.process();
    let policy = world.policy(CLIENT);
    settled(&world, &policy, "client-1").await;
    let Client::Registered(registration) = &policy.core.client else { panic!("it registers itself") };
    shared.provider.script().unregister_status = Some(401);
    registration.refused(&registration.current().unwrap());
    shared.registered(2).await;
    settled(&world, &policy, "client-2").await;
    until(async || shared.provider.count("unregister") == 1).await;
    for _ in 0..20 {
        shared.clock.advance(Duration::from_secs(31));
        assert_eq!(client_id(&world, &policy).await, "client-2");
    }
    assert_eq!(shared.provider.count("unregister"), 1, "it is gone already");
}

/// A provider may tell nobody but the client that a token was issued to (RFC 7662, section 2.2).
#[tokio::test]
async fn a_sessions_token_is_asked_about_as_the_client_that_it_was_issued_to() {
    let shared = Shared::new().await;
    let (world, policy, mut browser) = shared
        .session_of_a_replaced_client(&[CLIENT, &[("requireTokenIntrospection", "true")]].concat())
        .await;
    shared.provider.script().audience = "client-1".to_owned();
    let asked = shared.provider.count("introspect");
    assert!(browser.get(&world, &policy, "/").await.identity().user.is_some());
    assert_eq!(shared.provider.count("introspect"), asked + 1);
    let sent = shared.provider.script().last_authorization.clone();
    assert_eq!(sent.unwrap(), basic("client-1:secret-1"));
}
