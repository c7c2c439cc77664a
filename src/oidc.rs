//! OpenID Connect.

pub mod claims;
pub mod clock;
pub mod cookie;
pub mod excluded;
pub mod gate;
pub mod identity_headers;
pub mod refresh;
pub mod request_kind;
pub mod return_target;
pub mod session;
pub mod template;
