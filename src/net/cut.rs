//! Ends a request from outside, whatever it is waiting for.
//!
//! The HTTP engine has no way to end a stream that is silent. So the whole request is a future that can be dropped:
//! on HTTP/1 its connections close, on HTTP/2 its stream is reset.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

type End = Pin<Box<dyn Future<Output = ()> + Send>>;

tokio::task_local! {
    /// What ends the request that this task is serving. Empty for almost all: then it costs nothing.
    static END: RefCell<Option<End>>;
}

/// Serves `request`, which may say by [`end_when`] what ends it early; then there is no result.
pub async fn cuttable<T>(request: impl Future<Output = T>) -> Option<T> {
    let serving = async {
        let mut request = pin!(request);
        poll_fn(|context| {
            if let Poll::Ready(result) = request.as_mut().poll(context) {
                return Poll::Ready(Some(result));
            }
            let is_over = |end: &mut End| end.as_mut().poll(context).is_ready();
            if END.with(|end| end.borrow_mut().as_mut().is_some_and(is_over)) {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    };
    END.scope(RefCell::new(None), serving).await
}

/// Lets `end` end the request that calls it, instead of what was said before. Nothing outside of [`cuttable`].
pub fn end_when(end: impl Future<Output = ()> + Send + 'static) {
    // An error means that nobody could be told.
    let _ = END.try_with(|slot| slot.replace(Some(Box::pin(end))));
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_request_ends_by_itself_or_from_outside() {
        assert_eq!(cuttable(async { 1 }).await, Some(1));
        let (end, ended) = oneshot::channel::<()>();
        let request = cuttable(async {
            end_when(std::future::pending());
            end_when(async { drop(ended.await) });
            std::future::pending::<()>().await;
        });
        let cut = async { end.send(()) };
        assert_eq!(tokio::join!(request, cut).0, None);
        end_when(async {});
    }

    #[tokio::test]
    async fn requests_of_one_task_are_cut_each_by_itself() {
        let cut = cuttable(async {
            end_when(async {});
            std::future::pending::<()>().await;
        });
        let other = cuttable(async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            2
        });
        assert_eq!(tokio::join!(cut, other), (None, Some(2)));
    }
}
