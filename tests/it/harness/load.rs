//! Load: many requests at once, and what the process costs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::http1::Connection;

/// Longer than any wait that the proxy allows itself.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A script's GET of `target` with a session, on a connection that ends with it.
pub fn fetch(target: &str, cookie: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nConnection: close\r\n{}", fields(cookie))
}

/// A browser's navigation to `target` without a session, on a connection that ends with it.
pub fn navigation(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\
         Accept: text/html\r\nConnection: close\r\n\r\n"
    )
}

/// The other fields of what a script sends, up to the empty line.
pub fn fields(cookie: &str) -> String {
    let mut text = "Host: localhost\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n".to_owned();
    if !cookie.is_empty() {
        text.push_str(&format!("Cookie: {cookie}\r\n"));
    }
    text + "\r\n"
}

/// What came back; status 0 when nothing did.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub retry_after: bool,
    pub sets_cookie: bool,
    /// From the moment when all were sent.
    pub took: Duration,
}

/// Requests that are on their way, each on a connection of its own.
pub struct Burst {
    connections: Vec<Connection>,
    sent: Instant,
}

impl Burst {
    /// Opens all connections before the first request is sent.
    pub async fn send(address: SocketAddr, requests: &[String]) -> Self {
        Self::send_within(address, requests, Duration::ZERO).await
    }

    /// As [`Burst::send`], but the requests are sent evenly within `window`. On a thread of the clients', whose priority
    /// the test's own need not have.
    pub async fn send_within(address: SocketAddr, requests: &[String], window: Duration) -> Self {
        let requests = requests.to_vec();
        let sending = tokio::spawn(async move {
            let mut connections = Vec::with_capacity(requests.len());
            for _ in &requests {
                connections.push(Connection::open(address).await);
            }
            Self::over(connections, &requests, window).await
        });
        sending.await.expect("the requests cannot be sent")
    }

    /// Sends the requests evenly within `window`.
    async fn over(mut connections: Vec<Connection>, requests: &[String], window: Duration) -> Self {
        let sent = Instant::now();
        let pace = window.div_f64(connections.len().max(1) as f64);
        let mut due = Duration::ZERO;
        for (connection, request) in connections.iter_mut().zip(requests) {
            if let Some(early) = due.checked_sub(sent.elapsed()).filter(|early| !early.is_zero()) {
                tokio::time::sleep(early).await;
            }
            connection.send(request).await;
            due += pace;
        }
        Self { connections, sent }
    }

    /// All answers, in no order.
    pub async fn answers(self) -> Vec<Answer> {
        let mut reading = JoinSet::new();
        for mut connection in self.connections {
            reading.spawn(async move {
                let message = tokio::time::timeout(PATIENCE, connection.response_to(false)).await;
                let message = message.ok().flatten().filter(|message| !message.truncated);
                let status = message.as_ref().map_or(0, super::http1::Message::status);
                let has = |name| message.as_ref().is_some_and(|message| message.get(name).is_some());
                let (retry_after, sets_cookie) = (has("retry-after"), has("set-cookie"));
                Answer { status, retry_after, sets_cookie, took: self.sent.elapsed() }
            });
        }
        reading.join_all().await
    }
}

/// Sends all at once and waits for all.
pub async fn burst(address: SocketAddr, requests: &[String]) -> Vec<Answer> {
    Burst::send(address, requests).await.answers().await
}

/// How many of each status: `500 × 200`.
pub fn statuses(answers: &[Answer]) -> String {
    let mut counts = BTreeMap::<u16, usize>::new();
    answers.iter().for_each(|answer| *counts.entry(answer.status).or_default() += 1);
    let counts: Vec<String> = counts.iter().map(|(status, count)| format!("{count} × {status}")).collect();
    counts.join(", ")
}

/// Whether all have this status.
pub fn all_are(answers: &[Answer], status: u16) -> bool {
    !answers.is_empty() && answers.iter().all(|answer| answer.status == status)
}

/// The longest of them.
pub fn last(answers: &[Answer]) -> Duration {
    answers.iter().map(|answer| answer.took).max().unwrap_or_default()
}

/// The part of `times` below which `percent` of them are.
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default()
}

/// Resident memory of a process in KiB.
pub fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// CPU time of a process in ticks of 10 ms.
pub fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold spaces and brackets; user and system time are the 12th and 13th field after it.
    let (_, rest) = stat.rsplit_once(')').unwrap_or_default();
    rest.split_whitespace().skip(11).take(2).filter_map(|number| number.parse::<u64>().ok()).sum()
}

/// How a closed loop on keep-alive connections went.
#[derive(Debug, Default)]
pub struct Loop {
    pub served: usize,
    pub failed: usize,
    pub times: Vec<Duration>,
}

/// `connections` send `request` for `length`, each the next one after its answer, and no sooner than `pace` after the
/// one before.
pub async fn closed_loop(
    address: SocketAddr,
    request: &str,
    connections: usize,
    length: Duration,
    pace: Duration,
) -> Loop {
    let until = Instant::now() + length;
    let request: Arc<str> = request.into();
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let request = Arc::clone(&request);
        clients.spawn(async move {
            let mut result = Loop::default();
            let mut connection = Connection::open(address).await;
            while Instant::now() < until {
                let start = Instant::now();
                connection.send(request.as_bytes()).await;
                match tokio::time::timeout(PATIENCE, connection.response_to(false)).await {
                    Ok(Some(message)) if message.status() == 200 => result.served += 1,
                    _ => {
                        result.failed += 1;
                        connection = Connection::open(address).await;
                    }
                }
                result.times.push(start.elapsed());
                // Even a sleep of nothing lasts until the next tick.
                if let Some(left) = pace.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
                    tokio::time::sleep(left).await;
                }
            }
            result
        });
    }
    let mut all = Loop::default();
    for one in clients.join_all().await {
        all.served += one.served;
        all.failed += one.failed;
        all.times.extend(one.times);
    }
    all
}
