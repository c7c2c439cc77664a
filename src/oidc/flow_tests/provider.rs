use std::time::Instant;

use serde_json::json;

use super::*;

/// Logs in until it works, for at most five seconds.
async fn login_works_soon(world: &World, policy: &Policy) -> bool {
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        if Browser::default().get(world, policy, "/").await.status() == 302 {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test]
async fn down_at_start_and_back_without_traffic() {
    let (provider, address) = FakeProvider::stopped().await;
    let world = World::with(provider);
    let policy = world.policy(&[("excludedURLs", "[/public]")]);
    let started = Instant::now();
    let outcome = Browser::default().get(&world, &policy, "/").await;
    assert_eq!(outcome.status(), 503);
    assert!(
        outcome.answer().headers.contains_key("retry-after") && started.elapsed() < Duration::from_secs(1)
    );
    assert!(Browser::default().get(&world, &policy, "/public").await.identity().user.is_none());
    assert_eq!(Browser::default().send(&world, &policy, "GET", "/", API).await.status(), 401);
    world.provider.listen(address).await;
    assert!(login_works_soon(&world, &policy).await);
}

#[tokio::test]
async fn many_first_requests_share_one_discovery() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let many = (0..100).map(|_| async { Browser::default().get(&world, &policy, "/").await.status() });
    assert!(futures_util::future::join_all(many).await.iter().all(|status| *status == 302));
    assert_eq!((world.provider.count("discovery"), world.provider.count("jwks")), (1, 1));
}

#[tokio::test]
async fn a_reload_keeps_the_provider() {
    let world = World::new().await;
    let first = world.policy(&[]);
    assert_eq!(Browser::default().get(&world, &first, "/").await.status(), 302);
    let second = world.policy(&[("minimalHeaders", "true")]);
    drop(first);
    assert_eq!(Browser::default().get(&world, &second, "/").await.status(), 302);
    assert_eq!(world.provider.count("discovery"), 1);
}

#[tokio::test]
async fn discovery_that_fails_is_tried_again() {
    let world = World::new().await;
    world.provider.script().discovery_status = Some(503);
    let policy = world.policy(&[]);
    assert_eq!(Browser::default().get(&world, &policy, "/").await.status(), 503);
    world.provider.script().discovery_status = None;
    assert!(login_works_soon(&world, &policy).await);
}

#[tokio::test]
async fn metadata_that_is_refused() {
    let faults = [
        ("issuer", json!("https://evil.example")),
        ("token_endpoint", json!("https://169.254.169.254/token")),
        ("token_endpoint", json!("https://10.0.0.1/token")),
        ("jwks_uri", json!("http://203.0.113.5/jwks")),
        ("authorization_endpoint", json!(null)),
    ];
    for (name, value) in faults {
        let world = World::new().await;
        world.provider.script().metadata.insert(name.into(), value.clone());
        let policy = world.policy(&[]);
        assert_eq!(Browser::default().get(&world, &policy, "/").await.status(), 503, "{name} {value}");
    }
}

#[tokio::test]
async fn a_slash_at_the_end_of_the_issuer() {
    let world = World::new().await;
    let with_slash = format!("{}/", world.provider.issuer);
    world.provider.script().issuer = with_slash;
    let policy = world.policy(&[]);
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 302, "iss has the slash too");
}

#[tokio::test]
async fn unusable_certificate_authorities() {
    let world = World::new().await;
    let path = tempfile::tempdir().unwrap();
    let missing = path.path().join("none.pem");
    let missing = missing.to_str().unwrap();
    for more in [[("caCertPath", missing)], [("caCertPEM", "not a certificate")]] {
        let error = Policy::new("auth", settings(&world.provider.issuer, &more), &world.deps).unwrap_err();
        assert!(error.to_string().starts_with(more[0].0), "{error}");
    }
}

/// Every login under way while the provider begins to sign with another key ends well, with one
/// fetch of the new set.
#[tokio::test]
async fn keys_rotate_under_load_without_a_failed_login() {
    use crate::oidc::fake_provider::SigningKey;
    let world = World::new().await;
    let policy = world.policy(&[]);
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 302);
    let users = (0..60).map(|user| {
        let (world, policy) = (&world, &policy);
        async move {
            for round in 0..4 {
                if (user, round) == (30, 1) {
                    world.provider.script().keys.insert(0, SigningKey::new("key-2"));
                }
                let status = Browser::default().login(world, policy, "/").await.status();
                assert_eq!(status, 302, "user {user}, round {round}");
            }
        }
    });
    futures_util::future::join_all(users).await;
    assert_eq!(world.provider.count("jwks"), 2);
}

/// Waits, for at most five seconds of real time, until discovery was asked for that often.
async fn discovered(world: &World, times: usize) {
    let end = Instant::now() + Duration::from_secs(5);
    while world.provider.count("discovery") < times {
        assert!(Instant::now() < end, "{} discoveries", world.provider.count("discovery"));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn old_metadata_and_keys_serve_while_the_provider_is_away() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 302);
    world.provider.script().discovery_status = Some(503);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3601)).await;
    tokio::time::resume();
    discovered(&world, 2).await;
    assert_eq!(
        Browser::default().login(&world, &policy, "/").await.status(),
        302,
        "stale is better than none"
    );
    {
        let mut script = world.provider.script();
        script.discovery_status = None;
        let moved = json!(format!("{}/new", world.provider.issuer));
        script.metadata.insert("authorization_endpoint".into(), moved);
    }
    let before = world.provider.count("discovery");
    discovered(&world, before + 1).await;
    let end = Instant::now() + Duration::from_secs(5);
    while !Browser::default().get(&world, &policy, "/").await.location().contains("/new") {
        assert!(Instant::now() < end, "the new metadata are taken up");
        tokio::task::yield_now().await;
    }
}
