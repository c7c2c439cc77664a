//! A decoded value that remembers where it was written.

use super::decode::{Decode, Decoder};
use super::places::Places;
use super::value::Node;
use super::{ConfigError, Fault, Faults};

/// A value and its places, for items that are judged after decoding.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// What was written.
    pub value: T,
    /// Whether faults were found in it. It holds what could be read then, and defaults elsewhere: good for finding
    /// further faults, and for nothing else.
    pub faulty: bool,
    /// Where its keys were written.
    pub places: Places,
}

impl<T> Located<T> {
    /// A fault of `key`, which may lead into blocks, of this item at the key path `item`. Without a key the fault is the
    /// whole item's.
    pub fn fault(&self, item: &str, key: &str, message: impl Into<String>) -> ConfigError {
        let path = if key.is_empty() { item.to_owned() } else { format!("{item}.{key}") };
        ConfigError { at: Some(self.places.find(key).clone()), path, message: message.into() }
    }

    /// Those of this item at the key path `item`.
    pub fn faults(&self, item: &str, faults: Faults) -> impl Iterator<Item = ConfigError> {
        faults.0.into_iter().map(move |Fault { key, message }| self.fault(item, &key, message))
    }
}

impl<T: Decode + Default> Decode for Located<T> {
    /// Always something, so that the name of an item is known even if nothing can be made of it.
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let before = decoder.faults();
        let value = T::decode(node, decoder).unwrap_or_default();
        Some(Self { value, faulty: decoder.faults() > before, places: Places::of(node) })
    }

    fn without_value(node: &Node, decoder: &mut Decoder) {
        decoder.warn(&node.at, "without a value it counts as absent, as in Traefik");
    }
}

impl Decode for Node {
    /// Anything at all, kept as written: the block of a plugin.
    fn decode(node: &Node, _: &mut Decoder) -> Option<Self> {
        Some(node.clone())
    }
}
