//! Security headers, and the check of the host.

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY_REPORT_ONLY, HeaderName, HeaderValue, PUBLIC_KEY_PINS,
    REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use pingora::http::{RequestHeader, ResponseHeader};

use crate::config::{Fault, Faults};
use crate::middleware::target::authority;
use crate::middleware::{ResponseFacts, config, set_header};
use crate::net::LocalResponse;

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
/// Stands for a fresh nonce in a Content-Security-Policy.
const NONCE: &str = "$NONCE";

/// The options that add security headers or check the host.
#[derive(Debug)]
pub(super) struct Security {
    allowed_hosts: Box<[String]>,
    hosts_proxy_headers: Box<[HeaderName]>,
    ssl_proxy_headers: Box<[(HeaderName, HeaderValue)]>,
    sts: Option<HeaderValue>,
    force_sts: bool,
    public_key: Option<HeaderValue>,
    /// The same on every answer.
    fixed: Vec<(HeaderName, HeaderValue)>,
    policies: Vec<(HeaderName, Box<str>)>,
}

impl Security {
    pub(super) fn new(config: &config::Headers) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let hosts_proxy_headers = config.hosts_proxy_headers.iter().enumerate();
        let hosts_proxy_headers =
            hosts_proxy_headers.map(|(at, text)| name(text, &format!("hostsProxyHeaders[{at}]")));
        let hosts_proxy_headers = hosts_proxy_headers.filter_map(|name| faults.gather(name)).collect();
        let ssl_proxy_headers = config.ssl_proxy_headers.iter().map(|(key, text)| {
            let option = format!("sslProxyHeaders.{key}");
            Ok::<_, Fault>((name(key, &option)?, value(text, &option)?))
        });
        let ssl_proxy_headers = ssl_proxy_headers.filter_map(|header| faults.gather(header)).collect();
        let sts = faults.gather(strict_transport_security(config)).flatten();
        let public_key = faults.gather(optional(config.public_key.as_deref(), "publicKey")).flatten();
        let fixed = faults.gather(fixed(config)).unwrap_or_default();
        let mut security = Self {
            allowed_hosts: config.allowed_hosts.clone().into(),
            hosts_proxy_headers,
            ssl_proxy_headers,
            sts,
            force_sts: config.force_sts_header,
            public_key,
            fixed,
            policies: Vec::new(),
        };
        let policies = [
            (CONTENT_SECURITY_POLICY, "contentSecurityPolicy", &config.content_security_policy),
            (
                CONTENT_SECURITY_POLICY_REPORT_ONLY,
                "contentSecurityPolicyReportOnly",
                &config.content_security_policy_report_only,
            ),
        ];
        for (name, option, policy) in policies {
            faults.gather(security.add_policy(name, option, policy.as_deref()));
        }
        if config.is_development {
            (security.allowed_hosts, security.sts, security.public_key) = (Box::default(), None, None);
        }
        faults.or(security)
    }

    /// Whether any of its options is set, also one that has no effect alone.
    pub(super) fn is_configured(config: &config::Headers) -> bool {
        let text = [
            &config.custom_frame_options_value,
            &config.custom_browser_xss_value,
            &config.content_security_policy,
            &config.content_security_policy_report_only,
            &config.public_key,
            &config.referrer_policy,
            &config.permissions_policy,
        ];
        config.is_development
            || config.sts_seconds != 0
            || config.sts_include_subdomains
            || config.sts_preload
            || config.force_sts_header
            || config.frame_deny
            || config.content_type_nosniff
            || config.browser_xss_filter
            || !config.allowed_hosts.is_empty()
            || !config.hosts_proxy_headers.is_empty()
            || !config.ssl_proxy_headers.is_empty()
            || text.into_iter().flatten().any(|text| !text.is_empty())
    }

    fn add_policy(&mut self, name: HeaderName, option: &str, policy: Option<&str>) -> Result<(), Fault> {
        match policy.unwrap_or_default() {
            "" => {}
            policy if policy.contains(NONCE) => {
                value(policy, option)?;
                self.policies.push((name, policy.into()));
            }
            policy => {
                let policy = value(policy, option)?;
                self.fixed.push((name, policy));
            }
        }
        Ok(())
    }

    /// The answer to a host that is not in `allowedHosts`. 500, as Traefik has it.
    pub(super) fn refusal(&self, request: &RequestHeader) -> Option<LocalResponse> {
        if self.allowed_hosts.is_empty() {
            return None;
        }
        let host = self
            .hosts_proxy_headers
            .iter()
            .filter_map(|name| request.headers.get(name))
            .find(|value| !value.is_empty())
            .map_or_else(|| authority(request).as_bytes(), HeaderValue::as_bytes);
        let allowed = self.allowed_hosts.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(host));
        (!allowed).then(|| LocalResponse::text(StatusCode::INTERNAL_SERVER_ERROR, "Bad Host"))
    }

    pub(super) fn apply(&self, response: &ResponseFacts<'_>, header: &mut ResponseHeader) {
        let secure = response.facts.tls || self.proxy_says_https(response.request);
        if let Some(sts) = self.sts.as_ref().filter(|_| secure || self.force_sts) {
            set_header!(header, insert_header, STRICT_TRANSPORT_SECURITY, sts.clone());
        }
        if let Some(key) = self.public_key.as_ref().filter(|_| secure) {
            set_header!(header, insert_header, PUBLIC_KEY_PINS, key.clone());
        }
        for (name, value) in &self.fixed {
            set_header!(header, insert_header, name, value.clone());
        }
        if self.policies.is_empty() {
            return;
        }
        let Some(nonce) = nonce() else { return };
        for (name, policy) in &self.policies {
            set_header!(header, insert_header, name, policy.replace(NONCE, &nonce));
        }
    }

    fn proxy_says_https(&self, request: &RequestHeader) -> bool {
        self.ssl_proxy_headers.iter().any(|(name, value)| request.headers.get(name) == Some(value))
    }
}

/// `'nonce-…'` with 128 random bits (Content Security Policy Level 3, section 7.1). `None`, and so no policy at all
/// rather than one with a known nonce, when there is no randomness.
fn nonce() -> Option<String> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).ok()?;
    Some(format!("'nonce-{}'", STANDARD.encode(bytes)))
}

fn strict_transport_security(config: &config::Headers) -> Result<Option<HeaderValue>, Fault> {
    if config.sts_seconds == 0 {
        return Ok(None);
    }
    if config.sts_seconds < 0 {
        return Err(Fault::new("stsSeconds", "cannot be negative"));
    }
    let subdomains = if config.sts_include_subdomains { "; includeSubDomains" } else { "" };
    let preload = if config.sts_preload { "; preload" } else { "" };
    value(&format!("max-age={}{subdomains}{preload}", config.sts_seconds), "stsSeconds").map(Some)
}

fn fixed(config: &config::Headers) -> Result<Vec<(HeaderName, HeaderValue)>, Faults> {
    let either = |custom: &Option<String>, flag: bool, default: &'static str| {
        custom.as_deref().filter(|text| !text.is_empty()).or(flag.then_some(default)).map(str::to_owned)
    };
    let values = [
        (
            X_FRAME_OPTIONS,
            "customFrameOptionsValue",
            either(&config.custom_frame_options_value, config.frame_deny, "DENY"),
        ),
        (X_CONTENT_TYPE_OPTIONS, "contentTypeNosniff", either(&None, config.content_type_nosniff, "nosniff")),
        (
            X_XSS_PROTECTION,
            "customBrowserXSSValue",
            either(&config.custom_browser_xss_value, config.browser_xss_filter, "1; mode=block"),
        ),
        (REFERRER_POLICY, "referrerPolicy", config.referrer_policy.clone()),
        (PERMISSIONS_POLICY, "permissionsPolicy", config.permissions_policy.clone()),
    ];
    let mut faults = Faults::default();
    let mut headers = Vec::new();
    for (name, option, text) in values {
        let value = faults.gather(optional(text.as_deref(), option)).flatten();
        headers.extend(value.map(|value| (name, value)));
    }
    faults.or(headers)
}

fn name(text: &str, option: &str) -> Result<HeaderName, Fault> {
    text.parse().map_err(|_| Fault::new(option, format!("{text:?} is not a header name")))
}

fn optional(text: Option<&str>, option: &str) -> Result<Option<HeaderValue>, Fault> {
    text.filter(|text| !text.is_empty()).map(|text| value(text, option)).transpose()
}

fn value(text: &str, option: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(text).map_err(|_| Fault::new(option, "bad value"))
}
