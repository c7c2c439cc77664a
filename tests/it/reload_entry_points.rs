//! Entry points that come, go and move while the process runs.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::harness::http1::Connection;
use crate::harness::origin::Origin;
use crate::harness::proxy::{Proxy, Setup, route};
use crate::harness::{eventually, ports, soon};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The status there; none when nobody listens.
async fn status(address: SocketAddr) -> Option<u16> {
    let mut connection = Connection::new(TcpStream::connect(address).await.ok()?);
    connection.send(REQUEST).await;
    Some(soon("an answer", connection.response_to(false)).await?.status())
}

async fn becomes(address: SocketAddr, wanted: Option<u16>) {
    eventually(&format!("{address} becomes {wanted:?}"), || async { status(address).await == wanted }).await;
}

/// How many reloads have ended, well or not.
fn reloads(proxy: &Proxy) -> usize {
    let log = proxy.log();
    log.lines().filter(|line| line.contains("reloaded") || line.contains("reload failed")).count()
}

async fn reloaded(proxy: &Proxy, before: usize) {
    eventually("the reload ends", || async { reloads(proxy) > before }).await;
}

fn with_port(text: &str, name: &str, port: u16) -> String {
    let block = format!("entryPoints:\n  {name}:\n    address: \"127.0.0.1:{port}\"\n");
    text.replacen("entryPoints:\n", &block, 1)
}

#[tokio::test]
async fn entry_points_come_and_go_with_sighup() {
    let origin = Origin::start().await;
    let proxy = Setup::to(origin.address).start().await;
    let mut kept = Connection::open(proxy.web()).await;
    kept.send(REQUEST).await;
    assert_eq!(kept.response().await.status(), 200);
    let extra = ports::free();
    assert_eq!(status(at(extra)).await, None);
    let before = std::fs::read_to_string(proxy.folder().join("static.yml")).unwrap();
    proxy.change_fixed(|text| with_port(&text, "extra", extra));
    becomes(at(extra), Some(200)).await;
    // Its connections are counted, too.
    let mut open = Connection::open(at(extra)).await;
    open.send(REQUEST).await;
    assert_eq!(open.response().await.status(), 200);
    assert!(proxy.metric("traefik_open_connections", &["entrypoint=\"extra\""]).await >= 1.0);
    proxy.change_fixed(|_| before);
    becomes(at(extra), None).await;
    assert!(open.is_over().await, "an idle connection of it is closed");
    kept.send(REQUEST).await;
    assert_eq!(kept.response().await.status(), 200, "the others notice nothing");
}

#[tokio::test]
async fn a_request_in_flight_outlives_its_entry_point() {
    let (origin, gate) = Origin::held("finished").await;
    let proxy = Setup::to(origin.address).entry_point("other", "").start().await;
    let address = proxy.address("other");
    let mut connection = Connection::open(address).await;
    connection.send(REQUEST).await;
    origin.received(1).await;
    let block = format!("  other:\n    address: \"{address}\"\n");
    proxy.change_fixed(|text| text.replace(&block, ""));
    eventually("the port is closed", || async { TcpStream::connect(address).await.is_err() }).await;
    gate.add_permits(1);
    assert_eq!(connection.response().await.text(), "finished");
}

#[tokio::test]
async fn entry_points_move_and_may_change_places() {
    let origin = Origin::start().await;
    let rule = route("PathPrefix(`/`)", origin.address)
        .replace("service: s\n", "entryPoints: [web]\n      service: s\n");
    let proxy = Setup::new().entry_point("other", "").dynamic(&rule).start().await;
    let (web, other) = (proxy.web(), proxy.address("other"));
    assert_eq!((status(web).await, status(other).await), (Some(200), Some(404)));
    let swap = |text: String| {
        let text = text.replace(&web.to_string(), "WEB").replace(&other.to_string(), &web.to_string());
        text.replace("WEB", &other.to_string())
    };
    proxy.change_fixed(swap);
    becomes(other, Some(200)).await;
    becomes(web, Some(404)).await;
    let moved = at(ports::free());
    proxy.change_fixed(|text| text.replace(&other.to_string(), &moved.to_string()));
    becomes(moved, Some(200)).await;
    becomes(other, None).await;
}

#[tokio::test]
async fn what_is_wrong_or_needs_a_restart_changes_nothing_and_is_told() {
    let origin = Origin::start().await;
    let proxy = Setup::to(origin.address).start().await;
    let good = std::fs::read_to_string(proxy.folder().join("static.yml")).unwrap();
    let extra = ports::free();

    let before = reloads(&proxy);
    proxy.change_fixed(|text| with_port(&text, "extra", extra) + "nonsense: 1\n");
    reloaded(&proxy, before).await;
    assert!(proxy.log().contains("nonsense"), "{}", proxy.log());
    assert_eq!((status(proxy.web()).await, status(at(extra)).await), (Some(200), None));

    let before = reloads(&proxy);
    let log = "accessLog:\n  format: json\n  fields: {names: {ClientHst: keep}}\n";
    proxy.change_fixed(|_| good.clone() + log);
    reloaded(&proxy, before).await;
    assert!(
        proxy.log().contains("accessLog.format: this change counts from the next start"),
        "{}",
        proxy.log()
    );
    assert!(proxy.log().contains("accessLog.fields.names.ClientHst: no line has"), "{}", proxy.log());

    // A port that somebody else has: the others are opened, and this one stays where it was.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let before = reloads(&proxy);
    let (web, foreign) = (proxy.web().to_string(), taken.local_addr().unwrap().to_string());
    proxy.change_fixed(|_| with_port(&good, "extra", extra).replace(&web, &foreign));
    reloaded(&proxy, before).await;
    assert!(proxy.log().contains("cannot listen"), "{}", proxy.log());
    assert_eq!((status(proxy.web()).await, status(at(extra)).await), (Some(200), Some(200)));
    drop(taken);
    proxy.signal("HUP");
    becomes(foreign.parse().unwrap(), Some(200)).await;
}

/// Its faults have their places in the file that counts now, not in the one that the process was started with.
#[tokio::test]
async fn faults_of_a_new_entry_point_have_their_places() {
    let origin = Origin::start().await;
    let proxy = Setup::to(origin.address).start().await;
    let before = reloads(&proxy);
    let lacking = "    http:\n      middlewares: [nobody@file]\n";
    proxy.change_fixed(|text| {
        with_port(&text, "extra", ports::free()).replacen("  web:\n", &[lacking, "  web:\n"].concat(), 1)
    });
    reloaded(&proxy, before).await;
    let told = "static.yml:5:20: entryPoints.extra.http.middlewares: middleware `nobody@file` does not exist";
    assert!(proxy.log().contains(told), "{}", proxy.log());
}

#[tokio::test]
async fn a_fault_of_the_dynamic_configuration_is_told_once_a_reload() {
    const FAULT: &str = "middleware `nobody@file` does not exist";
    const LOST: &str = "entry point `extra` does not exist";
    let origin = Origin::start().await;
    let faulty = "service: s\n      middlewares: [nobody]\n      entryPoints: [web, extra]\n";
    let proxy = Setup::new()
        .entry_point("extra", "")
        .dynamic(&route("PathPrefix(`/`)", origin.address).replacen("service: s\n", faulty, 1))
        .start()
        .await;
    let told = |what: &str| proxy.log().matches(what).count();
    assert_eq!((told(FAULT), told(LOST)), (1, 0));
    let (before, extra) = (reloads(&proxy), proxy.address("extra"));
    proxy.change_fixed(|text| with_port(&text, "more", ports::free()));
    reloaded(&proxy, before).await;
    assert_eq!((told(FAULT), told(LOST)), (2, 0));
    let before = reloads(&proxy);
    proxy.change_fixed(|text| text.replace(&format!("  extra:\n    address: \"{extra}\"\n"), ""));
    reloaded(&proxy, before).await;
    assert_eq!((told(FAULT), told(LOST)), (3, 1));
}

#[tokio::test]
async fn an_entry_point_has_as_many_connections_as_it_may() {
    let origin = Origin::start().await;
    let limit = "transport:\n  maxConnections: 1\n";
    let proxy = Setup::to(origin.address).entry_point("web", limit).start().await;
    let mut first = Connection::open(proxy.web()).await;
    first.send(REQUEST).await;
    assert_eq!(first.response().await.status(), 200);
    let mut second = Connection::open(proxy.web()).await;
    second.send(REQUEST).await;
    eventually("it is told", || async { proxy.log().contains("maxConnections") }).await;
    assert_eq!(origin.requests().len(), 1);
    drop(first);
    assert_eq!(second.response().await.status(), 200);
}
