//! What a provider is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::event::Event;
use super::register::Registration;

/// Receives what happens, one call an event.
pub type EventSink = Arc<dyn Fn(&Event) + Send + Sync>;

/// How [`super::Provider::start`] sets the provider up. [`ProviderOptions::default`] is the demo's: three users,
/// no client, access tokens of 30 s, every refresh token good for one use.
#[derive(Clone)]
pub struct ProviderOptions {
    /// Where to listen; port 0 takes a free one. Loopback only.
    pub listen: SocketAddr,
    /// The relying parties it knows.
    pub clients: Vec<Client>,
    /// The people who can be picked on its login page.
    pub users: Vec<User>,
    /// Life of an access token and of an ID token.
    pub access_token_ttl: Duration,
    /// Life of a refresh token.
    pub refresh_token_ttl: Duration,
    /// Algorithm of the ID token's signature.
    pub signing: Signing,
    /// What becomes of a refresh token when it is used.
    pub rotation: Rotation,
    /// How clients may register themselves (RFC 7591); none: they cannot.
    pub registration: Option<Registration>,
    /// Ways in which real providers differ from each other.
    pub quirks: Quirks,
    /// File that keeps keys, grants and logins across restarts; none forgets them.
    pub state_file: Option<PathBuf>,
    /// Told about every login, refresh and logout.
    pub events: Option<EventSink>,
}

impl Default for ProviderOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            clients: Vec::new(),
            users: User::three(),
            access_token_ttl: Duration::from_secs(30),
            refresh_token_ttl: Duration::from_secs(86_400),
            signing: Signing::Rs256,
            rotation: Rotation::Strict,
            registration: None,
            quirks: Quirks::default(),
            state_file: None,
            events: None,
        }
    }
}

/// A relying party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// `client_secret`, accepted in the Authorization header and in the form.
    pub secret: String,
    /// Allowed values of `redirect_uri`, compared exactly.
    pub redirect_uris: Vec<String>,
    /// Allowed values of `post_logout_redirect_uri`, compared exactly.
    pub post_logout_redirect_uris: Vec<String>,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// `sub` and `preferred_username`.
    pub name: String,
    /// `name`.
    pub display_name: String,
    /// `email`; none leaves the claim out.
    pub email: Option<String>,
    /// `groups`.
    pub groups: Vec<String>,
    /// `roles`.
    pub roles: Vec<String>,
}

impl User {
    /// Alice of two groups and two roles, Bob of one each, and somebody without an e-mail address.
    pub fn three() -> Vec<Self> {
        let user = |name: &str, display: &str, email: Option<&str>, groups: &[&str], roles: &[&str]| Self {
            name: name.to_owned(),
            display_name: display.to_owned(),
            email: email.map(str::to_owned),
            groups: groups.iter().map(|&g| g.to_owned()).collect(),
            roles: roles.iter().map(|&r| r.to_owned()).collect(),
        };
        vec![
            user(
                "alice",
                "Alice Example",
                Some("alice@example.test"),
                &["dev/backend", "ops"],
                &["admin", "user"],
            ),
            user("bob", "Bob Example", Some("bob@example.test"), &["dev"], &["user"]),
            user("nomail", "Nora Nomail", None, &["guests"], &["user"]),
        ]
    }
}

/// Algorithm of the ID token's signature (RFC 7518 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signing {
    /// RSA of 2048 bits with SHA-256.
    #[default]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

/// What becomes of a refresh token when it is used (RFC 9700 section 4.14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rotation {
    /// A new one each time; a second use of an old one ends the whole grant.
    #[default]
    Strict,
    /// A new one each time; a second use of an old one is refused, nothing more.
    Lenient,
    /// The same one stays good, and the answer names none.
    Off,
}

/// Ways in which real providers differ from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quirks {
    /// The issuer ends in a slash.
    pub issuer_slash: bool,
    /// `aud` is a list, with `azp` beside it.
    pub audience_list: bool,
    /// The ID token has `sub` and the protocol's own claims only.
    pub claims_only_from_userinfo: bool,
    /// A refresh comes without an ID token.
    pub no_id_token_on_refresh: bool,
    /// No refresh token is ever issued.
    pub no_refresh_token: bool,
    /// The callback comes without `iss`, and discovery does not announce it (RFC 9207).
    pub no_callback_issuer: bool,
}
