//! Requests that last: WebSockets, event streams, long downloads. They end with their session.
//!
//! Only such a request registers with its session; the others cost nothing. While one is there the session stays in
//! memory, so that the news of its end finds it.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;

use super::entry::SessionEntry;
use crate::oidc::clock::{Clock, unix_millis};

/// The longest that one timer runs: a clock that was set or a machine that slept must not prolong a session by more.
const LOOK: Duration = Duration::from_secs(60);

/// The streams of one session. Most never have one.
#[derive(Default)]
pub(super) struct Streams(OnceLock<Box<Registered>>);

#[derive(Default)]
struct Registered {
    count: AtomicU32,
    ended: Notify,
}

impl Streams {
    pub(super) fn any(&self) -> bool {
        self.0.get().is_some_and(|registered| registered.count.load(Ordering::Acquire) > 0)
    }

    /// Tells all streams that the session has ended, which must show already.
    pub(super) fn end(&self) {
        if let Some(registered) = self.0.get() {
            registered.ended.notify_waiters();
        }
    }
}

/// Counts a stream for as long as it lives.
struct Stream<'a>(&'a Registered);

impl<'a> Stream<'a> {
    fn of(streams: &'a Streams) -> Self {
        let registered = streams.0.get_or_init(Box::default);
        registered.count.fetch_add(1, Ordering::AcqRel);
        Self(registered)
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
    }
}

impl SessionEntry {
    /// Completes when the session has ended: logged out, revoked, refused by the provider, or at its absolute end; at `until`
    /// (milliseconds since 1970) at the latest.
    pub async fn ended(self: Arc<Self>, until: u64, clock: impl Clock) {
        let stream = Stream::of(&self.streams);
        let ended = &stream.0.ended;
        let until = self.profile().timing.absolute.min(until);
        loop {
            // In line before the look, so that no end falls between the two.
            let mut news = pin!(ended.notified());
            news.as_mut().enable();
            let left = until.saturating_sub(unix_millis(clock.now()));
            if self.is_ended() || left == 0 {
                return;
            }
            tokio::select! {
                () = news => {}
                () = clock.sleep(Duration::from_millis(left).min(LOOK)) => {}
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::oidc::clock::{ManualClock, Pause};
    use crate::oidc::session::contract::at;
    use crate::oidc::session::testing::{process, record};
    use crate::oidc::session::{MemoryStore, Sessions, Timing};
    use std::time::SystemTime;

    impl Clock for Arc<ManualClock> {
        fn now(&self) -> SystemTime {
            self.as_ref().now()
        }

        fn sleep(&self, duration: Duration) -> Pause {
            self.as_ref().sleep(duration)
        }
    }

    async fn stream(
        sessions: &Sessions,
        clock: &Arc<ManualClock>,
    ) -> (Arc<SessionEntry>, tokio::task::JoinHandle<()>) {
        let (_, entry) = sessions.create(record()).await.unwrap();
        let task = tokio::spawn(Arc::clone(&entry).ended(Timing::NEVER, Arc::clone(clock)));
        while clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
        (entry, task)
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_session_and_keeps_it_in_memory() {
        let (sessions, clock) = process(Arc::new(MemoryStore::new(10)));
        let (entry, task) = stream(&sessions, &clock).await;
        sessions.purge(at(3599)).await;
        assert_eq!(sessions.cached(), 1, "idle for long, but in use");
        assert!(!task.is_finished());
        sessions.end(&entry).await.unwrap();
        task.await.unwrap();
        assert!(!entry.streams.any());
        Arc::clone(&entry).ended(Timing::NEVER, Arc::clone(&clock)).await;
    }

    #[tokio::test]
    async fn a_stream_ends_at_the_absolute_end() {
        let (sessions, clock) = process(Arc::new(MemoryStore::new(10)));
        let (entry, task) = stream(&sessions, &clock).await;
        clock.set(at(3599));
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
        clock.set(at(3600));
        task.await.unwrap();
        assert!(!entry.is_ended());
    }

    #[tokio::test]
    async fn a_stream_ends_earlier_where_the_session_does() {
        let (sessions, clock) = process(Arc::new(MemoryStore::new(10)));
        let (entry, task) = stream(&sessions, &clock).await;
        let early = tokio::spawn(Arc::clone(&entry).ended(unix_millis(at(100)), Arc::clone(&clock)));
        while clock.sleepers() < 2 {
            tokio::task::yield_now().await;
        }
        clock.set(at(100));
        early.await.unwrap();
        assert!(!task.is_finished());
    }

    #[tokio::test]
    async fn a_stream_ends_although_the_news_was_lost() {
        let store = Arc::new(MemoryStore::new(10));
        let (sessions, clock) = process(Arc::clone(&store) as _);
        let (entry, task) = stream(&sessions, &clock).await;
        crate::oidc::session::SessionStore::delete(&*store, entry.key()).await.unwrap();
        // The first look cannot tell what happened before it.
        sessions.poll_changes().await;
        task.await.unwrap();
    }
}
