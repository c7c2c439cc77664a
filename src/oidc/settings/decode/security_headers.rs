//! `securityHeaders`: the plugin's defaults, and what each key means.

use std::fmt::Display;

use http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS, X_XSS_PROTECTION,
};

use super::{Builder, Dialect};
use crate::config::oidc::SecurityHeaders as Block;
use crate::oidc::security_headers::{Cors, CorsOptions, OriginPattern, SecurityHeaders};

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const EMBEDDER_POLICY: HeaderName = HeaderName::from_static("cross-origin-embedder-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

const YEAR: i64 = 31_536_000;

impl Builder<'_> {
    /// The plugin sets its headers also where its block does not name them; ours only when asked.
    pub(super) fn security_headers(&mut self) -> Option<SecurityHeaders> {
        let default = Block { enabled: true, ..Block::default() };
        let block = match &self.block.security_headers {
            Some(block) => block,
            None if self.dialect == Dialect::Plugin => &default,
            None => return None,
        };
        if !block.enabled {
            return None;
        }
        let mut headers = SecurityHeaders::new();
        self.fixed_headers(block, &mut headers);
        self.transport_security(block, &mut headers);
        self.custom_headers(block, &mut headers);
        if block.disable_server_header.unwrap_or(true) {
            headers.remove_server();
        }
        if block.disable_powered_by_header.unwrap_or(true) {
            headers.remove_powered_by();
        }
        if block.cors_enabled == Some(true) {
            headers.set_cors(self.cors(block)?);
        }
        Some(headers)
    }

    /// An empty value sets no header.
    fn fixed_headers(&mut self, block: &Block, headers: &mut SecurityHeaders) {
        let texts = [
            (X_FRAME_OPTIONS, "frameOptions", &block.frame_options, "DENY"),
            (X_CONTENT_TYPE_OPTIONS, "contentTypeOptions", &block.content_type_options, "nosniff"),
            (X_XSS_PROTECTION, "xssProtection", &block.xss_protection, "1; mode=block"),
            (REFERRER_POLICY, "referrerPolicy", &block.referrer_policy, "strict-origin-when-cross-origin"),
            (CONTENT_SECURITY_POLICY, "contentSecurityPolicy", &block.content_security_policy, ""),
            (PERMISSIONS_POLICY, "permissionsPolicy", &block.permissions_policy, ""),
            (EMBEDDER_POLICY, "crossOriginEmbedderPolicy", &block.cross_origin_embedder_policy, ""),
            (OPENER_POLICY, "crossOriginOpenerPolicy", &block.cross_origin_opener_policy, ""),
            (RESOURCE_POLICY, "crossOriginResourcePolicy", &block.cross_origin_resource_policy, ""),
        ];
        for (name, key, text, default) in texts {
            let text = text.as_deref().unwrap_or(default);
            if let Some(value) = self.header_value(key, text).filter(|value| !value.is_empty()) {
                headers.set(name, value);
            }
        }
    }

    /// `preload` binds a whole domain for years, so it is sent only when asked for.
    fn transport_security(&mut self, block: &Block, headers: &mut SecurityHeaders) {
        if !block.strict_transport_security.unwrap_or(true) {
            return;
        }
        let age = block.strict_transport_security_max_age.unwrap_or(YEAR);
        if age < 0 {
            self.error("securityHeaders.strictTransportSecurityMaxAge", "must not be negative");
            return;
        }
        let sub_domains = block.strict_transport_security_subdomains.unwrap_or(true);
        let preload = block.strict_transport_security_preload.unwrap_or(false);
        if preload && !(sub_domains && age >= YEAR) {
            self.warn(
                "securityHeaders.strictTransportSecurityPreload",
                "lists of browsers take a domain only with sub-domains and a max-age of at least a year",
            );
        }
        let value = format!(
            "max-age={age}{}{}",
            if sub_domains { "; includeSubDomains" } else { "" },
            if preload { "; preload" } else { "" }
        );
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.set_transport_security(value);
        }
    }

    fn custom_headers(&mut self, block: &Block, headers: &mut SecurityHeaders) {
        for (name, text) in &block.custom_headers {
            let Some(parsed) = self.header_name("securityHeaders.customHeaders", name) else { continue };
            if parsed == SET_COOKIE {
                self.error(
                    "securityHeaders.customHeaders",
                    "`Set-Cookie` would replace the session's cookie",
                );
            } else if let Some(value) = self.header_value("customHeaders", text) {
                headers.set(parsed, value);
            }
        }
    }

    fn cors(&mut self, block: &Block) -> Option<Cors> {
        if block.cors_allowed_origins.is_empty() {
            self.error("securityHeaders.corsAllowedOrigins", "is required with `corsEnabled`");
        }
        let mut origins = Vec::new();
        for text in &block.cors_allowed_origins {
            let pattern = OriginPattern::parse(text);
            origins.extend(self.checked("securityHeaders.corsAllowedOrigins", pattern));
        }
        let credentials = block.cors_allow_credentials == Some(true);
        if credentials && origins.contains(&OriginPattern::Any) {
            self.warn(
                "securityHeaders.corsAllowCredentials",
                "has no effect for `*`: only origins that are named may send credentials",
            );
        }
        let max_age = u64::try_from(block.cors_max_age.unwrap_or(86_400));
        let max_age = max_age.map_err(|_| "must not be negative".to_owned());
        let methods =
            self.tokens("corsAllowedMethods", &block.cors_allowed_methods, &["GET", "POST", "OPTIONS"]);
        let allowed = self.tokens(
            "corsAllowedHeaders",
            &block.cors_allowed_headers,
            &["Authorization", "Content-Type"],
        );
        Some(Cors::new(CorsOptions {
            origins,
            methods: methods?,
            headers: allowed?,
            credentials,
            max_age: self.checked("securityHeaders.corsMaxAge", max_age)?,
        }))
    }

    /// Names of methods or headers (tokens of RFC 9110, section 5.6.2), joined.
    fn tokens(&mut self, key: &str, names: &[String], default: &[&str]) -> Option<HeaderValue> {
        if let Some(bad) = names.iter().find(|name| http::Method::from_bytes(name.as_bytes()).is_err()) {
            self.error(&format!("securityHeaders.{key}"), format!("`{bad}` is not a name"));
            return None;
        }
        let joined = if names.is_empty() { default.join(", ") } else { names.join(", ") };
        self.header_value(key, &joined)
    }

    fn header_value(&mut self, key: impl Display, text: &str) -> Option<HeaderValue> {
        let value = HeaderValue::from_str(text.trim()).map_err(|_| "is not a header value".to_owned());
        self.checked(&format!("securityHeaders.{key}"), value)
    }
}
