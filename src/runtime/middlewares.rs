//! Middlewares by name, compiled once and shared by the routers that use them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::chains::{self, Compiled, MAX_LENGTH, Table};
use super::kept::Kept;
use super::names::{defined, qualify};
use crate::config::dynamic::DynamicConfig;
use crate::config::middleware::Middleware as Config;
use crate::config::validate::is_native_plugin;
use crate::config::value::Node;
use crate::config::{self, ConfigError, ConfigErrors, Decode, Decoder, Faults, Located, StaticConfig};
use crate::middleware::{Chain, Middleware, Oidc};
use crate::oidc::session::StoreSettings;
use crate::oidc::settings::{self, Dialect};
use crate::oidc::{OwnCookies, Policy};
use crate::proxy::Own;

/// What no process can see by itself: whether there are others, and whether the provider rotates refresh tokens.
const ROTATION: &str = "sessions are in cookies: where refresh tokens rotate, a second replica logs users out, and so does a \
                        restart right after a refresh; and a logout is known to one process only (`sqlite` and `redis` are \
                        without these limits; `session.refresh: false` is without the first)";

/// Every middleware of a configuration.
pub struct Middlewares(Table);

/// Faults that the file provider could not see, since only the static configuration tells which
/// plugins are native: unknown keys, wrong types and unsupported options in their blocks. As anywhere
/// in a dynamic file, they refuse the whole load.
///
/// # Errors
/// All of them.
pub fn check_blocks(dynamic: &DynamicConfig, fixed: &StaticConfig) -> Result<(), ConfigErrors> {
    let mut faults = Vec::new();
    for (name, located) in &dynamic.http.middlewares {
        if let Ok(Some(block)) = oidc_block(name, &located.value, fixed) {
            faults.extend(block.undecoded());
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(ConfigErrors(faults)) }
}

/// The blocks that were written for the plugin, each with the name of its middleware and its key path.
pub fn plugin_blocks<'a>(
    dynamic: &'a DynamicConfig,
    fixed: &StaticConfig,
) -> impl Iterator<Item = (&'a str, String, &'a Node)> {
    let middlewares = dynamic.http.middlewares.iter();
    middlewares.filter_map(move |(name, located)| match oidc_block(name, &located.value, fixed) {
        Ok(Some(Block { node, dialect: Dialect::Plugin, path })) => Some((name.as_str(), path, node)),
        _ => None,
    })
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
        let (mut table, mut unsettled) = (Table::new(), BTreeMap::new());
        for (name, located) in &dynamic.http.middlewares {
            let qualified = defined(name, provider);
            let compiled = match one(name, &qualified, located, fixed, kept, warnings) {
                Ok(Some(middleware)) => Compiled::Single(Arc::new(middleware)),
                Ok(None) => {
                    let members = located.value.chain.as_ref().map(|chain| chain.middlewares.as_slice());
                    unsettled.insert(qualified, members.unwrap_or_default());
                    continue;
                }
                Err(faults) => {
                    errors.extend(faults);
                    Compiled::Broken
                }
            };
            table.insert(qualified, compiled);
        }
        chains::settle(&unsettled, &mut table, &mut |chain, message| {
            let name = chain.strip_suffix(provider).and_then(|name| name.strip_suffix('@')).unwrap_or(chain);
            let written = dynamic.http.middlewares.get(name);
            let path = format!("http.middlewares.{name}");
            errors.extend(written.map(|written| written.fault(&path, "chain.middlewares", message)));
        });
        Self(table)
    }

    /// The chain of these names, as written by `provider`.
    ///
    /// # Errors
    /// Every name that nobody defines or that does not work.
    pub fn chain(&self, names: &[String], provider: &str) -> Result<Chain, Vec<String>> {
        let (mut members, mut faults) = (Vec::new(), Vec::new());
        for name in names {
            match chains::find(&self.0, &qualify(name, provider)) {
                Ok(found) => members.extend(found.iter().cloned()),
                Err(message) => faults.push(message),
            }
        }
        if members.len() > MAX_LENGTH {
            faults.push(format!("more than {MAX_LENGTH} middlewares"));
        }
        if faults.is_empty() { Ok(Chain::new(members)) } else { Err(faults) }
    }

    /// What belongs to the OIDC middlewares on every route.
    pub fn own(&self) -> Own {
        let policies: Vec<&Policy> = self
            .0
            .values()
            .filter_map(|compiled| match compiled {
                Compiled::Single(middleware) => middleware.policy(),
                Compiled::Chain(_) | Compiled::Broken => None,
            })
            .collect();
        let mut headers: Vec<_> =
            policies.iter().flat_map(|policy| policy.identity_names()).cloned().collect();
        headers.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        headers.dedup();
        Own { cookies: OwnCookies::of(policies.iter().map(|policy| policy.cookies())), headers }
    }
}

/// The middleware `name`; none if it is a chain.
fn one(
    name: &str,
    qualified: &str,
    located: &Located<Config>,
    fixed: &StaticConfig,
    kept: &Kept,
    warnings: &mut Vec<ConfigError>,
) -> Result<Option<Middleware>, Vec<ConfigError>> {
    let config = &located.value;
    let path = format!("http.middlewares.{name}");
    let fault = |message: String| vec![located.fault(&path, "", message)];
    if located.faulty {
        // They are told already, and what is left of the block would only seem wrong.
        return Err(Vec::new());
    }
    sole(config).map_err(fault)?;
    if let Some(block) = oidc_block(name, config, fixed).map_err(fault)? {
        let policy = policy(qualified, &block, kept, warnings)?;
        return Ok(Some(Middleware::Oidc(Oidc::new(policy))));
    }
    if config.chain.is_some() {
        return Ok(None);
    }
    let faults = |faults: Faults| located.faults(&path, faults).collect::<Vec<_>>();
    let middleware = Middleware::new(config).map_err(faults)?;
    warnings.extend(middleware.warnings().into_iter().flat_map(fault));
    Ok(Some(middleware))
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

/// The OIDC block of a middleware.
struct Block<'a> {
    node: &'a Node,
    dialect: Dialect,
    /// Its key path.
    path: String,
}

impl Block<'_> {
    /// What in it does not decode.
    fn undecoded(&self) -> Vec<ConfigError> {
        let mut decoder = Decoder::new();
        decoder.at(&self.path, |decoder| config::oidc::Oidc::decode(self.node, decoder));
        decoder.told().0
    }
}

/// The OIDC block of the middleware `name`, native or written for the plugin.
fn oidc_block<'a>(name: &str, config: &'a Config, fixed: &StaticConfig) -> Result<Option<Block<'a>>, String> {
    if let Some(node) = &config.oidc {
        let path = format!("http.middlewares.{name}.oidc");
        return Ok(Some(Block { node, dialect: Dialect::Native, path }));
    }
    let Some(plugins) = &config.plugin else { return Ok(None) };
    let mut plugins = plugins.iter();
    match (plugins.next(), plugins.next()) {
        (Some((alias, node)), None) if is_native_plugin(fixed, alias) => {
            let path = format!("http.middlewares.{name}.plugin.{alias}");
            Ok(Some(Block { node, dialect: Dialect::Plugin, path }))
        }
        (Some((alias, _)), None) => {
            Err(format!("plugin `{alias}` cannot be loaded: only traefikoidc is built in"))
        }
        _ => Err("a plugin block names exactly one plugin".to_owned()),
    }
}

/// The policy of `block`, which belongs to the middleware `name`, or all that is wrong with it.
fn policy(
    name: &str,
    block: &Block<'_>,
    kept: &Kept,
    warnings: &mut Vec<ConfigError>,
) -> Result<Policy, Vec<ConfigError>> {
    let here =
        |message: String| ConfigError { at: Some(block.node.at.clone()), path: block.path.clone(), message };
    let mut decoder = Decoder::new();
    let decoded = decoder.at(&block.path, |decoder| settings::decode(block.node, block.dialect, decoder));
    let (settings, warned) = decoder.finish(decoded).map_err(|ConfigErrors(mut faults)| {
        // A key that does not decode only seems to be missing, too.
        let undecoded = block.undecoded();
        faults.retain(|fault| {
            undecoded.contains(fault) || !undecoded.iter().any(|other| other.path == fault.path)
        });
        faults
    })?;
    warnings.extend(warned);
    let in_cookies = matches!(kept.stores().chosen(settings.store.as_ref()), StoreSettings::Cookie);
    if in_cookies && settings.session.refresh {
        warnings.push(here(ROTATION.to_owned()));
    }
    let deps = kept.oidc(settings.store.as_ref()).map_err(|message| vec![here(message)])?;
    Policy::new(name, settings, &deps).map_err(|error| vec![here(error.to_string())])
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
