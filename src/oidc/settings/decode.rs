//! From a configuration block to [`Settings`].

mod assertion;
mod authorization;
mod bearer;
mod channels;
mod client;
mod endpoints;
mod identity;
mod notices;
mod parts;
mod plugin_values;
mod provider;
mod registration;
mod security_headers;
mod session;
mod store;

use super::{Settings, UserInfo, check};
use crate::config::oidc::Oidc;
use crate::config::value::{Node, Position};
use crate::config::{Decode, Decoder};
use crate::oidc::excluded::ExcludedPaths;
use crate::oidc::profile::Profile;

/// Whose defaults a block has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The traefikoidc plugin.
    Plugin,
    /// Our own `oidc` block.
    Native,
}

/// Decodes and checks the block at `node`. Faults and warnings go to `decoder`, each at its key.
pub fn decode(node: &Node, dialect: Dialect, decoder: &mut Decoder) -> Option<Settings> {
    let block = Oidc::decode(node, decoder)?;
    let mut builder = Builder { block: &block, node, dialect, decoder, faulty: false };
    builder.refuse_cookie_attributes();
    builder.refuse_plugin_values();
    builder.refuse_blank_rules();
    builder.warn_without_effect();
    builder.warn_changed();
    let settings = builder.build();
    if builder.faulty { None } else { settings }
}

struct Builder<'a> {
    block: &'a Oidc,
    node: &'a Node,
    dialect: Dialect,
    decoder: &'a mut Decoder,
    faulty: bool,
}

impl Builder<'_> {
    /// Where the dotted `key` was written, else the block.
    fn position(&self, key: &str) -> Position {
        let mut node = self.node;
        let mut at = node.at.clone();
        for segment in key.split('.') {
            let Some(entry) = node.get(segment) else { break };
            at = entry.at.clone();
            node = &entry.node;
        }
        at
    }

    fn error(&mut self, key: &str, message: impl Into<String>) {
        let at = self.position(key);
        self.decoder.at(key, |decoder| decoder.error(&at, message));
        self.faulty = true;
    }

    fn warn(&mut self, key: &str, message: &str) {
        let at = self.position(key);
        self.decoder.at(key, |decoder| decoder.warn(&at, message));
    }

    /// The value, or a fault at `key`.
    fn checked<T>(&mut self, key: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.error(key, message)).ok()
    }

    /// The first of two names of one option; writing both is a fault.
    fn either(&mut self, names: [&str; 2], values: [&Option<String>; 2]) -> Option<(String, String)> {
        let [first, second] = names;
        match values {
            [Some(_), Some(_)] => {
                self.error(second, format!("is the same option as `{first}`; write one of them"));
                None
            }
            [Some(value), None] => Some((first.to_owned(), value.clone())),
            [None, Some(value)] => Some((second.to_owned(), value.clone())),
            [None, None] => None,
        }
    }

    /// Every part is tried, so that all faults are named at once.
    fn build(&mut self) -> Option<Settings> {
        let block = self.block;
        let (party, request, access) = (self.party(), self.login_request(), self.access());
        let (told, keeping) = (self.told(), self.keeping());
        let places = self.places(party.as_ref().map(|party| &party.credentials));
        let (party, request, access, told, keeping, places) =
            (party?, request?, access?, told?, keeping?, places?);
        self.refuse_places_without_cookies(&keeping.cookies.path, &places);
        Some(Settings {
            issuer: party.issuer,
            credentials: party.credentials,
            registration: places.registration,
            key: party.key,
            previous_keys: party.previous_keys,
            callback_path: places.callback_path,
            logout_path: places.logout_path,
            post_logout: places.post_logout,
            channels: places.channels,
            session_endpoints: places.session_endpoints,
            scopes: request.scopes,
            offline_access: request.offline_access,
            profile: request.profile,
            allowed_tenants: request.allowed_tenants,
            pushed_authorization: request.pushed_authorization,
            auth_params: request.auth_params,
            audience: block.audience.clone().filter(|audience| !audience.is_empty()),
            resource: block.resource.clone().filter(|resource| !resource.is_empty()),
            strict_audience: block.strict_audience_validation,
            user_info: access.user_info,
            force_https: block.force_https.unwrap_or(self.dialect == Dialect::Plugin),
            trust_forwarded_uri: block.trust_forwarded_uri,
            disable_login: block.disable_login,
            pkce_required: block.enable_pkce == Some(true) || block.pkce == Some(true),
            excluded: access.excluded,
            gate: access.gate,
            bearer: access.bearer,
            require_introspection: block.require_token_introspection,
            step_up: access.step_up,
            minimal_headers: block.minimal_headers,
            headers: told.headers,
            identity_assertion: places.identity_assertion,
            forward_authorization: block.forward_authorization,
            security_headers: told.security_headers,
            session: keeping.session,
            cookies: keeping.cookies,
            login_max_age: request.max_age,
            login_rate: request.rate,
            provider: request.provider,
            store: keeping.store,
        })
    }

    fn scopes(&mut self, profile: Profile) -> (Vec<String>, bool) {
        let mut scopes: Vec<String> = vec!["openid".to_owned()];
        if !self.block.override_scopes {
            scopes.extend(["profile".to_owned(), "email".to_owned()]);
        }
        for scope in self.block.scopes.iter().flat_map(|entry| entry.split_whitespace()) {
            let legal = |b: u8| b == 0x21 || (0x23..=0x5b).contains(&b) || (0x5d..=0x7e).contains(&b);
            if !scope.bytes().all(legal) {
                self.error("scopes", format!("`{scope}` is not a scope"));
            } else if !(scopes.iter().any(|s| s == scope)
                || scope == "offline_access" && !profile.knows_offline_access())
            {
                scopes.push(scope.to_owned());
            }
        }
        (scopes, !self.block.override_scopes && profile.knows_offline_access())
    }

    fn audiences(&mut self) -> Option<()> {
        let block = self.block;
        let audience = block.audience.as_deref().map_or(Ok(()), check::audience);
        let resource = block.resource.as_deref().filter(|r| !r.is_empty()).map_or(Ok(()), check::resource);
        let audience = self.checked("audience", audience);
        let resource = self.checked("resource", resource);
        audience.and(resource)
    }

    fn user_info(&mut self) -> Option<UserInfo> {
        match self.block.user_info.as_deref() {
            None | Some("" | "auto") => Some(UserInfo::Auto),
            Some("always") => Some(UserInfo::Always),
            Some("never") => Some(UserInfo::Never),
            Some(_) => {
                self.error("userInfo", "must be auto, always or never");
                None
            }
        }
    }

    fn excluded(&mut self) -> Option<ExcludedPaths> {
        match ExcludedPaths::new(&self.block.excluded_urls) {
            Ok(paths) => Some(paths),
            Err(faults) => {
                for (_, message) in faults {
                    self.error("excludedURLs", message);
                }
                None
            }
        }
    }
}
