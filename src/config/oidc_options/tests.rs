use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::config::decode::BlockKeys;
use crate::config::oidc::{ClientMetadata, HeaderTemplate, Oidc, Redis, Registration, SecurityHeaders};
use crate::config::value::Entry;

/// Options that the plugin has not; Traefik Hub's words, and our own.
const NATIVE: &[&str] = &[
    "issuer",
    "providerProfile",
    "allowedTenants",
    "trustedIssuer",
    "disableIssuerCheck",
    "discoveryParams",
    "clientAssertionAudience",
    "pushedAuthorization",
    "redirectUrl",
    "postLogoutRedirectUrl",
    "authParams",
    "pkce",
    "userInfo",
    "disableLogin",
    "usernameClaim",
    "forwardHeaders",
    "forwardAuthorization",
    "session",
    "stateCookie",
    "clientConfig",
    "claims",
    "loginUrl",
    "postLoginRedirectUrl",
    "csrf",
    "previousSessionEncryptionKeys",
    "sessionEndpoints",
    "sessionIdleTimeout",
    "acrValues",
    "maxAge",
    "bearerRequireAtJwt",
    "bearerAllowedClients",
    "backchannelLogoutSessionsRequired",
    "clientRegistration",
    "identityAssertion",
];

const BLOCKS: &[(&str, BlockKeys)] = &[
    ("", Oidc::BLOCK),
    ("headers[]", HeaderTemplate::BLOCK),
    ("securityHeaders", SecurityHeaders::BLOCK),
    ("redis", Redis::BLOCK),
    ("dynamicClientRegistration", Registration::BLOCK),
    ("dynamicClientRegistration.clientMetadata", ClientMetadata::BLOCK),
];

/// Every key of a block, whatever becomes of it.
fn keys(block: &BlockKeys) -> impl Iterator<Item = &'static str> {
    let told = block.refused.iter().chain(block.idle).map(|(key, _)| *key);
    block.traefik().chain(told)
}

#[test]
fn every_key_of_the_blocks_is_in_the_table_and_no_other() {
    let mut schema = BTreeSet::new();
    for (prefix, block) in BLOCKS {
        for key in keys(block) {
            let is_block = BLOCKS.iter().any(|(other, _)| !other.contains('[') && *other == key);
            if prefix.is_empty() && !is_block && !NATIVE.contains(&key) {
                schema.insert(key.to_owned());
            } else if !prefix.is_empty() {
                schema.insert(format!("{prefix}.{key}"));
            }
        }
    }
    let table: BTreeSet<_> = OPTIONS.iter().map(|option| option.key.to_owned()).collect();
    assert_eq!(table.len(), OPTIONS.len(), "a key is there twice");
    assert_eq!(schema.difference(&table).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the table");
    assert_eq!(table.difference(&schema).collect::<Vec<_>>(), Vec::<&String>::new(), "only in the table");
    for key in NATIVE {
        assert!(keys(&Oidc::BLOCK).any(|known| known == *key), "`{key}` is no option of ours any more");
    }
}

#[test]
fn whatever_is_not_plainly_honoured_has_a_reason() {
    for option in OPTIONS {
        assert!(option.fate == Fate::Honoured || !option.why.is_empty(), "{}", option.key);
        assert!(!option.why.contains('|') && !option.unwritten.contains('|'), "{}", option.key);
    }
}

#[test]
fn what_a_block_leaves_out_may_differ_too() {
    let at = Position::whole("test");
    let scalar = Node { value: Value::Scalar("example.com".to_owned()), at: at.clone() };
    let mut block = Node { value: Value::Map(Vec::new()), at: at.clone() };
    let keys = |block: &Node| unwritten(block).map(|option| option.key).collect::<Vec<_>>();
    let found = keys(&block);
    for key in [
        "cookieDomain",
        "clientAuthMethod",
        "securityHeaders.strictTransportSecurityPreload",
        "excludedURLs",
        "minimalHeaders",
        "enablePKCE",
    ] {
        assert!(found.contains(&key), "{key}");
    }
    assert!(!found.contains(&"providerURL"), "nothing of its own is said of what has no default");
    let Value::Map(entries) = &mut block.value else { panic!() };
    entries.push(Entry { key: "cookieDomain".to_owned(), at, node: scalar });
    assert!(!keys(&block).contains(&"cookieDomain"));
}

/// `UPDATE_DOCS=1 cargo test --lib oidc_options` writes the page.
#[test]
fn the_documentation_tells_what_the_table_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/traefikoidc-options.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page(), "{} is out of date: run with UPDATE_DOCS=1", path.display());
}

const HEAD: &str = "\
# Every option of traefikoidc

What becomes of a traefikoidc block here. This page is made from the table in `src/config/oidc_options.rs`, which is also what
`portcullis check` tells about the options that a file uses, and about those whose absence makes a difference. Keys are taken without
regard to case; a key that is not listed is refused, unless it is one of our own ([differences.md](differences.md), [providers.md](providers.md)).

| status | meaning |
|---|---|
| honoured | does what it does in the plugin, as the plugin documents it |
| changed | works, and differs as told |
| without effect | loads with a warning, and does nothing |
| refused | the block does not load |
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    let sections = [("The block itself", "")].into_iter().chain(
        BLOCKS
            .iter()
            .map(|(prefix, _)| (*prefix, *prefix))
            .filter(|(_, prefix)| !prefix.is_empty() && !prefix.contains('[')),
    );
    for (title, prefix) in sections {
        let title = if prefix.is_empty() { title.to_owned() } else { format!("`{title}`") };
        write!(page, "\n## {title}\n\n| option | status | |\n|---|---|---|\n").unwrap();
        for option in OPTIONS.iter().filter(|option| section(option.key) == prefix) {
            let key = option.key.strip_prefix(prefix).unwrap().trim_start_matches('.');
            let (status, told) = told(option);
            writeln!(page, "| `{key}` | {status} | {told} |").unwrap();
        }
    }
    page
}

/// Status and remark; another default is a change, too.
fn told(option: &PluginOption) -> (&'static str, String) {
    let by_default = format!("not written: {}", option.unwritten);
    match (option.fate, option.why, option.unwritten) {
        (fate, why, "") => (fate.as_str(), why.to_owned()),
        (Fate::Honoured, "", _) => (Fate::Changed.as_str(), by_default),
        (Fate::Honoured, why, _) => (Fate::Changed.as_str(), format!("{why}; {by_default}")),
        // Changed in the same way, written or not.
        (fate, why, _) => (fate.as_str(), why.to_owned()),
    }
}

/// The block that a key is in.
fn section(key: &str) -> &str {
    match key.rsplit_once('.') {
        Some((block, _)) if !block.contains('[') => block,
        _ => "",
    }
}
