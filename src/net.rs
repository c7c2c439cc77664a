//! Addresses, headers and answers that every layer shares. Knows no other module.

mod response;

pub use response::LocalResponse;
