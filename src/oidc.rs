//! (being laid out)

pub mod clock;
pub mod cookie;
pub mod refresh;
pub mod session;
