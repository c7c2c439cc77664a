//! What a policy is built from: every option decoded, typed and checked.
//!
//! Independent of how it was written; [`decode()`] makes it from a configuration block.

mod assertion;
mod bearer;
mod channels;
mod check;
mod decode;
mod registration;

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use secrecy::SecretString;
use url::Url;

use super::authorize::StepUp;
use super::client_auth::Credentials;
use super::excluded::ExcludedPaths;
use super::gate::GateSettings;
use super::profile::Profile;
use super::pushed::PushedAuthorization;
use super::security_headers::SecurityHeaders;
use super::session::StoreSettings;
use super::template::Template;

pub use assertion::AssertionSettings;
pub use bearer::{BearerSettings, FailureSettings};
pub use channels::{LogoutChannels, SessionEndpoints};
pub use decode::{Dialect, decode};
pub use registration::{InitialAccessToken, RegistrationSettings};

/// Options of one OIDC middleware.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Issuer as configured (a URL), without the well-known suffix.
    pub issuer: String,
    /// The client and its proof.
    pub credentials: Credentials,
    /// How the client registers itself; none: it is the one above.
    pub registration: Option<RegistrationSettings>,
    /// Seals login state and sessions; at least 32 bytes.
    pub key: SecretString,
    /// Keys that still open sessions but seal no new ones.
    pub previous_keys: Vec<SecretString>,
    /// Path that the provider sends the browser back to.
    pub callback_path: String,
    /// Path that logs out.
    pub logout_path: String,
    /// Where the browser lands after logout; `None`: our signed-out page, at `/`.
    pub post_logout: Option<PostLogout>,
    /// Where logouts of the provider arrive.
    pub channels: LogoutChannels,
    /// Where a single-page application asks about its session; none: nowhere.
    pub session_endpoints: Option<SessionEndpoints>,
    /// Scopes to ask for, in order, without duplicates, `openid` first.
    pub scopes: Vec<String>,
    /// What the provider does in its own way.
    pub profile: Profile,
    /// Tenants of a shared issuer that may log in; `*` is any.
    pub allowed_tenants: Vec<String>,
    /// When authorization requests are pushed.
    pub pushed_authorization: PushedAuthorization,
    /// Add `offline_access` unless discovery says that it is unknown.
    pub offline_access: bool,
    /// Further parameters of the authorization request; never override ours.
    pub auth_params: Vec<(String, String)>,
    /// Audience of access tokens.
    pub audience: Option<String>,
    /// Resource indicator (RFC 8707).
    pub resource: Option<String>,
    /// A JWT access token must name the audience.
    pub strict_audience: bool,
    /// When userinfo is asked.
    pub user_info: UserInfo,
    /// The outside is https whatever this process sees.
    pub force_https: bool,
    /// Believe `X-Forwarded-Uri` of trusted peers.
    pub trust_forwarded_uri: bool,
    /// 401 instead of a login.
    pub disable_login: bool,
    /// No login at a provider that says it has no PKCE with S256.
    pub pkce_required: bool,
    /// Paths that need no session.
    pub excluded: ExcludedPaths,
    /// Who may pass.
    pub gate: GateSettings,
    /// Access tokens of clients that are no browsers; `None`: not accepted.
    pub bearer: Option<BearerSettings>,
    /// Every access token, also a session's, must be active by introspection.
    pub require_introspection: bool,
    /// How strong and recent a login must be.
    pub step_up: Option<StepUp>,
    /// Only `X-Forwarded-User`.
    pub minimal_headers: bool,
    /// Headers with templates.
    pub headers: Vec<(HeaderName, Template)>,
    /// How the service is told, signed, who the user is; none: it is not.
    pub identity_assertion: Option<AssertionSettings>,
    /// The client's `Authorization` goes on beside a session.
    pub forward_authorization: bool,
    /// Headers of every answer, and CORS.
    pub security_headers: Option<SecurityHeaders>,
    /// Life of sessions.
    pub session: SessionSettings,
    /// Names and attributes of cookies.
    pub cookies: CookieSettings,
    /// Life of a login attempt.
    pub login_max_age: Duration,
    /// Login starts and callbacks of one client address in a minute; 0: no limit.
    pub login_rate: u32,
    /// How the provider is called.
    pub provider: ProviderSettings,
    /// Where the sessions live; `None`: where those of all others do.
    pub store: Option<StoreSettings>,
}

/// When claims are fetched from the userinfo endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UserInfo {
    /// When the ID token lacks a claim that a gate, a header or the identifier needs.
    Auto,
    /// At every login and refresh.
    Always,
    /// Never.
    Never,
}

/// Where the browser lands after logout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostLogout {
    /// A path on the host of the request.
    Path(String),
    /// A whole URL.
    Url(Url),
}

/// Life of sessions.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Absolute lifetime.
    pub max_age: Duration,
    /// How long a session lasts without a request; `None`: until its absolute end.
    pub idle_timeout: Option<Duration>,
    /// Refresh this long before expiry.
    pub refresh_grace: Duration,
    /// Oldest refresh token that is still used.
    pub max_refresh_token_age: Option<Duration>,
    /// Whether tokens are refreshed at all.
    pub refresh: bool,
}

/// Names and attributes of cookies.
#[derive(Debug, Clone)]
pub struct CookieSettings {
    /// Prefix of the names, behind `__Host-` or `__Secure-`.
    pub prefix: String,
    /// Domain attribute; `None`: host-only.
    pub domain: Option<String>,
    /// Path attribute.
    pub path: String,
}

/// How the provider is called.
#[derive(Debug, Clone, Default)]
pub struct ProviderSettings {
    /// Certificate authorities as PEM; they replace the system's.
    pub ca_pem: Vec<String>,
    /// File with certificate authorities.
    pub ca_path: Option<PathBuf>,
    /// Do not verify certificates.
    pub insecure_skip_verify: bool,
    /// Allow discovered endpoints on private and loopback addresses.
    pub allow_private: bool,
    /// Our certificate chain and its key, as PEM (RFC 8705).
    pub client_certificate: Option<SecretString>,
    /// Proxy on the way to the provider; `NO_PROXY` of the environment is kept.
    pub proxy: Option<EgressProxy>,
    /// Longest wait for an answer.
    pub timeout: Option<Duration>,
    /// The issuer that metadata must name, if it is not the configured URL.
    pub trusted_issuer: Option<String>,
    /// Parameters of the discovery request.
    pub discovery_params: Vec<(String, String)>,
    /// What the provider does in its own way.
    pub profile: Profile,
    /// Overrides the discovered end-session endpoint.
    pub end_session_url: Option<Url>,
    /// Overrides the discovered revocation endpoint.
    pub revocation_url: Option<Url>,
    /// Overrides the discovered introspection endpoint.
    pub introspection_url: Option<Url>,
}

/// A proxy towards the outside.
#[derive(Debug, Clone)]
pub struct EgressProxy {
    /// Its URL, without user and password.
    pub url: Url,
    /// User and password.
    pub login: Option<(String, SecretString)>,
}

impl EgressProxy {
    /// Reads `http://user:password@host:port`; none if it is no http or https URL.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text.trim()).ok();
        let mut url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())?;
        let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let password = SecretString::from(decode(url.password().unwrap_or_default()));
        let login = (!url.username().is_empty()).then(|| (decode(url.username()), password));
        // Both cannot fail on a URL with a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Some(Self { url, login })
    }
}

impl Settings {
    /// The client, as sessions and cookies know it: by its identifier, or by what it registers.
    pub fn client_name(&self) -> Cow<'_, str> {
        match &self.registration {
            None => Cow::Borrowed(&self.credentials.id),
            Some(registration) => Cow::Owned(registration.client_name()),
        }
    }

    /// The keys of sessions and login attempts: the first seals, all open.
    pub fn ring(&self) -> impl Iterator<Item = &SecretString> {
        [&self.key].into_iter().chain(&self.previous_keys)
    }

    /// Claims that a gate, a header or the identifier asks for.
    pub fn needed_claims(&self) -> Vec<String> {
        let mut names = vec![self.gate.identifier_claim.clone()];
        let assertion = self.identity_assertion.as_ref();
        if !self.gate.roles_and_groups.is_empty() || !self.minimal_headers || assertion.is_some() {
            names.extend([self.gate.role_claim.clone(), self.gate.group_claim.clone()]);
        }
        names.extend(assertion.into_iter().flat_map(|assertion| assertion.claims.iter().cloned()));
        // Whether an address is verified may be said only where the rest of it is not.
        if !self.gate.domains.is_empty() {
            names.push("email_verified".to_owned());
        }
        if let Some(expression) = &self.gate.claims {
            names.extend(expression.needed_claims().into_iter().map(str::to_owned));
        }
        for (_, template) in &self.headers {
            names.extend(template.needed_claims().into_iter().map(str::to_owned));
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether a header template needs a token, so that headers cannot be made of claims alone.
    pub fn headers_need_tokens(&self) -> bool {
        self.headers.iter().any(|(_, template)| template.needs_tokens())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod assertion_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod documentation_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod limits_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod options_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod registration_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
