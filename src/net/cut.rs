//! Ends a request from outside, whatever it is waiting for.
//!
//! The HTTP engine has no way to end a stream that is silent. So the whole request is a future that can be dropped:
//! on HTTP/1 its connections close, on HTTP/2 its stream is reset.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use thiserror::Error;

type End = Pin<Box<dyn Future<Output = ()> + Send>>;

tokio::task_local! {
    /// The request that this task is serving.
    static REQUEST: Request;
}

#[derive(Default)]
struct Request {
    /// What ends it. Empty for almost all: then it costs nothing.
    end: RefCell<Option<End>>,
    /// Whether it has been ended because its answer took too long.
    late: Cell<bool>,
}

/// The answer was not written within `respondingTimeouts.writeTimeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the answer took longer than writeTimeout")]
pub struct ResponseTooLate;

impl From<ResponseTooLate> for io::Error {
    fn from(late: ResponseTooLate) -> Self {
        Self::new(io::ErrorKind::TimedOut, late)
    }
}

impl ResponseTooLate {
    /// Whether this is what `error` is about.
    pub fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// Serves `request`, which may say by [`end_when`] what ends it early; then there is no result, as when it takes longer
/// than `limit`.
pub async fn cuttable<T>(request: impl Future<Output = T>, limit: Option<Duration>) -> Option<T> {
    let serving = async {
        let mut request = pin!(request);
        let mut limit = limit.map(|limit| Box::pin(tokio::time::sleep(limit)));
        poll_fn(|context| {
            if let Poll::Ready(result) = request.as_mut().poll(context) {
                return Poll::Ready(Some(result));
            }
            if limit.as_mut().is_some_and(|limit| limit.as_mut().poll(context).is_ready()) {
                REQUEST.with(|request| request.late.set(true));
                return Poll::Ready(None);
            }
            let is_over = |end: &mut End| end.as_mut().poll(context).is_ready();
            if REQUEST.with(|request| request.end.borrow_mut().as_mut().is_some_and(is_over)) {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    };
    REQUEST.scope(Request::default(), serving).await
}

/// Whether the request that is being dropped has run into its limit.
pub fn is_late() -> bool {
    REQUEST.try_with(|request| request.late.get()).unwrap_or(false)
}

/// Lets `end` end the request that calls it, instead of what was said before. Nothing outside of [`cuttable`].
pub fn end_when(end: impl Future<Output = ()> + Send + 'static) {
    // An error means that nobody could be told.
    let _ = REQUEST.try_with(|request| request.end.replace(Some(Box::pin(end))));
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_request_ends_by_itself_or_from_outside() {
        assert_eq!(cuttable(async { 1 }, None).await, Some(1));
        let (end, ended) = oneshot::channel::<()>();
        let request = cuttable(
            async {
                end_when(std::future::pending());
                end_when(async { drop(ended.await) });
                std::future::pending::<()>().await;
            },
            None,
        );
        let cut = async { end.send(()) };
        assert_eq!(tokio::join!(request, cut).0, None);
        end_when(async {});
    }

    #[tokio::test]
    async fn requests_of_one_task_are_cut_each_by_itself() {
        let cut = cuttable(
            async {
                end_when(async {});
                std::future::pending::<()>().await;
            },
            None,
        );
        let other = cuttable(
            async {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                2
            },
            None,
        );
        assert_eq!(tokio::join!(cut, other), (None, Some(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_too_long_is_told_so_when_it_is_dropped() {
        struct Told(std::sync::Arc<std::sync::atomic::AtomicBool>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.store(is_late(), std::sync::atomic::Ordering::Relaxed);
            }
        }
        let late = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
        let told = Told(std::sync::Arc::clone(&late));
        let request = async move {
            let _told = told;
            std::future::pending::<()>().await;
        };
        assert_eq!(cuttable(request, Some(Duration::from_secs(2))).await, None);
        assert!(late.load(std::sync::atomic::Ordering::Relaxed));
        assert!(!is_late());
    }
}
