//! Attacks of `docs/attacks.md` on what is remembered: sessions of any size, refreshes, logins that never end, the log.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use portcullis::demo::provider::{Answer, Document, Endpoint, Fault};
use serde_json::json;
use url::Url;

use crate::harness::client::{Browser, NAVIGATION};
use crate::harness::idp::{LOGOUT, Plan, SECRET, TELLS, World};
use crate::harness::load;
use crate::scenarios::{LIFE, Scale, login, refused, sessions, tokens_end};

/// So many characters that cannot be compressed.
fn noise(length: usize) -> String {
    let blocks = (0..=length / 43).map(|block: usize| BASE64.encode(digest(&SHA256, &block.to_be_bytes())));
    let mut text = blocks.collect::<String>();
    text.truncate(length);
    text
}

/// Sessions of every size come back whole, also from the disk, or end in one error; none makes the cookie larger, and
/// what looks like a piece of it counts for nothing.
#[tokio::test]
async fn n68_no_size_of_a_session_breaks_it() {
    let mut world = World::start().await;
    let mut browsers = Vec::new();
    for size in [3_999, 4_000, 4_001, 8_000, 40_000, 400_000] {
        world.idp.tamper(Some(Arc::new(move |document, members| {
            if document == Document::IdToken {
                members.insert("name".to_owned(), json!(noise(size)));
            }
        })));
        let browser = Browser::new();
        // An endless loop of logins would end this with a panic.
        let page = browser.log_in(&world.at("/x"), "alice").await;
        assert!(World::is_from_service(&page), "{size}: {}", page.status);
        assert!(browser.cookie_line("localhost").len() < 500, "{size}: {}", browser.cookie_line("localhost"));
        browsers.push((size, browser));
    }
    world.idp.tamper(Some(Arc::new(|document, members| {
        if document == Document::IdToken {
            members.insert("name".to_owned(), json!(noise(4_000_000)));
        }
    })));
    let page = Browser::new().log_in(&world.at("/x"), "alice").await;
    assert_eq!(page.status, 502, "more than any provider says: {}", page.text);
    world.idp.tamper(None);
    world.proxy.kill_and_restart().await;
    for (size, browser) in browsers {
        let pages = [browser.fetch(&world.at("/y")).await, browser.fetch(&world.at("/z")).await];
        assert!(pages.iter().all(World::is_from_service), "{size}: {pages:?}");
        let cookies = browser.cookies("localhost");
        let name = cookies.keys().find(|name| name.contains("session")).unwrap();
        for piece in ["_0", "_1", "_1000000000", "_4294967296", "_-1", ".1"] {
            browser.set_cookie("localhost", &format!("{name}{piece}"), &"x".repeat(300));
        }
        assert!(World::is_from_service(&browser.fetch(&world.at("/x")).await), "{size}");
        let alone = Browser::new();
        alone.set_cookie("localhost", &format!("{name}_1000000000"), "x");
        assert_eq!(alone.fetch(&world.at("/x")).await.status, 401);
    }
}

/// At a provider that is slower and slower, up to just before the ten seconds after which a call is given up, two hundred requests on
/// one session whose tokens have ended make one grant, and nobody logs in again. At several processes:
/// `oidc_replicas.rs`.
#[tokio::test]
async fn n69_no_delay_of_the_provider_makes_a_second_grant() {
    let rounds = [0.0, 3.0, 9.5].map(|delay| {
        Box::pin(async move {
            let world = Scale::SHORT.short_lived().start().await;
            let cookie = sessions(&world, "alice", 1).await.remove(0);
            let logins = world.grants("authorization_code");
            // Two generations of tokens, each with a storm of its own.
            for generation in 1..=2 {
                world.idp.clear_faults();
                tokens_end(&world, std::slice::from_ref(&cookie)).await;
                let slow = Fault::at(Endpoint::Token, Answer::Genuine).grant("refresh_token");
                world.idp.add_fault(slow.delay(Duration::from_secs_f64(delay)));
                world.idp.set_access_token_ttl(if generation == 1 { LIFE } else { Duration::from_secs(600) });
                let answers = load::burst(world.proxy.web(), &vec![load::fetch("/x", &cookie); 200]).await;
                assert!(load::all_are(&answers, 200), "{delay} s: {}", load::statuses(&answers));
                assert_eq!(world.grants("refresh_token"), generation, "{delay} s");
            }
            assert_eq!(refused(&world), 0, "{delay} s: an old token was shown again");
            assert_eq!(world.grants("authorization_code"), logins, "{delay} s");
        })
    });
    futures_util::future::join_all(rounds).await;
}

/// One navigation after another, none of which comes back. A million of them: `make storm`.
#[tokio::test]
async fn n87_logins_that_are_only_begun_cost_no_memory() {
    login::n87_begun_logins(Scale::SHORT).await.must_hold();
}

/// The 43 characters of a verifier are nowhere in the text, whoever wrote them there.
fn has_verifier(text: &str, challenge: &str) -> bool {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    words
        .filter(|word| word.len() == 43)
        .any(|word| BASE64.encode(digest(&SHA256, word.as_bytes())) == challenge)
}

/// Login, refresh and logout at the most talkative level: no code, state, nonce, verifier, token, cookie or secret of them
/// is in the log.
#[tokio::test]
async fn n91_nothing_secret_of_a_whole_life_is_in_the_log() {
    let mut plan = Plan::new().fixed("accessLog: {}").plugin("refreshGracePeriodSeconds: 1").plugin(TELLS);
    plan.provider.access_token_ttl = LIFE;
    let world = plan.start().await;
    let secrets: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let kept = Arc::clone(&secrets);
    world.idp.tamper(Some(Arc::new(move |document, members| {
        if document == Document::TokenResponse {
            let tokens =
                ["access_token", "refresh_token", "id_token"].iter().filter_map(|name| members.get(*name));
            kept.lock().unwrap().extend(tokens.filter_map(|token| token.as_str().map(str::to_owned)));
        }
    })));
    let keep = |text: &str| secrets.lock().unwrap().insert(text.to_owned());
    let keep_cookies = |browser: &Browser| {
        // A counter of logins is no secret.
        let cookies = browser.cookies("localhost").into_iter().filter(|(name, _)| !name.ends_with("rounds"));
        cookies.for_each(|(_, value)| _ = keep(&value));
    };
    let browser = Browser::new();
    let first = browser.step(&Url::parse(&world.at("/secret/page")).unwrap()).await;
    keep_cookies(&browser);
    let asked: std::collections::BTreeMap<String, String> =
        first.location().query_pairs().into_owned().collect();
    keep(&asked["state"]);
    keep(&asked["nonce"]);
    let form = browser.follow(first).await;
    let callback = browser.submit_step(&form, &[("user", "alice")]).await.location();
    let code = callback.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    keep(&code);
    let page = browser.step(&callback).await;
    browser.follow(page).await;
    browser.step(&callback).await;
    keep_cookies(&browser);
    tokens_end(&world, &[browser.cookie_line("localhost")]).await;
    assert!(World::is_from_service(&browser.fetch(&world.at("/after")).await));
    assert_eq!(world.grants("refresh_token"), 1);
    let page = browser.request("POST", &Url::parse(&world.at(LOGOUT)).unwrap(), &NAVIGATION, Some(&[])).await;
    keep_cookies(&browser);
    browser.follow(page).await;
    world.idp.counted(|counters| counters.get("POST /revoke") > 0).await;
    keep(SECRET);
    keep("only-for-tests-0123456789abcdef-0123456789");
    let log = world.proxy.log();
    assert!(log.contains("/secret/page") && log.contains("logged out"), "the log is not there");
    let secrets = secrets.lock().unwrap().clone();
    // State, nonce, code, two cookies of the login, that of the logout, six tokens, two keys.
    assert!(secrets.len() >= 14, "{}", secrets.len());
    for secret in &secrets {
        assert_eq!(log.lines().find(|line| line.contains(secret.as_str())), None, "a secret is in the log");
    }
    assert!(!has_verifier(&log, &asked["code_challenge"]), "the verifier is in the log");
    assert!(has_verifier(&format!("a={VERIFIER};"), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"));
}

/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
