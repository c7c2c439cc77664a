//! Logging in, being somebody, logging out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use portcullis::demo::provider::{Document, Forgery, ProviderOptions, Quirks, Signing};
use serde_json::json;
use url::Url;

use crate::harness::client::{Browser, NAVIGATION, Page};
use crate::harness::idp::{CALLBACK, LOGOUT, Plan, SECRET, World, dynamic};
use crate::harness::proxy::route;
use crate::harness::{eventually, soon};

fn query(url: &Url) -> BTreeMap<String, String> {
    url.query_pairs().into_owned().collect()
}

/// The first redirect of a login.
async fn authorization_request(world: &World, browser: &Browser, path: &str) -> Page {
    let page = browser.step(&Url::parse(&world.at(path)).unwrap()).await;
    assert_eq!(page.status, 302, "{page:?}");
    page
}

/// Name and value of the cookie that the session hangs on.
fn session_cookie(browser: &Browser) -> (String, String) {
    let mut cookies = browser.cookies("localhost").into_iter();
    cookies.find(|(name, _)| name.contains("session")).expect("no cookie after the login")
}

/// Logs in up to the callback, which is returned without being visited.
async fn up_to_callback(world: &World, browser: &Browser, path: &str) -> Url {
    let page = browser.open(&world.at(path)).await;
    let page = browser.submit_step(&page, &[("user", "alice")]).await;
    let callback = page.location();
    assert_eq!(callback.path(), CALLBACK, "{page:?}");
    callback
}

#[tokio::test]
async fn a_deep_link_survives_the_login_and_the_service_learns_who_came() {
    let world = World::start().await;
    let browser = Browser::new();
    let page = browser.log_in(&world.at("/deep/link?a=1&b=%2F"), "alice").await;
    assert_eq!(page.url.as_str(), world.at("/deep/link?a=1&b=%2F"));
    assert_eq!(page.text, "GET /deep/link?a=1&b=%2F\n");
    let seen = world.origin.last();
    assert_eq!(seen.head.all("x-forwarded-user"), ["alice@example.test"]);
    assert_eq!(seen.head.all("x-auth-request-user"), ["alice@example.test"]);
    assert_eq!(seen.get("x-user-groups"), Some("dev/backend,ops"));
    assert_eq!(seen.get("x-user-roles"), Some("admin,user"));
    assert_eq!(seen.get("x-auth-request-redirect"), Some("/deep/link?a=1&b=%2F"));
    assert_eq!(
        (seen.get("cookie"), seen.get("authorization"), seen.get("x-auth-request-token")),
        (None, None, None)
    );
    assert_eq!(world.grants("authorization_code"), 1);
}

#[tokio::test]
async fn the_authorization_request_is_complete_and_new_each_time() {
    let world = World::start().await;
    let browser = Browser::new();
    let mut values = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let page = authorization_request(&world, &browser, "/").await;
        let query = query(&page.location());
        assert_eq!(query["response_type"], "code");
        assert_eq!(query["code_challenge_method"], "S256");
        assert_eq!(query["code_challenge"].len(), 43);
        assert_eq!(query["redirect_uri"], world.at(CALLBACK));
        for scope in ["openid", "profile", "email", "offline_access"] {
            assert!(query["scope"].split(' ').any(|known| known == scope), "{query:?}");
        }
        for name in ["state", "nonce", "code_challenge"] {
            // 128 bits are 22 characters of base64.
            assert!(query[name].len() >= 22, "{name}: {query:?}");
            assert!(values.insert(query[name].clone()), "{name} repeats");
        }
    }
}

#[tokio::test]
async fn the_session_cookie_says_nothing_and_is_well_dressed() {
    let world = World::start().await;
    let browser = Browser::new();
    let callback = up_to_callback(&world, &browser, "/").await;
    let page = browser.step(&callback).await;
    assert_eq!(page.status, 302);
    let (name, first) = session_cookie(&browser);
    let session: Vec<String> =
        page.set_cookies().into_iter().filter(|line| line.starts_with(&format!("{name}={first}"))).collect();
    assert_eq!(session.len(), 1, "{:?}", page.set_cookies());
    let attributes: Vec<String> =
        session[0].split(';').map(|part| part.trim().to_ascii_lowercase()).collect();
    for wanted in ["httponly", "samesite=lax", "path=/"] {
        assert!(attributes.iter().any(|known| known == wanted), "no {wanted} in {attributes:?}");
    }
    assert!(!attributes.iter().any(|known| known.starts_with("domain")), "{attributes:?}");
    let all = browser.cookies("localhost");
    assert!(all.values().all(|value| value.len() < 200 && !value.contains("eyJ")), "{all:?}");
    // Nothing changed, nothing is set.
    browser.open(&world.at("/")).await;
    assert!(browser.open(&world.at("/")).await.set_cookies().is_empty());
    // Another login, another value.
    assert_ne!(first, session_cookie(&world.browser_of("alice").await).1);
}

#[tokio::test]
async fn tabs_that_log_in_at_once_each_come_back_to_their_own_page() {
    let world = World::start().await;
    let browser = Browser::new();
    let mut pages = Vec::new();
    for path in ["/one?x=1", "/two", "/three", "/four"] {
        let tab = browser.clone();
        let page = tab.open(&world.at(path)).await;
        assert!(page.text.contains("name=\"user\""), "{page:?}");
        pages.push((path, tab, page));
    }
    for (path, tab, page) in pages.into_iter().rev() {
        let page = tab.submit(&page, &[("user", "alice")]).await;
        assert_eq!((page.status, page.url.as_str()), (200, world.at(path).as_str()));
    }
}

#[tokio::test]
async fn login_attempts_do_not_pile_up() {
    let world = World::start().await;
    let browser = Browser::new();
    for n in 0..50 {
        authorization_request(&world, &browser, &format!("/page/{n}")).await;
    }
    let cookies = browser.cookies("localhost");
    let size: usize = cookies.iter().map(|(name, value)| name.len() + value.len() + 3).sum();
    assert!(cookies.len() <= 8 && size < 4096, "{} cookies, {size} bytes", cookies.len());
    let page = browser.log_in(&world.at("/last"), "alice").await;
    assert_eq!(page.url.path(), "/last");
}

#[tokio::test]
async fn somebody_without_an_address_is_known_by_subject() {
    let world = World::start().await;
    let browser = world.browser_of("nomail").await;
    browser.open(&world.at("/x")).await;
    assert_eq!(world.origin.last().get("x-forwarded-user"), Some("nomail"));
}

#[tokio::test]
async fn only_the_allowed_pass_and_the_others_can_log_out() {
    for gate in [
        "allowedUsers: [Alice@Example.test]",
        "allowedRolesAndGroups: [admin, nobody]",
        "allowedRolesAndGroups: [ops]",
    ] {
        let world = Plan::new().plugin(gate).start().await;
        let alice = world.browser_of("alice").await;
        assert!(World::is_from_service(&alice.open(&world.at("/x")).await), "{gate}");
        let before = world.origin.requests().len();
        let bob = Browser::new();
        let page = bob.log_in(&world.at("/x"), "bob").await;
        assert_eq!(page.status, 403, "{gate}");
        assert!(page.header("content-type").unwrap().starts_with("text/html"));
        assert!(page.text.contains(LOGOUT), "no way out: {}", page.text);
        let refused = bob.fetch(&world.at("/x")).await;
        assert_eq!(refused.status, 403);
        assert!(serde_json::from_str::<serde_json::Value>(&refused.text).is_ok(), "{}", refused.text);
        assert_eq!(world.origin.requests().len(), before);
    }
}

#[tokio::test]
async fn domains_are_compared_whole() {
    let world = Plan::new().plugin("allowedUserDomains: [EXAMPLE.test]").start().await;
    world.browser_of("bob").await;
    for (email, verified) in [
        ("bob@example.test.evil.test", true),
        ("bob@evilexample.test", true),
        ("bob@evil.test@example.test", true),
        ("bob@example.test", false),
    ] {
        world.idp.tamper(Some(Arc::new(move |document, members| {
            if matches!(document, Document::IdToken | Document::Userinfo) {
                members.insert("email".to_owned(), json!(email));
                members.insert("email_verified".to_owned(), json!(verified));
            }
        })));
        let page = Browser::new().log_in(&world.at("/"), "bob").await;
        assert_eq!(page.status, 403, "{email}");
    }
}

#[tokio::test]
async fn logout_ends_the_session_here_and_at_the_provider() {
    let world = World::start().await;
    let browser = world.browser_of("alice").await;
    let thief = browser.stolen();
    let page = browser.request("POST", &Url::parse(&world.at(LOGOUT)).unwrap(), &NAVIGATION, Some(&[])).await;
    assert!((302..=303).contains(&page.status), "{page:?}");
    let query = query(&page.location());
    assert!(page.location().as_str().starts_with(&world.idp.issuer()), "{page:?}");
    for name in ["id_token_hint", "post_logout_redirect_uri", "state"] {
        assert!(query.contains_key(name), "no {name} in {query:?}");
    }
    let page = browser.follow(page).await;
    assert_eq!((page.status, page.url.path()), (200, "/public/bye"));
    assert!(browser.cookies("localhost").is_empty(), "{:?}", browser.cookies("localhost"));
    // Nobody waits for it, so it may come after the page.
    soon("the revocation of the refresh token", world.idp.counted(|c| c.get("POST /revoke") >= 1)).await;
    // The old cookie is worth nothing, and the provider asks again.
    assert_eq!(thief.fetch(&world.at("/x")).await.status, 401);
    assert!(browser.open(&world.at("/x")).await.text.contains("name=\"user\""));
}

#[tokio::test]
async fn another_site_cannot_log_anybody_out() {
    let world = World::start().await;
    let browser = world.browser_of("alice").await;
    let url = Url::parse(&world.at(LOGOUT)).unwrap();
    for fields in [
        [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
        [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
    ] {
        browser.request("GET", &url, &fields, None).await;
        assert!(World::is_from_service(&browser.open(&world.at("/x")).await), "{fields:?}");
    }
}

#[tokio::test]
async fn logout_works_without_a_session_and_without_the_provider() {
    let world = World::start().await;
    let browser = world.browser_of("alice").await;
    world.idp.go_offline().await;
    let url = Url::parse(&world.at(LOGOUT)).unwrap();
    let page = browser.request("POST", &url, &NAVIGATION, Some(&[])).await;
    assert!((302..=303).contains(&page.status), "{page:?}");
    assert_eq!(browser.fetch(&world.at("/x")).await.status, 401);
    let page = Browser::new().request("POST", &url, &NAVIGATION, Some(&[])).await;
    assert!((200..=303).contains(&page.status), "{page:?}");
}

#[tokio::test]
async fn a_cookie_that_is_not_ours_counts_as_none() {
    let world = World::start().await;
    let good = world.browser_of("alice").await;
    let (name, value) = session_cookie(&good);
    let mut flipped = value.clone().into_bytes();
    let last = flipped.len() - 5;
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    let half = &value[..value.len() / 2];
    let long = "x".repeat(3000);
    for bad in ["", "garbage", "eyJhbGciOiJub25lIn0.e30.", half, &flipped, &long, "%00%ff", "\"", "a b"] {
        let browser = Browser::new();
        browser.set_cookie("localhost", &name, bad);
        assert_eq!(browser.fetch(&world.at("/x")).await.status, 401, "{bad:?}");
        let page = browser.step(&Url::parse(&world.at("/x")).unwrap()).await;
        assert_eq!(page.status, 302, "{bad:?}");
        let page = browser.log_in(&world.at("/x"), "alice").await;
        assert!(World::is_from_service(&page), "{bad:?}: {page:?}");
    }
    // Two of one name: nobody can tell which is ours.
    let before = world.origin.requests().len();
    for line in [
        format!("{name}=garbage; {name}={value}"),
        format!("{name}={value}; {name}=garbage"),
        format!("{name}={value}; a=1; {name}={value}"),
    ] {
        let page = Browser::new()
            .request("GET", &Url::parse(&world.at("/x")).unwrap(), &[("cookie", &line)], None)
            .await;
        assert_eq!(page.status, 302, "{line}: {page:?}");
    }
    // A good one of a session that was ended.
    let revoked = good.stolen();
    good.step(&Url::parse(&world.at(LOGOUT)).unwrap()).await;
    assert_eq!(revoked.fetch(&world.at("/x")).await.status, 401);
    assert_eq!(revoked.step(&Url::parse(&world.at("/x")).unwrap()).await.status, 302);
    assert_eq!(world.origin.requests().len(), before);
}

#[tokio::test]
async fn the_service_gets_its_own_cookies_untouched_and_none_of_ours() {
    let world = World::start().await;
    let browser = world.browser_of("alice").await;
    let (name, value) = session_cookie(&browser);
    for (sent, arrives) in [
        (format!("a=1; {name}={value}; b=\"x y\""), Some("a=1; b=\"x y\"")),
        (format!("{name}={value}"), None),
        (format!("{name}={value}; theirs={name}"), Some(&*format!("theirs={name}"))),
        (format!("a=1; ; {name}={value}; b=2; c="), Some("a=1; ; b=2; c=")),
    ] {
        let url = Url::parse(&world.at("/x")).unwrap();
        let page = Browser::new().request("GET", &url, &[("cookie", &sent)], None).await;
        assert_eq!(page.status, 200, "{sent}");
        assert_eq!(world.origin.last().get("cookie"), arrives, "{sent}");
    }
}

#[tokio::test]
async fn a_callback_that_does_not_belong_to_this_browser_logs_nobody_in() {
    let world = World::start().await;
    let victim = Browser::new();
    let attacker = Browser::new();
    let callback = up_to_callback(&world, &attacker, "/").await;
    let page = victim.step(&callback).await;
    assert_eq!(page.status, 400, "{page:?}");
    assert_eq!(victim.fetch(&world.at("/x")).await.status, 401);
    for bad in
        ["", "?code=x", "?state=", "?code=x&state=y", "?code=x&code=y&state=z", "?error=<script>&state=x"]
    {
        let page = victim.step(&Url::parse(&world.at(&format!("{CALLBACK}{bad}"))).unwrap()).await;
        assert_eq!(page.status, 400, "{bad}");
        assert!(!page.text.contains("<script>"), "{}", page.text);
    }
    assert_eq!(world.grants("authorization_code"), 0);
    let method = attacker.request("POST", &callback, &NAVIGATION, Some(&[])).await;
    assert_eq!(method.status, 405);
    // None of that used anything up.
    assert_eq!(attacker.follow(attacker.step(&callback).await).await.status, 200);
}

#[tokio::test]
async fn a_callback_is_good_once() {
    let world = World::start().await;
    let browser = Browser::new();
    let callback = up_to_callback(&world, &browser, "/x").await;
    assert_eq!(browser.step(&callback).await.status, 302);
    // As after a double click: the session is there, and so is the page.
    for _ in 0..2 {
        let again = browser.step(&callback).await;
        assert_eq!((again.status, again.location().as_str()), (302, world.at("/x").as_str()), "{again:?}");
    }
    // Somebody else with that address gets nothing.
    assert_eq!(Browser::new().step(&callback).await.status, 400);
    assert_eq!(world.grants("authorization_code"), 1);
}

#[tokio::test]
async fn id_tokens_that_prove_nothing_log_nobody_in() {
    let world = World::start().await;
    for forgery in [Forgery::WrongKey, Forgery::UnknownKey, Forgery::NoSignature] {
        world.idp.forge(Some(forgery));
        let browser = Browser::new();
        let page = browser.log_in(&world.at("/"), "alice").await;
        assert!(page.status >= 400, "{forgery:?}: {page:?}");
        assert_eq!(browser.fetch(&world.at("/")).await.status, 401, "{forgery:?}");
    }
    world.idp.forge(None);
    let bad = [
        ("iss", json!("http://other.example.test")),
        ("aud", json!("other")),
        ("aud", json!(["portcullis", "other"])),
        ("exp", json!(1_000_000_000)),
        ("exp", json!("soon")),
        ("iat", json!(4_102_444_800_u64)),
        ("nonce", json!("other")),
        ("nonce", json!(null)),
        ("sub", json!(null)),
        ("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")),
    ];
    for (claim, value) in bad {
        let told = value.clone();
        world.idp.tamper(Some(Arc::new(move |document, members| {
            if document == Document::IdToken {
                if told.is_null() {
                    members.remove(claim);
                } else {
                    members.insert(claim.to_owned(), told.clone());
                }
            }
        })));
        let browser = Browser::new();
        let page = browser.log_in(&world.at("/"), "alice").await;
        assert!(page.status >= 400, "{claim} {value}: {page:?}");
        assert_eq!(browser.fetch(&world.at("/")).await.status, 401, "{claim} {value}");
    }
    assert!(world.origin.requests().is_empty());
}

#[tokio::test]
async fn providers_that_differ_are_understood() {
    let quirks = Quirks {
        issuer_slash: true,
        audience_list: true,
        claims_only_from_userinfo: true,
        ..Quirks::default()
    };
    let mut plan = Plan::new().plugin("allowedRolesAndGroups: [admin]");
    plan.provider = ProviderOptions { quirks, signing: Signing::Es256, ..ProviderOptions::default() };
    let world = plan.start().await;
    let browser = world.browser_of("alice").await;
    browser.open(&world.at("/x")).await;
    let seen = world.origin.last();
    assert_eq!(seen.get("x-forwarded-user"), Some("alice@example.test"));
    assert_eq!(seen.get("x-user-roles"), Some("admin,user"));
}

#[tokio::test]
async fn a_callback_from_another_issuer_is_refused() {
    let world = World::start().await;
    let browser = Browser::new();
    let callback = up_to_callback(&world, &browser, "/").await;
    let mut forged = callback.clone();
    let pairs: Vec<(String, String)> =
        callback.query_pairs().into_owned().filter(|(name, _)| name != "iss").collect();
    forged.query_pairs_mut().clear().extend_pairs(pairs).append_pair("iss", "http://evil.example.test");
    assert_eq!(browser.step(&forged).await.status, 400);
    assert_eq!(world.grants("authorization_code"), 0);
}

#[tokio::test]
async fn new_keys_of_the_provider_are_found() {
    let world = World::start().await;
    world.idp.rotate_keys(true).unwrap();
    world.browser_of("alice").await;
}

/// At the most talkative level: no code, token, cookie or secret is in the log.
/// Where nobody looks at them before, the headers about the user are put on the service's copy of the request only.
#[tokio::test]
async fn a_middleware_behind_the_login_sees_and_edits_what_the_service_is_told() {
    let world = World::start().await;
    let browser = world.browser_of("alice").await;
    let edit =
        "    edit: {headers: {customRequestHeaders: {X-Forwarded-User: '', X-Auth-Request-User: edited}}}\n";
    let text = dynamic(&world.idp.issuer(), &world.origin, "", "").replace("[login]", "[login, edit]");
    let (head, rest) = text.split_once("  middlewares:\n    login:").unwrap();
    world.proxy.change(&format!("{head}  middlewares:\n{edit}    login:{rest}"));
    eventually("the middleware behind the login is there", || async {
        assert_eq!(browser.fetch(&world.at("/x")).await.status, 200);
        world.origin.last().get("x-auth-request-user") == Some("edited")
    })
    .await;
    let seen = world.origin.last();
    assert_eq!(seen.get("x-forwarded-user"), None, "{seen:?}");
    assert_eq!(seen.get("x-auth-request-redirect"), Some("/x"), "{seen:?}");
}

#[tokio::test]
async fn nothing_secret_is_in_the_log() {
    let world = Plan::new().fixed("accessLog: {}").start().await;
    let secrets: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&secrets);
    world.idp.tamper(Some(Arc::new(move |document, members| {
        if document == Document::TokenResponse {
            let tokens =
                ["access_token", "refresh_token", "id_token"].iter().filter_map(|name| members.get(*name));
            kept.lock().unwrap().extend(tokens.filter_map(|token| token.as_str().map(str::to_owned)));
        }
    })));
    let browser = Browser::new();
    let callback = up_to_callback(&world, &browser, "/secret/page").await;
    let mut secrets_of_flow: Vec<String> =
        query(&callback).into_iter().filter(|(n, _)| n == "code").map(|(_, v)| v).collect();
    let page = browser.step(&callback).await;
    browser.follow(page).await;
    secrets_of_flow.extend(browser.cookies("localhost").into_values());
    browser.request("POST", &Url::parse(&world.at(LOGOUT)).unwrap(), &NAVIGATION, Some(&[])).await;
    world.idp.counted(|counters| counters.get("POST /revoke") > 0).await;
    secrets_of_flow.extend(secrets.lock().unwrap().iter().cloned());
    secrets_of_flow.push(SECRET.to_owned());
    let log = world.proxy.log();
    assert!(log.contains("/secret/page"), "the access log is not there");
    assert!(secrets_of_flow.len() >= 6);
    for secret in secrets_of_flow {
        let line = log.lines().find(|line| line.contains(&secret));
        assert_eq!(line, None, "a secret is in the log");
    }
}

#[tokio::test]
async fn nothing_is_told_of_a_provider_that_no_route_uses() {
    let world = World::start().await;
    let shown =
        async || world.proxy.admin("/metrics").await.unwrap().1.contains("portcullis_oidc_provider_up{");
    assert!(shown().await);
    world.proxy.change(&route("PathPrefix(`/`)", world.origin.address));
    eventually("the series ends", || async { !shown().await }).await;
}
