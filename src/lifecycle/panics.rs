//! A panic is a defect: it is counted and logged as one line, wherever it happens.

use std::any::Any;
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::thread;

use crate::observe::Metrics;

/// Counts and logs every panic of the process from now on, in place of Rust's message on standard error.
/// Tokio keeps a panic within its task; the other requests go on.
pub fn count_panics(metrics: Arc<Metrics>) {
    panic::set_hook(Box::new(move |info| {
        metrics.panicked();
        report(info);
    }));
}

fn report(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("unnamed");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let message = message(info.payload());
    let logs = tracing::dispatcher::has_been_set();
    if logs {
        tracing::error!(thread = name, location, panic = message, "panic; please report this defect");
    }
    // The log's writer may not live to write what the main thread says last. If standard error is closed,
    // nobody is there to tell.
    if !logs || name == "main" {
        let _ = writeln!(io::stderr(), "panic in thread {name} at {location}: {message}");
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_anywhere_is_counted() {
        let metrics = Arc::new(Metrics::new(None).unwrap());
        let before = panic::take_hook();
        count_panics(Arc::clone(&metrics));
        let result = thread::spawn(|| panic!("on purpose")).join();
        panic::set_hook(before);
        assert_eq!(message(&*result.unwrap_err()), "on purpose");
        // Another test that fails in these microseconds is counted too.
        assert!(metrics.panics() >= 1);
    }
}
