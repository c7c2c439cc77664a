//! Where the keys of a document were written, for faults that only show once it has been decoded.

use super::value::{Node, Position, Value};

/// The places of a value and of everything in it, without what was written there.
#[derive(Debug, Clone)]
pub struct Places {
    at: Position,
    below: Vec<(Box<str>, Places)>,
}

impl Places {
    /// The places of `node` and what it holds.
    pub fn of(node: &Node) -> Self {
        let below = match &node.value {
            Value::Map(entries) => {
                entries.iter().map(|entry| (entry.key.as_str().into(), Self::of(&entry.node))).collect()
            }
            Value::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| (format!("[{index}]").into(), Self::of(item)))
                .collect(),
            Value::Null | Value::Scalar(_) | Value::Repeated(_) => Vec::new(),
        };
        Self { at: node.at.clone(), below }
    }

    /// The place of the key path `path`, or of the deepest part of it that was written.
    pub fn find(&self, path: &str) -> &Position {
        let below = self.below.iter().filter_map(|(key, place)| Some((key.len(), place, after(path, key)?)));
        // Keys may hold dots themselves: the longest that fits.
        match below.max_by_key(|(length, ..)| *length) {
            Some((_, place, rest)) => place.find(rest),
            None => &self.at,
        }
    }
}

/// What follows the segment `key` at the start of `path`.
fn after<'a>(path: &'a str, key: &str) -> Option<&'a str> {
    let (head, rest) = path.split_at_checked(key.len())?;
    if key.is_empty() || !head.eq_ignore_ascii_case(key) {
        return None;
    }
    match rest.strip_prefix('.') {
        Some(rest) => Some(rest),
        None => (rest.is_empty() || rest.starts_with('[')).then_some(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::yaml;

    #[test]
    fn the_deepest_part_that_was_written_counts() {
        let text = "a:\n  b.c: {d: 1}\n  b: 2\n  list:\n    - x: 1\n    - x: 2\n";
        let places = Places::of(&yaml::parse("t.yml", text).unwrap());
        for (path, place) in [
            ("a.b.c.d", "t.yml:2:12"),
            ("A.B", "t.yml:3:6"),
            ("a.b.x", "t.yml:3:6"),
            ("a.list[1].x", "t.yml:6:10"),
            ("a.list[7].x", "t.yml:5:5"),
            ("a.lis", "t.yml:2:3"),
            ("nobody", "t.yml:1:1"),
        ] {
            assert_eq!(places.find(path).to_string(), place, "{path}");
        }
    }
}
