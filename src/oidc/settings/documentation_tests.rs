//! `docs/oidc-options.md`: made from the schema of the native block, with the defaults that the settings have.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::{Dialect, Settings, decode};
use crate::config::Decoder;
use crate::config::decode::{BlockKeys, Field};
use crate::config::oidc::{
    ClientConfig, ClientRegistration, ClientTls, HeaderTemplate, IdentityAssertion, Oidc, SecurityHeaders,
    Session, StateCookie,
};
use crate::config::session_store::{RedisSentinel, RedisStore, RedisTls, SessionStore, SqliteStore};
use crate::config::source::yaml;
use crate::config::value::{Entry, Node, Value};

struct Block {
    path: &'static str,
    keys: BlockKeys,
    fields: &'static [Field],
}

macro_rules! blocks {
    ($($path:literal: $block:ident),* $(,)?) => {
        &[$(Block { path: $path, keys: $block::BLOCK, fields: $block::FIELDS }),*]
    };
}

const BLOCKS: &[Block] = blocks! {
    "": Oidc,
    "headers[]": HeaderTemplate,
    "identityAssertion": IdentityAssertion,
    "session": Session,
    "session.store": SessionStore,
    "session.store.sqlite": SqliteStore,
    "session.store.redis": RedisStore,
    "session.store.redis.sentinel": RedisSentinel,
    "session.store.redis.tls": RedisTls,
    "stateCookie": StateCookie,
    "clientConfig": ClientConfig,
    "clientConfig.tls": ClientTls,
    "clientRegistration": ClientRegistration,
    "securityHeaders": SecurityHeaders,
};

/// Defaults that the schema does not tell: in back-quotes a value that may as well be written, else words.
const DEFAULTS: &[(&str, &str)] = &[
    ("providerURL", "required, unless `issuer` is written"),
    ("issuer", "required, unless `providerURL` is written"),
    ("providerProfile", "`standard`"),
    ("clientID", "required, unless the client registers itself"),
    ("clientSecret", "required, unless the client proves itself otherwise"),
    ("clientAuthMethod", "by what the provider lists"),
    ("clientAssertionAlg", "RS256"),
    ("clientAssertionAudience", "`issuer`"),
    ("pushedAuthorization", "`auto`"),
    ("sessionEncryptionKey", "required"),
    ("callbackURL", "required, unless `redirectUrl` is written"),
    ("redirectUrl", "required, unless `callbackURL` is written"),
    ("logoutURL", "`logout` below the callback"),
    ("postLogoutRedirectURI", "a page that says so"),
    ("postLogoutRedirectUrl", "a page that says so"),
    ("enablePKCE", "always on"),
    ("pkce", "always on"),
    ("userInfo", "`auto`"),
    ("forceHTTPS", "`false`"),
    ("userIdentifierClaim", "`email`"),
    ("usernameClaim", "`email`"),
    ("stripAuthCookies", "`true`"),
    ("sessionMaxAge", "`86400`"),
    ("sessionIdleTimeout", "`0`"),
    ("refreshGracePeriodSeconds", "`60`"),
    ("maxRefreshTokenAgeSeconds", "`21600`"),
    ("cookieDomain", "the host alone"),
    ("cookiePath", "`/`"),
    ("cookiePrefix", "`_oidc_raczylo_`"),
    ("caCertPEM", "the system's"),
    ("caCertPath", "the system's"),
    ("oidcEndSessionURL", "discovered"),
    ("revocationURL", "discovered"),
    ("introspectionURL", "discovered"),
    ("allowOpaqueTokens", "`false`"),
    ("bearerIdentifierClaim", "`sub`"),
    ("stripAuthorizationHeader", "`true`"),
    ("bearerEmitWWWAuthenticate", "`true`"),
    ("bearerOverridesCookie", "`false`"),
    ("maxTokenAgeSeconds", "`86400`"),
    ("maxIdentifierLength", "`256`"),
    ("bearerFailureThreshold", "`20`"),
    ("bearerFailureWindowSeconds", "`60`"),
    ("bearerFailurePenaltySeconds", "`60`"),
    ("rateLimit", "without effect"),
    ("disableReplayDetection", "without effect"),
    ("logLevel", "without effect"),
    ("identityAssertion.jwksPath", "`jwks` beside the callback"),
    ("session.path", "`/`"),
    ("session.domain", "the host alone"),
    ("session.expiry", "`86400`"),
    ("session.idleTimeout", "`0`"),
    ("session.sameSite", "`lax`"),
    ("session.httpOnly", "`true`"),
    ("session.secure", "by the scheme outside"),
    ("session.store", "that of the static configuration"),
    ("session.store.sqlite.path", "`sessions.sqlite` in the state folder"),
    ("session.store.redis.endpoints", "required"),
    ("session.store.redis.tls.ca", "the system's"),
    ("session.store.redis.tls.caBundle", "the system's"),
    ("stateCookie.maxAge", "`600`"),
    ("stateCookie.sameSite", "`lax`"),
    ("stateCookie.httpOnly", "`true`"),
    ("stateCookie.secure", "by the scheme outside"),
    ("clientConfig.timeoutSeconds", "10, and never more"),
    ("clientConfig.tls.ca", "the system's"),
    ("clientRegistration.endpoint", "discovered"),
    ("securityHeaders.profile", "without effect"),
    ("securityHeaders.frameOptions", "`DENY`"),
    ("securityHeaders.contentTypeOptions", "`nosniff`"),
    ("securityHeaders.xssProtection", "`1; mode=block`"),
    ("securityHeaders.referrerPolicy", "`strict-origin-when-cross-origin`"),
    ("securityHeaders.strictTransportSecurity", "`true`"),
    ("securityHeaders.strictTransportSecurityMaxAge", "`31536000`"),
    ("securityHeaders.strictTransportSecuritySubdomains", "`true`"),
    ("securityHeaders.strictTransportSecurityPreload", "`false`"),
    ("securityHeaders.corsEnabled", "`false`"),
    ("securityHeaders.corsAllowedOrigins", "required with `corsEnabled`"),
    ("securityHeaders.corsAllowedMethods", "`[GET, POST, OPTIONS]`"),
    ("securityHeaders.corsAllowedHeaders", "`[Authorization, Content-Type]`"),
    ("securityHeaders.corsAllowCredentials", "`false`"),
    ("securityHeaders.corsMaxAge", "`86400`"),
    ("securityHeaders.disableServerHeader", "`true`"),
    ("securityHeaders.disablePoweredByHeader", "`true`"),
];

const BASE: &str = "\
issuer: https://id.example
clientID: client
clientSecret: secret
sessionEncryptionKey: 4f1c0be7a95d28e36b70d1f2c8a93e54
redirectUrl: /oauth2/callback
enableBearerAuth: true
requireTokenIntrospection: true
audience: https://api.example
identityAssertion: {issuer: i, audience: [a]}
securityHeaders: {corsEnabled: true, corsAllowedOrigins: ['https://a.example']}
session: {store: {redis: {endpoints: ['redis:6379']}}}
stateCookie: {maxAge: 600}
clientConfig: {tls: {insecureSkipVerify: false}}
";

fn full(block: &str, key: &str) -> String {
    if block.is_empty() { key.to_owned() } else { format!("{block}.{key}") }
}

/// The default of a field, as the page tells it.
fn default(block: &Block, field: &Field) -> String {
    let path = full(block.path, field.key);
    if let Some((_, told)) = DEFAULTS.iter().find(|(key, _)| *key == path) {
        return (*told).to_owned();
    }
    if block.keys.required.contains(&field.key) {
        return "required".to_owned();
    }
    let written: String = field.default.chars().filter(|c| !c.is_whitespace()).collect();
    let text = written.strip_suffix(".to_owned()").map(|text| text.trim_matches('"').to_owned());
    let seconds =
        written.strip_prefix("Duration::from_secs(").map(|rest| format!("{}s", rest.trim_end_matches(')')));
    match text.or(seconds).unwrap_or(written) {
        written if !written.is_empty() => format!("`{written}`"),
        _ => String::new(),
    }
}

/// A Rust type in the operator's words.
fn kind(rust: &str) -> String {
    let rust: String = rust.chars().filter(|c| !c.is_whitespace()).collect();
    let inner = |outer: &str| rust.strip_prefix(outer).and_then(|rest| rest.strip_suffix('>'));
    if let Some(item) = inner("Vec<") {
        return match kind(item).as_str() {
            "text" => "list of text".to_owned(),
            item => format!("list of {item}s"),
        };
    }
    match inner("Option<").or(inner("Presence<")).unwrap_or(&rust) {
        "String" => "text",
        "bool" => "true or false",
        "i64" | "u64" => "number",
        "Duration" => "duration",
        "SecretString" => "secret",
        "BTreeMap<String,String>" => "mapping of text",
        _ => "block",
    }
    .to_owned()
}

const HEAD: &str = "\
# Every option of the native `oidc` block

`http.middlewares.<name>.oidc`. This page is made from the block's schema (`src/config/oidc.rs`); a test keeps it true, and checks that
every default in code style may as well be written. The block takes the names of traefikoidc, too, so that an option can be added
without rewriting anything: where there are two names, the one of the plugin is marked as such, and one of them is written. Defaults
are those of this block; the plugin's own are in [traefikoidc-options.md](traefikoidc-options.md), with its blocks `redis` and
`dynamicClientRegistration`. Keys are taken without regard to case, numbers are seconds where nothing else is said, and a key that is
not listed is refused.

What the options mean together: [authorization.md](authorization.md), [sessions.md](sessions.md),
[session-stores.md](session-stores.md), [providers.md](providers.md), [client-registration.md](client-registration.md),
[identity-assertion.md](identity-assertion.md).
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    for block in BLOCKS {
        let title =
            if block.path.is_empty() { "The block itself".to_owned() } else { format!("`{}`", block.path) };
        write!(page, "\n## {title}\n\n| option | type | default | |\n|---|---|---|---|\n").unwrap();
        for field in block.fields {
            let what = field.what.trim().trim_end_matches('.');
            writeln!(page, "| `{}` | {} | {} | {what} |", field.key, kind(field.kind), default(block, field))
                .unwrap();
        }
        for (key, why) in block.keys.idle {
            writeln!(page, "| `{key}` | | | has no effect: {why} |").unwrap();
        }
        for (key, why) in block.keys.refused {
            writeln!(page, "| `{key}` | | | refused: {why} |").unwrap();
        }
        for key in block.keys.later {
            writeln!(page, "| `{key}` | | | not supported yet |").unwrap();
        }
    }
    page
}

/// `UPDATE_DOCS=1 cargo test --lib documentation` writes the page.
#[test]
fn the_page_tells_what_the_schema_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/oidc-options.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page(), "{} is out of date: run with UPDATE_DOCS=1", path.display());
}

#[test]
fn no_default_is_told_of_a_key_that_is_gone() {
    let fields = BLOCKS.iter().flat_map(|block| block.fields.iter().map(|field| full(block.path, field.key)));
    let known: BTreeSet<String> = fields.collect();
    let gone: Vec<_> = DEFAULTS.iter().filter(|(key, _)| !known.contains(*key)).collect();
    assert!(gone.is_empty(), "{gone:?}");
}

/// Writes `value` at the dotted `path`, unless something is there.
fn insert(node: &mut Node, path: &str, value: Node) -> bool {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let Value::Map(entries) = &mut node.value else { return false };
    match (entries.iter_mut().find(|entry| entry.key == first), rest) {
        (Some(entry), Some(rest)) => insert(&mut entry.node, rest, value),
        (None, None) => {
            entries.push(Entry { key: first.to_owned(), at: value.at.clone(), node: value });
            true
        }
        // Written already, or in a block that the example lacks.
        _ => false,
    }
}

fn settings(node: &Node, why: &str) -> Settings {
    let mut decoder = Decoder::new();
    let settings = decode(node, Dialect::Native, &mut decoder);
    decoder.finish(settings).unwrap_or_else(|errors| panic!("{why}: {errors}")).0
}

#[test]
fn a_default_may_as_well_be_written() {
    let base = yaml::parse("base.yml", BASE).unwrap();
    let expected = format!("{:?}", settings(&base, "base"));
    let mut tried = 0;
    for block in BLOCKS {
        for field in block.fields {
            let told = default(block, field);
            let value = told.strip_prefix('`').and_then(|told| told.strip_suffix('`'));
            let Some(value) = value.filter(|value| !value.contains('`')) else { continue };
            let path = full(block.path, field.key);
            let value = if value.starts_with('[') { value.to_owned() } else { format!("'{value}'") };
            let document = yaml::parse("v.yml", &format!("v: {value}")).unwrap();
            let mut written = base.clone();
            if insert(&mut written, &path, document.get("v").unwrap().node.clone()) {
                tried += 1;
                assert_eq!(format!("{:?}", settings(&written, &path)), expected, "{path}: {value}");
            }
        }
    }
    assert!(tried > 60, "{tried}");
}
