//! A client that registers itself: the plugin's `dynamicClientRegistration`, or our own `clientRegistration`.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::Builder;
use crate::config::oidc::{ClientMetadata, ClientRegistration, Registration};
use crate::oidc::client_auth::{ClientAuth, Credentials};
use crate::oidc::settings::{InitialAccessToken, LogoutChannels, PostLogout, RegistrationSettings, check};

const PLUGIN: &str = "dynamicClientRegistration";
const NATIVE: &str = "clientRegistration";

/// Members that are ours to say.
const OURS: &[&str] = &[
    "redirect_uris",
    "post_logout_redirect_uris",
    "token_endpoint_auth_method",
    "grant_types",
    "response_types",
    "scope",
    "contacts",
    "client_name",
    "jwks_uri",
    "backchannel_logout_uri",
    "backchannel_logout_session_required",
    "frontchannel_logout_uri",
    "frontchannel_logout_session_required",
];

/// What a block asks for, before it is checked.
struct Wish<'a> {
    endpoint: (&'static str, Option<&'a str>),
    access_token: Option<InitialAccessToken>,
    redirect_uris: (&'static str, &'a [String]),
    metadata: Map<String, Value>,
}

/// Paths that the policy answers, as far as a provider wants to know them.
pub(super) struct OwnPaths<'a> {
    pub(super) callback: &'a str,
    pub(super) post_logout: Option<&'a PostLogout>,
    pub(super) channels: Option<&'a LogoutChannels>,
}

impl Builder<'_> {
    /// Whether the block has the client register itself. A configured client goes before.
    pub(super) fn registers(&self) -> bool {
        let block = self.block;
        let asked = block.client_registration.is_some()
            || block.dynamic_client_registration.as_ref().is_some_and(|plugin| plugin.enabled);
        asked && block.client_id.as_ref().is_none_or(|id| id.trim().is_empty())
    }

    /// How the client authenticates, where the registration says it.
    pub(super) fn registered_auth_method(&self) -> Option<&str> {
        let plugin = self.block.dynamic_client_registration.as_ref().filter(|_| self.registers());
        let metadata = plugin.and_then(|plugin| plugin.client_metadata.as_ref());
        metadata.and_then(|metadata| metadata.token_endpoint_auth_method.as_deref())
    }

    /// Outer none: it is faulty. Inner none: the client is configured.
    pub(super) fn registration(
        &mut self,
        credentials: &Credentials,
        own: OwnPaths<'_>,
    ) -> Option<Option<RegistrationSettings>> {
        let block = self.block;
        let plugin = block.dynamic_client_registration.as_ref();
        if !self.registers() {
            self.warn_of_idle_registration();
            return Some(None);
        }
        let wish = match (&block.client_registration, plugin.filter(|plugin| plugin.enabled)) {
            (Some(_), Some(_)) => {
                self.error(NATIVE, format!("is the same as `{PLUGIN}`; write one of them"));
                return None;
            }
            (Some(native), None) => self.native_wish(native)?,
            (None, plugin) => self.plugin_wish(plugin?)?,
        };
        if block.client_secret.as_ref().is_some_and(|secret| !secret.expose_secret().is_empty()) {
            self.warn("clientSecret", "has no effect: the provider gives the secret at registration");
        }
        let (key, endpoint) = wish.endpoint;
        let endpoint = match endpoint.filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => Some(self.checked(key, check::endpoint_url(text, self.issuer_text()))?),
        };
        let mut metadata = wish.metadata;
        let origins = self.redirect_uris(wish.redirect_uris, own.callback)?;
        metadata.insert("redirect_uris".to_owned(), wish.redirect_uris.1.into());
        self.method(credentials, &mut metadata)?;
        self.flow(&mut metadata)?;
        add_logout(&mut metadata, &origins, &own);
        Some(Some(RegistrationSettings { endpoint, access_token: wish.access_token, metadata }))
    }

    fn warn_of_idle_registration(&mut self) {
        let block = self.block;
        let idle = match (&block.dynamic_client_registration, &block.client_registration) {
            (Some(plugin), _) if plugin.enabled => Some("dynamicClientRegistration.enabled"),
            (_, Some(_)) => Some(NATIVE),
            _ => None,
        };
        if let Some(key) = idle {
            self.warn(key, "has no effect beside `clientID`");
        }
    }

    fn plugin_wish<'b>(&mut self, block: &'b Registration) -> Option<Wish<'b>> {
        let Some(metadata) = &block.client_metadata else {
            self.error("dynamicClientRegistration.clientMetadata", "is required, with `redirect_uris`");
            return None;
        };
        Some(Wish {
            endpoint: (
                "dynamicClientRegistration.registrationEndpoint",
                block.registration_endpoint.as_deref(),
            ),
            access_token: secret(&block.initial_access_token).map(InitialAccessToken::Fixed),
            redirect_uris: (
                "dynamicClientRegistration.clientMetadata.redirect_uris",
                &metadata.redirect_uris,
            ),
            metadata: members(metadata),
        })
    }

    fn native_wish<'b>(&mut self, block: &'b ClientRegistration) -> Option<Wish<'b>> {
        let path = block.initial_access_token_file.as_ref().filter(|path| !path.is_empty());
        let access_token = match (secret(&block.initial_access_token), path) {
            (Some(_), Some(_)) => {
                self.error(
                    "clientRegistration.initialAccessTokenFile",
                    "is the same option as `initialAccessToken`; write one of them",
                );
                return None;
            }
            (Some(token), None) => Some(InitialAccessToken::Fixed(token)),
            (None, path) => path.map(|path| InitialAccessToken::File(path.into())),
        };
        let mut metadata = Map::new();
        for (name, value) in &block.metadata {
            if OURS.contains(&name.as_str()) {
                self.error("clientRegistration.metadata", format!("`{name}` has an option of its own"));
                return None;
            }
            metadata.insert(name.clone(), value.as_str().into());
        }
        let texts =
            [("client_name", &block.client_name), ("scope", &block.scope), ("jwks_uri", &block.jwks_uri)];
        texts.into_iter().for_each(|(name, value)| add_text(&mut metadata, name, value.as_ref()));
        add_list(&mut metadata, "contacts", &block.contacts);
        Some(Wish {
            endpoint: ("clientRegistration.endpoint", block.endpoint.as_deref()),
            access_token,
            redirect_uris: ("clientRegistration.redirectUris", &block.redirect_uris),
            metadata,
        })
    }

    /// The origins at which the callback is registered.
    fn redirect_uris(
        &mut self,
        (key, uris): (&'static str, &[String]),
        callback: &str,
    ) -> Option<Vec<String>> {
        let mut origins = Vec::new();
        for text in uris {
            let url = Url::parse(text).ok().filter(|url| {
                url.host().is_some() && matches!(url.scheme(), "https" | "http") && url.fragment().is_none()
            });
            let Some(url) = url else {
                self.error(key, format!("`{text}` must be an https or http URL without a fragment"));
                return None;
            };
            if url.path() == callback {
                origins.push(url.origin().ascii_serialization());
            } else {
                self.warn(key, &format!("`{text}` is not the callback: its path is not `{callback}`"));
            }
        }
        if origins.is_empty() {
            let message =
                format!("must name the callback at each host, such as `https://app.example.com{callback}`");
            self.error(key, message);
            return None;
        }
        origins.dedup();
        Some(origins)
    }

    /// How the client authenticates: as configured, and then registered so.
    fn method(&mut self, credentials: &Credentials, metadata: &mut Map<String, Value>) -> Option<()> {
        let Some(method) = credentials.method else { return Some(()) };
        let written = self.block.client_auth_method.as_deref().filter(|name| !name.is_empty());
        let registered = self.registered_auth_method().map(str::to_owned);
        let key = "dynamicClientRegistration.clientMetadata.token_endpoint_auth_method";
        if let (Some(written), Some(registered)) = (written, &registered)
            && written != registered
        {
            self.error(key, format!("is not `clientAuthMethod`, which is `{written}`"));
            return None;
        }
        let name = registered.as_deref().or(written).unwrap_or(method.name());
        metadata.insert("token_endpoint_auth_method".to_owned(), name.into());
        let has_keys = metadata.contains_key("jwks_uri") || metadata.contains_key("jwks");
        if method == ClientAuth::PrivateKeyJwt && !has_keys {
            let key = if self.block.client_registration.is_some() { NATIVE } else { PLUGIN };
            self.error(
                key,
                "needs `jwks_uri` in the client's metadata for `private_key_jwt`: our public key is there",
            );
            return None;
        }
        Some(())
    }

    /// The code flow, and refresh tokens, unless the block says what else.
    fn flow(&mut self, metadata: &mut Map<String, Value>) -> Option<()> {
        let needed = [
            ("response_types", "code", &["code"] as &[&str]),
            ("grant_types", "authorization_code", &["authorization_code", "refresh_token"]),
        ];
        for (name, needed, default) in needed {
            let value = metadata.entry(name).or_insert_with(|| Value::from(default.to_vec()));
            if !value.as_array().is_some_and(|list| list.iter().any(|item| item == needed)) {
                self.error(
                    &format!("{PLUGIN}.clientMetadata.{name}"),
                    format!("must contain `{needed}`, which logins use"),
                );
                return None;
            }
        }
        Some(())
    }
}

/// What the provider must know to log out there, and to log out here: RP-Initiated, Back- and Front-Channel Logout 1.0.
fn add_logout(metadata: &mut Map<String, Value>, origins: &[String], own: &OwnPaths<'_>) {
    let landings = match own.post_logout {
        None => origins.iter().map(|origin| format!("{origin}/")).collect(),
        Some(PostLogout::Path(path)) => origins.iter().map(|origin| format!("{origin}{path}")).collect(),
        Some(PostLogout::Url(url)) => vec![url.to_string()],
    };
    metadata.insert("post_logout_redirect_uris".to_owned(), landings.into());
    let (Some(channels), Some(origin)) = (own.channels, origins.first()) else { return };
    for (name, path) in [("backchannel", &channels.back), ("frontchannel", &channels.front)] {
        if let Some(path) = path {
            metadata.insert(format!("{name}_logout_uri"), format!("{origin}{path}").into());
            metadata.insert(format!("{name}_logout_session_required"), true.into());
        }
    }
}

fn members(block: &ClientMetadata) -> Map<String, Value> {
    let mut metadata = Map::new();
    let texts = [
        ("application_type", &block.application_type),
        ("client_name", &block.client_name),
        ("logo_uri", &block.logo_uri),
        ("client_uri", &block.client_uri),
        ("policy_uri", &block.policy_uri),
        ("tos_uri", &block.tos_uri),
        ("jwks_uri", &block.jwks_uri),
        ("subject_type", &block.subject_type),
        ("scope", &block.scope),
    ];
    texts.into_iter().for_each(|(name, value)| add_text(&mut metadata, name, value.as_ref()));
    let lists = [
        ("response_types", &block.response_types),
        ("grant_types", &block.grant_types),
        ("contacts", &block.contacts),
        ("default_acr_values", &block.default_acr_values),
    ];
    lists.into_iter().for_each(|(name, value)| add_list(&mut metadata, name, value));
    if let Some(seconds) = block.default_max_age {
        metadata.insert("default_max_age".to_owned(), seconds.into());
    }
    if let Some(required) = block.require_auth_time {
        metadata.insert("require_auth_time".to_owned(), required.into());
    }
    metadata
}

fn add_text(metadata: &mut Map<String, Value>, name: &str, value: Option<&String>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        metadata.insert(name.to_owned(), value.as_str().into());
    }
}

fn add_list(metadata: &mut Map<String, Value>, name: &str, value: &[String]) {
    if !value.is_empty() {
        metadata.insert(name.to_owned(), value.into());
    }
}

fn secret(text: &Option<SecretString>) -> Option<SecretString> {
    text.clone().filter(|secret| !secret.expose_secret().is_empty())
}
