//! The index: host, then path, then what is left of the rule.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::RequestView;
use super::cover::{PathKey, place};
use super::matcher::HostPattern;
use super::prefix::Prefixes;
use super::rule::{Expr, Rule};

/// Worse than any rank.
pub(super) const NO_RANK: u32 = u32::MAX;
/// Marks an entry that needs no further check.
const PROVEN: u32 = u32::MAX;

/// A router to be indexed. Its position in the list given to [`Router::build`] is its id.
#[derive(Debug, Clone)]
pub struct RouteSpec {
    /// Breaks the last ties: the smaller name wins.
    pub name: String,
    /// The parsed rule.
    pub rule: Rule,
    /// The higher wins. See [`super::default_priority`].
    pub priority: i64,
    /// Place of the provider in `providers.precedence`; the lower wins between equal priorities.
    pub provider_rank: u32,
}

/// Every router of an entry point, compiled for lookup.
///
/// Memory and build time are linear in the rules; a lookup costs a few hash lookups, one binary search per host level
/// and the checks that only the candidates need.
#[derive(Debug, Default)]
pub struct Router {
    exact_hosts: HashMap<Box<str>, PathIndex>,
    /// By parent domain: `*.example.com` is found under `example.com`.
    one_label: HashMap<Box<str>, PathIndex>,
    any_host: PathIndex,
    residuals: Box<[Expr]>,
    /// Route id by rank; rank 0 is the route that is tried first.
    routes: Box<[usize]>,
}

/// A candidate: the rank of its route, and which residual expression must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) rank: u32,
    residual: u32,
}

/// The routes of one host. Lists are sorted by rank.
#[derive(Debug, Default)]
struct PathIndex {
    exact: HashMap<Box<str>, Box<[Entry]>>,
    prefixes: Prefixes,
    any: Box<[Entry]>,
}

impl Router {
    /// Compiles the index.
    pub fn build(specs: Vec<RouteSpec>) -> Self {
        let mut specs: Vec<_> = specs.into_iter().enumerate().collect();
        specs.sort_by(|(_, left), (_, right)| order(left).cmp(&order(right)));
        let mut builder = Builder::default();
        let mut routes = Vec::with_capacity(specs.len());
        for (rank, (id, spec)) in (0..NO_RANK).zip(specs) {
            routes.push(id);
            builder.add(rank, spec.rule);
        }
        builder.finish(routes)
    }

    /// The id of the route that answers: of those whose rule holds, the first by priority, then provider, then name.
    pub fn route(&self, request: &RequestView<'_>) -> Option<usize> {
        let host = request.host;
        let mut best = NO_RANK;
        if let Some(index) = self.exact_hosts.get(host) {
            best = self.search(index, request, best);
        }
        if !self.one_label.is_empty()
            && let Some((_, parent)) = host.split_once('.')
            && let Some(index) = self.one_label.get(parent)
        {
            best = self.search(index, request, best);
        }
        best = self.search(&self.any_host, request, best);
        self.routes.get(usize::try_from(best).ok()?).copied()
    }

    fn search(&self, index: &PathIndex, request: &RequestView<'_>, best: u32) -> u32 {
        let first = |entries: &[Entry], best| self.first(entries, request, best);
        let best = index.exact.get(request.path).map_or(best, |entries| first(entries, best));
        let best = index.prefixes.search(request.path, best, first);
        first(&index.any, best)
    }

    /// The first entry that holds and beats `best`.
    fn first(&self, entries: &[Entry], request: &RequestView<'_>, best: u32) -> u32 {
        entries
            .iter()
            .take_while(|entry| entry.rank < best)
            .find(|entry| self.holds(entry.residual, request))
            .map_or(best, |entry| entry.rank)
    }

    fn holds(&self, residual: u32, request: &RequestView<'_>) -> bool {
        residual == PROVEN
            || usize::try_from(residual)
                .ok()
                .and_then(|at| self.residuals.get(at))
                .is_some_and(|expr| expr.matches(request))
    }
}

/// Ascending in the order of trial.
fn order(spec: &RouteSpec) -> (Reverse<i64>, u32, &str) {
    (Reverse(spec.priority), spec.provider_rank, &spec.name)
}

#[derive(Default)]
struct Builder {
    hosts: HashMap<HostPattern, PathLists>,
    residuals: Vec<Expr>,
}

#[derive(Default)]
struct PathLists {
    exact: HashMap<Box<str>, Vec<Entry>>,
    prefixes: HashMap<Box<str>, Vec<Entry>>,
    any: Vec<Entry>,
}

impl Builder {
    /// Routes come in order of rank, so every list stays sorted.
    fn add(&mut self, rank: u32, rule: Rule) {
        for placement in place(rule.into_expr()) {
            let residual = match placement.residual {
                Some(expr) => {
                    self.residuals.push(expr);
                    u32::try_from(self.residuals.len() - 1).unwrap_or(PROVEN - 1)
                }
                None => PROVEN,
            };
            let entry = Entry { rank, residual };
            for host in placement.hosts {
                let lists = self.hosts.entry(host).or_default();
                for path in &placement.paths {
                    lists.push(path, entry);
                }
            }
        }
    }

    fn finish(self, routes: Vec<usize>) -> Router {
        let mut router =
            Router { residuals: self.residuals.into(), routes: routes.into(), ..Router::default() };
        for (host, lists) in self.hosts {
            let index = lists.finish();
            match host {
                HostPattern::Exact(host) => drop(router.exact_hosts.insert(host, index)),
                HostPattern::OneLabel(parent) => drop(router.one_label.insert(parent, index)),
                HostPattern::Any => router.any_host = index,
            }
        }
        router
    }
}

impl PathLists {
    fn push(&mut self, path: &PathKey, entry: Entry) {
        let list = match path {
            PathKey::Exact(path) => self.exact.entry(path.clone()).or_default(),
            PathKey::Prefix(prefix) => self.prefixes.entry(prefix.clone()).or_default(),
            PathKey::Any => &mut self.any,
        };
        list.push(entry);
    }

    fn finish(self) -> PathIndex {
        let boxed = |(path, entries): (Box<str>, Vec<Entry>)| (path, entries.into_boxed_slice());
        PathIndex {
            exact: self.exact.into_iter().map(boxed).collect(),
            prefixes: Prefixes::build(self.prefixes.into_iter().map(boxed).collect()),
            any: self.any.into(),
        }
    }
}
