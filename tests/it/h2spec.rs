//! HTTP/2 conformance, as h2spec (RFC 9113 and RFC 7541) sees it. `H2SPEC` names its binary; else it is looked for in
//! `PATH`, and the test is skipped where it is not.

use std::collections::BTreeSet;
use std::ffi::OsString;

use tokio::process::Command;

use crate::harness::certificates::Authority;
use crate::harness::origin::Origin;
use crate::harness::proxy::{Setup, route};

/// Long enough for the tests of flow control.
const BODY: &str = "A body that no window of a few bytes lets pass at once.";

/// The tests that fail, and how many have passed.
struct Verdict {
    failed: BTreeSet<String>,
    passed: usize,
}

fn binary() -> OsString {
    std::env::var_os("H2SPEC").unwrap_or_else(|| "h2spec".into())
}

async fn verdict(port: u16, options: &[&str]) -> Verdict {
    let port = port.to_string();
    let mut command = Command::new(binary());
    command.args(["-h", "localhost", "-p", &port, "-o", "5", "--strict"]).args(options).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let failed =
        text.lines().filter_map(|line| Some(line.split_once("× ")?.1.trim_end().to_owned())).collect();
    // "146 tests, 145 passed, 0 skipped, 1 failed"
    let counts = text.lines().rev().find(|line| line.contains(" tests, ")).unwrap_or_default();
    let passed = counts.split(", ").find_map(|count| count.strip_suffix(" passed")?.parse().ok());
    Verdict { failed, passed: passed.unwrap_or_else(|| panic!("{text}")) }
}

#[tokio::test]
async fn http2_is_what_h2spec_expects() {
    if Command::new(binary()).arg("--version").output().await.is_err() {
        println!("skipped: http2_is_what_h2spec_expects needs h2spec");
        return;
    }
    let (authority, origin) = (Authority::new(), Origin::named(BODY).await);
    let setup = Setup::new().entry_point("secure", "http:\n  tls: {}");
    authority.issue(&["localhost"]).write(setup.folder(), "localhost");
    let folder = setup.folder().display().to_string();
    let certificate = format!(
        "tls:\n  certificates:\n    - {{certFile: \"{folder}/localhost.pem\", keyFile: \"{folder}/localhost.key\"}}\n"
    );
    let proxy = setup.dynamic(&(route("PathPrefix(`/`)", origin.address) + &certificate)).start().await;

    let secure = verdict(proxy.address("secure").port(), &["-t", "-k"]).await;
    assert_eq!(secure.failed, BTreeSet::new());
    assert!(secure.passed >= 140, "{}", secure.passed);

    // A port without TLS speaks HTTP/1.1 too, so what is no preface is answered as a bad request, and then closed.
    let plain = verdict(proxy.web().port(), &[]).await;
    assert_eq!(plain.failed, BTreeSet::from(["2: Sends invalid connection preface".to_owned()]));
    assert!(plain.passed >= 140, "{}", plain.passed);
}
