//! A decoded value that remembers where it was written.

use super::decode::{Decode, Decoder};
use super::value::{Node, Position};

/// A value and its place, for items that are judged after decoding.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// Where it was written.
    pub at: Position,
    /// What was written.
    pub value: T,
}

impl<T: Decode> Decode for Located<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        T::decode(node, decoder).map(|value| Self { at: node.at.clone(), value })
    }
}

impl Decode for Node {
    /// Anything at all, kept as written: the block of a plugin.
    fn decode(node: &Node, _: &mut Decoder) -> Option<Self> {
        Some(node.clone())
    }
}
