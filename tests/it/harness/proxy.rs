//! The proxy under test: the real binary as a child process, with a folder of configuration of its own.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use super::http1::Connection;
use super::{SOON, ports};

/// The binary that Cargo built for this test run.
pub const BINARY: &str = env!("CARGO_BIN_EXE_portcullis");

/// The binary under test: [`BINARY`], or the one that the environment names in `PORTCULLIS_BINARY`.
fn binary() -> OsString {
    std::env::var_os("PORTCULLIS_BINARY").unwrap_or_else(|| BINARY.into())
}

/// A proxy that is about to be started: its ports are known, its configuration is being written.
pub struct Setup {
    folder: TempDir,
    entry_points: Vec<(String, u16, String)>,
    dynamic: String,
    fixed: String,
    file_provider: String,
    log_level: &'static str,
    one_core: bool,
}

impl Setup {
    /// With one entry point `web`.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file_provider = format!("filename: \"{}\"", folder.path().join("dynamic.yml").display());
        Self {
            folder,
            entry_points: vec![("web".to_owned(), ports::free(), String::new())],
            dynamic: String::new(),
            fixed: String::new(),
            file_provider,
            log_level: "DEBUG",
            one_core: false,
        }
    }

    /// Everything goes to one origin.
    pub fn to(origin: SocketAddr) -> Self {
        Self::new().dynamic(&route("PathPrefix(`/`)", origin))
    }

    /// Adds an entry point, or options to one that is there. `options` is YAML below its name.
    pub fn entry_point(mut self, name: &str, options: &str) -> Self {
        match self.entry_points.iter_mut().find(|(known, _, _)| known == name) {
            Some((_, _, known)) => known.push_str(options),
            None => self.entry_points.push((name.to_owned(), ports::free(), options.to_owned())),
        }
        self
    }

    /// Replaces the dynamic configuration (YAML).
    pub fn dynamic(mut self, text: &str) -> Self {
        text.clone_into(&mut self.dynamic);
        self
    }

    /// Adds to the static configuration (YAML, top level).
    pub fn fixed(mut self, text: &str) -> Self {
        let _ = writeln!(self.fixed, "{text}");
        self
    }

    /// Replaces what stands below `providers.file`, for folders.
    pub fn file_provider(mut self, yaml: &str) -> Self {
        yaml.clone_into(&mut self.file_provider);
        self
    }

    /// Logs warnings and errors only, for measurements.
    pub fn quiet(mut self) -> Self {
        self.log_level = "WARN";
        self
    }

    /// On one core only, which leaves it one worker thread. Needs `taskset`.
    pub fn one_core(mut self) -> Self {
        self.one_core = true;
        self
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where an entry point will listen.
    pub fn address(&self, entry_point: &str) -> SocketAddr {
        let (_, port, _) = self.entry_points.iter().find(|(name, _, _)| name == entry_point).unwrap();
        SocketAddr::from(([127, 0, 0, 1], *port))
    }

    /// Its outside address by the name `localhost`, which no provider of the tests has.
    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.address("web").port())
    }

    /// Starts it and returns when it is ready.
    pub async fn start(self) -> Proxy {
        let mut proxy = self.spawn();
        proxy.ready().await;
        proxy
    }

    /// Starts it without waiting.
    pub fn spawn(mut self) -> Proxy {
        self = self.entry_point("traefik", "");
        fs::write(self.folder.path().join("dynamic.yml"), &self.dynamic).unwrap();
        let config = self.folder.path().join("static.yml");
        fs::write(&config, self.static_text()).unwrap();
        let state = self.folder.path().join("state");
        // A test may have put something else there.
        if !state.exists() {
            fs::create_dir(state).unwrap();
        }
        let child = launch(&config, self.folder.path(), self.one_core);
        Proxy { setup: self, config, child }
    }

    fn static_text(&self) -> String {
        let mut text = String::from("entryPoints:\n");
        for (name, port, options) in &self.entry_points {
            let _ = writeln!(text, "  {name}:\n    address: \"127.0.0.1:{port}\"");
            for line in options.lines() {
                let _ = writeln!(text, "    {line}");
            }
        }
        text.push_str("ping: {}\nmetrics:\n  prometheus: {}\n");
        let _ = writeln!(text, "log:\n  level: {}", self.log_level);
        text.push_str("providers:\n  providersThrottleDuration: 100ms\n  file:\n");
        for line in self.file_provider.lines() {
            let _ = writeln!(text, "    {line}");
        }
        text + &self.fixed
    }
}

/// The environment of a test must not leak in, and no state may leak out.
fn launch(config: &Path, folder: &Path, one_core: bool) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("proxy.log")).unwrap();
    let state = folder.join("state");
    let mut command = if one_core {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &first_core()]).arg(binary());
        command
    } else {
        Command::new(binary())
    };
    command
        .arg(format!("--configFile={}", config.display()))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("STATE_DIRECTORY", &state)
        .env("RUST_BACKTRACE", "1")
        // As file names may be, which shells put into variables.
        .env("OLDPWD", OsStr::from_bytes(b"/caf\xe9"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Whether a process can be put on one core here; says so if not.
#[allow(dead_code)] // `make storm` needs no word of it.
pub fn one_core(test: &str) -> bool {
    let found = Command::new("taskset").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: {test}: needs taskset");
    }
    found
}

/// The first core that this process may use.
fn first_core() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("0");
    list.trim().split([',', '-']).next().unwrap_or("0").to_owned()
}

/// A running proxy. Dropping it kills it.
pub struct Proxy {
    setup: Setup,
    config: PathBuf,
    child: Child,
}

impl Proxy {
    /// Where an entry point listens.
    pub fn address(&self, entry_point: &str) -> SocketAddr {
        self.setup.address(entry_point)
    }

    /// Where the entry point `web` listens.
    pub fn web(&self) -> SocketAddr {
        self.address("web")
    }

    /// Its outside address by name.
    pub fn url(&self) -> String {
        self.setup.url()
    }

    pub fn folder(&self) -> &Path {
        self.setup.folder()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it wrote to its console.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder().join("proxy.log")).unwrap_or_default()
    }

    /// Overwrites the dynamic configuration in one step, as careful editors do.
    pub fn change(&self, dynamic: &str) {
        let next = self.folder().join("dynamic.yml.next");
        fs::write(&next, dynamic).unwrap();
        fs::rename(next, self.folder().join("dynamic.yml")).unwrap();
    }

    /// Rewrites the static configuration, and has it read again.
    pub fn change_fixed(&self, edit: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(&self.config).unwrap();
        fs::write(&self.config, edit(text)).unwrap();
        self.signal("HUP");
    }

    /// Waits until `/readyz` says yes.
    pub async fn ready(&mut self) {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the proxy ended while starting: {status}\n{}", self.log());
            }
            if self.admin("/readyz").await.is_some_and(|(status, _)| status == 200) {
                return;
            }
            assert!(Instant::now() < deadline, "the proxy is not ready after {SOON:?}\n{}", self.log());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Asks the entry point `traefik`; none when nothing answers there.
    pub async fn admin(&self, path: &str) -> Option<(u16, String)> {
        let address = self.address("traefik");
        let stream = tokio::net::TcpStream::connect(address).await.ok()?;
        let mut connection = Connection::new(stream);
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")).await;
        let response = connection.response_to(false).await?;
        Some((response.status(), response.text()))
    }

    /// Sum over all series of a metric whose labels contain `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (status, text) = self.admin("/metrics").await.expect("no metrics");
        assert_eq!(status, 200, "{text}");
        let fits = |line: &&str| {
            let series = line.split(['{', ' ']).next() == Some(name);
            series && labels.iter().all(|label| line.contains(label))
        };
        text.lines().filter(fits).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Kills it without a chance to tidy up, and starts it again in the same folder.
    pub async fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = launch(&self.config, self.setup.folder.path(), self.setup.one_core);
        self.ready().await;
    }

    /// Sends a signal by name: TERM, HUP.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the proxy still runs after {SOON:?}\n{}", self.log());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- the proxy's last lines");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Dynamic configuration with one router `r` for `rule` and one service `s` at `origin`.
pub fn route(rule: &str, origin: SocketAddr) -> String {
    format!(
        "http:\n  routers:\n    r:\n      rule: {rule}\n      service: s\n  services:\n    s:\n      loadBalancer:\n        \
         servers:\n          - url: http://{origin}\n"
    )
}

/// Runs `portcullis check` on a static configuration; returns whether it passed, and all that it printed.
pub fn check(config: &Path) -> (bool, String) {
    let output = Command::new(BINARY)
        .arg("check")
        .arg(format!("--configFile={}", config.display()))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), text)
}
