//! Where in the index a rule has to stand.
//!
//! A *cover* of an expression is a set of keys such that whenever the expression holds for a request, one of the keys
//! fits it. A route is entered under every key of its cover; what the keys do not already prove stays behind as the
//! residual expression. This needs no expansion to disjunctive normal form, so no rule can blow the index up, and it
//! is right for every rule: at worst the cover is "anything" and the residual is the whole rule.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::hash::Hash;

use super::matcher::{HostPattern, Matcher};
use super::rule::Expr;

/// More entries than this for one alternative of a rule, and its paths are left to the residual expression.
const MAX_ENTRIES: usize = 1024;

/// A key of the path level.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum PathKey {
    Exact(Box<str>),
    Prefix(Box<str>),
    Any,
}

/// One alternative of a rule, ready for the index: enter it under every pair of keys.
#[derive(Debug)]
pub(super) struct Placement {
    pub(super) hosts: Vec<HostPattern>,
    pub(super) paths: Vec<PathKey>,
    /// What is left to check; `None` when the keys prove everything.
    pub(super) residual: Option<Expr>,
}

/// Places every alternative of a rule.
pub(super) fn place(expr: Expr) -> Vec<Placement> {
    match expr {
        // Alternatives that ask for nothing but a host or a path share one placement.
        Expr::Or(parts) if !proves_all(&parts, host_key) && !proves_all(&parts, path_key) => {
            parts.into_iter().map(place_one).collect()
        }
        other => vec![place_one(other)],
    }
}

fn place_one(expr: Expr) -> Placement {
    let mut parts = match expr {
        Expr::And(parts) => parts,
        other => vec![other],
    };
    let hosts = take_cover(&mut parts, host_key).unwrap_or_else(|| vec![HostPattern::Any]);
    let untouched = parts.clone();
    let mut paths = take_cover(&mut parts, path_key).unwrap_or_else(|| vec![PathKey::Any]);
    if hosts.len().saturating_mul(paths.len()) > MAX_ENTRIES && paths.len() > 1 {
        paths = vec![PathKey::Any];
        parts = untouched;
    }
    parts.sort_by_key(Expr::cost);
    let residual = (!parts.is_empty()).then(|| Expr::and(parts));
    Placement { hosts, paths, residual }
}

/// The smallest cover that one of `parts` gives. The part is removed where the keys prove it.
fn take_cover<K: Rank>(parts: &mut Vec<Expr>, key: fn(&Matcher) -> Option<K>) -> Option<Vec<K>> {
    let (at, keys) = parts
        .iter()
        .enumerate()
        .filter_map(|(at, part)| Some((at, cover(part, key)?)))
        .min_by_key(|(_, keys)| (keys.len(), keys.first().map(K::rank)))?;
    if parts.get(at).is_some_and(|part| proven(part, key)) {
        parts.remove(at);
    }
    Some(keys)
}

/// `None`: the expression can hold whatever the key.
fn cover<K: Rank>(expr: &Expr, key: fn(&Matcher) -> Option<K>) -> Option<Vec<K>> {
    match expr {
        Expr::Leaf { matcher, negated: false } => key(matcher).map(|key| vec![key]),
        Expr::Leaf { negated: true, .. } => None,
        Expr::And(parts) => parts.iter().filter_map(|part| cover(part, key)).min_by_key(Vec::len),
        Expr::Or(parts) => {
            let (mut keys, mut seen) = (Vec::new(), HashSet::new());
            for part in parts {
                keys.extend(cover(part, key)?.into_iter().filter(|key| seen.insert(key.clone())));
            }
            Some(keys)
        }
    }
}

/// Whether a request that fits one of the expression's keys satisfies the expression.
fn proven<K>(expr: &Expr, key: fn(&Matcher) -> Option<K>) -> bool {
    match expr {
        Expr::Leaf { matcher, negated } => !negated && key(matcher).is_some(),
        Expr::Or(parts) => proves_all(parts, key),
        Expr::And(_) => false,
    }
}

fn proves_all<K>(parts: &[Expr], key: fn(&Matcher) -> Option<K>) -> bool {
    parts.iter().all(|part| proven(part, key))
}

/// Which of two covers of the same size is the more selective; smaller is better.
trait Rank: Clone + Eq + Hash {
    fn rank(&self) -> (u8, Reverse<usize>);
}

impl Rank for HostPattern {
    fn rank(&self) -> (u8, Reverse<usize>) {
        match self {
            Self::Exact(host) => (0, Reverse(host.len())),
            Self::OneLabel(parent) => (1, Reverse(parent.len())),
            Self::Any => (2, Reverse(0)),
        }
    }
}

impl Rank for PathKey {
    fn rank(&self) -> (u8, Reverse<usize>) {
        match self {
            Self::Exact(path) => (0, Reverse(path.len())),
            Self::Prefix(prefix) => (1, Reverse(prefix.len())),
            Self::Any => (2, Reverse(0)),
        }
    }
}

fn host_key(matcher: &Matcher) -> Option<HostPattern> {
    match matcher {
        Matcher::Host(pattern) => Some(pattern.clone()),
        _ => None,
    }
}

fn path_key(matcher: &Matcher) -> Option<PathKey> {
    match matcher {
        Matcher::Path(path) => Some(PathKey::Exact(path.clone())),
        Matcher::PathPrefix(prefix) => Some(PathKey::Prefix(prefix.clone())),
        _ => None,
    }
}
