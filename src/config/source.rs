//! From text, flags and the environment to a tree of written values.

pub mod assignments;
pub mod environment;
pub mod flags;
pub mod toml;
pub mod yaml;

use std::path::Path;

use super::ConfigErrors;
use super::value::Node;

/// The largest configuration file that is read, in bytes.
pub const LARGEST_FILE: u64 = 16 * 1024 * 1024;

/// How deeply values may be nested.
pub(super) const DEEPEST: usize = 64;

/// Parses the text of a file by its ending: TOML for `.toml`, YAML (and with it JSON) otherwise.
///
/// An empty document is an empty mapping.
///
/// # Errors
/// Every syntax error that the format's parser reports, with its place.
pub fn parse(path: &Path, text: &str) -> Result<Node, ConfigErrors> {
    let name = path.display().to_string();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match path.extension() {
        Some(ending) if ending.eq_ignore_ascii_case("toml") => toml::parse(&name, text),
        _ => yaml::parse(&name, text),
    }
}
