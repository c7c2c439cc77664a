use serde_json::{Map, Value, json};

use super::*;

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

/// A provider whose metadata are shared by tenants, and whose tokens come from one of them.
async fn shared(tid: &'static str, iss: &'static str) -> World {
    let world = World::new().await;
    let base = world.provider.issuer.clone();
    let mut script = world.provider.script();
    script.metadata.insert("issuer".into(), json!(format!("{base}/{{tenantid}}/v2.0")));
    script.change = Some(Box::new(move |claims: &mut Map<String, Value>| {
        claims.insert("iss".into(), json!(format!("{base}/{iss}/v2.0")));
        claims.insert("tid".into(), json!(tid));
    }));
    drop(script);
    world
}

async fn login(world: &World, more: &[(&str, &str)]) -> u16 {
    let common = format!("{}/common/v2.0", world.provider.issuer);
    let mut lines = vec![("trustedIssuer", common.as_str())];
    lines.extend(more);
    let policy = world.policy(&lines);
    let mut browser = Browser::default();
    match browser.get(world, &policy, "/").await {
        outcome if outcome.status() == 302 => {
            let callback = callback_for(world, &outcome.location());
            browser.get(world, &policy, &callback).await.status()
        }
        outcome => outcome.status(),
    }
}

#[tokio::test]
async fn tenants_of_a_shared_issuer() {
    let world = shared(TENANT, TENANT).await;
    assert_eq!(login(&world, &[("providerProfile", "entra"), ("allowedTenants", TENANT)]).await, 302);
    assert_eq!(login(&world, &[("providerProfile", "entra"), ("allowedTenants", "*")]).await, 302);
    assert_eq!(login(&world, &[("providerProfile", "entra")]).await, 502, "nobody was named");
    let other = "00000000-0000-0000-0000-000000000000";
    assert_eq!(login(&world, &[("providerProfile", "entra"), ("allowedTenants", other)]).await, 502);
    assert_eq!(login(&world, &[("allowedTenants", "*")]).await, 503, "the metadata are another issuer's");
    for (tid, iss) in [(other_tenant(), TENANT), (TENANT, "common"), ("", ""), ("{tenantid}", "{tenantid}")] {
        let world = shared(tid, iss).await;
        assert_eq!(
            login(&world, &[("providerProfile", "entra"), ("allowedTenants", "*")]).await,
            502,
            "{tid} {iss}"
        );
    }
}

/// Policies of one client share sessions, and each has tenants of its own; so has a policy after a reload.
#[tokio::test]
async fn a_session_is_judged_by_the_tenants_of_each_policy() {
    let world = shared(TENANT, TENANT).await;
    let common = format!("{}/common/v2.0", world.provider.issuer);
    let of = |tenants: &str| {
        world.policy(&[("trustedIssuer", &common), ("providerProfile", "entra"), ("allowedTenants", tenants)])
    };
    let (any, own, other) = (of("*"), of(&TENANT.to_ascii_uppercase()), of(other_tenant()));
    let mut browser = Browser::default();
    assert_eq!(browser.login(&world, &any, "/").await.status(), 302);
    browser.get(&world, &any, "/").await.identity();
    browser.get(&world, &own, "/").await.identity();
    assert_eq!(browser.get(&world, &other, "/").await.status(), 403);
    // Nor does a refresh there end what is good elsewhere.
    world.clock.advance(Duration::from_secs(301));
    assert_eq!(browser.get(&world, &other, "/").await.status(), 403);
    browser.get(&world, &own, "/").await.identity();
    assert_eq!(world.provider.count("refreshed"), 1);
}

/// In any tenant an administrator may write any address.
#[tokio::test]
async fn addresses_prove_nothing_where_anybodys_tenant_may_log_in() {
    let world = shared(TENANT, TENANT).await;
    let entra = [("providerProfile", "entra"), ("allowedUserDomains", "example.com")];
    let with = |tenants: &'static str| [&entra[..], &[("allowedTenants", tenants)]].concat();
    assert_eq!(login(&world, &with("*")).await, 403);
    assert_eq!(login(&world, &with(TENANT)).await, 302);
    world.provider.script().claims.insert("email_verified".into(), json!(true));
    assert_eq!(login(&world, &with("*")).await, 302);
}

fn other_tenant() -> &'static str {
    "11111111-1111-1111-1111-111111111111"
}

#[tokio::test]
async fn the_issuer_behind_another_address() {
    let world = World::new().await;
    let outside = "https://id.example/realm";
    world.provider.script().metadata.insert("issuer".into(), json!(outside));
    world.provider.script().change = Some(Box::new(move |claims: &mut Map<String, Value>| {
        claims.insert("iss".into(), json!(outside));
    }));
    let policy = world.policy(&[("trustedIssuer", outside)]);
    assert_eq!(Browser::default().login(&world, &policy, "/").await.status(), 302);
    let policy = world.policy(&[]);
    assert_eq!(Browser::default().get(&world, &policy, "/").await.status(), 503);
}

#[tokio::test]
async fn google_wants_parameters_for_a_refresh_token() {
    let world = World::new().await;
    let policy = world.policy(&[("providerProfile", "google"), ("scopes", "[offline_access, calendar]")]);
    let outcome = Browser::default().get(&world, &policy, "/").await;
    let sent = parameters(&outcome.location());
    assert_eq!((sent["access_type"].as_str(), sent["prompt"].as_str()), ("offline", "consent"));
    assert_eq!(sent["scope"], "openid profile email calendar");
    let policy = world.policy(&[("providerProfile", "google"), ("extraAuthParams.prompt", "select_account")]);
    let outcome = Browser::default().get(&world, &policy, "/").await;
    assert_eq!(parameters(&outcome.location())["prompt"], "select_account", "the operator's own word counts");
    assert_eq!(outcome.location().matches("prompt=").count(), 1);
}

#[tokio::test]
async fn cognito_calls_the_landing_page_otherwise() {
    let world = World::new().await;
    let policy = world
        .policy(&[("providerProfile", "cognito"), ("postLogoutRedirectURI", "https://app.example.com/bye")]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    let outcome =
        browser.send(&world, &policy, "POST", "/logout", &[("sec-fetch-site", "same-origin")]).await;
    let sent = parameters(&outcome.location());
    assert_eq!(sent["logout_uri"], "https://app.example.com/bye");
    assert_eq!(sent["client_id"], "client");
    assert!(!sent.contains_key("post_logout_redirect_uri"));
}

#[tokio::test]
async fn parameters_of_discovery() {
    let world = World::new().await;
    let policy = world.policy(&[("discoveryParams.appid", "x y")]);
    assert_eq!(Browser::default().get(&world, &policy, "/").await.status(), 302);
    assert_eq!(world.provider.script().last_discovery.as_deref(), Some("appid=x+y"));
}

/// A proxy on the way out, which must be the only one that is asked.
#[tokio::test]
async fn an_egress_proxy_takes_every_call() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    if ["NO_PROXY", "no_proxy"].iter().any(|name| std::env::var_os(name).is_some()) {
        println!("skipped: an_egress_proxy_takes_every_call: NO_PROXY is set, and would be kept");
        return;
    }
    let world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://user:p%40ss@{}", listener.local_addr().unwrap());
    let target = world.provider.issuer.trim_start_matches("http://").to_owned();
    let (seen, mut heads) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = tokio::net::TcpStream::connect(&target).await.unwrap();
            let seen = seen.clone();
            tokio::spawn(async move {
                let mut head = vec![0; 8192];
                let read = client.read(&mut head).await.unwrap();
                let text = String::from_utf8_lossy(&head[..read]).into_owned();
                server.write_all(text.replace("http://127.0.0.1", "http://x").as_bytes()).await.unwrap();
                seen.send(text).unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let policy = world.policy(&[("clientConfig.proxy", &proxy)]);
    assert_eq!(Browser::default().get(&world, &policy, "/").await.status(), 302);
    let head = heads.recv().await.unwrap().to_ascii_lowercase();
    assert!(
        head.starts_with(&format!("get {}/.well-known/openid-configuration http/1.1", world.provider.issuer)),
        "{head}"
    );
    assert!(head.contains("proxy-authorization: basic dxnlcjpwqhnz"), "user:p@ss: {head}");
}

/// Two policies of one client share its sessions, and each lets in its own tenants.
#[tokio::test]
async fn a_session_of_another_tenant_opens_no_policy_of_the_same_client() {
    let world = shared(TENANT, TENANT).await;
    let common = format!("{}/common/v2.0", world.provider.issuer);
    let policy = |tenants: &str| {
        world.policy(&[
            ("trustedIssuer", common.as_str()),
            ("providerProfile", "entra"),
            ("allowedTenants", tenants),
        ])
    };
    let (open, own, other) = (policy("*"), policy(TENANT), policy(&format!("[{}]", other_tenant())));
    let mut browser = Browser::default();
    assert_eq!(browser.login(&world, &open, "/").await.status(), 302);
    browser.get(&world, &own, "/").await.identity();
    assert_eq!(browser.get(&world, &other, "/").await.status(), 403);
    assert_eq!(browser.send(&world, &other, "GET", "/", API).await.status(), 403);
    browser.get(&world, &open, "/").await.identity();
}
