//! Real Redis servers for tests: on free loopback ports, in a folder of their own, ended with the test.
//!
//! The integration tests use this file, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, dead_code)]

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// Some servers. Dropping it kills them.
pub struct Servers {
    folder: TempDir,
    nodes: Vec<Node>,
}

struct Node {
    port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

/// Whether the tests that need Redis can run; says by name when one cannot.
pub fn available(test: &str) -> bool {
    let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("skipped: {test}: there is no redis-server");
    }
    found
}

impl Servers {
    /// One server that keeps its data, with more options.
    pub async fn single(options: &[&str]) -> Self {
        let mut servers = Self::none();
        servers.add(&[&["--appendonly", "yes", "--appendfsync", "always"], options].concat());
        let password = options.iter().position(|option| *option == "--requirepass").map(|at| options[at + 1]);
        servers.answers(0, password).await;
        servers
    }

    /// One server behind TLS only; its authority is in `ca()`.
    pub async fn tls() -> Self {
        let mut servers = Self::none();
        certificates(servers.folder.path());
        let file = |name: &str| servers.folder.path().join(name).display().to_string();
        let (ca, certificate, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
        let port = free_port();
        let node = ["--port", "0", "--tls-port", &port.to_string(), "--tls-cert-file", &certificate];
        let more = ["--tls-key-file", &key, "--tls-ca-cert-file", &ca, "--tls-auth-clients", "no"];
        servers.add_at(port, &[node.as_slice(), &more].concat());
        servers.cli_until(0, &["--tls", "--cacert", &ca, "ping"], "PONG").await;
        servers
    }

    /// A primary, a replica and three sentinels (the last three), which watch the set `portcullis`.
    pub async fn sentinels() -> Self {
        let mut servers = Self::none();
        servers.add(&[]);
        let primary = servers.port(0).to_string();
        servers.answers(0, None).await;
        servers.add(&["--replicaof", "127.0.0.1", &primary]);
        for n in 0..3 {
            let (port, file) = (free_port(), servers.folder.path().join(format!("sentinel{n}.conf")));
            let text = format!(
                "bind 127.0.0.1\nport {port}\nsentinel monitor portcullis 127.0.0.1 {primary} 2\n\
                 sentinel down-after-milliseconds portcullis 1000\nsentinel failover-timeout portcullis 3000\n"
            );
            fs::write(&file, text).unwrap();
            servers.start(Node {
                port,
                arguments: vec![file.display().to_string(), "--sentinel".to_owned()],
                child: None,
            });
        }
        servers.cli_until(2, &["info", "sentinel"], "slaves=1,sentinels=3").await;
        servers
    }

    /// Three primaries and a replica of each.
    pub async fn cluster() -> Self {
        let mut servers = Self::none();
        for _ in 0..6 {
            let bus = free_port().to_string();
            let cluster =
                ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--cluster-port", &bus];
            servers.add(&[&cluster, ["--appendonly", "yes"].as_slice()].concat());
        }
        for n in 0..6 {
            servers.answers(n, None).await;
        }
        let nodes: Vec<String> =
            servers.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(nodes.iter().map(String::as_str));
        create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        assert!(Command::new("redis-cli").args(&create).output().unwrap().status.success());
        for n in 0..6 {
            servers.cli_until(n, &["cluster", "info"], "cluster_state:ok").await;
        }
        for primary in 0..3 {
            servers.cli_until(primary, &["info", "replication"], "state=online").await;
        }
        servers
    }

    fn none() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), nodes: Vec::new() }
    }

    pub fn port(&self, node: usize) -> u16 {
        self.nodes[node].port
    }

    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.port).collect()
    }

    /// The file with the certificate authority of [`Servers::tls`].
    pub fn ca(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    /// As a crash would.
    pub fn kill(&mut self, node: usize) {
        if let Some(mut child) = self.nodes[node].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts a killed server again, with the data that it kept.
    pub async fn restart(&mut self, node: usize) {
        let arguments = self.nodes[node].arguments.clone();
        self.nodes[node].child = Some(launch(&arguments));
        self.answers(node, None).await;
    }

    /// Sends a signal by name: STOP, CONT.
    pub fn signal(&self, node: usize, name: &str) {
        let pid = self.nodes[node].child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// What `redis-cli` prints.
    pub fn cli(&self, node: usize, arguments: &[&str]) -> String {
        let port = self.port(node).to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub async fn cli_until(&self, node: usize, arguments: &[&str], expected: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.cli(node, arguments).contains(expected) {
            assert!(Instant::now() < deadline, "redis-cli {arguments:?} never said {expected}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the replica of `primary` has all that it has.
    pub async fn replicated(&self, primary: usize) {
        let deadline = Instant::now() + PATIENCE;
        let number = |text: &str, before: &str| {
            let digits = text.split_once(before)?.1;
            digits.split(|c: char| !c.is_ascii_digit()).next().map(str::to_owned)
        };
        loop {
            let text = self.cli(primary, &["info", "replication"]);
            let there = number(&text, ",offset=");
            if there.is_some() && there == number(&text, "master_repl_offset:") {
                return;
            }
            assert!(Instant::now() < deadline, "the replica lags behind: {text}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn answers(&self, node: usize, password: Option<&str>) {
        let login = password.map_or(vec![], |password| vec!["--no-auth-warning", "-a", password]);
        self.cli_until(node, &[login.as_slice(), &["ping"]].concat(), "PONG").await;
    }

    fn add(&mut self, options: &[&str]) {
        let port = free_port();
        self.add_at(port, &[&["--port", &port.to_string()], options].concat());
    }

    fn add_at(&mut self, port: u16, options: &[&str]) {
        let folder = self.folder.path().join(format!("node{}", self.nodes.len()));
        fs::create_dir(&folder).unwrap();
        let folder = folder.display().to_string();
        let common =
            ["--bind", "127.0.0.1", "--dir", &folder, "--save", "", "--repl-diskless-sync-delay", "0"];
        let arguments = common.iter().chain(options).map(|&argument| argument.to_owned()).collect();
        self.start(Node { port, arguments, child: None });
    }

    fn start(&mut self, mut node: Node) {
        node.child = Some(launch(&node.arguments));
        self.nodes.push(node);
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for node in 0..self.nodes.len() {
            self.kill(node);
        }
    }
}

fn launch(arguments: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Below the ports of the other tests and those that the kernel gives to outgoing connections.
fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 7_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(u32::from(COUNT) * (std::process::id() % 97) / 97).unwrap();
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

fn certificates(folder: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a certificate whose issuer has the same name for a self-signed one.
    ca.distinguished_name.push(DnType::CommonName, "authority of the tests");
    let ca_certificate = ca.self_signed(&key).unwrap();
    let issuer = Issuer::new(ca, key);
    let server_key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let server = CertificateParams::new(names).unwrap().signed_by(&server_key, &issuer).unwrap();
    fs::write(folder.join("ca.pem"), ca_certificate.pem()).unwrap();
    fs::write(folder.join("cert.pem"), server.pem()).unwrap();
    fs::write(folder.join("key.pem"), server_key.serialize_pem()).unwrap();
}
