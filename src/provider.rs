//! Where dynamic configuration comes from.
//!
//! A provider sends [`Event`]s on a channel and knows nothing of what becomes of them. Each fragment
//! is the whole of what the provider says at that time.

pub mod file;

use std::sync::Arc;

use crate::config::dynamic::DynamicConfig;
use crate::config::{ConfigError, ConfigErrors};

/// All that one provider says.
#[derive(Debug, Clone)]
pub struct Fragment {
    /// The provider's name, which qualifies the names of its objects: `web@file`.
    pub provider: &'static str,
    /// What it says.
    pub config: Arc<DynamicConfig>,
    /// What loads but deserves the operator's attention.
    pub warnings: Vec<ConfigError>,
}

impl Fragment {
    /// What a provider says that says nothing.
    pub fn nothing(provider: &'static str) -> Self {
        Self { provider, config: Arc::default(), warnings: Vec::new() }
    }
}

/// A load that went well, or why it did not; then the fragment before stays in force.
#[derive(Debug)]
pub struct Event {
    /// The provider's name.
    pub provider: &'static str,
    /// What it read.
    pub outcome: Result<Fragment, ConfigErrors>,
}
