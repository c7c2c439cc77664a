//! What comes in herds goes on a few at a time.

use tokio::sync::Semaphore;

/// A turnstile for tasks that are woken together.
///
/// A worker serves whoever is ready in turn, and looks for what else there is to do when nobody is. Each step of another
/// request, from its connection to the service's answer, would wait for all of the herd; here it waits for those that
/// the turnstile lets through at once. No core stands idle for it.
#[derive(Debug)]
pub struct Turns(Semaphore);

impl Turns {
    /// How many go on before the worker looks for other work. Where that never ends, the runtime looks once in 61
    /// tasks.
    pub const fn new(at_once: usize) -> Self {
        Self(Semaphore::const_new(at_once))
    }

    /// Returns when it is this task's turn.
    pub async fn take(&self) {
        // Nobody closes it.
        let turn = self.0.acquire().await;
        // Comes back when the worker has looked.
        tokio::task::yield_now().await;
        drop(turn);
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

    const AT_ONCE: usize = 4;
    static TURNS: Turns = Turns::new(AT_ONCE);

    /// How many of a herd are through when a byte is read that came with the news that woke them.
    async fn through_before_the_newcomer(polite: bool) -> usize {
        const HERD: usize = 1_000;
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
        assert!(before <= 4 * AT_ONCE, "{before}");
    }
}
