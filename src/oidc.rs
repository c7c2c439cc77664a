//! OpenID Connect: logins, sessions, refresh, logout, and who may pass.
//!
//! The engine knows no proxy. A request comes in as [`RequestParts`] and `now`, a [`Decision`]
//! goes out: forward with an identity, or answer. Start at [`Policy::decide`].

mod answers;
mod asked;
pub mod attempt;
mod audit;
pub mod authorize;
mod backchannel;
mod bearer;
mod callback;
mod carry;
mod cause;
pub mod claims;
mod client;
pub mod client_auth;
pub mod clock;
pub mod cookie;
mod desk;
mod directory;
mod establish;
pub mod events;
pub mod excluded;
pub mod fetch;
mod fingerprint;
mod frontchannel;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod gate;
mod grant;
pub mod id_token;
mod identity_assertion;
pub mod identity_headers;
mod introspected;
mod introspection;
pub mod jwks;
mod limits;
mod login;
mod logout;
pub mod logout_token;
pub mod metadata;
pub mod page;
mod policy;
mod principal;
pub mod profile;
pub mod provider;
pub mod pushed;
mod random;
pub mod reach;
pub mod refresh;
mod registration;
pub mod request_kind;
pub mod return_target;
pub mod seal;
pub mod security_headers;
pub mod session;
mod session_endpoints;
pub mod settings;
mod sync;
pub mod template;
mod throttle;
mod token_audience;
pub mod token_endpoint;
mod turns;
mod unique;
mod unread;
mod unrefreshable;
mod used;
pub mod userinfo;

#[cfg(test)]
mod fake_provider;
#[cfg(test)]
mod flow_tests;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use smallvec::SmallVec;

use crate::net::{LocalResponse, Scheme, Text};

pub use audit::{AuditEvent, AuditRecord};
pub use callback::CallbackQuery;
pub use cause::Cause;
pub use cookie::{CookieEdit, CookieError, Cookies, OwnCookies};
pub use desk::{SessionDesk, Silent, Told, Via};
pub use directory::{Directory, Member};
pub use events::{Counter, Events, NoEvents};
pub use identity_headers::{IDENTITY_HEADERS, is_identity_header};
pub use policy::{Deps, Policy, PolicyError};
pub use principal::IdentityHeaders;
pub use provider::Providers;
use session::SessionInUse;
pub use settings::Settings;
pub use used::UsedStates;

/// What the engine needs of a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    /// Method.
    pub method: &'a Method,
    /// Scheme outside, after trusted forwarding headers.
    pub scheme: Scheme,
    /// Host and port as the client sent them, validated.
    pub authority: &'a str,
    /// Path, normalised and percent-encoded, as the service will get it.
    pub path: &'a str,
    /// Query, raw.
    pub query: Option<&'a str>,
    /// Headers.
    pub headers: &'a HeaderMap,
    /// The body, where [`Policy::wants_body`] has asked for it.
    pub body: Option<&'a [u8]>,
    /// Address of the client.
    pub client: IpAddr,
    /// Whether the peer's forwarding headers are believed.
    pub peer_trusted: bool,
    /// Correlation id for logs and pages.
    pub request_id: &'a str,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision {
    /// It goes on to the service.
    Forward(Identity),
    /// It is answered here.
    Respond(LocalResponse),
}

/// How a request goes on.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Headers for the service.
    pub headers: IdentityHeaders,
    /// Value of `X-Auth-Request-Redirect`: the target that the client asked for.
    pub request_target: Option<HeaderValue>,
    /// Headers whose client copies must go, in every spelling ([`identity_headers::same_header`]),
    /// beside [`IDENTITY_HEADERS`]: the names that this policy's templates set.
    pub strip: Arc<[HeaderName]>,
    /// The session, with which a long answer ends.
    pub session: Option<SessionInUse>,
    /// Name for the access log.
    pub user: Option<Text>,
    /// `Set-Cookie` values for the browser.
    pub set_cookies: SmallVec<[HeaderValue; 1]>,
    /// How the `Cookie` header goes on.
    pub cookie: CookieEdit,
    /// Whether the client's `Authorization` header is removed.
    pub strip_authorization: bool,
}
