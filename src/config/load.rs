//! Static configuration from the first of file, flags and environment that has any.

use std::path::{Path, PathBuf};

use super::decode::{Decode, Decoder};
use super::dynamic::DynamicConfig;
use super::error::nearest;
use super::places::Places;
use super::source::{self, environment, flags};
use super::value::{Node, Value};
use super::{ConfigError, ConfigErrors, Outline, StaticConfig};

/// A static configuration and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What was decoded.
    pub config: StaticConfig,
    /// What loads but deserves the operator's attention.
    pub warnings: Vec<ConfigError>,
    /// The file's path, `flags`, `environment` or `defaults`.
    pub origin: String,
    /// Where its keys were written, if there are any.
    pub places: Option<Places>,
    /// The keys that were written.
    pub outline: Outline,
}

/// A static configuration that may be faulty: for telling all that is wrong with it and around it.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What could be decoded; defaults where there were faults.
    pub loaded: Loaded,
    /// Every fault.
    pub errors: Vec<ConfigError>,
}

/// Loads the static configuration as Traefik does: from the file that `--configFile` names or that
/// lies on the search path, else from the flags, else from `TRAEFIK_` variables; never from two.
///
/// # Errors
/// Every fault that was found.
pub fn load_static(arguments: &[String], variables: &[(String, String)]) -> Result<Loaded, ConfigErrors> {
    let Draft { loaded, errors } = draft_static(arguments, variables)?;
    if errors.is_empty() { Ok(loaded) } else { Err(ConfigErrors(errors)) }
}

/// As [`load_static`], but a faulty configuration is told with what could be made of it.
///
/// # Errors
/// What keeps it from being read at all.
pub fn draft_static(arguments: &[String], variables: &[(String, String)]) -> Result<Draft, ConfigErrors> {
    let Written { node, origin, beside, unknown } = written(arguments, variables)?;
    let mut decoder = Decoder::new();
    let config = node.as_ref().and_then(|node| {
        let config = decode_document::<StaticConfig>(node, &mut decoder);
        config.inspect(|config| super::validate::check(config, node, &mut decoder))
    });
    let (mut errors, mut warnings) = decoder.told();
    errors.splice(0..0, unknown);
    warnings.extend(beside);
    let places = node.as_ref().map(Places::of);
    let outline = node.as_ref().map(Outline::of).unwrap_or_default();
    let loaded = Loaded { config: config.unwrap_or_default(), warnings, origin, places, outline };
    Ok(Draft { loaded, errors })
}

/// What the one source that counts holds.
struct Written {
    node: Option<Node>,
    /// Its name.
    origin: String,
    /// What is not read beside it.
    beside: Vec<ConfigError>,
    /// What in it can be no key.
    unknown: Vec<ConfigError>,
}

fn written(arguments: &[String], variables: &[(String, String)]) -> Result<Written, ConfigErrors> {
    let (named, flags_left) = config_file(arguments)?;
    let searched = || search_path(variables).into_iter().find(|path| path.is_file());
    let root = StaticConfig::BLOCK;
    let mut beside = Vec::new();
    let mut not_read = |what: &str, source: &str| {
        beside.push(ConfigError::new("", format!("{what} are not read beside {source}")));
    };
    let variables_used = environment::is_used(variables, &root);
    if let Some(path) = named.map(PathBuf::from).or_else(searched) {
        let source = format!("the configuration file {}", path.display());
        if !flags_left.is_empty() {
            not_read("flags", &source);
        }
        if variables_used {
            not_read("TRAEFIK_ variables", &source);
        }
        let origin = path.display().to_string();
        return Ok(Written { node: Some(read(&path)?), origin, beside, unknown: Vec::new() });
    }
    if let Some(node) = flags::parse(&flags_left)? {
        if variables_used {
            not_read("TRAEFIK_ variables", "flags");
        }
        return Ok(Written { node: Some(node), origin: "flags".to_owned(), beside, unknown: Vec::new() });
    }
    let environment::Environment { node, others, unknown } = environment::parse(variables, &root);
    let origin = if node.is_some() { "environment" } else { "defaults" };
    Ok(Written { node, origin: origin.to_owned(), beside: others, unknown })
}

/// Dynamic configuration that may be faulty.
#[derive(Debug, Default)]
pub struct Decoded {
    /// What could be decoded; defaults where there were faults.
    pub config: DynamicConfig,
    /// Every fault. With one, the configuration is good for finding further faults only.
    pub errors: Vec<ConfigError>,
    /// What loads but deserves the operator's attention.
    pub warnings: Vec<ConfigError>,
}

/// Decodes what one provider read.
pub fn decode_dynamic(node: &Node) -> Decoded {
    let mut decoder = Decoder::new();
    let config = decode_document::<DynamicConfig>(node, &mut decoder).unwrap_or_default();
    let (errors, warnings) = decoder.told();
    Decoded { config, errors, warnings }
}

/// A whole document, which unlike a block may be empty.
fn decode_document<T: Decode + Default>(node: &Node, decoder: &mut Decoder) -> Option<T> {
    match &node.value {
        Value::Map(entries) if entries.is_empty() => Some(T::default()),
        _ => T::decode(node, decoder),
    }
}

/// The flag that names the file.
const CONFIG_FILE: &str = "configFile";

/// Takes `--configFile` out of the flags.
fn config_file(arguments: &[String]) -> Result<(Option<String>, Vec<String>), ConfigErrors> {
    let mut named = None;
    let mut left = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let flag = argument.trim_start_matches('-');
        let is_flag = flag.len() < argument.len();
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        if argument == "--" {
            left.push(argument.clone());
            left.extend(rest.cloned());
            break;
        }
        if !is_flag || !name.eq_ignore_ascii_case(CONFIG_FILE) {
            // Taken for a key, it would leave a file of the search path in use.
            if is_flag && nearest(name, [CONFIG_FILE]).is_some() {
                let message = format!("unknown flag; did you mean `--{CONFIG_FILE}`?");
                return Err(ConfigErrors(vec![ConfigError::new(format!("flag --{name}"), message)]));
            }
            left.push(argument.clone());
            continue;
        }
        match value.map(str::to_owned).or_else(|| rest.next().cloned()) {
            Some(path) if !path.is_empty() => named = Some(path),
            _ => {
                return Err(ConfigErrors(vec![ConfigError::new(
                    "",
                    "`--configFile` needs the path of a file",
                )]));
            }
        }
    }
    Ok((named, left))
}

/// Where Traefik looks for a file.
fn search_path(variables: &[(String, String)]) -> Vec<PathBuf> {
    let variable = |name: &str| {
        variables
            .iter()
            .find(|(known, value)| known == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    };
    let home = variable("HOME").map(Path::new);
    let folders = [
        Some(PathBuf::from("/etc/traefik/traefik")),
        variable("XDG_CONFIG_HOME").map(|folder| Path::new(folder).join("traefik")),
        home.map(|folder| folder.join(".config/traefik")),
        Some(PathBuf::from("./traefik")),
    ];
    let endings = ["toml", "yaml", "yml"];
    folders.into_iter().flatten().flat_map(|stem| endings.map(|ending| stem.with_extension(ending))).collect()
}

fn read(path: &Path) -> Result<Node, ConfigErrors> {
    let fail =
        |message: String| ConfigErrors(vec![ConfigError::new("", format!("{}: {message}", path.display()))]);
    let metadata = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?;
    if metadata.is_dir() {
        return Err(fail("is a folder".to_owned()));
    }
    let content = source::read(path).map_err(|error| fail(error.to_string()))?;
    let text = String::from_utf8(content).map_err(|error| fail(format!("is not UTF-8: {error}")))?;
    source::parse(path, &text)
}

#[cfg(test)]
mod tests;
