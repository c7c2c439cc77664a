//! What becomes of each option of the traefikoidc plugin: one table for the warnings, for
//! `portcullis check` and for `docs/traefikoidc-options.md`.

use super::value::{Node, Position, Value};

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It does what it does in the plugin, as the plugin documents it.
    Honoured,
    /// It works, and differs in what the reason tells.
    Changed,
    /// It loads with a warning and does nothing.
    WithoutEffect,
    /// It refuses the block.
    Refused,
}

impl Fate {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Honoured => "honoured",
            Self::Changed => "changed",
            Self::WithoutEffect => "without effect",
            Self::Refused => "refused",
        }
    }
}

/// An option of the plugin and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginOption {
    /// Its key; dots lead into blocks.
    pub key: &'static str,
    /// What becomes of it.
    pub fate: Fate,
    /// Why it is not plainly honoured; empty, or a remark, where it is.
    pub why: &'static str,
    /// What differs where it is not written; empty if nothing does.
    pub unwritten: &'static str,
}

impl PluginOption {
    const fn new(key: &'static str, fate: Fate, why: &'static str) -> Self {
        Self { key, fate, why, unwritten: "" }
    }

    /// The same, and what differs where it is not written.
    const fn unwritten(self, unwritten: &'static str) -> Self {
        Self { unwritten, ..self }
    }
}

/// The options that `block` has not and whose default differs from the plugin's, in the order of the table.
pub fn unwritten(block: &Node) -> impl Iterator<Item = &'static PluginOption> {
    OPTIONS.iter().filter(|option| !option.unwritten.is_empty() && place(block, option.key).is_none())
}

/// The options that `block` has, in the order of the table, and where each is written.
pub fn written(block: &Node) -> impl Iterator<Item = (&'static PluginOption, &Position)> {
    OPTIONS.iter().filter_map(|option| Some((option, place(block, option.key)?)))
}

/// Where the option `key` is written. A key without a value counts as absent.
fn place<'a>(block: &'a Node, key: &str) -> Option<&'a Position> {
    let mut node = block;
    let mut at = &block.at;
    for segment in key.split('.') {
        let entry = node.get(segment)?;
        (node, at) = (&entry.node, &entry.at);
    }
    (node.value != Value::Null).then_some(at)
}

const fn honoured(key: &'static str) -> PluginOption {
    PluginOption::new(key, Fate::Honoured, "")
}

/// Honoured, with a remark for readers of the whole table.
const fn noted(key: &'static str, why: &'static str) -> PluginOption {
    PluginOption::new(key, Fate::Honoured, why)
}

const fn changed(key: &'static str, why: &'static str) -> PluginOption {
    PluginOption::new(key, Fate::Changed, why)
}

const fn without_effect(key: &'static str, why: &'static str) -> PluginOption {
    PluginOption::new(key, Fate::WithoutEffect, why)
}

const NO_COOKIES: &str = "our cookies never reach a service";
const IDENTITY: &str = "`X-Auth-Request-Token` is never sent; in the others `%` and what is not ASCII is percent-encoded, and \
    so is `,` within a group or role";
const NEVER_SENT: &str = "is sent; the plugin never did";
const AT_THE_SERVICE: &str = "removes the service's header, which the plugin did not reach";
const ISSUER_AUDIENCE: &str =
    "`aud` of assertions is the issuer; `clientAssertionAudience: tokenEndpoint` is the plugin's way";
const NESTED: &str = "also a path (`realm_access.roles`), and a claim that is one text";
const REDIS_TIMES: &str = "counts; the plugin's times are fixed";
const REDIS_TLS: &str = "counts; the plugin never speaks TLS";
const KEPT_WITH_SESSIONS: &str = "the registered client is in the session store, sealed";
const CACHES: &str = "sessions are in Redis, and each process remembers those that it serves";

/// Every option, in the order of the plugin's documentation.
pub const OPTIONS: &[PluginOption] = &[
    changed("providerURL", "metadata and tokens must name this issuer; only a slash at the end may differ"),
    honoured("clientID"),
    honoured("clientSecret"),
    changed(
        "sessionEncryptionKey",
        "seals sessions, which stay on the server unless the store is `cookie`; those of the plugin are not read, so everybody logs in once; a key that was published, or repeats a few characters, is refused",
    ),
    noted("callbackURL", "a path; a whole URL, at which the plugin looped, is refused"),
    changed("logoutURL", "POST or same-site; a cross-site navigation is asked to confirm")
        .unwritten("a logout is a POST or same-site; a cross-site navigation is asked to confirm"),
    noted("postLogoutRedirectURI", "`//host` is refused"),
    honoured("scopes"),
    changed("overrideScopes", "`openid` is sent in any case, and an empty list sends nothing else"),
    without_effect("logLevel", "the process has one level, `log.level`"),
    changed("forceHTTPS", "`false` believes X-Forwarded-Proto from trusted peers only"),
    without_effect("rateLimit", "verifying a token costs no call, so nothing is limited"),
    changed(
        "excludedURLs",
        "match whole path segments: `/public` does not open `/publicsecret`; `/favicon` is not open unless it is listed",
    )
    .unwritten("`/favicon` is not open unless it is listed"),
    changed("allowedUserDomains", "compared without regard to case; `email_verified: false` is denied"),
    honoured("allowedUsers"),
    honoured("allowedRolesAndGroups"),
    changed("roleClaimName", NESTED),
    changed("groupClaimName", NESTED),
    honoured("userIdentifierClaim"),
    changed("enablePKCE", "PKCE (S256) is always used; `true` refuses a provider that says it has none")
        .unwritten("PKCE (S256) is used"),
    noted("refreshGracePeriodSeconds", "the refresh happens in the background"),
    changed("sessionMaxAge", "counts from the login: a refresh does not start it again")
        .unwritten("24 hours count from the login: a refresh does not start them again"),
    noted("cookieDomain", "names begin with `__Secure-` then")
        .unwritten("cookies belong to the host alone; the plugin's go to its sub-domains, too"),
    changed("cookiePrefix", "follows `__Host-` or `__Secure-`, and a tag of provider and client follows it"),
    honoured("audience"),
    honoured("strictAudienceValidation"),
    changed("allowOpaqueTokens", "for bearer tokens; those of sessions are opaque to us in any case"),
    changed(
        "requireTokenIntrospection",
        "while the provider cannot be asked, a session does not count but is kept; the plugin ended it",
    ),
    without_effect(
        "disableReplayDetection",
        "the ID token is accepted once, at login, and is not listed afterwards",
    ),
    changed("allowPrivateIPAddresses", "holds for every discovered endpoint, by name and by address"),
    changed("minimalHeaders", IDENTITY).unwritten(IDENTITY),
    changed("stripAuthCookies", NO_COOKIES).unwritten(NO_COOKIES),
    changed("headers", "templates are read when the file is; the refresh token cannot be named"),
    honoured("headers[].name"),
    honoured("headers[].value"),
    honoured("revocationURL"),
    honoured("oidcEndSessionURL"),
    changed(
        "enableBackchannelLogout",
        "the session is deleted before 200 is answered; tokens need `exp` and `jti`, in a form",
    ),
    honoured("backchannelLogoutURL"),
    changed("enableFrontchannelLogout", "ends only the session of the browser that sends the request"),
    honoured("frontchannelLogoutURL"),
    honoured("caCertPath"),
    honoured("caCertPEM"),
    noted("insecureSkipVerify", "warned about"),
    // Headers of every answer.
    changed("securityHeaders.enabled", "`false` sets none; the plugin still set four"),
    without_effect("securityHeaders.profile", "each header has its own key"),
    honoured("securityHeaders.frameOptions"),
    honoured("securityHeaders.contentTypeOptions"),
    honoured("securityHeaders.xssProtection"),
    honoured("securityHeaders.referrerPolicy"),
    honoured("securityHeaders.contentSecurityPolicy"),
    changed("securityHeaders.permissionsPolicy", NEVER_SENT),
    changed("securityHeaders.crossOriginEmbedderPolicy", NEVER_SENT),
    changed("securityHeaders.crossOriginOpenerPolicy", NEVER_SENT),
    changed("securityHeaders.crossOriginResourcePolicy", NEVER_SENT),
    noted("securityHeaders.strictTransportSecurity", "only on https"),
    honoured("securityHeaders.strictTransportSecurityMaxAge"),
    honoured("securityHeaders.strictTransportSecuritySubdomains"),
    honoured("securityHeaders.strictTransportSecurityPreload")
        .unwritten("HSTS has no `preload`; the plugin sent it"),
    changed("securityHeaders.corsEnabled", "pre-flights are answered here, without a session"),
    changed(
        "securityHeaders.corsAllowedOrigins",
        "scheme, host and port are compared; `*` never allows credentials",
    ),
    honoured("securityHeaders.corsAllowedMethods"),
    honoured("securityHeaders.corsAllowedHeaders"),
    noted("securityHeaders.corsAllowCredentials", "only for origins that are named"),
    honoured("securityHeaders.corsMaxAge"),
    noted("securityHeaders.customHeaders", "`Set-Cookie` is refused"),
    changed("securityHeaders.disableServerHeader", AT_THE_SERVICE)
        .unwritten("the service's `Server` is removed, which the plugin did not reach"),
    changed("securityHeaders.disablePoweredByHeader", AT_THE_SERVICE)
        .unwritten("the service's `X-Powered-By` is removed, which the plugin did not reach"),
    // The session store.
    changed("redis.enabled", "the sessions are in it, not caches; while it cannot be reached logins get 503"),
    honoured("redis.address"),
    honoured("redis.password"),
    honoured("redis.db"),
    honoured("redis.keyPrefix"),
    without_effect("redis.cacheMode", CACHES),
    honoured("redis.poolSize"),
    changed("redis.connectTimeout", REDIS_TIMES),
    changed("redis.readTimeout", REDIS_TIMES),
    changed("redis.writeTimeout", REDIS_TIMES),
    changed("redis.enableTLS", REDIS_TLS),
    changed("redis.tlsSkipVerify", REDIS_TLS),
    without_effect("redis.enableCircuitBreaker", CACHES),
    without_effect("redis.circuitBreakerThreshold", CACHES),
    without_effect("redis.circuitBreakerTimeout", CACHES),
    without_effect("redis.enableHealthCheck", CACHES),
    without_effect("redis.healthCheckInterval", CACHES),
    without_effect("redis.hybridL1Size", CACHES),
    without_effect("redis.hybridL1MemoryMB", CACHES),
    // Registration of the client (RFC 7591).
    changed(
        "dynamicClientRegistration.enabled",
        "only without `clientID`; tried until it succeeds, once for all replicas, and again before the secret ends or when \
         the provider forgets the client",
    ),
    changed(
        "dynamicClientRegistration.persistCredentials",
        "the client is kept in any case, in the session store",
    ),
    without_effect("dynamicClientRegistration.storageBackend", KEPT_WITH_SESSIONS),
    without_effect("dynamicClientRegistration.credentialsFile", KEPT_WITH_SESSIONS),
    without_effect("dynamicClientRegistration.redisKeyPrefix", KEPT_WITH_SESSIONS),
    honoured("dynamicClientRegistration.registrationEndpoint"),
    honoured("dynamicClientRegistration.initialAccessToken"),
    noted("dynamicClientRegistration.clientMetadata", "required, with `redirect_uris`"),
    noted(
        "dynamicClientRegistration.clientMetadata.redirect_uris",
        "at least one must be the callback; logout addresses are made of them",
    ),
    noted("dynamicClientRegistration.clientMetadata.response_types", "must contain `code`"),
    noted("dynamicClientRegistration.clientMetadata.grant_types", "must contain `authorization_code`"),
    honoured("dynamicClientRegistration.clientMetadata.application_type"),
    honoured("dynamicClientRegistration.clientMetadata.contacts"),
    honoured("dynamicClientRegistration.clientMetadata.client_name"),
    honoured("dynamicClientRegistration.clientMetadata.logo_uri"),
    honoured("dynamicClientRegistration.clientMetadata.client_uri"),
    honoured("dynamicClientRegistration.clientMetadata.policy_uri"),
    honoured("dynamicClientRegistration.clientMetadata.tos_uri"),
    honoured("dynamicClientRegistration.clientMetadata.jwks_uri"),
    honoured("dynamicClientRegistration.clientMetadata.subject_type"),
    changed(
        "dynamicClientRegistration.clientMetadata.token_endpoint_auth_method",
        "is used at the token endpoint, too; not written: the first that the provider lists, `client_secret_basic` before others",
    ),
    honoured("dynamicClientRegistration.clientMetadata.default_max_age"),
    honoured("dynamicClientRegistration.clientMetadata.require_auth_time"),
    honoured("dynamicClientRegistration.clientMetadata.default_acr_values"),
    honoured("dynamicClientRegistration.clientMetadata.scope"),
    // Since version 0.8.27.
    noted("clientAuthMethod", "more methods than the plugin has").unwritten(
        "`client_secret_post` where the provider lists it or nothing, else what it lists; the plugin always posted",
    ),
    changed("clientAssertionPrivateKey", ISSUER_AUDIENCE),
    changed("clientAssertionKeyPath", ISSUER_AUDIENCE),
    honoured("clientAssertionKeyID"),
    honoured("clientAssertionAlg"),
    honoured("introspectionURL"),
    honoured("allowedClaims"),
    honoured("extraAuthParams"),
    honoured("resource"),
    honoured("maxRefreshTokenAgeSeconds"),
    noted("cookiePath", "`/` keeps the prefix `__Host-`"),
    changed(
        "perSourceLoginRateLimit",
        "counts by client address, behind trusted proxies the one that they tell",
    ),
    changed("trustForwardedURI", "from trusted peers only"),
    changed(
        "enableBearerAuth",
        "`audience` is required, ID tokens are refused, and a token for several audiences must be our client's or one of `bearerAllowedClients`' by `azp` or, in an `at+jwt`, `client_id`",
    ),
    honoured("bearerIdentifierClaim"),
    honoured("stripAuthorizationHeader"),
    honoured("bearerEmitWWWAuthenticate"),
    honoured("bearerOverridesCookie"),
    changed("maxTokenAgeSeconds", "0 is no limit, as the plugin documents; its code then takes a day"),
    honoured("maxIdentifierLength"),
    honoured("bearerFailureThreshold"),
    honoured("bearerFailureWindowSeconds"),
    noted("bearerFailurePenaltySeconds", "tokens that are known to be good go on meanwhile"),
];

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
