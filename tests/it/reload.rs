//! Dynamic configuration that changes while requests pass.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::harness::client::get;
use crate::harness::eventually;
use crate::harness::http1::Connection;
use crate::harness::origin::{Origin, ok};
use crate::harness::proxy::{Proxy, Setup, check, route};

async fn status(proxy: &Proxy, target: &str) -> u16 {
    get(proxy.web(), "h", target, &[]).await.status()
}

async fn becomes(proxy: &Proxy, target: &str, wanted: u16) {
    eventually(&format!("{target} becomes {wanted}"), || async { status(proxy, target).await == wanted })
        .await;
}

/// Proves that the newest change has been seen, whatever it was: the metric of reloads has moved.
async fn reloads(proxy: &Proxy) -> f64 {
    proxy.metric("traefik_config_reloads_total", &[]).await
}

#[tokio::test]
async fn a_change_is_applied_without_a_restart() {
    let origin = Origin::start().await;
    let proxy = Setup::new().dynamic(&route("Path(`/old`)", origin.address)).start().await;
    assert_eq!(status(&proxy, "/old").await, 200);
    proxy.change(&route("Path(`/new`)", origin.address));
    becomes(&proxy, "/new", 200).await;
    assert_eq!(status(&proxy, "/old").await, 404);
    // Written in place, as `echo >` does.
    fs::write(proxy.folder().join("dynamic.yml"), route("Path(`/newer`)", origin.address)).unwrap();
    becomes(&proxy, "/newer", 200).await;
}

#[tokio::test]
async fn a_file_that_does_not_decode_is_refused_whole_and_the_old_one_serves() {
    let origin = Origin::start().await;
    let good = route("Path(`/good`)", origin.address);
    let proxy = Setup::new().dynamic(&good).start().await;
    for (bad, says) in [
        (good.replace("rule:", "rul:"), "did you mean `rule`"),
        (format!("{good}  nonsense: 1\n"), "nonsense"),
        (good.replace("service: s", "service: [s"), "dynamic.yml"),
        (good.replace("      rule:", "      priority: high\n      rule:"), "priority"),
    ] {
        let before = reloads(&proxy).await;
        proxy.change(&bad);
        eventually("the refusal is counted", || async { reloads(&proxy).await > before }).await;
        assert_eq!(status(&proxy, "/good").await, 200, "{says}");
        assert!(proxy.log().contains(says), "no {says:?} in the log");
    }
    proxy.change(&route("Path(`/mended`)", origin.address));
    becomes(&proxy, "/mended", 200).await;
}

#[tokio::test]
async fn all_errors_are_named_at_once_with_their_lines() {
    let origin = Origin::start().await;
    let setup = Setup::new();
    let wrong = "  routers:\n    q:\n      rul: Path(`/`)\n      servise: s\n    p:\n      priority: high\n";
    let text = route("Path(`/`)", origin.address).replacen("  routers:\n", wrong, 1);
    let proxy = setup.dynamic(&text).spawn();
    let config = proxy.folder().join("static.yml");
    let (passed, printed) = check(&config);
    assert!(!passed);
    for says in ["dynamic.yml", "`rul`", "`servise`", "priority", ":4:", ":5:", ":7:"] {
        assert!(printed.contains(says), "no {says:?} in\n{printed}");
    }
}

#[tokio::test]
async fn a_folder_is_watched_with_its_kubernetes_links() {
    let origin = Origin::start().await;
    let setup = Setup::new();
    let volume = setup.folder().join("volume");
    // As a mounted ConfigMap: file -> ..data/file, ..data -> ..2026_1; an update swaps ..data in one rename.
    let version = |name: &str, rule: &str| {
        fs::create_dir_all(volume.join(name)).unwrap();
        fs::write(volume.join(name).join("routes.yml"), route(rule, origin.address)).unwrap();
    };
    version("..2026_1", "Path(`/one`)");
    symlink("..2026_1", volume.join("..data")).unwrap();
    symlink("..data/routes.yml", volume.join("routes.yml")).unwrap();
    let provider = format!("directory: \"{}\"", volume.display());
    let proxy = setup.file_provider(&provider).start().await;
    assert_eq!(status(&proxy, "/one").await, 200);
    version("..2026_2", "Path(`/two`)");
    symlink("..2026_2", volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    becomes(&proxy, "/two", 200).await;
    assert_eq!(status(&proxy, "/one").await, 404);
}

#[tokio::test]
async fn files_of_a_folder_come_and_go_and_toml_is_read_too() {
    let origin = Origin::start().await;
    let setup = Setup::new();
    let folder = setup.folder().join("conf.d");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(folder.join("a.yml"), route("Path(`/a`)", origin.address)).unwrap();
    let provider = format!("directory: \"{}\"", folder.display());
    let proxy = setup.file_provider(&provider).start().await;
    assert_eq!(status(&proxy, "/a").await, 200);
    let toml = format!(
        "[http.routers.t]\nrule = \"Path(`/t`)\"\nservice = \"t\"\n[[http.services.t.loadBalancer.servers]]\nurl = \"{}\"\n",
        origin.url()
    );
    fs::write(folder.join("sub/t.toml"), toml).unwrap();
    becomes(&proxy, "/t", 200).await;
    assert_eq!(status(&proxy, "/a").await, 200);
    fs::remove_file(folder.join("a.yml")).unwrap();
    becomes(&proxy, "/a", 404).await;
    assert_eq!(status(&proxy, "/t").await, 200);
}

#[tokio::test]
async fn requests_in_flight_and_open_connections_do_not_notice() {
    let gate = Arc::new(Semaphore::new(0));
    let theirs = Arc::clone(&gate);
    let origin = Origin::with(move |seen, mut connection| {
        let gate = Arc::clone(&theirs);
        async move {
            if seen.target == "/old" {
                let _ = gate.acquire().await.map(tokio::sync::SemaphorePermit::forget);
            }
            connection.send(ok("finished")).await;
            Some(connection)
        }
    })
    .await;
    let proxy = Setup::new().dynamic(&route("PathPrefix(`/old`)", origin.address)).start().await;
    let mut connection = Connection::open(proxy.web()).await;
    connection.send("GET /old HTTP/1.1\r\nHost: h\r\n\r\n").await;
    origin.received(1).await;
    proxy.change(&route("Path(`/new`)", origin.address));
    becomes(&proxy, "/new", 200).await;
    assert_eq!(status(&proxy, "/old/probe").await, 404);
    gate.add_permits(1);
    assert_eq!(connection.response().await.text(), "finished");
    connection.send("GET /new HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(connection.response().await.text(), "finished");
}

#[tokio::test]
async fn no_request_is_lost_while_the_configuration_changes_again_and_again() {
    let origin = Origin::start().await;
    let base = route("PathPrefix(`/`)", origin.address);
    let proxy = Setup::new().dynamic(&base).start().await;
    for round in 0..20 {
        proxy.change(&base.replace("service: s\n", &format!("service: s\n      priority: {}\n", round + 1)));
        for _ in 0..20 {
            assert_eq!(status(&proxy, "/").await, 200, "round {round}");
        }
    }
}

#[tokio::test]
async fn it_is_not_ready_without_a_first_configuration() {
    let mut proxy = Setup::new().dynamic("http: [").spawn();
    eventually("it lives", || async { proxy.admin("/livez").await.is_some_and(|(status, _)| status == 200) })
        .await;
    assert_ne!(proxy.admin("/readyz").await.unwrap().0, 200);
    eventually("the refusal is told", || async { proxy.log().contains("configuration refused") }).await;
    assert!(proxy.log().contains("there is none yet"), "{}", proxy.log());
    let origin = Origin::start().await;
    proxy.change(&route("Path(`/`)", origin.address));
    proxy.ready().await;
    assert_eq!(status(&proxy, "/").await, 200);
}

#[tokio::test]
async fn a_static_configuration_with_a_fault_does_not_start() {
    let mut proxy = Setup::new().fixed("entrypionts: {}").spawn();
    let status = proxy.ended().await;
    assert!(!status.success());
    let log = proxy.log();
    assert!(log.contains("static.yml") && log.contains("did you mean `entryPoints`"), "{log}");
}

#[tokio::test]
async fn what_is_not_supported_yet_is_refused_by_name() {
    let mut proxy = Setup::new().fixed("tracing: {}").spawn();
    assert!(!proxy.ended().await.success());
    assert!(proxy.log().contains("tracing") && proxy.log().contains("not supported yet"), "{}", proxy.log());
}
