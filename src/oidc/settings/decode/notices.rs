//! Options that are refused, and those that mean something else here.

use super::Builder;
use crate::config::oidc_options::{self, Fate};

const UNVERIFIED: &str = "the provider's certificate is not verified: for tests only";
const ALWAYS_PKCE: &str = "PKCE S256 is always used";
const HTTP_ONLY: &str = "our cookies are always HttpOnly";
const SAME_SITE: &str = "only `lax` is supported";
const SECURE: &str = "has no effect: Secure follows the scheme outside";

impl Builder<'_> {
    pub(super) fn refuse_cookie_attributes(&mut self) {
        let (session, state) = (self.block.session.as_ref(), self.block.state_cookie.as_ref());
        let other = |value: Option<&String>| value.is_some_and(|value| !value.eq_ignore_ascii_case("lax"));
        let refused = [
            (session.is_some_and(|s| s.http_only == Some(false)), "session.httpOnly", HTTP_ONLY),
            (state.is_some_and(|s| s.http_only == Some(false)), "stateCookie.httpOnly", HTTP_ONLY),
            (other(session.and_then(|s| s.same_site.as_ref())), "session.sameSite", SAME_SITE),
            (other(state.and_then(|s| s.same_site.as_ref())), "stateCookie.sameSite", SAME_SITE),
        ];
        for (_, key, message) in refused.into_iter().filter(|(is, _, _)| *is) {
            self.error(key, message);
        }
    }

    /// What the table says of options that load and do nothing.
    pub(super) fn warn_without_effect(&mut self) {
        for (option, at) in oidc_options::written(self.node) {
            if option.fate == Fate::WithoutEffect {
                let message = format!("has no effect: {}", option.why);
                self.decoder.at(option.key, |decoder| decoder.warn(at, message));
            }
        }
    }

    pub(super) fn warn_changed(&mut self) {
        let block = self.block;
        let tls = block.client_config.as_ref().and_then(|client| client.tls.as_ref());
        let changed = [
            (block.enable_pkce == Some(false), "enablePKCE", ALWAYS_PKCE),
            (block.pkce == Some(false), "pkce", ALWAYS_PKCE),
            (
                block.strip_auth_cookies == Some(false),
                "stripAuthCookies",
                "our cookies never reach a service",
            ),
            (
                block.allow_opaque_tokens == Some(true) && !block.enable_bearer_auth,
                "allowOpaqueTokens",
                "has no effect: access tokens are opaque to us, and the ID token is the proof of login",
            ),
            (block.insecure_skip_verify, "insecureSkipVerify", UNVERIFIED),
            (
                tls.is_some_and(|tls| tls.insecure_skip_verify),
                "clientConfig.tls.insecureSkipVerify",
                UNVERIFIED,
            ),
            (
                block.ca_cert_pem.is_some() && block.insecure_skip_verify,
                "caCertPEM",
                "has no effect beside `insecureSkipVerify`",
            ),
            (block.session.as_ref().is_some_and(|s| s.secure.is_some()), "session.secure", SECURE),
            (block.state_cookie.as_ref().is_some_and(|s| s.secure.is_some()), "stateCookie.secure", SECURE),
        ];
        for (_, key, message) in changed.into_iter().filter(|(is, _, _)| *is) {
            self.warn(key, message);
        }
        for (key, name) in [("extraAuthParams", &block.extra_auth_params), ("authParams", &block.auth_params)]
        {
            let ours = name.keys().find(|name| crate::oidc::login::OURS.contains(&name.as_str()));
            if let Some(name) = ours {
                self.warn(key, &format!("`{name}` has no effect: the login sets it"));
            }
        }
    }
}
