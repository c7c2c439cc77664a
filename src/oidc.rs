//! OpenID Connect.

pub mod claims;
pub mod excluded;
pub mod gate;
pub mod identity_headers;
pub mod request_kind;
pub mod return_target;
pub mod template;
