//! The integration tests: the real binary between origins, clients and OpenID providers of the tests' own.
//!
//! One binary for all of them, because linking is most of the time. [`harness`] has four nouns; every other file is
//! a capability, and its tests say what a user may rely on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod harness;

mod access_log;
mod attacks;
mod attacks_state;
mod attacks_wire;
mod conf;
mod forwarding;
mod h2spec;
mod harness_check;
mod layers;
mod oidc_assertion;
mod oidc_bearer;
mod oidc_bearer_options;
mod oidc_cookie;
mod oidc_limits;
mod oidc_links;
mod oidc_login;
mod oidc_logout;
mod oidc_refresh;
mod oidc_registration;
mod oidc_replicas;
mod oidc_requests;
mod oidc_security_headers;
mod oidc_sessions;
mod oidc_store;
mod protocol;
mod protocol_answers;
mod protocol_faults;
mod protocol_requests;
mod proxy_protocol;
mod reload;
mod reload_entry_points;
mod routing;
// `make storm` runs the rest of them.
#[allow(dead_code)]
mod scenarios;
mod storm;
mod tls;
