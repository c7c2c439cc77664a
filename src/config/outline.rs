//! Which keys two configurations differ in, without what they hold: there are secrets among it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::value::{Node, Value};

/// The keys of a configuration as they were written, each with a fingerprint of its value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline(BTreeMap<String, Leaf>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Leaf {
    /// The key path as written; the outline is sorted by it in lower case, since case makes no difference.
    path: String,
    fingerprint: u64,
}

impl Outline {
    /// The outline of a document.
    pub fn of(document: &Node) -> Self {
        let mut outline = Self::default();
        outline.add(String::new(), document);
        outline
    }

    /// The paths of keys that only one of both has, or that hold something else.
    pub fn changes<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        let changed = other.0.iter().filter(|(key, leaf)| {
            self.0.get(*key).is_none_or(|before| before.fingerprint != leaf.fingerprint)
        });
        let gone = self.0.iter().filter(|(key, _)| !other.0.contains_key(*key));
        let mut paths: Vec<&str> = changed.chain(gone).map(|(_, leaf)| leaf.path.as_str()).collect();
        paths.sort_unstable();
        paths
    }

    fn add(&mut self, path: String, node: &Node) {
        match &node.value {
            Value::Map(entries) if !entries.is_empty() => {
                for entry in entries {
                    let path =
                        if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                    self.add(path, &entry.node);
                }
            }
            Value::List(items) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    self.add(format!("{path}[{index}]"), item);
                }
            }
            // A key without a value counts as absent.
            Value::Null => {}
            value => {
                let mut hasher = DefaultHasher::new();
                hash(value, &mut hasher);
                self.0.insert(path.to_lowercase(), Leaf { path, fingerprint: hasher.finish() });
            }
        }
    }
}

fn hash(value: &Value, hasher: &mut DefaultHasher) {
    std::mem::discriminant(value).hash(hasher);
    match value {
        Value::Scalar(text) => text.hash(hasher),
        Value::Repeated(nodes) => nodes.iter().for_each(|node| hash(&node.value, hasher)),
        // Empty ones: others have keys below them.
        Value::Null | Value::List(_) | Value::Map(_) => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::source;

    fn outline(yaml: &str) -> Outline {
        Outline::of(&source::parse(Path::new("t.yml"), yaml).unwrap())
    }

    #[test]
    fn only_what_is_written_differently_has_changed() {
        let before =
            outline("log: {level: INFO}\nping: {}\nmetrics:\naccessLog: {filters: {statusCodes: ['500']}}\n");
        let same = outline(
            "# another order\nping: {}\nLOG:\n  level: \"INFO\"\naccessLog: {filters: {statusCodes: ['500']}}\n",
        );
        assert!(before.changes(&same).is_empty());
        let after =
            outline("log: {level: DEBUG}\napi: {}\naccessLog: {filters: {statusCodes: ['500', '502']}}\n");
        assert_eq!(before.changes(&after), ["accessLog.filters.statusCodes[1]", "api", "log.level", "ping"]);
    }

    #[test]
    fn no_value_is_kept() {
        let outline = outline("oidc: {session: {store: {redis: {password: hunter2}}}}\n");
        assert!(!format!("{outline:?}").contains("hunter2"));
    }
}
