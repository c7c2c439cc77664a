//! A configuration document before it has a schema: values that know where they were written.
//!
//! YAML, TOML, flags and environment variables all become a tree of [`Node`], so that one decoder
//! serves all of them and every error can name its place.

use std::fmt;
use std::sync::Arc;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// A file's path, or what stands for it: `flag --log.level`, `environment TRAEFIK_LOG_LEVEL`.
    pub source: Arc<str>,
    /// Line, from 1; 0 where the source has no lines.
    pub line: u32,
    /// Column, from 1; 0 where the source has no lines.
    pub column: u32,
}

impl Position {
    /// A place in a source without lines.
    pub fn whole(source: impl Into<Arc<str>>) -> Self {
        Self { source: source.into(), line: 0, column: 0 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.source),
            line => write!(f, "{}:{line}:{}", self.source, self.column),
        }
    }
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What was written.
    pub value: Value,
    /// Where.
    pub at: Position,
}

/// What was written, with scalars still as text: the schema decides what they mean.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing: the key counts as absent.
    Null,
    /// A number, a boolean or text, as written.
    Scalar(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written. Keys are unique as written; a block takes its own without
    /// regard to case.
    Map(Vec<Entry>),
    /// One flag given several times: a list takes all of them, anything else the last, as in Traefik.
    Repeated(Vec<Node>),
}

/// One key of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key as written.
    pub key: String,
    /// Where the key stands.
    pub at: Position,
    /// What it holds.
    pub node: Node,
}

impl Node {
    /// The entry of a mapping whose key is `key`; without regard to case if none is written so.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        let Value::Map(entries) = &self.value else { return None };
        let exact = entries.iter().find(|entry| entry.key == key);
        exact.or_else(|| entries.iter().find(|entry| entry.key.eq_ignore_ascii_case(key)))
    }

    /// The value that counts where there can be only one.
    pub fn last(&self) -> &Self {
        match &self.value {
            Value::Repeated(nodes) => nodes.last().unwrap_or(self),
            _ => self,
        }
    }

    /// What kind of value this is, for messages.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a scalar",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Repeated(_) => "several values",
        }
    }
}
