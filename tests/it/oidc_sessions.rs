//! Sessions as the operator sees them: the API, the command line and the audit log.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use url::Url;

use crate::harness::client::{Browser, send};
use crate::harness::eventually;
use crate::harness::idp::{self, LOGOUT, Plan, World};
use crate::harness::proxy::BINARY;
use crate::harness::redis::{Servers, available};

const API: &str = "    api:\n      rule: PathPrefix(`/api/`)\n      service: api@internal";
const SESSIONS: &str = "/api/portcullis/sessions";

async fn world(fixed: &str) -> World {
    let mut plan =
        Plan::new().plugin("allowedUsers: [alice@example.test]").fixed("api:\n  insecure: true").fixed(fixed);
    plan.routers = API.to_owned();
    plan.start().await
}

async fn call(world: &World, method: &str, target: &str) -> (u16, Value) {
    let answer = send(world.proxy.web(), method, "localhost", &format!("{SESSIONS}{target}"), &[]).await;
    let text = answer.text();
    (answer.status(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn status(world: &World, browser: &Browser) -> u16 {
    browser.fetch(&world.at("/x")).await.status
}

#[tokio::test]
async fn the_api_lists_and_revokes() {
    let world = world("").await;
    assert_eq!(call(&world, "GET", "").await.1["sessions"].as_array().map(Vec::len), Some(0));
    let (alice, bob) = (world.browser_of("alice").await, Browser::new());
    assert_eq!(bob.log_in(&world.at("/"), "bob").await.status, 403);
    let other = world.browser_of("alice").await;
    let (code, list) = call(&world, "GET", "").await;
    let sessions = list["sessions"].as_array().unwrap();
    assert_eq!((code, sessions.len(), &list["next"]), (200, 3, &Value::Null));
    let of_alice: Vec<_> = sessions.iter().filter(|one| one["user"] == "alice@example.test").collect();
    assert_eq!(of_alice.len(), 2, "{list}");
    assert_eq!(
        (&of_alice[0]["subject"], &of_alice[0]["provider"]),
        (&"alice".into(), &world.idp.issuer().into())
    );
    assert!(of_alice[0]["expires"].as_str().unwrap().ends_with('Z'));
    assert!(!list.to_string().contains("eyJ"));

    let (_, page) = call(&world, "GET", "?limit=2").await;
    let next = page["next"].as_str().unwrap();
    let (_, rest) = call(&world, "GET", &format!("?limit=2&after={next}")).await;
    assert_eq!(
        (page["sessions"].as_array().unwrap().len(), rest["sessions"].as_array().unwrap().len()),
        (2, 1)
    );
    for user in ["alice", "alice@example.test"] {
        let (_, found) = call(&world, "GET", &format!("?user={user}")).await;
        assert_eq!(found["sessions"].as_array().unwrap().len(), 2, "{user}");
    }

    let one = sessions.iter().find(|one| one["user"] == "bob@example.test").unwrap()["id"].as_str().unwrap();
    assert_eq!(call(&world, "DELETE", &format!("/{one}")).await.1["revoked"], 1);
    assert_eq!(call(&world, "DELETE", &format!("/{one}")).await.0, 404);
    assert_eq!(status(&world, &bob).await, 401);
    assert_eq!(status(&world, &alice).await, 200);
    assert_eq!(call(&world, "DELETE", "?user=alice@example.test").await.1["revoked"], 2);
    assert_eq!((status(&world, &alice).await, status(&world, &other).await), (401, 401));

    let alice = world.browser_of("alice").await;
    for target in ["", "?all=false", "?user=", "?user=alice&all=true", "/xyz"] {
        assert_eq!(call(&world, "DELETE", target).await.0, 400, "{target}");
    }
    assert_eq!(call(&world, "GET", "?limit=0").await.0, 400);
    assert_eq!(call(&world, "POST", "").await.0, 405);
    let (code, text) = world.proxy.admin(SESSIONS).await.unwrap();
    assert_eq!(code, 403, "nobody was asked for a name there: {text}");
    assert_eq!(status(&world, &alice).await, 200);
    assert_eq!(call(&world, "DELETE", "?all=true").await.1["revoked"], 1);
    assert_eq!(status(&world, &alice).await, 401);
}

/// Runs `portcullis sessions` with this configuration beside the running process: code, output and errors.
fn run(world: &World, config: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(BINARY)
        .arg("sessions")
        .args(arguments)
        .arg(format!("--configFile={}", config.display()))
        .env_clear()
        .env("STATE_DIRECTORY", world.proxy.folder().join("state"))
        .output()
        .unwrap();
    let [text, problems] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code().unwrap(), text, problems)
}

/// The same with its own configuration: whether all was done, and what was said.
fn command(world: &World, arguments: &[&str]) -> (bool, String) {
    let (code, text, problems) = run(world, &world.proxy.folder().join("static.yml"), arguments);
    (code == 0, text + &problems)
}

#[tokio::test]
async fn the_command_line_lists_and_revokes_and_the_process_learns_of_it() {
    let world = world("").await;
    let (one, two) = (world.browser_of("alice").await, world.browser_of("alice").await);
    let (listed, text) = command(&world, &["list"]);
    assert!(listed, "{text}");
    let ids: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!((ids.len(), ids[0].len()), (2, 64), "{text}");
    assert_eq!(command(&world, &["list", "--user=alice"]).1.lines().count(), 2);
    assert_eq!(command(&world, &["list", "--user=nobody"]), (true, String::new()));
    assert_eq!(command(&world, &["revoke", ids[0]]), (true, "1 session revoked\n".to_owned()));
    assert!(!command(&world, &["revoke", ids[0]]).0);
    let (world, one, two) = (&world, &one, &two);
    let gone = |count: usize| async move {
        let codes = [status(world, one).await, status(world, two).await];
        codes.iter().filter(|code| **code == 401).count() == count
    };
    eventually("one of two is out", || gone(1)).await;
    assert_eq!(command(world, &["revoke", "--user=alice"]), (true, "1 session revoked\n".to_owned()));
    eventually("both are out", || gone(2)).await;
    assert!(!command(world, &["revoke"]).0);
}

/// Two of alice's sessions are found and ended, one by one, by the command line.
async fn two_sessions_end_from_outside(world: &World) {
    let (one, two) = (world.browser_of("alice").await, world.browser_of("alice").await);
    let (listed, text) = command(world, &["list"]);
    assert!(listed, "{text}");
    let ids: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(ids.len(), 2, "{text}");
    assert_eq!(command(world, &["list", "--user=alice"]).1.lines().count(), 2);
    assert_eq!(command(world, &["revoke", ids[0]]), (true, "1 session revoked\n".to_owned()));
    let (one, two) = (&one, &two);
    let gone = |count: usize| async move {
        let codes = [status(world, one).await, status(world, two).await];
        codes.iter().filter(|code| **code == 401).count() == count
    };
    eventually("one of two is out", || gone(1)).await;
    assert_eq!(command(world, &["revoke", "--all"]), (true, "1 session revoked\n".to_owned()));
    eventually("both are out", || gone(2)).await;
    assert_eq!(command(world, &["list"]), (true, String::new()));
}

#[tokio::test]
async fn the_command_line_works_on_redis() {
    if !available("the_command_line_works_on_redis") {
        return;
    }
    let redis = Servers::single(&[]).await;
    let block = format!("redis:\n  enabled: true\n  address: 127.0.0.1:{}", redis.port(0));
    let world = Plan::new().plugin(&block).start().await;
    two_sessions_end_from_outside(&world).await;
    assert!(!world.proxy.folder().join("state/sessions.sqlite").exists(), "no file is made beside");
}

#[tokio::test]
async fn the_command_line_works_on_a_cluster() {
    if !available("the_command_line_works_on_a_cluster") {
        return;
    }
    let redis = Servers::cluster().await;
    let endpoints: Vec<String> = redis.ports().iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    let endpoints = endpoints.join(", ");
    let store =
        format!("oidc: {{session: {{store: {{redis: {{endpoints: [{endpoints}], cluster: true}}}}}}}}");
    two_sessions_end_from_outside(&Plan::new().fixed(&store).start().await).await;
}

/// Other stores beside the file: what is told of each, and that the file is not held up by them.
#[tokio::test]
async fn a_store_that_cannot_be_asked_does_not_hold_up_the_others() {
    let world = Plan::new().start().await;
    let alice = world.browser_of("alice").await;
    let folder = world.proxy.folder();
    let absent = folder.join("absent.sqlite");
    let mut text = idp::dynamic(&world.idp.issuer(), &world.origin, "", "");
    for (name, store) in [
        ("in-memory", "memory: true".to_owned()),
        ("in-browsers", "cookie: true".to_owned()),
        ("in-no-file", format!("sqlite: {{path: \"{}\"}}", absent.display())),
        (
            "on-no-server",
            "redis: {endpoints: [\"127.0.0.1:1\"], dialTimeout: 100ms, readTimeout: 50ms, writeTimeout: 50ms}"
                .to_owned(),
        ),
    ] {
        text.push_str(&format!(
            "    {name}:\n      oidc: {{issuer: \"{}\", clientID: c, clientSecret: s, redirectUrl: /cb, \
             sessionEncryptionKey: only-for-tests-0123456789abcdef-0123456789, session: {{store: {{{store}}}}}}}\n",
            world.idp.issuer()
        ));
    }
    std::fs::write(folder.join("beside.yml"), text).unwrap();
    let fixed = std::fs::read_to_string(folder.join("static.yml")).unwrap();
    let beside = folder.join("static-beside.yml");
    std::fs::write(&beside, fixed.replace("dynamic.yml", "beside.yml")).unwrap();

    let (code, listed, problems) = run(&world, &beside, &["list"]);
    assert_eq!((code, listed.lines().count()), (2, 1), "{listed}{problems}");
    let told: Vec<&str> = problems.lines().collect();
    let [cookie, memory, redis, sqlite] = told[..] else { panic!("{problems}") };
    for (line, start) in [(cookie, "session store cookie: only"), (memory, "session store memory: only")] {
        assert!(line.starts_with(start) && line.ends_with("/api/portcullis/sessions"), "{line}");
    }
    assert!(redis.starts_with("session store redis 127.0.0.1:1: "), "{redis}");
    assert!(sqlite.contains("absent.sqlite: there is no file ") && !absent.exists(), "{sqlite}");
    let id = listed.split(' ').next().unwrap();
    assert_eq!(run(&world, &beside, &["revoke", id]), (0, "1 session revoked\n".to_owned(), String::new()));
    eventually("the session is over", || async { status(&world, &alice).await == 401 }).await;
    let (code, text, problems) = run(&world, &beside, &["revoke", id]);
    assert_eq!((code, text.as_str()), (1, ""));
    assert!(
        problems.starts_with("there is no such session\n") && problems.lines().count() == 5,
        "{problems}"
    );
    assert_eq!(run(&world, &beside, &["revoke", "--all"]).0, 2);
}

/// A second store, which is a server that is not there.
#[tokio::test]
async fn the_api_answers_for_the_stores_that_it_reaches_and_names_the_others() {
    let world = world("").await;
    let alice = world.browser_of("alice").await;
    // A middleware that no router names is none.
    let other = "\n    other:\n      rule: PathPrefix(`/elsewhere`)\n      middlewares: [elsewhere]\n      service: s";
    let mut text = idp::dynamic(&world.idp.issuer(), &world.origin, "", &format!("{API}{other}"));
    text.push_str(&format!(
        "    elsewhere:\n      oidc: {{issuer: \"{}\", clientID: c, clientSecret: s, redirectUrl: /cb, sessionEncryptionKey: \
         only-for-tests-0123456789abcdef-0123456789, session: {{store: {{redis: {{endpoints: [\"127.0.0.1:1\"]}}}}}}}}\n",
        world.idp.issuer()
    ));
    world.proxy.change(&text);
    let world = &world;
    let is_named = || async move { call(world, "GET", "").await.1["failed"][0]["store"].is_string() };
    eventually("the second store is known", is_named).await;
    let (code, list) = call(world, "GET", "").await;
    assert_eq!((code, list["sessions"].as_array().map(Vec::len)), (200, Some(1)), "{list}");
    let store = list["failed"][0]["store"].as_str().unwrap();
    assert_eq!((store, &list["failed"][0]["pending"]), ("session store redis 127.0.0.1:1", &0.into()));
    assert_eq!(call(world, "GET", "?user=alice").await.1["sessions"].as_array().map(Vec::len), Some(1));
    let (code, done) = call(world, "DELETE", &format!("/{}", "ab".repeat(32))).await;
    assert_eq!((code, &done["revoked"]), (503, &0.into()), "it may be in the other: {done}");
    assert_eq!(status(world, &alice).await, 200);
    let (code, done) = call(world, "DELETE", "?user=alice").await;
    assert_eq!((code, &done["revoked"]), (503, &1.into()), "{done}");
    assert_eq!(status(world, &alice).await, 401);
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[tokio::test]
async fn the_audit_log_says_who_did_what() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let world = world(&format!("oidc:\n  audit:\n    filePath: {}", path.display())).await;
    let alice = world.browser_of("alice").await;
    let bob = Browser::new();
    bob.log_in(&world.at("/"), "bob").await;
    alice.step(&Url::parse(&world.at("/oauth2/callback?state=nonsense")).unwrap()).await;
    alice.step(&Url::parse(&world.at(LOGOUT)).unwrap()).await;
    call(&world, "DELETE", "?user=bob").await;
    eventually("every line", || async { lines(&path).len() >= 6 }).await;
    let log = lines(&path);
    let events: Vec<&str> = log.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["login", "login", "denied", "login_failed", "logout", "revoked"]);
    let (login, denied, logout) = (&log[0], &log[2], &log[4]);
    assert_eq!((&login["user"], &login["client"]), (&"alice@example.test".into(), &"127.0.0.1".into()));
    assert_eq!((&login["refreshable"], denied.get("refreshable")), (&true.into(), None));
    assert_eq!((&login["policy"], &login["provider"]), (&"login@file".into(), &world.idp.issuer().into()));
    assert_eq!((login["session"].as_str().unwrap().len(), &login["session"]), (8, &logout["session"]));
    assert_eq!((&denied["user"], &denied["cause"]), (&"bob@example.test".into(), &"user not allowed".into()));
    assert_eq!((&log[3]["cause"], &log[5]["user"]), (&"state".into(), &"bob".into()));
    assert!(log.iter().all(|line| line["time"].is_string()));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("eyJ") && !text.contains("nonsense"), "{text}");

    std::fs::rename(&path, path.with_extension("1")).unwrap();
    world.proxy.signal("USR1");
    eventually("a new file", || async {
        world.browser_of("alice").await;
        !lines(&path).is_empty()
    })
    .await;
}
