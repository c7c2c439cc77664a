//! Addresses, headers and answers that every layer shares. Knows no other module.

pub mod forwarded;
pub mod headers;
pub mod internal;
pub mod path;

mod host;
mod regexp;
mod response;

pub use host::canonical_host;
pub use regexp::{GoRegex, RegexError};
pub use response::LocalResponse;
