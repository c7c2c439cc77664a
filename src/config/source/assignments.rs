//! Paths with values, such as flags and variables, joined to one tree.

use std::collections::BTreeMap;

use crate::config::value::{Entry, Node, Position, Value};

/// One step of a path: a key, in lower case, or a list index.
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
    values: Vec<Node>,
}

impl Tree {
    /// Writes `value` at `path`; a path written twice holds both values.
    pub fn assign(&mut self, path: &[Step], value: String, at: Position) {
        match path {
            [] => self.values.push(Node { value: Value::Scalar(value), at }),
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().assign(rest, value, at),
        }
    }

    /// Whether nothing was assigned.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty() && self.values.is_empty()
    }

    /// The tree as written values.
    ///
    /// A value beside children, as in `--accesslog=true --accesslog.format=json`, only says that the
    /// block is there, which the children say too.
    pub fn into_node(mut self) -> Node {
        if self.children.is_empty() {
            return match self.values.pop() {
                Some(only) if self.values.is_empty() => only,
                Some(last) => {
                    let at = last.at.clone();
                    self.values.push(last);
                    Node { value: Value::Repeated(self.values), at }
                }
                None => Node { value: Value::Null, at: Position::whole("nowhere") },
            };
        }
        // Numbers that do not begin with 0 are names: an entry point may be called 8080.
        let is_list = self.children.contains_key(&Step::Index(0))
            && self.children.keys().all(|step| matches!(step, Step::Index(_)));
        let children = self.children.into_iter().map(|(step, child)| {
            let key = match step {
                Step::Key(key) => key,
                Step::Index(index) => index.to_string(),
            };
            let node = child.into_node();
            Entry { key, at: node.at.clone(), node }
        });
        let entries: Vec<Entry> = children.collect();
        let at = entries.first().map_or_else(|| Position::whole("nowhere"), |entry| entry.at.clone());
        let value = if is_list {
            Value::List(entries.into_iter().map(|entry| entry.node).collect())
        } else {
            Value::Map(entries)
        };
        Node { value, at }
    }
}
