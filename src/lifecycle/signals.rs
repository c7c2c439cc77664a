//! What signals do: as in Traefik, and SIGHUP reads again what can change while running.

use std::io;
use std::ops::ControlFlow;
use std::pin::pin;

use futures_util::future::BoxFuture;
use tokio::signal::unix::{self, SignalKind};

use super::Notifier;

/// What somebody outside wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: leave, gracefully; the second one at once.
    Stop,
    /// SIGUSR1: log files were renamed.
    ReopenLogs,
    /// SIGHUP: read files again.
    Reload,
}

/// The signals of this process.
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    reopen: unix::Signal,
    reload: unix::Signal,
}

impl Signals {
    /// Takes the signals over from their default actions. Needs a tokio runtime.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            reopen: unix::signal(SignalKind::user_defined1())?,
            reload: unix::signal(SignalKind::hangup())?,
        })
    }

    /// The next signal. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.reopen.recv() => Signal::ReopenLogs,
            _ = self.reload.recv() => Signal::Reload,
        }
    }

    /// Waits for the next wish to leave, and takes no notice of others: for `hurry` of [`super::drain()`].
    pub async fn stop(&mut self) {
        while self.next().await != Signal::Stop {}
    }
}

/// What the signals set off.
pub struct Actions {
    /// Opens every log file anew.
    pub reopen_logs: Box<dyn Fn() + Send + Sync>,
    /// Reads files again; a line for the service manager, or what went wrong. After an error everything
    /// goes on as before.
    pub reload: Box<dyn Fn() -> BoxFuture<'static, Result<String, String>> + Send + Sync>,
}

/// Does what signals ask until one asks to leave. `next` is [`Signals::next`], or a list in tests.
pub async fn until_stopped(mut next: impl AsyncFnMut() -> Signal, notifier: &Notifier, actions: &Actions) {
    loop {
        match next().await {
            Signal::Stop => return,
            Signal::ReopenLogs => reopen_logs(actions),
            Signal::Reload => match reload_unless_stopped(&mut next, notifier, actions).await {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(()) => return,
            },
        }
    }
}

fn reopen_logs(actions: &Actions) {
    (actions.reopen_logs)();
    tracing::info!("log files are opened anew");
}

/// Reloads, and again if it is asked for meanwhile. Who wants to leave need not wait for it.
async fn reload_unless_stopped(
    next: &mut impl AsyncFnMut() -> Signal,
    notifier: &Notifier,
    actions: &Actions,
) -> ControlFlow<()> {
    let mut wanted = true;
    while std::mem::take(&mut wanted) {
        let mut reloading = pin!(reload(notifier, actions));
        loop {
            tokio::select! {
                biased;
                () = &mut reloading => break,
                signal = next() => match signal {
                    Signal::Stop => return ControlFlow::Break(()),
                    Signal::ReopenLogs => reopen_logs(actions),
                    Signal::Reload => wanted = true,
                },
            }
        }
    }
    ControlFlow::Continue(())
}

async fn reload(notifier: &Notifier, actions: &Actions) {
    notifier.reloading();
    let status = match (actions.reload)().await {
        Ok(status) => {
            tracing::info!(status, "reloaded");
            status
        }
        Err(error) => {
            tracing::error!(error, "reload failed; what was there before goes on");
            format!("reload failed: {error}")
        }
    };
    notifier.ready(&status);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::VecDeque;
    use std::process::Command;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn signals_are_acted_on_until_one_says_stop() {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let notifier = Notifier::recording(Arc::clone(&sent));
        let (reopened, reloads) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count_reopened, count_reloads) = (Arc::clone(&reopened), Arc::clone(&reloads));
        let actions = Actions {
            reopen_logs: Box::new(move || {
                count_reopened.fetch_add(1, Ordering::Relaxed);
            }),
            reload: Box::new(move || {
                let first = count_reloads.fetch_add(1, Ordering::Relaxed) == 0;
                async move { if first { Ok("2 routers".to_owned()) } else { Err("line 3\nline 4".to_owned()) } }.boxed()
            }),
        };
        let mut script = VecDeque::from([
            Signal::ReopenLogs,
            Signal::Reload,
            Signal::Reload,
            Signal::Stop,
            Signal::Reload,
        ]);
        until_stopped(async || script.pop_front().unwrap(), &notifier, &actions).await;
        assert_eq!((reopened.load(Ordering::Relaxed), reloads.load(Ordering::Relaxed)), (1, 2));
        assert_eq!(script, [Signal::Reload], "nothing is done after the stop");
        let sent = sent.lock().unwrap();
        assert!(sent.first().unwrap().starts_with("RELOADING=1\nMONOTONIC_USEC="), "{sent:?}");
        assert_eq!(sent.get(1).unwrap(), "READY=1\nSTATUS=2 routers\n");
        assert_eq!(sent.get(3).unwrap(), "READY=1\nSTATUS=reload failed: line 3 line 4\n");
    }

    #[tokio::test]
    async fn a_stop_does_not_wait_for_a_reload() {
        let notifier = Notifier::recording(Arc::default());
        let reopened = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&reopened);
        let actions = Actions {
            reopen_logs: Box::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            }),
            reload: Box::new(|| std::future::pending().boxed()),
        };
        let mut script = VecDeque::from([Signal::Reload, Signal::ReopenLogs, Signal::Reload, Signal::Stop]);
        until_stopped(async || script.pop_front().unwrap(), &notifier, &actions).await;
        assert_eq!((script.len(), reopened.load(Ordering::Relaxed)), (0, 1));
    }

    #[tokio::test]
    async fn the_process_hears_its_signals() {
        let mut signals = Signals::listen().unwrap();
        for (name, meaning) in [("USR1", Signal::ReopenLogs), ("HUP", Signal::Reload), ("TERM", Signal::Stop)]
        {
            let kill =
                Command::new("kill").args(["-s", name, &std::process::id().to_string()]).status().unwrap();
            assert!(kill.success());
            assert_eq!(signals.next().await, meaning);
        }
    }
}
