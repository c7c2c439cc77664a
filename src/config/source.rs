//! From text, flags and the environment to a tree of written values.

pub mod assignments;
pub mod environment;
pub mod flags;
pub mod toml;
pub mod yaml;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::ConfigErrors;
use super::value::Node;

/// The largest configuration file that is read, in bytes.
pub const LARGEST_FILE: u64 = 16 * 1024 * 1024;

/// How deeply values may be nested.
pub(super) const DEEPEST: usize = 64;

/// The content of a file. Blocks.
///
/// # Errors
/// It cannot be read, or is larger than [`LARGEST_FILE`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    // Not by its size: a pipe has none, and what is being written has another one later.
    File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {LARGEST_FILE} bytes")));
    }
    Ok(content)
}

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
