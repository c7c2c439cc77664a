//! What is wrong with a configuration, said so that it can be mended.

use std::fmt;

use super::places::Places;
use super::value::Position;

/// One fault: where, at which key, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The place, where it is known.
    pub at: Option<Position>,
    /// The key path, such as `http.routers.web.rule`; empty for a whole document.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl ConfigError {
    /// A fault without a place, such as a missing file.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { at: None, path: path.into(), message: message.into() }
    }

    /// Gives the fault the place of its key in a document, unless it has one.
    pub fn place_in(&mut self, places: &Places) {
        if self.at.is_none() && !self.path.is_empty() {
            self.at = Some(places.find(&self.path).clone());
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.at {
            write!(f, "{at}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Every fault of one load. Never empty when it is an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// What is wrong with an item, and which of its keys has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key below the item, such as `loadBalancer.servers[1].url`; empty for the item as a whole.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Fault {
    /// A fault of `key`.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// All that is wrong with an item. Never empty when it is an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// What was made, or nothing and its faults are taken over.
    pub fn gather<T>(&mut self, made: Result<T, impl Into<Self>>) -> Option<T> {
        made.map_err(|faults| self.0.extend(faults.into().0)).ok()
    }

    /// The same, where it is an item below `key`.
    #[must_use]
    pub fn below(mut self, key: &str) -> Self {
        for fault in &mut self.0 {
            let is_bare = fault.key.is_empty() || fault.key.starts_with('[');
            fault.key = format!("{key}{}{}", if is_bare { "" } else { "." }, fault.key);
        }
        self
    }

    /// `value`, unless there is a fault.
    ///
    /// # Errors
    /// All of them.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl From<String> for Faults {
    fn from(message: String) -> Self {
        Fault::new("", message).into()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

/// Whether the key path `path` leads to `block` or into it; every path leads into the empty one.
pub fn is_within(path: &str, block: &str) -> bool {
    let rest = path.strip_prefix(block);
    rest.is_some_and(|rest| block.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The entry of `known` that `written` was probably meant to be.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_ascii_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&written, &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= name.len().max(written.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
