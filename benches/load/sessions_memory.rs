//! Resident memory with many sessions: `cargo run --release --example sessions_memory [COUNT]`.
//!
//! Sessions as in `benches/support`, in a real sqlite store, each used once by a policy, so that it is in memory with
//! its verdict and its ready headers. First in the process that made them (as after so many logins), then in a second
//! process that finds them in the store (as after a restart). Each time also when all have been idle for a minute and
//! the upkeep has come by.

#![allow(missing_docs, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use futures_util::stream;
use portcullis::oidc::session::{Sessions, SqliteStore};
use portcullis::oidc::{Decision, Policy};
use support::{browser, cookie_name, policy, record, request};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Logins or first requests at a time.
const AT_ONCE: usize = 64;

/// A line of `/proc/self/status`, in kB.
fn kilobytes(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().expect("a number")
}

fn report(what: &str, sessions: &Sessions, since: Instant) {
    println!(
        "{what:<22} {:>7} sessions in memory   resident {:>4} MB   of it anonymous {:>4} MB   peak {:>4} MB   {:.1} s",
        sessions.cached(),
        kilobytes("VmRSS") / 1000,
        kilobytes("RssAnon") / 1000,
        kilobytes("VmHWM") / 1000,
        since.elapsed().as_secs_f64()
    );
}

fn open(folder: &Path) -> (Policy, Sessions) {
    policy(Arc::new(SqliteStore::open(folder.join("sessions.sqlite")).expect("a store")))
}

async fn visit(policy: &Policy, id: &str) {
    let name = cookie_name();
    let headers = browser(&format!("{name}={id}"));
    let decision = policy.decide(&request(&headers), SystemTime::now()).await;
    assert!(matches!(decision, Decision::Forward(_)), "not let pass");
}

async fn make(folder: &Path, count: usize) {
    let started = Instant::now();
    let (policy, sessions) = open(folder);
    report("empty", &sessions, started);
    let now = SystemTime::now();
    // As they come: a list of them would be memory of ours, not of the sessions.
    let ids = BufWriter::new(File::create(folder.join("ids")).expect("a file"));
    let made = stream::iter(0..count).map(|number| {
        let (policy, sessions) = (&policy, &sessions);
        async move {
            let id = sessions.create(record(number, now)).await.expect("a session").0.to_text();
            visit(policy, &id).await;
            id
        }
    });
    let write = async |mut ids: BufWriter<File>, id: String| {
        writeln!(ids, "{id}").expect("room");
        ids
    };
    drop(made.buffer_unordered(AT_ONCE).fold(ids, write).await);
    report("after the logins", &sessions, started);
    idle(&sessions, started).await;
}

/// The upkeep as it comes by each minute, two minutes on.
async fn idle(sessions: &Sessions, since: Instant) {
    sessions.purge(SystemTime::now() + Duration::from_secs(120)).await;
    // Time for the allocator to give back what is free, if it will.
    tokio::time::sleep(Duration::from_secs(3)).await;
    report("idle", sessions, since);
}

async fn read(folder: &Path) {
    let ids = BufReader::new(File::open(folder.join("ids")).expect("a file")).lines();
    let started = Instant::now();
    let (policy, sessions) = open(folder);
    report("empty", &sessions, started);
    let visit = async |id: std::io::Result<String>| visit(&policy, &id.expect("a line")).await;
    stream::iter(ids).for_each_concurrent(AT_ONCE, visit).await;
    report("after a restart", &sessions, started);
    idle(&sessions, started).await;
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, folder] = arguments.as_slice()
        && mode == "read"
    {
        return read(Path::new(folder)).await;
    }
    let count = arguments.first().map_or(100_000, |count| count.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    make(folder.path(), count).await;
    let own = std::env::current_exe().expect("our path");
    let status = Command::new(own).arg("read").arg(folder.path()).status().expect("a process");
    assert!(status.success(), "the second process failed");
}
