//! Addresses, headers and answers that every layer shares. Knows no other module.

pub mod forwarded;
pub mod headers;
pub mod path;

mod host;
mod regexp;
mod response;
mod scheme;

pub use host::canonical_host;
pub use regexp::{GoRegex, RegexError};
pub use response::LocalResponse;
pub use scheme::Scheme;
