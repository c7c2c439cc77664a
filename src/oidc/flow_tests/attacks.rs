//! Attacks by number (docs/attacks.md) that need the engine's own clock or provider.

use futures_util::StreamExt;
use serde_json::json;

use super::*;
use crate::oidc::random::failing::Failing;

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
    // No other path is one, whatever its query says.
    for target in [
        "/?logout=1",
        "/private?logout=true&rd=/",
        "/logout/",
        "/logoutx",
        "/x/logout",
        "/%6cogout",
        "/LOGOUT",
    ] {
        let outcome = browser.get(&world, &policy, target).await;
        assert!(outcome.identity().user.is_some() && outcome.set_cookies.is_empty(), "{target}");
    }
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

/// A random generator that fails, be it at the first or a later use, ends a login with 500 and without a state, a cookie
/// of an attempt or a session; never with weaker bits.
#[tokio::test]
async fn n39_without_random_bits_there_is_no_login() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let (mut begun, mut finished) = (0, 0);
    // Each use of the generator is the one that fails once; as many more succeed.
    for left in 0..6 {
        let mut browser = Browser::default();
        let failing = Failing::after(left);
        let outcome = browser.get(&world, &policy, "/deep").await;
        drop(failing);
        if outcome.status() == 302 {
            begun += 1;
        } else {
            assert_eq!((outcome.status(), outcome.set_cookies.len()), (500, 0), "{left}");
            assert!(!outcome.answer().headers.contains_key(LOCATION), "{left}");
        }

        let callback = browser.start(&world, &policy, "/deep").await;
        let before = world.deps.sessions.count().await.unwrap();
        let failing = Failing::after(left);
        let outcome = browser.get(&world, &policy, &callback).await;
        drop(failing);
        let sessions = world.deps.sessions.count().await.unwrap() - before;
        let has_cookie = browser.cookies.contains_key(&session_cookie(&policy));
        let seen = (outcome.status(), sessions, has_cookie);
        if outcome.status() == 302 {
            finished += 1;
            assert_eq!(seen, (302, 1, true), "{left}");
        } else {
            assert_eq!(seen, (500, 0, false), "{left}: {}", outcome.body());
        }
    }
    // A seed and a nonce; an id and a nonce.
    assert_eq!((begun, finished), (4, 4));
}

/// All random bits come through the one door whose failure the test above tries: no other file asks a generator, but for
/// the randomness that signatures take themselves.
#[test]
fn n39_random_bits_come_through_one_door() {
    fn files(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path, found) } else { found.push(path) }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/oidc");
    let mut all = Vec::new();
    files(&root, &mut all);
    let asks = |path: &&std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let product = text.split("#[cfg(test)]\n#[allow").next().unwrap_or_default();
        ["rand::", "rand;", "getrandom", "SystemRandom", "new_random", "thread_rng", "::fastrand"]
            .iter()
            .any(|word| product.replace("aws_lc_rs::rand::SystemRandom", "SystemRandom").contains(word))
    };
    let mut asking: Vec<_> =
        all.iter().filter(asks).map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap()).collect();
    asking.retain(|path| !path.contains("test") && *path != "fake_provider.rs");
    asking.sort_unstable();
    assert_eq!(asking, ["client_auth/signer.rs", "random.rs"]);
}

/// Every authorization request has a challenge of its own by S256, whatever the provider says of it and whoever asks for
/// less; and where PKCE is written down, a provider without it gets no login.
#[tokio::test]
async fn n35_pkce_is_never_missing_and_never_weak() {
    let mut challenges = std::collections::BTreeSet::new();
    for (methods, refused) in [
        (json!(null), false),
        (json!(["S256", "plain"]), false),
        (json!(["plain"]), true),
        (json!([]), true),
        (json!(["s256"]), true),
    ] {
        let world = World::new().await;
        world.provider.script().metadata.insert("code_challenge_methods_supported".into(), methods.clone());
        for written in [&[][..], &[("enablePKCE", "false")], &[("enablePKCE", "true")], &[("pkce", "true")]] {
            let policy =
                world.policy(&[&[("extraAuthParams.code_challenge_method", "plain")], written].concat());
            for target in ["/", "/x?code_challenge_method=plain&code_challenge=x"] {
                let outcome = Browser::default().get(&world, &policy, target).await;
                let required = written.iter().any(|(_, value)| *value == "true");
                if refused && required {
                    assert_eq!(
                        (outcome.status(), outcome.set_cookies.len()),
                        (502, 0),
                        "{methods} {written:?}"
                    );
                    continue;
                }
                let location = outcome.location();
                let asked = parameters(&location);
                assert_eq!(asked["code_challenge_method"], "S256", "{methods} {written:?}");
                assert_eq!(location.matches("code_challenge_method=").count(), 1);
                assert_eq!(asked["code_challenge"].len(), 43);
                assert!(challenges.insert(asked["code_challenge"].clone()), "a verifier comes twice");
            }
        }
    }
    // The verifier that is sent with the code is the one of that challenge.
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    let location = browser.get(&world, &policy, "/").await.location();
    browser.get(&world, &policy, &callback_for(&world, &location)).await;
    let verifier = world.provider.script().last_form["code_verifier"].clone();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    let challenge = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, hash);
    assert_eq!(parameters(&location)["code_challenge"], challenge);
    assert!(
        !location.contains(&verifier) && browser.cookies.values().all(|value| !value.contains(&verifier))
    );
}

/// A token with a nonce that is good for another login of the same browser, be it an earlier one or one that is under way.
#[tokio::test]
async fn n34_the_nonce_of_another_login_is_no_nonce() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    let mut browser = Browser::default();
    let done = parameters(&browser.get(&world, &policy, "/").await.location());
    let outcome = browser.get(&world, &policy, &answer_with(&world, &done["nonce"], &done["state"])).await;
    assert_eq!(outcome.status(), 302);
    browser.cookies.remove(&session_cookie(&policy));
    let waiting = parameters(&browser.get(&world, &policy, "/").await.location());
    for (what, other) in [("an older one", &done), ("another tab's", &waiting)] {
        let asked = parameters(&browser.get(&world, &policy, "/").await.location());
        let callback = answer_with(&world, &other["nonce"], &asked["state"]);
        assert_eq!(browser.get(&world, &policy, &callback).await.status(), 400, "{what}");
        assert!(!browser.cookies.contains_key(&session_cookie(&policy)), "{what}");
    }
    let callback = answer_with(&world, &waiting["nonce"], &waiting["state"]);
    assert_eq!(browser.get(&world, &policy, &callback).await.status(), 302, "its own");
}

/// The callback with a code that brings this nonce.
fn answer_with(world: &World, nonce: &str, state: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    format!(
        "/cb?{}",
        query.append_pair("code", &world.provider.code(nonce)).append_pair("state", state).finish()
    )
}

/// Two thousand people behind one address log in within a minute, fifty at a time, at a provider that takes its time:
/// no limit of ours is in their way.
#[tokio::test]
async fn n88_no_limit_hits_two_thousand_people() {
    let world = World::new().await;
    let policy = world.policy(&[]);
    world.provider.script().token_delay = Duration::from_millis(50);
    let started = std::time::Instant::now();
    let logins = (0..2_000).map(|user| {
        let (world, policy) = (&world, &policy);
        async move {
            let outcome = Browser::default().login(world, policy, &format!("/{user}")).await;
            (outcome.status(), outcome.location()) == (302, format!("/{user}"))
        }
    });
    let in_time: usize = futures_util::stream::iter(logins)
        .buffer_unordered(50)
        .map(usize::from)
        .fold(0, |sum, one| async move { sum + one })
        .await;
    assert_eq!(in_time, 2_000);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}
