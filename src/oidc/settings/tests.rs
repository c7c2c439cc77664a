use super::*;
use crate::config::Decoder;
use crate::oidc::flow_tests::{KEY, block};

pub(super) const PLUGIN: &[(&str, &str)] = &[
    ("providerURL", "https://id.example"),
    ("clientID", "client"),
    ("clientSecret", "secret"),
    ("sessionEncryptionKey", KEY),
    ("callbackURL", "/cb"),
];

/// Settings and warnings, or faults as key path and message.
pub(super) type Read = Result<(Settings, Vec<String>), Vec<(String, String)>>;

fn read(dialect: Dialect, lines: &[(&str, &str)]) -> Read {
    let mut decoder = Decoder::new();
    let settings = decode(&block(lines), dialect, &mut decoder);
    match decoder.finish(settings) {
        Ok((settings, warnings)) => Ok((settings, warnings.into_iter().map(|w| w.path).collect())),
        Err(errors) => Err(errors.0.into_iter().map(|e| (e.path, e.message)).collect()),
    }
}

pub(super) fn plugin(more: &[(&str, &str)]) -> Read {
    let mut lines: Vec<_> = PLUGIN.to_vec();
    lines.retain(|(key, _)| more.iter().all(|(other, _)| other != key));
    lines.extend(more.iter().filter(|(_, value)| *value != "-"));
    read(Dialect::Plugin, &lines)
}

#[test]
fn the_plugins_defaults() {
    let (settings, warnings) = plugin(&[]).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(settings.issuer, "https://id.example");
    assert_eq!((settings.callback_path.as_str(), settings.logout_path.as_str()), ("/cb", "/cb/logout"));
    assert_eq!(settings.scopes, ["openid", "profile", "email"]);
    assert!(settings.force_https && settings.offline_access && !settings.minimal_headers);
    assert_eq!(settings.gate.identifier_claim, "email");
    assert_eq!(settings.cookies.prefix, "_oidc_raczylo_");
    assert_eq!(settings.session.max_age, Duration::from_secs(86_400));
    assert_eq!(settings.session.refresh_grace, Duration::from_secs(60));
    assert_eq!(settings.session.max_refresh_token_age, Some(Duration::from_secs(21_600)));
    assert_eq!((settings.credentials.method, settings.user_info), (None, UserInfo::Auto));
    assert!(settings.security_headers.is_some());
}

#[test]
fn keys_without_regard_to_case_and_weakly_typed() {
    let (settings, _) = plugin(&[
        ("SESSIONMAXAGE", "3600"),
        ("scopes", "groups,email"),
        ("minimalheaders", "true"),
        ("maxRefreshTokenAgeSeconds", "0"),
        ("providerURL", "https://id.example/realm/.well-known/openid-configuration"),
    ])
    .unwrap();
    assert_eq!(settings.session.max_age, Duration::from_secs(3_600));
    assert_eq!(settings.scopes, ["openid", "profile", "email", "groups"]);
    assert!(settings.minimal_headers && settings.session.max_refresh_token_age.is_none());
    assert_eq!(settings.issuer, "https://id.example/realm");
}

#[test]
fn the_native_block_speaks_hubs_words() {
    let (settings, warnings) = read(
        Dialect::Native,
        &[
            ("issuer", "https://id.example/"),
            ("clientID", "client"),
            ("clientSecret", "secret"),
            ("sessionEncryptionKey", KEY),
            ("redirectUrl", "/cb"),
            ("logoutUrl", "/out"),
            ("postLogoutRedirectUrl", "/bye"),
            ("usernameClaim", "name"),
            ("authParams.prompt", "login"),
            ("session.expiry", "600"),
            ("session.domain", "example.com"),
            ("session.refresh", "false"),
            ("stateCookie.maxAge", "120"),
            ("clientConfig.timeoutSeconds", "3"),
            ("clientConfig.tls.insecureSkipVerify", "true"),
            ("clientConfig.maxRetries", "5"),
            ("forwardHeaders.X-Group", "grp"),
            ("pkce", "true"),
            ("userInfo", "always"),
        ],
    )
    .unwrap();
    assert_eq!(settings.issuer, "https://id.example/");
    assert_eq!(settings.logout_path, "/out");
    assert_eq!(settings.post_logout, Some(PostLogout::Path("/bye".into())));
    assert_eq!(settings.gate.identifier_claim, "name");
    assert_eq!(settings.auth_params, [("prompt".to_owned(), "login".to_owned())]);
    assert!(!settings.force_https && !settings.session.refresh && settings.provider.insecure_skip_verify);
    assert_eq!(settings.session.max_age, Duration::from_secs(600));
    assert_eq!(settings.cookies.domain.as_deref(), Some("example.com"));
    assert_eq!(settings.login_max_age, Duration::from_secs(120));
    assert_eq!(settings.provider.timeout, Some(Duration::from_secs(3)));
    assert_eq!((settings.headers.len(), settings.user_info), (1, UserInfo::Always));
    assert_eq!(warnings, ["clientConfig.maxRetries", "clientConfig.tls.insecureSkipVerify"]);
}

#[test]
fn the_plugins_redis_is_a_session_store() {
    let (settings, warnings) = plugin(&[
        ("redis.enabled", "true"),
        ("redis.address", "redis.internal:6380"),
        ("redis.password", "p w"),
        ("redis.db", "2"),
        ("redis.connectTimeout", "1"),
        ("redis.readTimeout", "2"),
        ("redis.enableTLS", "true"),
        ("redis.cacheMode", "hybrid"),
        ("redis.enableCircuitBreaker", "true"),
    ])
    .unwrap();
    let Some(StoreSettings::Redis(redis)) = settings.store else { panic!("no Redis") };
    assert_eq!(redis.endpoints, [("redis.internal".to_owned(), 6380)]);
    assert_eq!((redis.database, redis.pool_size, redis.key_prefix.as_str()), (2, 10, "traefikoidc:"));
    assert_eq!(
        (redis.connect_timeout, redis.answer_timeout),
        (Duration::from_secs(1), Duration::from_secs(5))
    );
    assert!(redis.password.is_some() && redis.tls.is_some_and(|tls| !tls.insecure_skip_verify));
    assert_eq!(warnings, ["redis.cacheMode", "redis.enableCircuitBreaker"]);
    let faulty = |more: &[(&str, &str)]| plugin(more).unwrap_err().remove(0).0;
    assert_eq!(faulty(&[("redis.enabled", "true")]), "redis.address");
    let address = ("redis.address", "redis:6379");
    assert_eq!(faulty(&[("redis.enabled", "true"), address, ("redis.db", "-1")]), "redis.db");
    let beside = ("session.store.memory", "true");
    assert_eq!(faulty(&[("redis.enabled", "true"), address, beside]), "redis");
    assert_eq!(faulty(&[("session.store.redis.database", "1")]), "session.store.redis.endpoints");
    assert!(matches!(plugin(&[beside]).unwrap().0.store, Some(StoreSettings::Memory)));
}

#[test]
fn idle_lifetimes() {
    let idle = |more: &[(&str, &str)]| plugin(more).unwrap().0.session.idle_timeout;
    assert_eq!(idle(&[]), None);
    assert_eq!(idle(&[("sessionIdleTimeout", "0")]), None);
    assert_eq!(idle(&[("sessionIdleTimeout", "1800")]), Some(Duration::from_secs(1800)));
    assert_eq!(
        idle(&[("session.idleTimeout", "60"), ("session.sliding", "false")]),
        Some(Duration::from_secs(60))
    );
    for (key, value) in
        [("sessionIdleTimeout", "59"), ("session.idleTimeout", "-1"), ("session.sliding", "true")]
    {
        assert_eq!(plugin(&[(key, value)]).unwrap_err().remove(0).0, key);
    }
    let (_, warnings) = plugin(&[("sessionIdleTimeout", "86400")]).unwrap();
    assert_eq!(warnings, ["sessionIdleTimeout"]);
}

#[test]
fn what_comes_later_is_named() {
    assert_eq!(
        plugin(&[("csrf", "true")]).unwrap_err(),
        [("csrf".to_owned(), "not supported yet".to_owned())]
    );
    for (key, value) in [
        ("redis.enabled", "false"),
        ("dynamicClientRegistration.enabled", "false"),
        ("securityHeaders.enabled", "false"),
        ("bearerIdentifierClaim", "sub"),
        ("backchannelLogoutURL", "/bc"),
        ("allowOpaqueTokens", "true"),
        ("rateLimit", "200"),
        ("logLevel", "debug"),
        ("enablePKCE", "false"),
        ("stripAuthCookies", "false"),
        ("disableReplayDetection", "true"),
    ] {
        assert!(plugin(&[(key, value)]).is_ok(), "{key}");
    }
    assert_eq!(
        plugin(&[("enablePKCE", "false"), ("rateLimit", "200")]).unwrap().1,
        ["rateLimit", "enablePKCE"]
    );
}

#[test]
fn all_faults_at_once() {
    let faults = plugin(&[
        ("providerURL", "http://10.1.2.3"),
        ("clientID", "-"),
        ("clientSecret", "-"),
        ("sessionEncryptionKey", "short"),
        ("callbackURL", "https://app.example.com/cb"),
        ("postLogoutRedirectURI", "//evil"),
        ("sessionMaxAge", "-1"),
        ("excludedURLs", "[nope, /a*]"),
        ("audience", "a*"),
        ("resource", "relative"),
        ("cookiePrefix", "a b"),
        ("userInfo", "maybe"),
        ("scopes", "[a\"b]"),
        ("revocationURL", "ftp://x"),
    ])
    .unwrap_err();
    let keys: Vec<_> = faults.iter().map(|(path, _)| path.as_str()).collect();
    for key in [
        "providerURL",
        "clientID",
        "clientSecret",
        "sessionEncryptionKey",
        "callbackURL",
        "postLogoutRedirectURI",
        "sessionMaxAge",
        "excludedURLs",
        "audience",
        "resource",
        "cookiePrefix",
        "userInfo",
        "scopes",
        "revocationURL",
    ] {
        assert!(keys.contains(&key), "{key} in {keys:?}");
    }
}

#[test]
fn single_faults() {
    let cases = [
        ("clientAuthMethod", "magic"),
        ("cookieDomain", "https://x"),
        ("cookiePath", "nope"),
        ("logoutURL", "/cb"),
        ("issuer", "https://second.example"),
        ("redirectUrl", "/second"),
        ("refreshGracePeriodSeconds", "-5"),
        ("sessionMaxAge", "99999999999"),
        ("providerURL", "https://github.com/login/oauth"),
        ("session.sameSite", "none"),
        ("forwardHeaders.Cookie", "email"),
        ("sessionMaxAge", "soon"),
        ("unknownKey", "x"),
        ("session.httpOnly", "false"),
        ("claims", "Equals(`a`)"),
        ("acrValues", "[a b]"),
        ("maxAge", "0"),
        ("enableBearerAuth", "true"),
        ("introspectionURL", "http://10.0.0.1/"),
    ];
    for (key, value) in cases {
        assert!(plugin(&[(key, value)]).is_err(), "{key}");
    }
    assert!(plugin(&[("clientSecret", "-"), ("clientAuthMethod", "none")]).is_ok(), "a public client");
}

#[test]
fn what_a_client_needs_for_its_proof() {
    let fault = |lines: &[(&str, &str)], key: &str| {
        let faults = plugin(lines).map(drop).unwrap_err();
        assert!(faults.iter().any(|(path, _)| path == key), "{lines:?}: {key} in {faults:?}");
    };
    let jwt = ("clientAuthMethod", "private_key_jwt");
    fault(&[jwt], "clientAssertionPrivateKey");
    fault(&[jwt, ("clientAssertionKeyPath", "/k")], "clientAssertionKeyID");
    fault(
        &[jwt, ("clientAssertionKeyPath", "/k"), ("clientAssertionPrivateKey", "x")],
        "clientAssertionKeyPath",
    );
    let with_id =
        |key, value| [jwt, ("clientAssertionKeyID", "k"), (key, value), ("clientAssertionAlg", "RS256")];
    fault(&with_id("clientAssertionPrivateKey", "nonsense"), "clientAssertionPrivateKey");
    let file = ("clientAssertionKeyPath", "/k");
    fault(&[jwt, file, ("clientAssertionKeyID", "k"), ("clientAssertionAlg", "HS256")], "clientAssertionAlg");
    fault(
        &[jwt, file, ("clientAssertionKeyID", "k"), ("clientAssertionAudience", "me")],
        "clientAssertionAudience",
    );
    fault(&[("clientAuthMethod", "tls_client_auth"), ("clientSecret", "-")], "clientConfig.tls.cert");
    fault(&[("clientAuthMethod", "client_secret_jwt"), ("clientSecret", "-")], "clientSecret");
    fault(&[("clientConfig.tls.cert", "x")], "clientConfig.tls.key");
    fault(&[("clientConfig.tls.cert", "x"), ("clientConfig.tls.key", "y")], "clientConfig.tls.cert");
    fault(&[("clientConfig.proxy", "ftp://x")], "clientConfig.proxy");
    let (settings, warnings) =
        plugin(&[jwt, ("clientSecret", "-"), ("clientAssertionKeyID", "k"), file]).unwrap();
    assert!(warnings.is_empty() && settings.credentials.assertion.is_some());
    assert_eq!(
        plugin(&[file, ("clientAuthMethod", "client_secret_basic")]).unwrap().1,
        ["clientAssertionKeyPath"]
    );
}

#[test]
fn kinds_of_provider() {
    let profile = |url| plugin(&[("providerURL", url)]).unwrap().0.profile;
    assert_eq!(profile("https://accounts.google.com"), Profile::Google);
    assert_eq!(profile("https://accounts.google.com.example"), Profile::Standard, "not a guess");
    let common = ("providerURL", "https://login.microsoftonline.com/common/v2.0");
    let entra = ("providerProfile", "entra");
    let faults = plugin(&[common, entra]).map(drop).unwrap_err();
    assert_eq!(faults[0].0, "allowedTenants");
    assert_eq!(plugin(&[common, entra, ("allowedTenants", "*")]).unwrap().1, ["allowedTenants"]);
    for (key, value) in [
        ("allowedTenants", "contoso"),
        ("providerProfile", "guess"),
        ("pushedAuthorization", "maybe"),
        ("disableIssuerCheck", "true"),
    ] {
        assert!(plugin(&[(key, value)]).is_err(), "{key}");
    }
    assert!(plugin(&[("disableIssuerCheck", "false")]).is_ok());
}

#[test]
fn security_headers_by_block() {
    let native = |more: &[(&str, &str)]| {
        let mut lines = PLUGIN.to_vec();
        lines.extend(more);
        read(Dialect::Native, &lines).unwrap().0.security_headers
    };
    assert!(native(&[]).is_none(), "the native block sets none unless asked");
    assert!(native(&[("securityHeaders.frameOptions", "DENY")]).is_some());
    assert!(plugin(&[("securityHeaders.enabled", "false")]).unwrap().0.security_headers.is_none());
    let sent = |more: &[(&str, &str)]| {
        let headers = plugin(more).unwrap().0.security_headers.unwrap();
        let all: http::HeaderMap = headers
            .of(&http::HeaderMap::new(), crate::net::Scheme::Https)
            .map(|(name, value)| (name.name().clone(), value))
            .collect();
        all["strict-transport-security"].to_str().unwrap().to_owned()
    };
    assert_eq!(sent(&[]), "max-age=31536000; includeSubDomains", "no preload unless asked");
    assert_eq!(
        sent(&[
            ("securityHeaders.strictTransportSecurityMaxAge", "5"),
            ("securityHeaders.strictTransportSecuritySubdomains", "false"),
            ("securityHeaders.strictTransportSecurityPreload", "true"),
        ]),
        "max-age=5; preload"
    );
    for (key, value) in [
        ("corsEnabled", "true"),
        ("corsMaxAge", "-1"),
        ("strictTransportSecurityMaxAge", "-1"),
        ("corsAllowedOrigins", "app.example.com"),
        ("corsAllowedMethods", "G T"),
        ("customHeaders.Set-Cookie", "a=b"),
        ("customHeaders.Connection", "close"),
        ("frameOptions", "a\nb"),
    ] {
        let key = format!("securityHeaders.{key}");
        let mut lines = vec![(key.as_str(), value)];
        if key.contains(".cors") && value != "true" {
            lines.push(("securityHeaders.corsEnabled", "true"));
        }
        if key != "securityHeaders.corsAllowedOrigins" && lines.len() > 1 {
            lines.push(("securityHeaders.corsAllowedOrigins", "*"));
        }
        let faults = plugin(&lines).map(drop).unwrap_err();
        assert!(faults.iter().all(|(path, _)| path.starts_with("securityHeaders.")), "{key}: {faults:?}");
    }
    let any = [
        ("securityHeaders.corsEnabled", "true"),
        ("securityHeaders.corsAllowedOrigins", "*"),
        ("securityHeaders.corsAllowCredentials", "true"),
        ("securityHeaders.profile", "strict"),
    ];
    assert_eq!(plugin(&any).unwrap().1, ["securityHeaders.profile", "securityHeaders.corsAllowCredentials"]);
}

#[test]
fn a_template_fault_names_header_and_place() {
    let mut node = block(PLUGIN);
    let header = block(&[("name", "X-Token"), ("value", "Bearer {{.RefreshToken}}")]);
    let crate::config::value::Value::Map(entries) = &mut node.value else { panic!() };
    let list = crate::config::value::Node {
        value: crate::config::value::Value::List(vec![header]),
        at: node.at.clone(),
    };
    entries.push(crate::config::value::Entry { key: "headers".into(), at: node.at.clone(), node: list });
    let mut decoder = Decoder::new();
    let settings = decode(&node, Dialect::Plugin, &mut decoder);
    let errors = decoder.finish(settings).unwrap_err().to_string();
    assert!(errors.contains("headers: X-Token: template, character 10: the refresh token"), "{errors}");
}

#[test]
fn the_providers_logouts_need_what_their_dialect_needs() {
    let both = [("enableBackchannelLogout", "true"), ("backchannelLogoutURL", "/bc")];
    assert_eq!(plugin(&both).unwrap().0.channels.back.as_deref(), Some("/bc"));
    let (settings, warnings) = plugin(&both[..1]).unwrap();
    assert_eq!(
        (settings.channels, warnings),
        (LogoutChannels::default(), vec!["enableBackchannelLogout".to_owned()])
    );
    let (settings, warnings) = plugin(&[("frontchannelLogoutURL", "/fc")]).unwrap();
    assert_eq!((settings.channels.front, warnings), (None, vec!["frontchannelLogoutURL".to_owned()]));
    let (settings, _) =
        plugin(&[("enableFrontchannelLogout", "true"), ("frontchannelLogoutURL", "fc")]).unwrap();
    assert_eq!(settings.channels.front.as_deref(), Some("/fc"), "the plugin puts the slash at the beginning");

    let native = |more: &[(&str, &str)]| {
        let mut lines = PLUGIN.to_vec();
        lines.extend(more);
        read(Dialect::Native, &lines)
    };
    let (settings, warnings) =
        native(&[("backchannelLogoutUrl", "/bc"), ("backchannelLogoutSessionsRequired", "true")]).unwrap();
    assert_eq!((settings.channels.back.as_deref(), settings.channels.sid_required), (Some("/bc"), true));
    assert!(warnings.is_empty(), "{warnings:?}");
    for (key, value) in [
        ("backchannelLogoutURL", "/cb"),
        ("backchannelLogoutURL", "/cb/logout"),
        ("backchannelLogoutURL", "https://app.example.com/bc"),
        ("backchannelLogoutURL", "/../bc"),
        ("frontchannelLogoutURL", "/cb"),
    ] {
        assert_eq!(native(&[(key, value)]).unwrap_err()[0].0, key, "{value}");
    }
    let same = native(&[("backchannelLogoutURL", "/x"), ("frontchannelLogoutURL", "/x")]).unwrap_err();
    assert_eq!(same[0].0, "frontchannelLogoutURL");
}
