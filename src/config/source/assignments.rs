//! Paths with values, such as flags and variables, joined to one tree.

use std::collections::BTreeMap;

use crate::config::value::{Entry, Node, Position, Value};

/// One step of a path: a key or a list index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A key of a mapping.
    Key(String),
    /// A position in a list.
    Index(usize),
}

/// A tree that grows by one assignment at a time.
#[derive(Debug, Default)]
pub struct Tree {
    children: BTreeMap<Step, Tree>,
    values: Vec<(String, Position)>,
}

impl Tree {
    /// Writes `value` at `path`; a path written twice holds both values.
    pub fn assign(&mut self, path: &[Step], value: String, at: Position) {
        match path {
            [] => self.values.push((value, at)),
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().assign(rest, value, at),
        }
    }

    /// Whether nothing was assigned.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty() && self.values.is_empty()
    }

    /// The tree as written values.
    pub fn into_node(self, whole: &Position) -> Node {
        let at = self.values.first().map_or_else(|| whole.clone(), |(_, at)| at.clone());
        if self.children.is_empty() {
            let texts: Vec<String> = self.values.into_iter().map(|(text, _)| text).collect();
            return Node { value: Value::Scalar(texts.join(",")), at };
        }
        // `--accesslog=true --accesslog.format=json`: the block is there anyway.
        if self.children.keys().all(|step| matches!(step, Step::Index(_))) {
            let items = self.children.into_values().map(|child| child.into_node(whole)).collect();
            return Node { value: Value::List(items), at };
        }
        let entries = self.children.into_iter().map(|(step, child)| {
            let key = match step {
                Step::Key(key) => key,
                Step::Index(index) => index.to_string(),
            };
            let node = child.into_node(whole);
            Entry { key, at: node.at.clone(), node }
        });
        Node { value: Value::Map(entries.collect()), at }
    }
}
