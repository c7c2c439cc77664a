//! The store against real servers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant, SystemTime};

use super::servers::{Servers, available};
use super::*;
use crate::oidc::session::contract::{self, at, index, key, row};
use crate::oidc::session::settings::tests::redis;
use crate::oidc::session::testing::{process, record, scope};
use crate::oidc::session::{Lookup, RedisTls, SessionId, Sessions, Topology};

async fn open(settings: RedisSettings) -> RedisStore {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let store = RedisStore::open(settings).unwrap();
    until("the store is reached", async || store.connected().await).await;
    store
}

async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !check().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn one_server_keeps_the_contract() {
    if !available("one_server_keeps_the_contract") {
        return;
    }
    let servers = Servers::single(&[]).await;
    contract::check(&open(redis(servers.port(0))).await).await;
    let left = servers.cli(0, &["--scan"]);
    assert!(!left.contains(":s:") && !left.contains(":a"), "{left}");
    assert!(left.lines().all(|name| name.starts_with("test:{")), "{left}");
}

#[tokio::test]
async fn a_user_of_the_access_control_list_may_be_confined_to_the_prefix() {
    if !available("a_user_of_the_access_control_list_may_be_confined_to_the_prefix") {
        return;
    }
    let servers = Servers::single(&["--requirepass", "other"]).await;
    let allowed =
        ["+@read", "+@write", "+@scripting", "+@connection", "+time", "+info", "-@dangerous", "+info"];
    let user = ["--no-auth-warning", "-a", "other", "acl", "setuser", "portcullis", "on", ">p w", "~test:*"];
    assert!(servers.cli(0, &[user.as_slice(), &allowed].concat()).contains("OK"));
    let login = |password: &str| RedisSettings {
        username: Some("portcullis".to_owned()),
        password: Some(password.to_owned().into()),
        database: 3,
        ..redis(servers.port(0))
    };
    contract::check(&open(login("p w")).await).await;
    let refused = RedisStore::open(login("wrong")).unwrap();
    until("the refusal is known", async || {
        refused.health().await.unwrap_err().to_string().contains("AuthenticationFailed")
    })
    .await;
    let without = RedisStore::open(redis(servers.port(0))).unwrap();
    until("a password is needed", async || {
        without.health().await.unwrap_err().to_string().contains("NOAUTH")
    })
    .await;
}

#[tokio::test]
async fn behind_tls_it_keeps_the_contract_and_verifies() {
    if !available("behind_tls_it_keeps_the_contract_and_verifies") {
        return;
    }
    let servers = Servers::tls().await;
    let tls = |tls: RedisTls| RedisSettings { tls: Some(tls), ..redis(servers.port(0)) };
    let known = RedisTls { ca: Some(servers.ca()), ..RedisTls::default() };
    contract::check(&open(tls(known)).await).await;
    let unverified = RedisTls { insecure_skip_verify: true, ..RedisTls::default() };
    open(tls(unverified)).await;
    let unknown = RedisStore::open(tls(RedisTls::default())).unwrap();
    until("it is not trusted", async || {
        unknown.health().await.unwrap_err().to_string().contains("certificate")
    })
    .await;
}

#[tokio::test]
async fn a_primary_found_by_sentinels_keeps_the_contract_and_may_change() {
    if !available("a_primary_found_by_sentinels_keeps_the_contract_and_may_change") {
        return;
    }
    let mut servers = Servers::sentinels().await;
    let endpoints = servers.ports()[2..].iter().map(|port| ("127.0.0.1".to_owned(), *port)).collect();
    let topology = Topology::Sentinel { set: "portcullis".to_owned(), username: None, password: None };
    let store = open(RedisSettings { endpoints, topology, ..redis(0) }).await;
    contract::check(&store).await;
    store.insert(&key(1), row(0)).await.unwrap();
    servers.replicated(0).await;
    servers.kill(0);
    until("the replica has taken over", async || store.health().await.is_ok()).await;
    assert_eq!(store.load(&key(1)).await.unwrap(), Some(row(0)));
    assert_eq!(store.compare_and_swap(&key(1), 0, row(1)).await.unwrap(), CasOutcome::Swapped);
}

#[tokio::test]
async fn a_cluster_keeps_the_contract_and_may_lose_a_node() {
    if !available("a_cluster_keeps_the_contract_and_may_lose_a_node") {
        return;
    }
    let mut servers = Servers::cluster().await;
    let endpoints = servers.ports().iter().map(|port| ("127.0.0.1".to_owned(), *port)).collect();
    let store = open(RedisSettings { endpoints, topology: Topology::Cluster, ..redis(0) }).await;
    contract::check(&store).await;
    let keys: Vec<SessionKey> = (0..16).map(|n| key(n * 16)).collect();
    for key in &keys {
        store.insert(key, row(0)).await.unwrap();
    }
    assert_eq!(store.count().await.unwrap(), 16);
    let mut found = store.by_sub(&index(201)).await.unwrap();
    found.sort();
    assert_eq!(found, keys);
    servers.replicated(0).await;
    servers.kill(0);
    until("the loss is noticed", async || store.health().await.is_err()).await;
    until("a replica has taken over", async || store.health().await.is_ok()).await;
    for key in &keys {
        assert_eq!(store.compare_and_swap(key, 0, row(1)).await.unwrap(), CasOutcome::Swapped);
    }
}

#[tokio::test]
async fn expired_sessions_go_by_themselves() {
    if !available("expired_sessions_go_by_themselves") {
        return;
    }
    let servers = Servers::single(&[]).await;
    let store = open(redis(servers.port(0))).await;
    let soon = Stored { expires: SystemTime::now() + Duration::from_millis(300), ..row(0) };
    store.insert(&key(1), soon).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 1);
    until("it is gone", async || store.load(&key(1)).await.unwrap().is_none()).await;
    assert_eq!(store.count().await.unwrap(), 0);
    assert!(store.by_sub(&index(201)).await.unwrap().is_empty());
    until("nothing is left of it", async || servers.cli(0, &["--scan"]).lines().all(|n| n.ends_with(":h")))
        .await;
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_may_be_repeated() {
    if !available("a_write_whose_answer_was_lost_may_be_repeated") {
        return;
    }
    let servers = Servers::single(&[]).await;
    let store = open(redis(servers.port(0))).await;
    store.insert(&key(1), row(0)).await.unwrap();
    store.insert(&key(1), row(0)).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_server_that_is_gone_costs_nobody_time() {
    if !available("a_server_that_is_gone_costs_nobody_time") {
        return;
    }
    let mut servers = Servers::single(&[]).await;
    let settings = RedisSettings { answer_timeout: Duration::from_millis(300), ..redis(servers.port(0)) };
    let store = open(settings).await;
    servers.signal(0, "STOP");
    assert!(store.load(&key(1)).await.is_err(), "the first one waits for its time-out");
    let start = Instant::now();
    for _ in 0..1000 {
        assert!(store.load(&key(1)).await.is_err());
    }
    assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
    servers.signal(0, "CONT");
    until("it is back", async || store.health().await.is_ok()).await;
    servers.kill(0);
    until("it is noticed", async || store.health().await.is_err()).await;
    servers.restart(0).await;
    let start = Instant::now();
    until("it is back", async || store.health().await.is_ok()).await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

async fn is_live(sessions: &Sessions, id: &SessionId) -> bool {
    matches!(sessions.lookup(id, &scope(), at(1)).await, Lookup::Live(_))
}

#[tokio::test]
async fn an_end_and_a_new_generation_in_one_process_are_seen_by_the_other() {
    if !available("an_end_and_a_new_generation_in_one_process_are_seen_by_the_other") {
        return;
    }
    let servers = Servers::single(&[]).await;
    let (a, _) = process(Arc::new(open(redis(servers.port(0))).await));
    let (b, _) = process(Arc::new(open(redis(servers.port(0))).await));
    let (id, of_a) = a.create(record()).await.unwrap();
    for sessions in [&a, &b] {
        assert!(is_live(sessions, &id).await);
        sessions.poll_changes().await;
        assert!(is_live(sessions, &id).await);
    }
    let mut next = record();
    next.generation = 1;
    next.identifier = "renamed".into();
    a.commit(&of_a, 0, next).await;
    b.poll_changes().await;
    let Lookup::Live(of_b) = b.lookup(&id, &scope(), at(1)).await else { panic!("gone") };
    assert_eq!(&*of_b.profile().identifier(), "renamed");
    a.end(&of_a).await.unwrap();
    assert!(b.lookup_cached(&id, &scope(), at(1)).is_some(), "not yet polled");
    b.poll_changes().await;
    assert!(b.lookup_cached(&id, &scope(), at(1)).is_none());
    assert!(!is_live(&b, &id).await && !is_live(&a, &id).await);
}

#[tokio::test]
async fn a_feed_that_was_lost_is_told() {
    if !available("a_feed_that_was_lost_is_told") {
        return;
    }
    let servers = Servers::single(&[]).await;
    let (a, b) = (open(redis(servers.port(0))).await, open(redis(servers.port(0))).await);
    a.insert(&key(1), row(0)).await.unwrap();
    let mut cursor = b.changes(None).await.unwrap().cursor;
    a.compare_and_swap(&key(1), 0, row(1)).await.unwrap();
    let changes = b.changes(Some(cursor)).await.unwrap();
    assert_eq!((changes.rows, changes.lost), (vec![(key(1), Some(1))], false));
    cursor = changes.cursor;
    assert!(a.changes(None).await.unwrap().rows.is_empty(), "its own are not reported");
    servers.cli(0, &["flushall"]);
    let changes = b.changes(Some(cursor)).await.unwrap();
    assert!(changes.lost);
    assert!(!b.changes(Some(changes.cursor)).await.unwrap().lost, "only once");
    assert!(b.changes(Some(cursor)).await.unwrap().lost, "a cursor of another time");
}

/// As a failover to a replica that had not got the last writes yet.
#[tokio::test]
async fn what_a_failover_lost_is_told_again() {
    if !available("what_a_failover_lost_is_told_again") {
        return;
    }
    let mut servers = Servers::single(&["--appendonly", "no"]).await;
    let store = open(redis(servers.port(0))).await;
    let other = open(redis(servers.port(0))).await;
    for n in [1, 2] {
        store.insert(&key(n), row(0)).await.unwrap();
    }
    store.delete(&key(1)).await.unwrap();
    store.compare_and_swap(&key(2), 0, row(1)).await.unwrap();
    servers.kill(0);
    until("it is noticed", async || store.health().await.is_err()).await;
    servers.restart(0).await;
    until("it is back", async || store.health().await.is_ok() && other.health().await.is_ok()).await;
    // The state of before, as the replica has it.
    for n in [1, 2] {
        other.insert(&key(n), row(0)).await.unwrap();
    }
    store.changes(None).await.unwrap();
    assert_eq!(other.load(&key(1)).await.unwrap(), None, "a revoked session is not revived");
    assert_eq!(other.load(&key(2)).await.unwrap(), Some(row(1)), "a rotated token is not lost");
}

#[tokio::test]
async fn news_that_may_have_been_trimmed_before_they_were_read_are_lost() {
    if !available("news_that_may_have_been_trimmed_before_they_were_read_are_lost") {
        return;
    }
    let servers = Servers::single(&[]).await;
    let store = open(redis(servers.port(0))).await;
    let first = store.changes(None).await.unwrap();
    let many = "for n = 1, 1000 do redis.call('XADD', KEYS[1], '*', 'k', 'x', 'g', '1', 'o', 'y') end";
    servers.cli(0, &["eval", many, "1", "test:{3}:c"]);
    let changes = store.changes(Some(first.cursor)).await.unwrap();
    assert!(changes.lost);
    let next = store.changes(Some(changes.cursor)).await.unwrap();
    assert!(!next.lost && next.rows.is_empty());
}

/// A stream that is none answers with an error, as a node that is away would, and the others are read.
#[tokio::test]
async fn a_part_that_cannot_be_read_is_silent_from_the_first_look_on() {
    if !available("a_part_that_cannot_be_read_is_silent_from_the_first_look_on") {
        return;
    }
    let servers = Servers::single(&[]).await;
    let store = open(redis(servers.port(0))).await;
    servers.cli(0, &["set", "test:{5}:c", "x"]);
    let mut cursor = None;
    for _ in 0..2 {
        let changes = store.changes(cursor).await.unwrap();
        let silent: Vec<usize> = (0..16).filter(|part| changes.silent.has(*part)).collect();
        assert_eq!((silent, changes.lost), (vec![5], false));
        cursor = Some(changes.cursor);
    }
    servers.cli(0, &["del", "test:{5}:c"]);
    assert_eq!(store.changes(cursor).await.unwrap().silent, Default::default());
}
