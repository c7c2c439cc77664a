//! What systemd is told (sd_notify(3)). Without it every message goes nowhere.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;

type Send = Box<dyn Fn(&[NotifyState<'_>]) -> io::Result<()> + std::marker::Send + Sync>;

/// Speaks to the service manager.
pub struct Notifier {
    send: Send,
}

impl Notifier {
    /// Speaks to `$NOTIFY_SOCKET`, if there is one.
    pub fn from_environment() -> Self {
        Self { send: Box::new(sd_notify::notify) }
    }

    /// Keeps what is said.
    #[cfg(test)]
    pub(super) fn recording(into: std::sync::Arc<std::sync::Mutex<Vec<String>>>) -> Self {
        Self {
            send: Box::new(move |states| {
                let text = states.iter().map(|state| format!("{state}\n")).collect();
                into.lock().map(|mut sent| sent.push(text)).map_err(|_| io::Error::other("poisoned"))
            }),
        }
    }

    /// Requests are served. `status` is shown by `systemctl status`.
    pub fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
    }

    /// Configuration is read again; [`Notifier::ready`] must follow. Says the time too, as `notify-reload` needs.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "the monotonic clock cannot be read"),
        }
    }

    /// Shutdown has begun.
    pub fn stopping(&self, status: &str) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status(&one_line(status))]);
    }

    /// The process works.
    pub(super) fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if let Err(error) = (self.send)(states) {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }
}

/// How often the service manager wants to hear that the process works; none without `WatchdogSec=`.
pub(super) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// A message is one line per variable: a line feed in a status would start the next one.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_status_cannot_smuggle_another_variable() {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let notifier = Notifier::recording(Arc::clone(&sent));
        notifier.ready("on :80\nMAINPID=1");
        notifier.stopping("draining");
        assert_eq!(
            *sent.lock().unwrap(),
            ["READY=1\nSTATUS=on :80 MAINPID=1\n", "STOPPING=1\nSTATUS=draining\n"]
        );
    }
}
