//! Addresses, headers and answers that every layer shares. Knows no other module.

pub mod forwarded;
pub mod headers;
mod response;

pub use response::LocalResponse;
