//! What comes in herds goes on a few at a time.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::timeout;

/// Longest wait for a turn. It is reached where workers are busy for ever, and look up once in some 61 tasks; a herd that
/// keeps a core busy for that long is not to be let go at once.
const LONGEST: Duration = Duration::from_secs(3);

/// Cores that this process may use. Asked of the system once, for that reads files.
pub fn cores() -> usize {
    static CORES: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
    *CORES
}

/// A turnstile for tasks that become ready together.
///
/// A worker serves whoever is ready in turn, and looks for what else there is to do when nobody is. Each step of
/// another request, from its connection to the service's answer, would wait for all of the herd; here it waits for
/// those that the turnstile lets through at once. Their number also bounds how many cores work on the herd, so there
/// are twice as many as cores.
#[derive(Debug)]
pub struct Turns(Semaphore);

impl Turns {
    /// For this machine.
    pub fn new() -> Self {
        Self(Semaphore::new((2 * cores()).max(4)))
    }

    /// Returns when it is this task's turn, or it has waited for three seconds.
    pub async fn take(&self) {
        // Nobody closes it. A timer is set only for who has to wait.
        if let Ok(turn) = timeout(LONGEST, self.0.acquire()).await {
            // Comes back when the worker has looked for other work.
            yield_now().await;
            drop(turn);
        }
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;
    use tokio::sync::watch;
    use tokio::task::JoinSet;

    use super::*;

    const HERD: usize = 1_000;

    static TURNS: Turns = Turns(Semaphore::const_new(4));

    /// How many of a herd are through when a byte is read that came with the news that woke them.
    async fn through_before_the_newcomer(polite: bool) -> usize {
        let (news, through) = (watch::Sender::new(false), Arc::new(AtomicUsize::new(0)));
        let mut herd = JoinSet::new();
        for _ in 0..HERD {
            let (mut news, through) = (news.subscribe(), Arc::clone(&through));
            herd.spawn(async move {
                news.changed().await.unwrap();
                if polite {
                    TURNS.take().await;
                }
                through.fetch_add(1, Ordering::Relaxed);
            });
        }
        let (mut client, server) = std::os::unix::net::UnixStream::pair().unwrap();
        server.set_nonblocking(true).unwrap();
        let mut server = UnixStream::from_std(server).unwrap();
        let seen = Arc::clone(&through);
        let newcomer = tokio::spawn(async move {
            server.read_u8().await.unwrap();
            seen.load(Ordering::Relaxed)
        });
        // All of them wait.
        while news.receiver_count() < HERD {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        client.write_all(b"x").unwrap();
        news.send_replace(true);
        let before = newcomer.await.unwrap();
        herd.join_all().await;
        assert_eq!(through.load(Ordering::Relaxed), HERD);
        before
    }

    #[tokio::test]
    async fn a_newcomer_waits_for_few_of_a_herd() {
        // Nearly all without turns: the runtime looks for news once in 61 tasks.
        let before = through_before_the_newcomer(false).await;
        assert!(before >= 900, "{before}");
        let before = through_before_the_newcomer(true).await;
        assert!(before <= HERD / 10, "{before}");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let turns = Turns(Semaphore::new(0));
        turns.take().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_leaves_takes_no_turn_along() {
        let turns = Arc::new(Turns::new());
        let all = turns.0.available_permits();
        let mut herd = JoinSet::new();
        for number in 0..HERD {
            let turns = Arc::clone(&turns);
            herd.spawn(async move {
                let take = std::pin::pin!(turns.take());
                // Every other one is polled once and goes, waiting or with its turn.
                match number % 2 {
                    0 => take.await,
                    _ => drop(futures_util::poll!(take)),
                }
            });
        }
        herd.join_all().await;
        assert_eq!(turns.0.available_permits(), all);
    }
}
