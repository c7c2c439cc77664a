//! Running: the process from its start to its end.

use std::process::ExitCode;

use crate::config::Loaded;

/// x
pub fn serve(_loaded: Loaded, _greeting: Option<Box<dyn FnOnce() + Send>>) -> ExitCode { ExitCode::SUCCESS }
