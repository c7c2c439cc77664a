//! A route that is asked at a steady pace while something else goes on, and whose turn it is on the cores that proxy,
//! service, provider and clients share.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::http1::Connection;
use super::load::PATIENCE;

/// Asks again and again from a thread of its own, which goes before everybody else where it may: what the others do on the
/// same cores is no time of the proxy's.
pub struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Probe {
    /// Sends `request` on a connection of its own once in each `pace`; it must be answered 200.
    pub fn start(address: SocketAddr, request: String, pace: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            go_first();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(ask_until(&stopped, address, &request, pace))
        });
        Self { stop, thread }
    }

    /// The times that it took. Waits beside the runtime: who answers the last of them may live on it.
    pub async fn stop(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let joined = tokio::task::spawn_blocking(|| self.thread.join()).await;
        joined.expect("the probe is not waited for").expect("the probed route failed")
    }
}

/// One request after the other. One that could not be sent in time because those before it took too long is counted from
/// when it was due: a stall costs all that it delays.
async fn ask_until(
    stopped: &AtomicBool,
    address: SocketAddr,
    request: &str,
    pace: Duration,
) -> Vec<Duration> {
    let (mut due, mut times) = (Instant::now(), Vec::new());
    while !stopped.load(Ordering::Relaxed) || times.is_empty() {
        let mut start = due;
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            tokio::time::sleep(early).await;
            start = Instant::now();
        }
        ask(address, request).await;
        times.push(start.elapsed());
        due += pace;
    }
    times
}

async fn ask(address: SocketAddr, request: &str) {
    let mut connection = Connection::open(address).await;
    connection.send(request).await;
    let answer = tokio::time::timeout(PATIENCE, connection.response_to(false)).await;
    let answer = answer.ok().flatten().expect("no answer");
    assert_eq!(answer.status(), 200, "{answer:?}");
}

/// The same asked through the proxy and, at the same time, of the service itself: what the machine does is in both.
pub struct Probes {
    through: Probe,
    straight: Probe,
}

/// What [`Probes`] saw.
pub struct Probed {
    pub through: Vec<Duration>,
    pub straight: Vec<Duration>,
}

impl Probes {
    pub fn start(proxy: SocketAddr, service: SocketAddr, request: &str, pace: Duration) -> Self {
        let start = |address| Probe::start(address, request.to_owned(), pace);
        Self { through: start(proxy), straight: start(service) }
    }

    pub async fn stop(self) -> Probed {
        Probed { through: self.through.stop().await, straight: self.straight.stop().await }
    }
}

/// Has this thread go before all others, if this user may: real time, or at least a better `nice`.
pub fn go_first() {
    if !scheduled("chrt", &["--fifo", "--pid", "1"]) {
        scheduled("renice", &["-n", "-10", "-p"]);
    }
}

/// Has this thread run while no core is wanted by another, which needs no privilege. The lowest `nice` is not enough: who
/// has it may finish its slice before a thread that wakes up.
#[allow(dead_code)] // Only `make storm` measures so.
pub fn go_last() {
    if !scheduled("chrt", &["--idle", "--pid", "0"]) {
        scheduled("renice", &["-n", "19", "-p"]);
    }
}

/// Runs a command of util-linux on this thread; whether that worked.
fn scheduled(command: &str, arguments: &[&str]) -> bool {
    let Ok(thread) = std::fs::read_link("/proc/thread-self") else { return false };
    let Some(id) = thread.file_name() else { return false };
    Command::new(command).args(arguments).arg(id).output().is_ok_and(|output| output.status.success())
}
