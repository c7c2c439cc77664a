//! The table of the plugin's options tells what decoding does.

use super::{Dialect, decode};
use crate::config::oidc_options::{Fate, OPTIONS, PluginOption};
use crate::config::value::{Entry, Node, Position, Value};
use crate::config::{ConfigError, Decoder};
use crate::oidc::flow_tests::{KEY, block};

/// Keys and values.
type Lines = &'static [(&'static str, &'static str)];

const BASE: Lines = &[
    ("providerURL", "https://id.example"),
    ("clientID", "client"),
    ("clientSecret", "secret"),
    ("sessionEncryptionKey", KEY),
    ("callbackURL", "/cb"),
];

/// A value that is not the default.
const SAMPLES: Lines = &[
    ("sessionEncryptionKey", KEY),
    ("providerURL", "https://id.example/realm"),
    ("callbackURL", "/oauth2/callback"),
    ("logoutURL", "/out"),
    ("postLogoutRedirectURI", "/bye"),
    ("scopes", "[groups]"),
    ("logLevel", "debug"),
    ("forceHTTPS", "false"),
    ("excludedURLs", "[/public]"),
    ("allowedUserDomains", "[example.com]"),
    ("enablePKCE", "false"),
    ("stripAuthCookies", "false"),
    ("cookieDomain", "example.com"),
    ("cookiePath", "/app"),
    ("revocationURL", "https://id.example/revoke"),
    ("oidcEndSessionURL", "https://id.example/end"),
    ("introspectionURL", "https://id.example/introspect"),
    ("backchannelLogoutURL", "/back"),
    ("frontchannelLogoutURL", "/front"),
    ("redis.address", "redis.example:6379"),
    ("redis.connectTimeout", "7"),
    ("redis.cacheMode", "hybrid"),
    ("redis.readTimeout", "7"),
    ("redis.writeTimeout", "7"),
    ("securityHeaders.enabled", "false"),
    ("securityHeaders.corsAllowedOrigins", "[https://app.example.com]"),
    ("securityHeaders.corsAllowedMethods", "[GET, PUT]"),
    ("securityHeaders.customHeaders", "X-Frame: x"),
    ("extraAuthParams", "prompt: login"),
    ("dynamicClientRegistration.storageBackend", "file"),
    ("dynamicClientRegistration.registrationEndpoint", "https://id.example/register"),
    ("dynamicClientRegistration.clientMetadata", "redirect_uris: https://app.example.com/cb"),
    ("dynamicClientRegistration.clientMetadata.redirect_uris", "[https://app.example.com/cb]"),
    ("dynamicClientRegistration.clientMetadata.response_types", "[code]"),
    ("dynamicClientRegistration.clientMetadata.grant_types", "[authorization_code]"),
    ("dynamicClientRegistration.clientMetadata.token_endpoint_auth_method", "client_secret_post"),
    ("clientAuthMethod", "client_secret_basic"),
    ("clientAssertionAlg", "ES256"),
    ("clientAssertionKeyPath", "/run/key.pem"),
    ("resource", "https://api.example.com"),
];

/// What else an option needs to say anything, by the beginning of its key. `-` takes an option away.
const CONTEXTS: &[(&[&str], Lines)] = &[
    (
        &["securityHeaders.cors"],
        &[
            ("securityHeaders.corsEnabled", "true"),
            ("securityHeaders.corsAllowedOrigins", "[https://app.example.com]"),
        ],
    ),
    (&["cookiePath"], &[("callbackURL", "/app/cb")]),
    (&["redis."], &[("redis.enabled", "true"), ("redis.address", "redis.example:6379")]),
    (
        &["dynamicClientRegistration."],
        &[
            ("dynamicClientRegistration.enabled", "true"),
            ("clientID", "-"),
            ("clientSecret", "-"),
            ("dynamicClientRegistration.clientMetadata", "redirect_uris: https://app.example.com/cb"),
        ],
    ),
    (
        &["enableBackchannelLogout", "backchannelLogoutURL"],
        &[("enableBackchannelLogout", "true"), ("backchannelLogoutURL", "/back")],
    ),
    (
        &["enableFrontchannelLogout", "frontchannelLogoutURL"],
        &[("enableFrontchannelLogout", "true"), ("frontchannelLogoutURL", "/front")],
    ),
    (&["allowOpaqueTokens", "introspectionURL"], &[("requireTokenIntrospection", "true")]),
    (
        &[
            "allowOpaqueTokens",
            "bearer",
            "enableBearerAuth",
            "stripAuthorizationHeader",
            "maxTokenAgeSeconds",
            "maxIdentifierLength",
        ],
        &[("enableBearerAuth", "true"), ("audience", "https://api.example.com")],
    ),
    (
        &["clientAssertion"],
        &[
            ("clientAuthMethod", "private_key_jwt"),
            ("clientAssertionKeyID", "key-1"),
            ("clientAssertionKeyPath", "/run/key.pem"),
        ],
    ),
    (&["clientAssertionPrivateKey"], &[("clientAssertionKeyPath", "-"), ("clientAssertionAlg", "ES256")]),
];

fn fate(key: &str) -> Fate {
    OPTIONS.iter().find(|option| option.key == key).unwrap().fate
}

/// The option's sample, or values of several types.
fn values(key: &str) -> Vec<String> {
    match SAMPLES.iter().find(|(sample, _)| *sample == key) {
        Some((_, value)) => vec![(*value).to_owned()],
        None if key == "clientAssertionPrivateKey" => {
            vec![rcgen::KeyPair::generate().unwrap().serialize_pem()]
        }
        None => ["true", "70", "text"].map(str::to_owned).to_vec(),
    }
}

/// A block that uses the option with this value.
fn using(key: &'static str, value: &str) -> Node {
    let mut lines: Vec<(&str, String)> =
        BASE.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    let mut set = |key: &'static str, value: &str| {
        lines.retain(|(other, _)| *other != key);
        if value != "-" {
            lines.push((key, value.to_owned()));
        }
    };
    for (prefixes, context) in CONTEXTS {
        let works = context.iter().all(|(key, _)| *key == "-" || fate(key) != Fate::Refused);
        if works && prefixes.iter().any(|prefix| key.starts_with(prefix)) {
            context.iter().for_each(|(key, value)| set(key, value));
        }
    }
    set(key, value);
    let lines = lines.iter().map(|(key, value)| match value.split_once(": ") {
        Some((inner, value)) => (format!("{key}.{inner}"), value),
        None => ((*key).to_owned(), value.as_str()),
    });
    let lines: Vec<(String, &str)> = lines.collect();
    block(&lines.iter().map(|(key, value)| (key.as_str(), *value)).collect::<Vec<_>>())
}

/// Lists of blocks are not of the shape that other samples have.
fn with_header() -> Node {
    let mut node = block(BASE);
    let header = block(&[("name", "X-Mail"), ("value", "{{.Claims.email}}")]);
    let at = Position::whole("test");
    let list = Node { value: Value::List(vec![header]), at: at.clone() };
    let Value::Map(entries) = &mut node.value else { panic!() };
    entries.push(Entry { key: "headers".to_owned(), at, node: list });
    node
}

/// Faults and warnings.
fn told(node: &Node) -> (Vec<ConfigError>, Vec<ConfigError>) {
    let mut decoder = Decoder::new();
    decode(node, Dialect::Plugin, &mut decoder);
    decoder.told()
}

/// What decoding does with an option that is written so.
fn found(option: &PluginOption, node: &Node) -> Result<Fate, String> {
    let (faults, warnings) = told(node);
    let here = |told: &&ConfigError| told.path == option.key;
    if faults.iter().any(|fault| here(&fault)) {
        return Ok(Fate::Refused);
    }
    if !faults.is_empty() {
        return Err(format!("{faults:?}"));
    }
    let idle = warnings.iter().filter(here).any(|warning| warning.message.starts_with("has no effect"));
    Ok(if idle { Fate::WithoutEffect } else { Fate::Honoured })
}

fn is_of_type(node: &Node) -> bool {
    !told(node).0.iter().any(|fault| fault.message.starts_with("expected"))
}

#[test]
fn every_option_has_the_fate_that_the_table_tells() {
    let mut wrong = Vec::new();
    for option in OPTIONS {
        let mut nodes: Vec<Node> = match option.key {
            key if key.starts_with("headers") => vec![with_header()],
            key => values(key).iter().map(|value| using(key, value)).collect(),
        };
        nodes.retain(is_of_type);
        let found = found(option, nodes.first().unwrap());
        let expected = if option.fate == Fate::Changed { Fate::Honoured } else { option.fate };
        if found != Ok(expected) {
            wrong.push(format!("{}: {found:?}, in the table {:?}", option.key, option.fate));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
