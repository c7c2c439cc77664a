//! Who we are at the provider, and where it sends the browser.

use secrecy::{ExposeSecret, SecretString};

use super::{Builder, Dialect};
use crate::oidc::return_target;
use crate::oidc::settings::{PostLogout, check};

impl Builder<'_> {
    pub(super) fn issuer(&mut self) -> Option<String> {
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

    /// The issuer as written, good or not.
    pub(super) fn issuer_text(&self) -> Option<&str> {
        self.block.provider_url.as_deref().or(self.block.issuer.as_deref())
    }

    pub(super) fn key(&mut self) -> Option<SecretString> {
        let Some(key) = &self.block.session_encryption_key else {
            self.error("sessionEncryptionKey", "is required: at least 32 bytes");
            return None;
        };
        self.checked("sessionEncryptionKey", check::key(key.expose_secret()))?;
        if key.expose_secret() == check::EXAMPLE_KEY {
            self.warn("sessionEncryptionKey", "is the example of the documentation, which everybody knows");
        }
        Some(key.clone())
    }

    pub(super) fn previous_keys(&mut self) -> Option<Vec<SecretString>> {
        let keys = &self.block.previous_session_encryption_keys;
        let checked = keys.iter().try_for_each(|key| check::key(key.expose_secret()));
        self.checked("previousSessionEncryptionKeys", checked).map(|()| keys.clone())
    }

    pub(super) fn paths(&mut self) -> Option<(String, String)> {
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

    pub(super) fn post_logout(&mut self) -> Option<Option<PostLogout>> {
        let names = ["postLogoutRedirectURI", "postLogoutRedirectUrl"];
        let values = [&self.block.post_logout_redirect_uri, &self.block.post_logout_redirect_url];
        let Some((key, text)) = self.either(names, values).filter(|(_, text)| !text.is_empty()) else {
            return Some(None);
        };
        if text.starts_with('/') {
            if !return_target::is_strict(&text) {
                self.error(&key, format!("`{text}` must be a plain path or an https URL"));
                return None;
            }
            return Some(Some(PostLogout::Path(text)));
        }
        self.checked(&key, check::landing_url(&text)).map(|url| Some(PostLogout::Url(url)))
    }
}
