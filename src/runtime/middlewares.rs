//! Middlewares by name, compiled once and shared by the routers that use them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kept::Kept;
use super::names::{hint, qualify};
use crate::config::dynamic::DynamicConfig;
use crate::config::middleware::Middleware as Config;
use crate::config::validate::is_native_plugin;
use crate::config::value::Node;
use crate::config::{self, ConfigError, ConfigErrors, Decode, Decoder, StaticConfig};
use crate::middleware::{Chain, Lookup, Middleware, Oidc, flatten};
use crate::oidc::session::StoreSettings;
use crate::oidc::settings::{self, Dialect};
use crate::oidc::{OwnCookies, Policy};
use crate::proxy::Own;

/// What no process can see by itself: whether there are others, and whether the provider rotates refresh tokens.
const ROTATION: &str = "sessions are in cookies: where refresh tokens rotate, a second replica logs users out, and so does a \
                        restart right after a refresh; and a logout is known to one process only (`sqlite` and `redis` are \
                        without these limits; `session.refresh: false` is without the first)";

/// What a name stands for.
enum Compiled {
    /// Names of other middlewares.
    Chain(Vec<String>),
    /// A middleware.
    Single(Arc<Middleware>),
    /// One that does not work, with the reason.
    Broken(String),
}

/// Why a middleware does not work.
enum Fault {
    /// To be told at the middleware.
    Here(String),
    /// Each of its faults has been told at its own place.
    Told(String),
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self::Here(message)
    }
}

/// Every middleware of a configuration.
pub struct Middlewares(BTreeMap<String, Compiled>);

/// Faults that the file provider could not see, since only the static configuration tells which
/// plugins are native: unknown keys, wrong types and unsupported options in their blocks. As anywhere
/// in a dynamic file, they refuse the whole load.
///
/// # Errors
/// All of them.
pub fn check_blocks(dynamic: &DynamicConfig, fixed: &StaticConfig) -> Result<(), ConfigErrors> {
    let mut faults = Vec::new();
    for (name, located) in &dynamic.http.middlewares {
        let Ok(Some((block, _))) = oidc_block(&located.value, fixed) else { continue };
        let mut decoder = Decoder::new();
        let decoded = decoder
            .at("http", |d| d.at("middlewares", |d| d.at(name, |d| config::oidc::Oidc::decode(block, d))));
        faults.extend(decoder.finish(decoded).err().map(|errors| errors.0).unwrap_or_default());
    }
    if faults.is_empty() { Ok(()) } else { Err(ConfigErrors(faults)) }
}

/// The blocks that were written for the plugin, by the names of their middlewares.
pub fn plugin_blocks<'a>(
    dynamic: &'a DynamicConfig,
    fixed: &StaticConfig,
) -> impl Iterator<Item = (&'a str, &'a Node)> {
    let block = |config: &'a Config| match oidc_block(config, fixed) {
        Ok(Some((block, Dialect::Plugin))) => Some(block),
        _ => None,
    };
    let middlewares = dynamic.http.middlewares.iter();
    middlewares.filter_map(move |(name, located)| Some((name.as_str(), block(&located.value)?)))
}

impl Middlewares {
    /// Compiles them; what does not work is reported in `errors` and breaks only the routers that use it, what works but
    /// not as it may seem in `warnings`.
    pub fn compile(
        dynamic: &DynamicConfig,
        provider: &str,
        fixed: &StaticConfig,
        kept: &Kept,
        errors: &mut Vec<ConfigError>,
        warnings: &mut Vec<ConfigError>,
    ) -> Self {
        let mut table = BTreeMap::new();
        for (name, located) in &dynamic.http.middlewares {
            let qualified = qualify(name, provider);
            let here = |message: String| ConfigError {
                at: Some(located.at.clone()),
                path: format!("http.middlewares.{name}"),
                message,
            };
            let compiled = match one(&qualified, &located.value, fixed, kept, errors, warnings) {
                Ok(compiled) => compiled,
                Err(Fault::Told(message)) => Compiled::Broken(message),
                Err(Fault::Here(message)) => {
                    errors.push(here(message.clone()));
                    Compiled::Broken(message)
                }
            };
            if let Compiled::Single(middleware) = &compiled {
                warnings.extend(middleware.warnings().into_iter().map(here));
            }
            table.insert(qualified, compiled);
        }
        Self(table)
    }

    /// The chain of these names, as written by `provider`.
    ///
    /// # Errors
    /// A name that nobody defines, a cycle, or a middleware that does not work.
    pub fn chain(&self, names: &[String], provider: &str) -> Result<Chain, String> {
        let lookup = |name: &str| match self.0.get(name) {
            Some(Compiled::Chain(inner)) => Lookup::Chain(inner),
            Some(_) => Lookup::Single,
            None => Lookup::Unknown,
        };
        let flat =
            flatten(names, provider, &lookup).map_err(|message| self.with_hint(names, provider, message))?;
        let resolved = flat.iter().map(|name| match self.0.get(name) {
            Some(Compiled::Single(middleware)) => Ok(Arc::clone(middleware)),
            Some(Compiled::Broken(reason)) => Err(format!("middleware `{name}` does not work: {reason}")),
            _ => Err(format!("middleware `{name}` does not exist")),
        });
        Ok(Chain::new(resolved.collect::<Result<Vec<_>, _>>()?))
    }

    /// What belongs to the OIDC middlewares on every route.
    pub fn own(&self) -> Own {
        let policies: Vec<&Policy> = self
            .0
            .values()
            .filter_map(|compiled| match compiled {
                Compiled::Single(middleware) => middleware.policy(),
                Compiled::Chain(_) | Compiled::Broken(_) => None,
            })
            .collect();
        let mut headers: Vec<_> =
            policies.iter().flat_map(|policy| policy.identity_names()).cloned().collect();
        headers.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        headers.dedup();
        Own { cookies: OwnCookies::of(policies.iter().map(|policy| policy.cookies())), headers }
    }

    fn with_hint(&self, names: &[String], provider: &str, message: String) -> String {
        let missing =
            names.iter().map(|name| qualify(name, provider)).find(|name| !self.0.contains_key(name));
        match missing {
            Some(name) => format!("{message}{}", hint(&name, self.0.keys().map(String::as_str))),
            None => message,
        }
    }
}

fn one(
    name: &str,
    config: &Config,
    fixed: &StaticConfig,
    kept: &Kept,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<ConfigError>,
) -> Result<Compiled, Fault> {
    sole(config)?;
    if let Some((block, dialect)) = oidc_block(config, fixed)? {
        let policy = policy(name, block, dialect, kept, errors, warnings)?;
        return Ok(Compiled::Single(Arc::new(Middleware::Oidc(Oidc::new(policy)))));
    }
    match &config.chain {
        Some(chain) => Ok(Compiled::Chain(chain.middlewares.clone())),
        None => Ok(Compiled::Single(Arc::new(Middleware::new(config)?))),
    }
}

/// A middleware has one kind. Were the others of a block left out, one that guards a route could be
/// missing without a word.
fn sole(config: &Config) -> Result<(), String> {
    // Every field by name: a new kind cannot be forgotten here.
    let Config {
        add_prefix,
        basic_auth,
        chain,
        headers,
        oidc,
        plugin,
        redirect_regex,
        redirect_scheme,
        replace_path,
        strip_prefix,
    } = config;
    let kinds = [
        add_prefix.is_some(),
        basic_auth.is_some(),
        chain.is_some(),
        headers.is_some(),
        oidc.is_some(),
        plugin.is_some(),
        redirect_regex.is_some(),
        redirect_scheme.is_some(),
        replace_path.is_some(),
        strip_prefix.is_some(),
    ];
    match kinds.into_iter().filter(|is| *is).count() {
        0 | 1 => Ok(()),
        _ => Err("a middleware has exactly one kind; use a chain for several".to_owned()),
    }
}

/// The OIDC block of a middleware, native or written for the plugin.
fn oidc_block<'a>(config: &'a Config, fixed: &StaticConfig) -> Result<Option<(&'a Node, Dialect)>, String> {
    if let Some(block) = &config.oidc {
        return Ok(Some((block, Dialect::Native)));
    }
    let Some(plugins) = &config.plugin else { return Ok(None) };
    let mut plugins = plugins.iter();
    match (plugins.next(), plugins.next()) {
        (Some((alias, block)), None) if is_native_plugin(fixed, alias) => Ok(Some((block, Dialect::Plugin))),
        (Some((alias, _)), None) => {
            Err(format!("plugin `{alias}` cannot be loaded: only traefikoidc is built in"))
        }
        _ => Err("a plugin block names exactly one plugin".to_owned()),
    }
}

fn policy(
    name: &str,
    block: &Node,
    dialect: Dialect,
    kept: &Kept,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<ConfigError>,
) -> Result<Policy, Fault> {
    let mut decoder = Decoder::new();
    let written = name.split('@').next().unwrap_or(name);
    let decoded = decoder
        .at("http", |d| d.at("middlewares", |d| d.at(written, |d| settings::decode(block, dialect, d))));
    let (settings, warned) = decoder.finish(decoded).map_err(|ConfigErrors(faults)| {
        let summary = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        // Each fault has a place of its own, which is worth more than the place of the block.
        errors.extend(faults);
        Fault::Told(summary)
    })?;
    warnings.extend(warned);
    let in_cookies = matches!(kept.stores().chosen(settings.store.as_ref()), StoreSettings::Cookie);
    if in_cookies && settings.session.refresh {
        let path = format!("http.middlewares.{written}");
        warnings.push(ConfigError { at: Some(block.at.clone()), path, message: ROTATION.to_owned() });
    }
    let deps = kept.oidc(settings.store.as_ref())?;
    Policy::new(name, settings, &deps).map_err(|error| Fault::Here(error.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::middleware as config;

    #[test]
    fn no_kind_of_a_block_is_left_out() {
        let chain = Config { chain: Some(config::Chain::default()), ..Config::default() };
        assert_eq!(sole(&chain), Ok(()));
        let guarded = Config { basic_auth: Some(config::BasicAuth::default()), ..chain };
        assert!(sole(&guarded).unwrap_err().contains("exactly one kind"));
    }
}
