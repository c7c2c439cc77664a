//! A set of text prefixes that finds every one that a path starts with.
//!
//! Prefixes are sorted, and each knows the longest other one that it starts with. All that fit a path are then found
//! from one binary search: the greatest prefix that is not greater than the path either fits, or one of its ancestors
//! does; and the ancestors of one that fits fit too.

use super::index::{Entry, NO_RANK};

/// Marks a prefix without a parent.
const ROOT: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(super) struct Prefixes {
    /// Sorted by text.
    nodes: Box<[Node]>,
}

#[derive(Debug)]
struct Node {
    prefix: Box<str>,
    /// Index of the longest other prefix that this one starts with.
    parent: u32,
    /// The lowest rank in this node and its ancestors: nothing better is to be found from here.
    best: u32,
    entries: Box<[Entry]>,
}

impl Prefixes {
    pub(super) fn build(mut lists: Vec<(Box<str>, Box<[Entry]>)>) -> Self {
        lists.sort_by(|left, right| left.0.cmp(&right.0));
        let mut nodes: Vec<Node> = Vec::with_capacity(lists.len());
        // Indexes of the prefixes that the one before starts with, longest last.
        let mut open: Vec<usize> = Vec::new();
        for (prefix, entries) in lists {
            while let Some(node) = open.last().and_then(|at| nodes.get(*at))
                && !prefix.starts_with(&*node.prefix)
            {
                open.pop();
            }
            let parent = open.last().copied();
            let inherited = parent.and_then(|at| nodes.get(at)).map_or(NO_RANK, |node| node.best);
            let own = entries.first().map_or(NO_RANK, |entry| entry.rank);
            open.push(nodes.len());
            nodes.push(Node {
                prefix,
                parent: parent.and_then(|at| u32::try_from(at).ok()).unwrap_or(ROOT),
                best: own.min(inherited),
                entries,
            });
        }
        Self { nodes: nodes.into() }
    }

    /// Calls `visit` with the entries of every prefix of `path`, longest first, and the lowest rank seen so far;
    /// `visit` returns the new one.
    pub(super) fn search(
        &self,
        path: &str,
        mut best: u32,
        mut visit: impl FnMut(&[Entry], u32) -> u32,
    ) -> u32 {
        let above = self.nodes.partition_point(|node| &*node.prefix <= path);
        let mut at = above.checked_sub(1);
        let mut fits = false;
        while let Some(node) = at.and_then(|at| self.nodes.get(at)) {
            if node.best >= best {
                break;
            }
            fits = fits || path.starts_with(&*node.prefix);
            if fits {
                best = visit(&node.entries, best);
            }
            at = usize::try_from(node.parent).ok().filter(|_| node.parent != ROOT);
        }
        best
    }
}
