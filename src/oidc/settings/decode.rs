//! From a configuration block to [`Settings`].

use std::time::Duration;

use http::HeaderName;
use secrecy::ExposeSecret;

use super::{
    ClientAuth, CookieSettings, PostLogout, ProviderSettings, SessionSettings, Settings, UserInfo, check,
};
use crate::config::oidc::Oidc;
use crate::config::value::{Node, Position};
use crate::config::{Decode, Decoder};
use crate::oidc::cookie::{CookieError, Cookies};
use crate::oidc::excluded::ExcludedPaths;
use crate::oidc::gate::GateSettings;
use crate::oidc::identity_headers::same_header;
use crate::oidc::template::Template;

/// Whose defaults a block has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The traefikoidc plugin.
    Plugin,
    /// Our own `oidc` block.
    Native,
}

/// Decodes and checks the block at `node`. Faults and warnings go to `decoder`, each at its key.
pub fn decode(node: &Node, dialect: Dialect, decoder: &mut Decoder) -> Option<Settings> {
    let block = Oidc::decode(node, decoder)?;
    let mut builder = Builder { block: &block, node, dialect, decoder, faulty: false };
    builder.refuse_later();
    builder.warn_changed();
    let settings = builder.build();
    if builder.faulty { None } else { settings }
}

struct Builder<'a> {
    block: &'a Oidc,
    node: &'a Node,
    dialect: Dialect,
    decoder: &'a mut Decoder,
    faulty: bool,
}

impl Builder<'_> {
    /// Where the dotted `key` was written, else the block.
    fn position(&self, key: &str) -> Position {
        let mut node = self.node;
        let mut at = node.at.clone();
        for segment in key.split('.') {
            let Some(entry) = node.get(segment) else { break };
            at = entry.at.clone();
            node = &entry.node;
        }
        at
    }

    fn error(&mut self, key: &str, message: impl Into<String>) {
        let at = self.position(key);
        self.decoder.at(key, |decoder| decoder.error(&at, message));
        self.faulty = true;
    }

    fn warn(&mut self, key: &str, message: &str) {
        let at = self.position(key);
        self.decoder.at(key, |decoder| decoder.warn(&at, message));
    }

    /// The value, or a fault at `key`.
    fn checked<T>(&mut self, key: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.error(key, message)).ok()
    }

    /// The first of two names of one option; writing both is a fault.
    fn either(&mut self, names: [&str; 2], values: [&Option<String>; 2]) -> Option<(String, String)> {
        let [first, second] = names;
        match values {
            [Some(_), Some(_)] => {
                self.error(second, format!("is the same option as `{first}`; write one of them"));
                None
            }
            [Some(value), None] => Some((first.to_owned(), value.clone())),
            [None, Some(value)] => Some((second.to_owned(), value.clone())),
            [None, None] => None,
        }
    }

    fn refuse_later(&mut self) {
        let block = self.block;
        let later = [
            (block.redis.as_ref().is_some_and(|r| r.enabled), "redis.enabled"),
            (
                block.dynamic_client_registration.as_ref().is_some_and(|r| r.enabled),
                "dynamicClientRegistration.enabled",
            ),
            (block.security_headers.as_ref().is_some_and(|h| h.enabled), "securityHeaders"),
            (block.enable_bearer_auth, "enableBearerAuth"),
            (block.enable_backchannel_logout, "enableBackchannelLogout"),
            (block.enable_frontchannel_logout, "enableFrontchannelLogout"),
            (
                self.dialect == Dialect::Native && block.backchannel_logout_url.is_some(),
                "backchannelLogoutURL",
            ),
            (
                self.dialect == Dialect::Native && block.frontchannel_logout_url.is_some(),
                "frontchannelLogoutURL",
            ),
            (block.require_token_introspection, "requireTokenIntrospection"),
            (block.per_source_login_rate_limit != 0, "perSourceLoginRateLimit"),
        ];
        for (_, key) in later.into_iter().filter(|(used, _)| *used) {
            self.error(key, "not supported yet");
        }
    }

    fn warn_changed(&mut self) {
        let block = self.block;
        let changed = [
            (block.enable_pkce == Some(false), "enablePKCE", "PKCE S256 is always used"),
            (block.pkce == Some(false), "pkce", "PKCE S256 is always used"),
            (
                block.strip_auth_cookies == Some(false),
                "stripAuthCookies",
                "our cookies never reach a service",
            ),
            (
                block.rate_limit.is_some(),
                "rateLimit",
                "has no effect: verifying a token costs no call, so nothing is limited",
            ),
            (block.log_level.is_some(), "logLevel", "has no effect: the process has one level, `log.level`"),
            (
                block.allow_opaque_tokens == Some(true),
                "allowOpaqueTokens",
                "has no effect: access tokens are opaque to us, and the ID token is the proof of login",
            ),
            (
                block.insecure_skip_verify,
                "insecureSkipVerify",
                "the provider's certificate is not verified: for tests only",
            ),
            (
                block.redis.is_some() && !block.redis.as_ref().is_some_and(|r| r.enabled),
                "redis",
                "has no effect while `enabled` is false",
            ),
            (
                block.ca_cert_pem.is_some() && block.insecure_skip_verify,
                "caCertPEM",
                "has no effect beside `insecureSkipVerify`",
            ),
        ];
        for (_, key, message) in changed.into_iter().filter(|(is, _, _)| *is) {
            self.warn(key, message);
        }
        let session = block.session.as_ref();
        let state = block.state_cookie.as_ref();
        if session.is_some_and(|s| s.http_only == Some(false))
            || state.is_some_and(|s| s.http_only == Some(false))
        {
            self.error(
                if session.is_some_and(|s| s.http_only == Some(false)) {
                    "session.httpOnly"
                } else {
                    "stateCookie.httpOnly"
                },
                "our cookies are always HttpOnly",
            );
        }
        let other_same_site =
            |value: &Option<String>| value.as_ref().is_some_and(|v| !v.eq_ignore_ascii_case("lax"));
        if session.is_some_and(|s| other_same_site(&s.same_site)) {
            self.error("session.sameSite", "only `lax` is supported");
        }
        if state.is_some_and(|s| other_same_site(&s.same_site)) {
            self.error("stateCookie.sameSite", "only `lax` is supported");
        }
        if session.is_some_and(|s| s.secure.is_some()) {
            self.warn("session.secure", "has no effect: Secure follows the scheme outside");
        }
        if state.is_some_and(|s| s.secure.is_some()) {
            self.warn("stateCookie.secure", "has no effect: Secure follows the scheme outside");
        }
    }

    /// Every part is tried, so that all faults are named at once.
    fn build(&mut self) -> Option<Settings> {
        let block = self.block;
        let issuer = self.issuer();
        let client = self.client();
        let key = self.key();
        let paths = self.paths();
        let post_logout = self.post_logout();
        let (scopes, offline_access) = self.scopes();
        let tokens = self.audiences();
        let user_info = self.user_info();
        let excluded = self.excluded();
        let headers = self.headers();
        let session = self.session();
        let cookies = self.cookies();
        let login_max_age = self.login_max_age();
        let provider = self.provider();
        let gate = self.gate();
        let (client_id, client_auth) = client?;
        let (callback_path, logout_path) = paths?;
        tokens?;
        let mut auth_params: Vec<_> = block.extra_auth_params.clone().into_iter().collect();
        auth_params.extend(block.auth_params.clone());
        Some(Settings {
            issuer: issuer?,
            client_id,
            client_secret: block.client_secret.clone().filter(|secret| !secret.expose_secret().is_empty()),
            client_auth,
            key: key?,
            callback_path,
            logout_path,
            post_logout: post_logout?,
            scopes,
            offline_access,
            auth_params,
            audience: block.audience.clone().filter(|audience| !audience.is_empty()),
            resource: block.resource.clone().filter(|resource| !resource.is_empty()),
            strict_audience: block.strict_audience_validation,
            user_info: user_info?,
            force_https: block.force_https.unwrap_or(self.dialect == Dialect::Plugin),
            trust_forwarded_uri: block.trust_forwarded_uri,
            disable_login: block.disable_login,
            excluded: excluded?,
            gate: gate?,
            minimal_headers: block.minimal_headers,
            headers: headers?,
            forward_authorization: block.forward_authorization,
            session: session?,
            cookies: cookies?,
            login_max_age: login_max_age?,
            provider: provider?,
        })
    }

    fn issuer(&mut self) -> Option<String> {
        let names = ["providerURL", "issuer"];
        let Some((key, text)) = self.either(names, [&self.block.provider_url, &self.block.issuer]) else {
            if self.block.provider_url.is_none() {
                let key = if self.dialect == Dialect::Plugin { names[0] } else { names[1] };
                self.error(key, "is required");
            }
            return None;
        };
        let text = text.trim().trim_end_matches("/.well-known/openid-configuration").to_owned();
        let url = self.checked(&key, check::provider_url(&text))?;
        if url.host_str() == Some("github.com") {
            self.error(
                &key,
                "GitHub speaks OAuth 2.0 only and gives no ID token; put a bridge such as dex before it",
            );
            return None;
        }
        if url.query().is_some() {
            self.error(&key, "must not have a query");
            return None;
        }
        if url.scheme() == "http" {
            self.warn(&key, "is http: used only while its host resolves to loopback addresses");
        }
        Some(text)
    }

    fn client(&mut self) -> Option<(String, Option<ClientAuth>)> {
        let method = self.client_auth();
        let has_secret =
            self.block.client_secret.as_ref().is_some_and(|secret| !secret.expose_secret().is_empty());
        if !has_secret && method.is_ok_and(|method| method != Some(ClientAuth::Public)) {
            self.error("clientSecret", "is required (or `clientAuthMethod: none` for a public client)");
        }
        match self.block.client_id.as_ref().map(|id| id.trim()).filter(|id| !id.is_empty()) {
            Some(id) => Some((id.to_owned(), method.ok()?)),
            None => {
                self.error("clientID", "is required");
                None
            }
        }
    }

    fn client_auth(&mut self) -> Result<Option<ClientAuth>, ()> {
        let message = match self.block.client_auth_method.as_deref() {
            None | Some("") => return Ok(None),
            Some("client_secret_post") => return Ok(Some(ClientAuth::SecretPost)),
            Some("client_secret_basic") => return Ok(Some(ClientAuth::SecretBasic)),
            Some("none") => return Ok(Some(ClientAuth::Public)),
            Some(
                "private_key_jwt" | "client_secret_jwt" | "tls_client_auth" | "self_signed_tls_client_auth",
            ) => "not supported yet",
            Some(_) => "must be client_secret_post, client_secret_basic or none",
        };
        self.error("clientAuthMethod", message);
        Err(())
    }

    fn key(&mut self) -> Option<secrecy::SecretString> {
        let Some(key) = &self.block.session_encryption_key else {
            self.error("sessionEncryptionKey", "is required: at least 32 bytes");
            return None;
        };
        self.checked("sessionEncryptionKey", check::key(key.expose_secret()))?;
        Some(key.clone())
    }

    fn paths(&mut self) -> Option<(String, String)> {
        let names = ["callbackURL", "redirectUrl"];
        let Some((key, callback)) = self.either(names, [&self.block.callback_url, &self.block.redirect_url])
        else {
            if self.block.callback_url.is_none() {
                let key = if self.dialect == Dialect::Plugin { names[0] } else { names[1] };
                self.error(key, "is required: a path such as `/oauth2/callback`");
            }
            return None;
        };
        let callback = self.checked(&key, check::own_path(&callback));
        let default = callback.as_ref().map(|path| format!("{path}/logout"));
        let written = self.block.logout_url.clone().filter(|path| !path.is_empty());
        let logout = match written {
            Some(path) => self.checked("logoutURL", check::own_path(&path))?,
            None => default?,
        };
        let callback = callback?;
        if callback == logout {
            self.error("logoutURL", "must not be the callback path");
            return None;
        }
        Some((callback, logout))
    }

    fn post_logout(&mut self) -> Option<Option<PostLogout>> {
        let names = ["postLogoutRedirectURI", "postLogoutRedirectUrl"];
        let values = [&self.block.post_logout_redirect_uri, &self.block.post_logout_redirect_url];
        let Some((key, text)) = self.either(names, values).filter(|(_, text)| !text.is_empty()) else {
            return Some(None);
        };
        if text.starts_with('/') {
            if !crate::oidc::return_target::is_strict(&text) {
                self.error(&key, format!("`{text}` must be a plain path or an https URL"));
                return None;
            }
            return Some(Some(PostLogout::Path(text)));
        }
        self.checked(&key, check::provider_url(&text)).map(|url| Some(PostLogout::Url(url)))
    }

    fn scopes(&mut self) -> (Vec<String>, bool) {
        let mut scopes: Vec<String> = vec!["openid".to_owned()];
        if !self.block.override_scopes {
            scopes.extend(["profile".to_owned(), "email".to_owned()]);
        }
        for scope in self.block.scopes.iter().flat_map(|entry| entry.split_whitespace()) {
            let legal = |b: u8| b == 0x21 || (0x23..=0x5b).contains(&b) || (0x5d..=0x7e).contains(&b);
            if !scope.bytes().all(legal) {
                self.error("scopes", format!("`{scope}` is not a scope"));
            } else if !scopes.iter().any(|s| s == scope) {
                scopes.push(scope.to_owned());
            }
        }
        (scopes, !self.block.override_scopes)
    }

    fn audiences(&mut self) -> Option<()> {
        let block = self.block;
        let audience = block.audience.as_deref().map_or(Ok(()), check::audience);
        let resource = block.resource.as_deref().filter(|r| !r.is_empty()).map_or(Ok(()), check::resource);
        let audience = self.checked("audience", audience);
        let resource = self.checked("resource", resource);
        audience.and(resource)
    }

    fn user_info(&mut self) -> Option<UserInfo> {
        match self.block.user_info.as_deref() {
            None | Some("" | "auto") => Some(UserInfo::Auto),
            Some("always") => Some(UserInfo::Always),
            Some("never") => Some(UserInfo::Never),
            Some(_) => {
                self.error("userInfo", "must be auto, always or never");
                None
            }
        }
    }

    fn excluded(&mut self) -> Option<ExcludedPaths> {
        match ExcludedPaths::new(&self.block.excluded_urls) {
            Ok(paths) => Some(paths),
            Err(faults) => {
                for (_, message) in faults {
                    self.error("excludedURLs", message);
                }
                None
            }
        }
    }

    fn headers(&mut self) -> Option<Vec<(HeaderName, Template)>> {
        let block = self.block;
        let mut headers: Vec<(HeaderName, Template)> = Vec::new();
        for header in &block.headers {
            let Some(name) = self.header_name("headers", &header.name) else { continue };
            let result = Template::compile(&header.value, &block.allowed_claims)
                .map_err(|error| format!("{}: {error}", header.name));
            headers.extend(self.checked("headers", result).map(|template| (name, template)));
        }
        for (name, claim) in &block.forward_headers {
            headers
                .extend(self.header_name("forwardHeaders", name).map(|name| (name, Template::claim(claim))));
        }
        Some(headers)
    }

    fn header_name(&mut self, key: &str, name: &str) -> Option<HeaderName> {
        /// Headers that steer the message itself.
        const FRAMING: &[&str] = &[
            "host",
            "cookie",
            "connection",
            "content-length",
            "transfer-encoding",
            "te",
            "trailer",
            "upgrade",
            "keep-alive",
            "proxy-connection",
            "expect",
        ];
        match HeaderName::try_from(name) {
            Ok(parsed) if !FRAMING.iter().any(|framing| same_header(framing, name)) => Some(parsed),
            _ => {
                self.error(key, format!("`{name}` cannot be set"));
                None
            }
        }
    }

    fn session(&mut self) -> Option<SessionSettings> {
        const DAY: Duration = Duration::from_secs(86_400);
        let block = self.block;
        let native = block.session.as_ref();
        let (key, max_age) = match native.and_then(|session| session.expiry) {
            Some(expiry) => ("session.expiry", Some(expiry)),
            None => ("sessionMaxAge", block.session_max_age),
        };
        let max_age = self.checked(key, check::seconds(max_age.unwrap_or(0), Some(DAY)));
        let grace =
            check::seconds(block.refresh_grace_period_seconds.unwrap_or(0), Some(Duration::from_secs(60)));
        let grace = self.checked("refreshGracePeriodSeconds", grace);
        let age = block.max_refresh_token_age_seconds.unwrap_or(21_600);
        let age = self.checked("maxRefreshTokenAgeSeconds", check::seconds(age, Some(Duration::ZERO)));
        Some(SessionSettings {
            max_age: max_age?,
            refresh_grace: grace?,
            max_refresh_token_age: age.map(|age| (!age.is_zero()).then_some(age))?,
            refresh: native.is_none_or(|session| session.refresh),
        })
    }

    fn cookies(&mut self) -> Option<CookieSettings> {
        let block = self.block;
        let native = block.session.as_ref();
        let domain = block
            .cookie_domain
            .clone()
            .or_else(|| native.and_then(|s| s.domain.clone()))
            .filter(|d| !d.is_empty());
        let path = block
            .cookie_path
            .clone()
            .or_else(|| native.and_then(|s| s.path.clone()))
            .filter(|p| !p.is_empty());
        let path = path.unwrap_or_else(|| "/".to_owned());
        let prefix = block
            .cookie_prefix
            .clone()
            .filter(|p| !p.is_empty())
            .unwrap_or_else(|| "_oidc_raczylo_".to_owned());
        if let Err(error) = Cookies::new(&prefix, domain.as_deref(), Some(&path)) {
            let key = match error {
                CookieError::Domain => "cookieDomain",
                CookieError::Path => "cookiePath",
                CookieError::Prefix | CookieError::Value => "cookiePrefix",
            };
            self.error(key, error.to_string());
            return None;
        }
        Some(CookieSettings { prefix, domain, path })
    }

    fn login_max_age(&mut self) -> Option<Duration> {
        const TEN_MINUTES: Duration = Duration::from_secs(600);
        match self.block.state_cookie.as_ref().and_then(|state| state.max_age) {
            None => Some(TEN_MINUTES),
            Some(seconds) => {
                let age = self.checked("stateCookie.maxAge", check::seconds(seconds, None))?;
                Some(age.min(TEN_MINUTES))
            }
        }
    }

    fn provider(&mut self) -> Option<ProviderSettings> {
        let block = self.block;
        let client = block.client_config.as_ref();
        let tls = client.and_then(|client| client.tls.as_ref());
        let end_session_url = self.override_url("oidcEndSessionURL", block.oidc_end_session_url.as_deref());
        let revocation_url = self.override_url("revocationURL", block.revocation_url.as_deref());
        let ca_pem = [block.ca_cert_pem.clone(), tls.and_then(|tls| tls.ca.clone())];
        Some(ProviderSettings {
            ca_pem: ca_pem.into_iter().flatten().filter(|pem| !pem.is_empty()).collect(),
            ca_path: block.ca_cert_path.as_deref().filter(|path| !path.is_empty()).map(Into::into),
            insecure_skip_verify: block.insecure_skip_verify
                || tls.is_some_and(|tls| tls.insecure_skip_verify),
            allow_private: block.allow_private_ip_addresses,
            timeout: client.and_then(|client| client.timeout_seconds).map(Duration::from_secs),
            end_session_url,
            revocation_url,
        })
    }

    fn override_url(&mut self, key: &str, text: Option<&str>) -> Option<url::Url> {
        let text = text.filter(|text| !text.is_empty())?;
        self.checked(key, check::provider_url(text))
    }

    fn gate(&mut self) -> Option<GateSettings> {
        let block = self.block;
        let names = ["userIdentifierClaim", "usernameClaim"];
        let identifier = self.either(names, [&block.user_identifier_claim, &block.username_claim]);
        let identifier = identifier.map(|(_, claim)| claim).filter(|claim| !claim.is_empty());
        let identifier_claim = identifier.unwrap_or_else(|| "email".to_owned());
        if !block.allowed_user_domains.is_empty()
            && !matches!(identifier_claim.as_str(), "email" | "upn" | "preferred_username")
        {
            self.warn(
                "allowedUserDomains",
                "compares the part behind `@` of the identifier, which is not an e-mail address here",
            );
        }
        let claim =
            |name: &str, default: &str| if name.is_empty() { default.to_owned() } else { name.to_owned() };
        Some(GateSettings {
            users: block.allowed_users.clone(),
            domains: block.allowed_user_domains.clone(),
            roles_and_groups: block.allowed_roles_and_groups.clone(),
            identifier_claim,
            role_claim: claim(&block.role_claim_name, "roles"),
            group_claim: claim(&block.group_claim_name, "groups"),
        })
    }
}
