//! Which kind of provider it is, and how it is called.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{Builder, Dialect};
use crate::oidc::fetch::MAX_TIME;
use crate::oidc::gate::ANY_TENANT;
use crate::oidc::profile::{Profile, is_tenant};
use crate::oidc::pushed::PushedAuthorization;
use crate::oidc::settings::{EgressProxy, ProviderSettings, check};

/// The one issuer of Google, for which the plugin knew what to do without being told.
const GOOGLE: &str = "https://accounts.google.com";

/// Path segments under which Entra has metadata for many tenants.
const SHARED: [&str; 2] = ["common", "organizations"];

impl Builder<'_> {
    pub(super) fn profile(&mut self) -> Option<Profile> {
        let block = self.block;
        match block.provider_profile.as_deref().unwrap_or_default() {
            "" => {
                let url = block.provider_url.as_deref().map(|url| url.trim_end_matches('/'));
                let is_google = self.dialect == Dialect::Plugin && url == Some(GOOGLE);
                Some(if is_google { Profile::Google } else { Profile::Standard })
            }
            name => {
                let profile = Profile::named(name);
                let message = "must be standard, entra, google or cognito";
                self.checked("providerProfile", profile.ok_or_else(|| message.to_owned()))
            }
        }
    }

    /// Everybody has an account in some tenant, so which ones may log in must be said.
    pub(super) fn allowed_tenants(&mut self, profile: Profile) -> Option<Vec<String>> {
        let block = self.block;
        let tenants = block.allowed_tenants.clone();
        if let Some(bad) = tenants.iter().find(|tenant| !(is_tenant(tenant) || *tenant == ANY_TENANT)) {
            self.error("allowedTenants", format!("`{bad}` must be a tenant's GUID, or `*` for any"));
            return None;
        }
        let url = block.provider_url.as_deref().or(block.issuer.as_deref()).unwrap_or_default();
        let is_shared = profile == Profile::Entra && url.split('/').any(|segment| SHARED.contains(&segment));
        if is_shared && tenants.is_empty() {
            self.error(
                "allowedTenants",
                "is required: the metadata are those of all tenants (`*` lets any of them in)",
            );
            return None;
        }
        if tenants.iter().any(|tenant| tenant == ANY_TENANT) {
            self.warn_of_any_tenant();
        }
        Some(tenants)
    }

    fn warn_of_any_tenant(&mut self) {
        let block = self.block;
        let gates = [&block.allowed_users, &block.allowed_user_domains, &block.allowed_roles_and_groups];
        if gates.iter().all(|gate| gate.is_empty()) && block.claims.is_none() {
            self.warn("allowedTenants", "lets in everybody who has a Microsoft account");
        }
        let by_address = block.allowed_users.iter().any(|user| user.contains('@'));
        if by_address || !block.allowed_user_domains.is_empty() {
            self.warn(
                "allowedTenants",
                "makes addresses count only with `email_verified`, which Entra does not send: list the tenants",
            );
        }
    }

    pub(super) fn pushed_authorization(&mut self) -> Option<PushedAuthorization> {
        match self.block.pushed_authorization.as_deref().unwrap_or_default() {
            "" | "auto" => Some(PushedAuthorization::Auto),
            "always" => Some(PushedAuthorization::Always),
            "never" => Some(PushedAuthorization::Never),
            _ => {
                self.error("pushedAuthorization", "must be auto, always or never");
                None
            }
        }
    }

    pub(super) fn provider(&mut self, profile: Profile) -> Option<ProviderSettings> {
        let block = self.block;
        let client = block.client_config.as_ref();
        let tls = client.and_then(|client| client.tls.as_ref());
        let end_session_url = self.override_url("oidcEndSessionURL", block.oidc_end_session_url.as_deref());
        let revocation_url = self.override_url("revocationURL", block.revocation_url.as_deref());
        let introspection_url = self.override_url("introspectionURL", block.introspection_url.as_deref());
        let ca_pem = [block.ca_cert_pem.clone(), tls.and_then(|tls| tls.ca.clone())];
        if block.disable_issuer_check {
            self.error(
                "disableIssuerCheck",
                "is not offered: name the issuer that tokens have in `trustedIssuer`",
            );
        }
        let client_certificate = self.client_certificate();
        let proxy = self.egress_proxy();
        let timeout = self.call_time();
        Some(ProviderSettings {
            ca_pem: ca_pem.into_iter().flatten().filter(|pem| !pem.is_empty()).collect(),
            ca_path: block.ca_cert_path.as_deref().filter(|path| !path.is_empty()).map(Into::into),
            insecure_skip_verify: block.insecure_skip_verify
                || tls.is_some_and(|tls| tls.insecure_skip_verify),
            allow_private: block.allow_private_ip_addresses,
            client_certificate: client_certificate?,
            proxy: proxy?,
            timeout: timeout?,
            trusted_issuer: block.trusted_issuer.clone().filter(|issuer| !issuer.is_empty()),
            discovery_params: block.discovery_params.clone().into_iter().collect(),
            profile,
            end_session_url,
            revocation_url,
            introspection_url,
        })
    }

    fn override_url(&mut self, key: &str, text: Option<&str>) -> Option<Url> {
        let text = text.filter(|text| !text.is_empty())?;
        self.checked(key, check::endpoint_url(text, self.issuer_text()))
    }

    /// Outer none: it is faulty. No call may take longer than [`MAX_TIME`], whatever is written.
    fn call_time(&mut self) -> Option<Option<Duration>> {
        const KEY: &str = "clientConfig.timeoutSeconds";
        let Some(seconds) = self.block.client_config.as_ref().and_then(|client| client.timeout_seconds)
        else {
            return Some(None);
        };
        if seconds == 0 {
            self.error(KEY, "must be more than 0");
            return None;
        }
        let most = MAX_TIME.as_secs();
        if seconds > most {
            self.warn(KEY, &format!("counts as {most}: no call of the provider may take longer"));
        }
        Some(Some(Duration::from_secs(seconds.min(most))))
    }

    /// Certificate and key in one text, as the HTTP client wants them.
    fn client_certificate(&mut self) -> Option<Option<SecretString>> {
        let tls = self.block.client_config.as_ref().and_then(|client| client.tls.as_ref());
        let cert = tls.and_then(|tls| tls.cert.as_deref()).filter(|pem| !pem.is_empty());
        let key = tls.and_then(|tls| tls.key.as_ref()).filter(|pem| !pem.expose_secret().is_empty());
        match (cert, key) {
            (None, None) => Some(None),
            (Some(cert), Some(key)) => {
                let pem = format!("{cert}\n{}", key.expose_secret());
                if reqwest::Identity::from_pem(pem.as_bytes()).is_err() {
                    self.error("clientConfig.tls.cert", "and `key` must be a certificate and its key in PEM");
                    return None;
                }
                Some(Some(SecretString::from(pem)))
            }
            (Some(_), None) => {
                self.error("clientConfig.tls.key", "is required beside `cert`");
                None
            }
            (None, Some(_)) => {
                self.error("clientConfig.tls.cert", "is required beside `key`");
                None
            }
        }
    }

    fn egress_proxy(&mut self) -> Option<Option<EgressProxy>> {
        let text = self.block.client_config.as_ref().and_then(|client| client.proxy.as_ref());
        let Some(text) = text.map(|text| text.expose_secret().trim()).filter(|text| !text.is_empty()) else {
            return Some(None);
        };
        let proxy = EgressProxy::parse(text).ok_or_else(|| "must be an http or https URL".to_owned());
        self.checked("clientConfig.proxy", proxy).map(Some)
    }
}
