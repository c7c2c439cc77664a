//! Logouts that the provider starts.

/// Where logouts of the provider arrive; without a path they are off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogoutChannels {
    /// Path of back-channel logouts.
    pub back: Option<String>,
    /// Path of front-channel logouts.
    pub front: Option<String>,
    /// A logout token must name a session (`sid`).
    pub sid_required: bool,
}

/// Paths where a single-page application asks about its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEndpoints {
    /// Who is logged in, and until when.
    pub session: String,
    /// Renews the tokens.
    pub refresh: String,
}
