//! The `oidc` middleware block, and the traefikoidc plugin's block: one set of options.
//!
//! The plugin's names come first; the native block's names follow Traefik Hub's OIDC middleware
//! where it has the thing. Either block accepts both, so that an option can be added without
//! rewriting the block. What the options mean together is decided in `oidc::settings`.

mod assertion;
mod registration;

use std::collections::BTreeMap;

use secrecy::SecretString;

use crate::schema;

pub use assertion::IdentityAssertion;
pub use registration::{ClientMetadata, ClientRegistration, Registration};

schema! {
    /// Every option of the OIDC middleware. `None` is "not written".
    pub struct Oidc {
        /// Issuer of the OpenID provider (plugin).
        "providerURL" => provider_url: Option<String>,
        /// Issuer of the OpenID provider (native).
        "issuer" => issuer: Option<String>,
        /// What the provider does in its own way: standard, entra, google or cognito.
        "providerProfile" => provider_profile: Option<String>,
        /// Tenants that may log in where `entra` metadata are shared by all.
        "allowedTenants" => allowed_tenants: Vec<String>,
        /// Issuer that metadata and tokens must name, if it is not the URL above.
        "trustedIssuer" => trusted_issuer: Option<String>,
        /// Issuers are always checked (native).
        "disableIssuerCheck" => disable_issuer_check: bool = false,
        /// Parameters of the discovery request (native).
        "discoveryParams" => discovery_params: BTreeMap<String, String>,
        /// Client identifier at the provider.
        "clientID" => client_id: Option<String>,
        /// Client secret at the provider.
        "clientSecret" => client_secret: Option<SecretString>,
        /// How the client authenticates at the token endpoint.
        "clientAuthMethod" => client_auth_method: Option<String>,
        /// Private key of `private_key_jwt`, as PEM.
        "clientAssertionPrivateKey" => client_assertion_private_key: Option<SecretString>,
        /// The same in a file, which is read again when it changes.
        "clientAssertionKeyPath" => client_assertion_key_path: Option<String>,
        /// Its `kid`.
        "clientAssertionKeyID" => client_assertion_key_id: Option<String>,
        /// Its algorithm; RS256 if not written.
        "clientAssertionAlg" => client_assertion_alg: Option<String>,
        /// `aud` of assertions: issuer or tokenEndpoint.
        "clientAssertionAudience" => client_assertion_audience: Option<String>,
        /// Whether authorization requests are pushed: auto, always or never.
        "pushedAuthorization" => pushed_authorization: Option<String>,
        /// At least 32 bytes; seals what the browser keeps.
        "sessionEncryptionKey" => session_encryption_key: Option<SecretString>,
        /// Keys that still open sessions but seal no new ones.
        "previousSessionEncryptionKeys" => previous_session_encryption_keys: Vec<SecretString>,
        /// Path that the provider sends the browser back to (plugin).
        "callbackURL" => callback_url: Option<String>,
        /// Path that the provider sends the browser back to (native).
        "redirectUrl" => redirect_url: Option<String>,
        /// Path that logs out.
        "logoutURL" => logout_url: Option<String>,
        /// Where the browser lands after logout (plugin).
        "postLogoutRedirectURI" => post_logout_redirect_uri: Option<String>,
        /// Where the browser lands after logout (native).
        "postLogoutRedirectUrl" => post_logout_redirect_url: Option<String>,
        /// Scopes beside `openid profile email`.
        "scopes" => scopes: Vec<String>,
        /// Send exactly the configured scopes and `openid`.
        "overrideScopes" => override_scopes: bool = false,
        /// Further parameters of the authorization request (plugin).
        "extraAuthParams" => extra_auth_params: BTreeMap<String, String>,
        /// Further parameters of the authorization request (native).
        "authParams" => auth_params: BTreeMap<String, String>,
        /// Expected audience of access tokens; sent when it is not the client id.
        "audience" => audience: Option<String>,
        /// Resource indicator (RFC 8707).
        "resource" => resource: Option<String>,
        /// Refuse sessions whose JWT access token has another audience.
        "strictAudienceValidation" => strict_audience_validation: bool = false,
        /// PKCE (plugin): always on; written, no login at a provider without it.
        "enablePKCE" => enable_pkce: Option<bool>,
        /// PKCE (native): always on; written, no login at a provider without it.
        "pkce" => pkce: Option<bool>,
        /// Whether claims are fetched from userinfo: auto, always or never.
        "userInfo" => user_info: Option<String>,
        /// Treat the outside as https whatever this process sees.
        "forceHTTPS" => force_https: Option<bool>,
        /// Believe X-Forwarded-Uri of trusted peers as the target after login.
        "trustForwardedURI" => trust_forwarded_uri: bool = false,
        /// Answer 401 instead of starting a login.
        "disableLogin" => disable_login: bool = false,

        /// Paths that need no session.
        "excludedURLs" => excluded_urls: Vec<String>,
        /// E-mail domains that may pass.
        "allowedUserDomains" => allowed_user_domains: Vec<String>,
        /// Users that may pass.
        "allowedUsers" => allowed_users: Vec<String>,
        /// Roles and groups, one of which is needed.
        "allowedRolesAndGroups" => allowed_roles_and_groups: Vec<String>,
        /// Claim with the roles.
        "roleClaimName" => role_claim_name: String = "roles".to_owned(),
        /// Claim with the groups.
        "groupClaimName" => group_claim_name: String = "groups".to_owned(),
        /// Claim that names the user (plugin).
        "userIdentifierClaim" => user_identifier_claim: Option<String>,
        /// Claim that names the user (native).
        "usernameClaim" => username_claim: Option<String>,
        /// Expression over claims that must be true (native).
        "claims" => claims: Option<String>,
        /// Authentication contexts, one of which the login must have (native).
        "acrValues" => acr_values: Vec<String>,
        /// Oldest login that is enough, in seconds (native).
        "maxAge" => max_age: Option<i64>,
        /// Claims that header templates may name beside the listed ones.
        "allowedClaims" => allowed_claims: Vec<String>,

        /// Only X-Forwarded-User goes to the service.
        "minimalHeaders" => minimal_headers: bool = false,
        /// Headers with templates.
        "headers" => headers: Vec<HeaderTemplate>,
        /// Headers with the claim that fills them.
        "forwardHeaders" => forward_headers: BTreeMap<String, String>,
        /// A signed assertion of who the user is (native).
        "identityAssertion" => identity_assertion: Option<IdentityAssertion>,
        /// Let the client's Authorization header go on beside a session.
        "forwardAuthorization" => forward_authorization: bool = false,
        /// Remove our cookies before the service; always on.
        "stripAuthCookies" => strip_auth_cookies: Option<bool>,

        /// Absolute lifetime of a session in seconds.
        "sessionMaxAge" => session_max_age: Option<i64>,
        /// Seconds without a request after which a session ends; 0 is never (native).
        "sessionIdleTimeout" => session_idle_timeout: Option<i64>,
        /// Refresh this many seconds before expiry.
        "refreshGracePeriodSeconds" => refresh_grace_period_seconds: Option<i64>,
        /// Oldest refresh token that is still used, in seconds; 0 is no limit.
        "maxRefreshTokenAgeSeconds" => max_refresh_token_age_seconds: Option<i64>,
        /// Domain of the cookies.
        "cookieDomain" => cookie_domain: Option<String>,
        /// Path of the cookies.
        "cookiePath" => cookie_path: Option<String>,
        /// Prefix of the cookies' names.
        "cookiePrefix" => cookie_prefix: Option<String>,
        /// Session settings (native).
        "session" => session: Option<Session>,
        /// Login-state cookie settings (native).
        "stateCookie" => state_cookie: Option<StateCookie>,
        /// How the provider is called (native).
        "clientConfig" => client_config: Option<ClientConfig>,

        /// Certificate authorities of the provider, as PEM.
        "caCertPEM" => ca_cert_pem: Option<String>,
        /// Certificate authorities of the provider, as a file.
        "caCertPath" => ca_cert_path: Option<String>,
        /// Do not verify the provider's certificate.
        "insecureSkipVerify" => insecure_skip_verify: bool = false,
        /// Allow discovered endpoints on private and loopback addresses.
        "allowPrivateIPAddresses" => allow_private_ip_addresses: bool = false,
        /// Overrides the discovered end-session endpoint.
        "oidcEndSessionURL" => oidc_end_session_url: Option<String>,
        /// Overrides the discovered revocation endpoint.
        "revocationURL" => revocation_url: Option<String>,

        /// Security headers of the plugin.
        "securityHeaders" => security_headers: Option<SecurityHeaders>,
        /// Redis of the plugin.
        "redis" => redis: Option<Redis>,
        /// Client registration of the plugin.
        "dynamicClientRegistration" => dynamic_client_registration: Option<Registration>,
        /// Client registration (native).
        "clientRegistration" => client_registration: Option<ClientRegistration>,
        /// Back-channel logout.
        "enableBackchannelLogout" => enable_backchannel_logout: bool = false,
        /// Path of back-channel logout (plugin; Hub's `backchannelLogoutUrl`).
        "backchannelLogoutURL" => backchannel_logout_url: Option<String>,
        /// A logout token must name a session (native).
        "backchannelLogoutSessionsRequired" => backchannel_logout_sessions_required: bool = false,
        /// Front-channel logout.
        "enableFrontchannelLogout" => enable_frontchannel_logout: bool = false,
        /// Path of front-channel logout.
        "frontchannelLogoutURL" => frontchannel_logout_url: Option<String>,
        /// Prefix of the endpoints for single-page applications, or `auto`: the callback's folder (native).
        "sessionEndpoints" => session_endpoints: Option<String>,
        /// Token introspection of opaque access tokens.
        "requireTokenIntrospection" => require_token_introspection: bool = false,
        /// Overrides the discovered introspection endpoint.
        "introspectionURL" => introspection_url: Option<String>,
        /// Accept access tokens that are not JWTs.
        "allowOpaqueTokens" => allow_opaque_tokens: Option<bool>,
        /// Bearer tokens of machine clients.
        "enableBearerAuth" => enable_bearer_auth: bool = false,
        /// Only tokens with `typ: at+jwt` are access tokens (native).
        "bearerRequireAtJwt" => bearer_require_at_jwt: bool = false,
        /// Claim that names a bearer token's subject.
        "bearerIdentifierClaim" => bearer_identifier_claim: Option<String>,
        /// Remove Authorization after a bearer check.
        "stripAuthorizationHeader" => strip_authorization_header: Option<bool>,
        /// Clients whose bearer tokens are accepted; any for an audience of its own (native).
        "bearerAllowedClients" => bearer_allowed_clients: Vec<String>,
        /// Send WWW-Authenticate with bearer failures.
        "bearerEmitWWWAuthenticate" => bearer_emit_www_authenticate: Option<bool>,
        /// A bearer token wins over a session.
        "bearerOverridesCookie" => bearer_overrides_cookie: Option<bool>,
        /// Oldest bearer token by `iat`.
        "maxTokenAgeSeconds" => max_token_age_seconds: Option<i64>,
        /// Longest identifier of a bearer token.
        "maxIdentifierLength" => max_identifier_length: Option<i64>,
        /// Failures before a source is made to wait.
        "bearerFailureThreshold" => bearer_failure_threshold: Option<i64>,
        /// Window of those failures.
        "bearerFailureWindowSeconds" => bearer_failure_window_seconds: Option<i64>,
        /// How long it waits.
        "bearerFailurePenaltySeconds" => bearer_failure_penalty_seconds: Option<i64>,
        /// Login starts per minute and source; 0 is off.
        "perSourceLoginRateLimit" => per_source_login_rate_limit: i64 = 0,
        /// Token verifications (plugin).
        "rateLimit" => rate_limit: Option<i64>,
        /// Accept the ID token of a session again and again (plugin); it is not listed here anyway.
        "disableReplayDetection" => disable_replay_detection: Option<bool>,
        /// Log level of the plugin.
        "logLevel" => log_level: Option<String>,
    }
    not supported yet: [
        "loginUrl", "postLoginRedirectUrl", "csrf",
    ],
}

schema! {
    /// A header towards the service.
    pub struct HeaderTemplate {
        /// Its name.
        "name" => name: String,
        /// Go template over `.Claims`, `.AccessToken` and `.IdToken`, or fixed text.
        "value" => value: String,
    }
    required: ["name", "value"],
}

schema! {
    /// Session settings in Traefik Hub's words.
    pub struct Session {
        /// Path of the cookie.
        "path" => path: Option<String>,
        /// Domain of the cookie.
        "domain" => domain: Option<String>,
        /// Absolute lifetime in seconds.
        "expiry" => expiry: Option<i64>,
        /// Seconds without a request after which a session ends; 0 is never.
        "idleTimeout" => idle_timeout: Option<i64>,
        /// Lifetimes that slide are `idleTimeout`; only `false`.
        "sliding" => sliding: bool = false,
        /// Refresh tokens before they expire.
        "refresh" => refresh: bool = true,
        /// SameSite of the cookie; only `lax`.
        "sameSite" => same_site: Option<String>,
        /// HttpOnly of the cookie; always on.
        "httpOnly" => http_only: Option<bool>,
        /// Secure of the cookie; follows the outside scheme.
        "secure" => secure: Option<bool>,
        /// Where the sessions of this middleware live.
        "store" => store: Option<super::session_store::SessionStore>,
    }
    not supported yet: ["name"],
}

schema! {
    /// Login-state cookie settings in Traefik Hub's words.
    pub struct StateCookie {
        /// Life of a login attempt in seconds.
        "maxAge" => max_age: Option<i64>,
        /// SameSite of the cookie; only `lax`.
        "sameSite" => same_site: Option<String>,
        /// HttpOnly of the cookie; always on.
        "httpOnly" => http_only: Option<bool>,
        /// Secure of the cookie; follows the outside scheme.
        "secure" => secure: Option<bool>,
    }
    not supported yet: ["name", "path", "domain"],
}

schema! {
    /// How the provider is called, in Traefik Hub's words.
    pub struct ClientConfig {
        /// TLS towards the provider.
        "tls" => tls: Option<ClientTls>,
        /// Proxy on the way to the provider.
        "proxy" => proxy: Option<SecretString>,
        /// Longest wait for an answer in seconds.
        "timeoutSeconds" => timeout_seconds: Option<u64>,
    }
    without effect: {
        "maxRetries" => "discovery is retried until it succeeds; a token request is repeated only if it was never sent",
    },
}

schema! {
    /// TLS towards the provider.
    pub struct ClientTls {
        /// Certificate authorities as PEM.
        "ca" => ca: Option<String>,
        /// Our certificate for the provider, as PEM.
        "cert" => cert: Option<String>,
        /// Its key, as PEM.
        "key" => key: Option<SecretString>,
        /// Do not verify the certificate.
        "insecureSkipVerify" => insecure_skip_verify: bool = false,
    }
}

schema! {
    /// Headers of every answer, and CORS.
    pub struct SecurityHeaders {
        /// Whether they are set.
        "enabled" => enabled: bool = true,
        /// Had no effect in the plugin.
        "profile" => profile: Option<String>,
        /// X-Frame-Options.
        "frameOptions" => frame_options: Option<String>,
        /// X-Content-Type-Options.
        "contentTypeOptions" => content_type_options: Option<String>,
        /// X-XSS-Protection.
        "xssProtection" => xss_protection: Option<String>,
        /// Referrer-Policy.
        "referrerPolicy" => referrer_policy: Option<String>,
        /// Content-Security-Policy.
        "contentSecurityPolicy" => content_security_policy: Option<String>,
        /// Permissions-Policy.
        "permissionsPolicy" => permissions_policy: Option<String>,
        /// Cross-Origin-Embedder-Policy.
        "crossOriginEmbedderPolicy" => cross_origin_embedder_policy: Option<String>,
        /// Cross-Origin-Opener-Policy.
        "crossOriginOpenerPolicy" => cross_origin_opener_policy: Option<String>,
        /// Cross-Origin-Resource-Policy.
        "crossOriginResourcePolicy" => cross_origin_resource_policy: Option<String>,
        /// Strict-Transport-Security.
        "strictTransportSecurity" => strict_transport_security: Option<bool>,
        /// Its `max-age`.
        "strictTransportSecurityMaxAge" => strict_transport_security_max_age: Option<i64>,
        /// Its `includeSubDomains`.
        "strictTransportSecuritySubdomains" => strict_transport_security_subdomains: Option<bool>,
        /// Its `preload`.
        "strictTransportSecurityPreload" => strict_transport_security_preload: Option<bool>,
        /// CORS.
        "corsEnabled" => cors_enabled: Option<bool>,
        /// CORS origins.
        "corsAllowedOrigins" => cors_allowed_origins: Vec<String>,
        /// CORS methods.
        "corsAllowedMethods" => cors_allowed_methods: Vec<String>,
        /// CORS headers.
        "corsAllowedHeaders" => cors_allowed_headers: Vec<String>,
        /// CORS credentials.
        "corsAllowCredentials" => cors_allow_credentials: Option<bool>,
        /// Age of a CORS answer.
        "corsMaxAge" => cors_max_age: Option<i64>,
        /// Further headers.
        "customHeaders" => custom_headers: BTreeMap<String, String>,
        /// Remove the service's Server header.
        "disableServerHeader" => disable_server_header: Option<bool>,
        /// Remove the service's X-Powered-By header.
        "disablePoweredByHeader" => disable_powered_by_header: Option<bool>,
    }
}

schema! {
    /// Redis of the plugin: the session store of this middleware.
    pub struct Redis {
        /// Whether it is used.
        "enabled" => enabled: bool = false,
        /// Server.
        "address" => address: Option<String>,
        /// Password.
        "password" => password: Option<SecretString>,
        /// Database number.
        "db" => db: Option<i64>,
        /// Prefix of keys.
        "keyPrefix" => key_prefix: Option<String>,
        /// Connections.
        "poolSize" => pool_size: Option<i64>,
        /// Seconds to connect.
        "connectTimeout" => connect_timeout: Option<i64>,
        /// Seconds to read.
        "readTimeout" => read_timeout: Option<i64>,
        /// Seconds to write.
        "writeTimeout" => write_timeout: Option<i64>,
        /// TLS.
        "enableTLS" => enable_tls: Option<bool>,
        /// Do not verify the server's certificate.
        "tlsSkipVerify" => tls_skip_verify: Option<bool>,
        /// Mode of the plugin's caches.
        "cacheMode" => cache_mode: Option<String>,
        /// The plugin's circuit breaker.
        "enableCircuitBreaker" => enable_circuit_breaker: Option<bool>,
        /// The plugin's circuit breaker.
        "circuitBreakerThreshold" => circuit_breaker_threshold: Option<i64>,
        /// The plugin's circuit breaker.
        "circuitBreakerTimeout" => circuit_breaker_timeout: Option<i64>,
        /// The plugin's health check.
        "enableHealthCheck" => enable_health_check: Option<bool>,
        /// The plugin's health check.
        "healthCheckInterval" => health_check_interval: Option<i64>,
        /// The plugin's second cache.
        "hybridL1Size" => hybrid_l1_size: Option<i64>,
        /// The plugin's second cache.
        "hybridL1MemoryMB" => hybrid_l1_memory_mb: Option<i64>,
    }
}
