//! The keys of a block of configuration, and what becomes of those without a field.

use super::decode::{Decoder, shorten};
use super::error::nearest;
use super::value::{Entry, Node, Value};

/// A field of a block, as [`schema!`](crate::config::schema) declares it.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its key.
    pub key: &'static str,
    /// Its type, in Rust.
    pub kind: &'static str,
    /// Its default, in Rust; empty for that of its type.
    pub default: &'static str,
    /// What it is.
    pub what: &'static str,
}

/// The keys of a block, as [`schema!`](crate::config::schema) declares them.
pub struct BlockKeys {
    /// Keys with a field.
    pub known: &'static [&'static str],
    /// Keys that must be written.
    pub required: &'static [&'static str],
    /// Keys of Traefik's schema that are not honoured yet.
    pub later: &'static [&'static str],
    /// Keys that cannot be honoured, with the reason.
    pub refused: &'static [(&'static str, &'static str)],
    /// Keys that load without an effect, with the reason.
    pub idle: &'static [(&'static str, &'static str)],
}

impl BlockKeys {
    /// The keys that Traefik has here, whether or not they are honoured yet.
    pub fn traefik(&self) -> impl Iterator<Item = &'static str> {
        self.known.iter().chain(self.later).copied()
    }

    /// The entries of `node` that have a field; whatever is wrong with the others becomes a fault or
    /// a warning. `None` when it is no mapping, or an empty one.
    pub fn check<'a>(&self, node: &'a Node, decoder: &mut Decoder) -> Option<Vec<&'a Entry>> {
        let Value::Map(entries) = &node.value else {
            return decoder.expected(node, "a mapping");
        };
        if entries.is_empty() {
            decoder.error(&node.at, "cannot be empty: write at least one key, or leave it out");
            return None;
        }
        let mut fields: Vec<&Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            if !named(self.known, &entry.key) {
                self.judge_other(entry, decoder);
            } else if let Some(first) = fields.iter().find(|field| field.key.eq_ignore_ascii_case(&entry.key))
            {
                let message = format!(
                    "is the same key as `{}` at {}: capitals make no difference",
                    first.key, first.at
                );
                decoder.at(&entry.key, |decoder| decoder.error(&entry.at, message));
            } else {
                fields.push(entry);
            }
        }
        let is_absent = |name: &str| node.get(name).is_none_or(|entry| entry.node.value == Value::Null);
        for name in self.required.iter().filter(|name| is_absent(name)) {
            decoder.error(&node.at, format!("`{name}` is required"));
        }
        Some(fields)
    }

    /// Deals with a key without a field.
    fn judge_other(&self, entry: &Entry, decoder: &mut Decoder) {
        let with_reason = |list: &[(&str, &'static str)]| {
            list.iter().find(|(name, _)| name.eq_ignore_ascii_case(&entry.key)).map(|(_, reason)| *reason)
        };
        if let Some(reason) = with_reason(self.idle) {
            decoder.at(&entry.key, |decoder| decoder.warn(&entry.at, format!("has no effect: {reason}")));
        } else if let Some(reason) = with_reason(self.refused) {
            decoder.at(&entry.key, |decoder| decoder.error(&entry.at, reason));
        } else if named(self.later, &entry.key) {
            decoder.at(&entry.key, |decoder| decoder.error(&entry.at, "not supported yet"));
        } else {
            let hint = match nearest(&entry.key, self.traefik()) {
                Some(name) => format!("; did you mean `{name}`?"),
                None => format!("; known here: {}", self.known.join(", ")),
            };
            decoder.error(&entry.at, format!("unknown key `{}`{hint}", shorten(&entry.key)));
        }
    }
}

fn named(list: &[&str], key: &str) -> bool {
    list.iter().any(|name| name.eq_ignore_ascii_case(key))
}
