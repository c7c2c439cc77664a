//! Attacks by number (docs/attacks.md) that need the engine's own clock or provider.

use serde_json::json;

use super::*;

/// `<img src=/logout>` in a page of this site, where content of others may stand, logs nobody out; nor does a script
/// of a sibling host.
#[tokio::test]
async fn n76_no_part_of_a_page_logs_anybody_out() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    browser.login(&world, &policy, "/").await;
    for site in ["same-origin", "same-site", "cross-site"] {
        for (mode, dest) in [("no-cors", "image"), ("no-cors", "script"), ("navigate", "iframe")] {
            let headers = [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
            let outcome = browser.send(&world, &policy, "GET", "/logout", &headers).await;
            assert_eq!(outcome.status(), 403, "{headers:?}");
        }
    }
    for (method, mode) in [("GET", "no-cors"), ("GET", "cors"), ("POST", "no-cors"), ("POST", "cors")] {
        let headers =
            [("sec-fetch-site", "same-site"), ("sec-fetch-mode", mode), ("sec-fetch-dest", "empty")];
        assert_eq!(browser.send(&world, &policy, method, "/logout", &headers).await.status(), 403, "{mode}");
    }
    assert!(browser.send(&world, &policy, "GET", "/", API).await.identity().user.is_some());
    let own = [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];
    assert_eq!(browser.send(&world, &policy, "POST", "/logout", &own).await.status(), 302);
}

/// The browser goes away while the provider is slow to answer: the attempt is used up, and nobody is logged in.
#[tokio::test]
async fn n85_a_client_that_leaves_during_the_exchange_leaves_nothing() {
    let world = World::new().await;
    // Takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/token", silent.local_addr().unwrap());
    world.provider.script().metadata.insert("token_endpoint".into(), json!(endpoint));
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    let callback = browser.start(&world, &policy, "/x").await;
    let mut leaving = browser.clone();
    tokio::select! {
        outcome = leaving.get(&world, &policy, &callback) => panic!("answered {}", outcome.status()),
        connection = silent.accept() => drop(connection.unwrap()),
    }
    assert!(!leaving.cookies.contains_key(&session_cookie(&policy)));
    let again = browser.get(&world, &policy, &callback);
    let again = tokio::time::timeout(Duration::from_secs(5), again).await.expect("the code is sent again");
    assert_eq!(again.status(), 400, "{}", again.body());
}

/// The parameters of a request are the application's; they never become ours.
#[tokio::test]
async fn n40_the_caller_does_not_shape_the_authorization_request() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let plain = parameters(&Browser::default().get(&world, &policy, "/deep").await.location());
    let asked = "/deep?scope=admin&prompt=none&state=s&nonce=n&redirect_uri=https%3A%2F%2Fevil.example&max_age=1\
                 &code_challenge=x&code_challenge_method=plain&response_mode=fragment&auth_request_params=a%3Db&acr_values=0";
    let location = Browser::default().get(&world, &policy, asked).await.location();
    let shaped = parameters(&location);
    assert_eq!(shaped.keys().collect::<Vec<_>>(), plain.keys().collect::<Vec<_>>());
    for (name, value) in &plain {
        assert_eq!(location.matches(&format!("{name}=")).count(), 1, "{name} in {location}");
        if !["state", "nonce", "code_challenge"].contains(&name.as_str()) {
            assert_eq!(shaped[name], *value, "{name}");
        }
    }
    assert!(
        shaped["state"].len() >= 22 && shaped["nonce"].len() >= 22 && shaped["code_challenge"].len() == 43
    );
}

/// A restriction on groups holds although the provider names none, and an empty name admits nobody.
#[tokio::test]
async fn n15_a_missing_claim_is_no_group() {
    let world = World::new().await;
    world.provider.script().claims.retain(|name, _| name != "groups" && name != "roles");
    for allowed in ["[ops]", "[ops, ]"] {
        let policy = world.policy(&[("allowedRolesAndGroups", allowed)]);
        let mut browser = Browser::default();
        assert_eq!(browser.login(&world, &policy, "/").await.status(), 403, "{allowed}");
        assert_eq!(browser.send(&world, &policy, "GET", "/", API).await.status(), 403, "{allowed}");
    }
}
