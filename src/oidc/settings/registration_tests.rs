//! What a block makes of a client that registers itself.

use secrecy::ExposeSecret;
use serde_json::json;

use super::{Dialect, InitialAccessToken, RegistrationSettings, Settings, decode};
use crate::config::Decoder;
use crate::oidc::client_auth::ClientAuth;
use crate::oidc::flow_tests::{KEY, block};

type Lines<'a> = &'a [(&'a str, &'a str)];

const BASE: Lines<'static> = &[
    ("issuer", "https://id.example"),
    ("sessionEncryptionKey", KEY),
    ("redirectUrl", "/cb"),
    ("clientRegistration.redirectUris", "[https://a.example/cb, https://b.example/cb]"),
];

const PLUGIN: Lines<'static> = &[
    ("providerURL", "https://id.example"),
    ("sessionEncryptionKey", KEY),
    ("callbackURL", "/cb"),
    ("dynamicClientRegistration.enabled", "true"),
    ("dynamicClientRegistration.clientMetadata.redirect_uris", "[https://a.example/cb]"),
];

/// Settings and warned keys, or faults as key and message.
type Read = Result<(Settings, Vec<String>), Vec<(String, String)>>;

fn read(base: Lines<'_>, more: Lines<'_>) -> Read {
    let mut lines = base.to_vec();
    lines.retain(|(key, _)| more.iter().all(|(other, _)| other != key));
    lines.extend(more.iter().filter(|(_, value)| *value != "-"));
    let mut decoder = Decoder::new();
    let settings = decode(&block(&lines), Dialect::Native, &mut decoder);
    match decoder.finish(settings) {
        Ok((settings, warnings)) => Ok((settings, warnings.into_iter().map(|w| w.path).collect())),
        Err(errors) => Err(errors.0.into_iter().map(|e| (e.path, e.message)).collect()),
    }
}

fn registration(base: Lines<'_>, more: Lines<'_>) -> RegistrationSettings {
    read(base, more).unwrap().0.registration.unwrap()
}

#[test]
fn the_native_block_in_full() {
    let found = registration(
        BASE,
        &[
            ("clientRegistration.endpoint", "https://id.example/register"),
            ("clientRegistration.initialAccessTokenFile", "/run/token"),
            ("clientRegistration.clientName", "Edge"),
            ("clientRegistration.contacts", "[ops@example.com]"),
            ("clientRegistration.scope", "openid email"),
            ("clientRegistration.metadata.application_type", "web"),
            ("clientAuthMethod", "client_secret_post"),
            ("postLogoutRedirectUrl", "/bye"),
            ("frontchannelLogoutURL", "/front"),
        ],
    );
    assert_eq!(found.endpoint.as_ref().map(url::Url::as_str), Some("https://id.example/register"));
    assert!(matches!(&found.access_token, Some(InitialAccessToken::File(path)) if path.ends_with("token")));
    let expected = json!({
        "redirect_uris": ["https://a.example/cb", "https://b.example/cb"],
        "post_logout_redirect_uris": ["https://a.example/bye", "https://b.example/bye"],
        "frontchannel_logout_uri": "https://a.example/front", "frontchannel_logout_session_required": true,
        "client_name": "Edge", "contacts": ["ops@example.com"], "scope": "openid email", "application_type": "web",
        "response_types": ["code"], "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "client_secret_post",
    });
    assert_eq!(serde_json::Value::Object(found.metadata), expected);
}

#[test]
fn the_plugins_block_in_full() {
    const METADATA: &str = "dynamicClientRegistration.clientMetadata";
    let key = |name: &str| format!("{METADATA}.{name}");
    let (acr, age, method) =
        (key("default_acr_values"), key("default_max_age"), key("token_endpoint_auth_method"));
    let (settings, warnings) = read(
        PLUGIN,
        &[
            ("dynamicClientRegistration.initialAccessToken", "initial"),
            ("dynamicClientRegistration.persistCredentials", "true"),
            ("dynamicClientRegistration.storageBackend", "file"),
            (&acr, "[gold]"),
            (&age, "60"),
            (&method, "client_secret_post"),
            ("clientSecret", "secret"),
        ],
    )
    .unwrap();
    assert_eq!(warnings, ["dynamicClientRegistration.storageBackend", "clientSecret"]);
    assert_eq!(settings.credentials.method, Some(ClientAuth::SecretPost));
    assert!(settings.credentials.secret.is_none());
    let found = settings.registration.unwrap();
    let Some(InitialAccessToken::Fixed(token)) = &found.access_token else { panic!() };
    assert_eq!(token.expose_secret(), "initial");
    assert_eq!(found.metadata["default_acr_values"], json!(["gold"]));
    assert_eq!(found.metadata["default_max_age"], json!(60));
}

#[test]
fn a_configured_client_goes_before() {
    let client = [("clientID", "client"), ("clientSecret", "secret")];
    for base in [BASE, PLUGIN] {
        let (settings, warnings) = read(base, &client).unwrap();
        assert!(settings.registration.is_none() && settings.client_name() == "client");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }
}

#[test]
fn what_cannot_work_is_refused_at_its_key() {
    let native = [
        ("clientRegistration.redirectUris", "[https://a.example/other]", "must name the callback"),
        ("clientRegistration.redirectUris", "[/cb]", "must be an https or http URL"),
        ("clientRegistration.redirectUris", "[https://a.example/cb#x]", "without a fragment"),
        ("clientRegistration.endpoint", "http://10.0.0.1/r", "must be https"),
        ("clientAuthMethod", "magic", "must be client_secret_post"),
    ];
    for (key, value, message) in native {
        let faults = read(BASE, &[(key, value)]).unwrap_err();
        assert!(faults[0].0 == key && faults[0].1.contains(message), "{faults:?}");
    }
    let both =
        [("clientRegistration.initialAccessToken", "a"), ("clientRegistration.initialAccessTokenFile", "b")];
    assert_eq!(read(BASE, &both).unwrap_err()[0].0, "clientRegistration.initialAccessTokenFile");
    let ours = [("clientRegistration.metadata.redirect_uris", "x")];
    assert_eq!(read(BASE, &ours).unwrap_err()[0].0, "clientRegistration.metadata");
    let twice = [PLUGIN[3], PLUGIN[4]];
    assert_eq!(read(BASE, &twice).unwrap_err()[0].0, "clientRegistration");

    let metadata = "dynamicClientRegistration.clientMetadata";
    for (name, value) in
        [("redirect_uris", "-"), ("grant_types", "[implicit]"), ("token_endpoint_auth_method", "magic")]
    {
        let key = format!("{metadata}.{name}");
        let lines = [(key.as_str(), value), ("dynamicClientRegistration.clientMetadata.client_name", "x")];
        assert_eq!(read(PLUGIN, &lines).unwrap_err()[0].0, key);
    }
    let none = [("dynamicClientRegistration.clientMetadata.redirect_uris", "-")];
    assert_eq!(read(PLUGIN, &none).unwrap_err()[0].0, metadata);
    let differ = [
        ("clientAuthMethod", "client_secret_basic"),
        ("dynamicClientRegistration.clientMetadata.token_endpoint_auth_method", "client_secret_post"),
    ];
    assert!(read(PLUGIN, &differ).unwrap_err()[0].0.ends_with("token_endpoint_auth_method"));
}

#[test]
fn the_name_is_of_what_is_registered() {
    let name = |more: Lines<'_>| registration(BASE, more).client_name();
    assert_eq!(name(&[]), name(&[("clientRegistration.initialAccessToken", "another")]));
    for other in [
        ("clientRegistration.redirectUris", "[https://a.example/cb]"),
        ("clientRegistration.clientName", "Edge"),
        ("clientRegistration.endpoint", "https://id.example/r"),
    ] {
        assert_ne!(name(&[]), name(&[other]), "{other:?}");
    }
}
