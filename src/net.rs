//! Addresses, headers and answers that every layer shares. Knows no other module.

pub mod path;

mod host;
mod response;

pub use host::canonical_host;
pub use response::LocalResponse;
