//! A rule as a tree of matchers.

use thiserror::Error;

use super::RequestView;
use super::matcher::{HostPattern, Matcher};
use super::parser;

/// Why a rule was not accepted, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message} (at byte {offset} of the rule)")]
pub struct RuleError {
    /// Byte offset into the rule, from 0.
    pub offset: usize,
    /// What is wrong there.
    pub message: String,
}

/// A parsed rule.
#[derive(Debug, Clone)]
pub struct Rule {
    expr: Expr,
}

/// A rule with every `!` pushed down to the matchers, and `&&`, `||` flattened.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Leaf { matcher: Matcher, negated: bool },
}

impl Rule {
    /// Parses a rule of Traefik v3, such as ``Host(`example.com`) && PathPrefix(`/api`)``.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        parser::parse(text).map(|expr| Self { expr })
    }

    /// Whether the rule holds for `request`.
    pub fn matches(&self, request: &RequestView<'_>) -> bool {
        self.expr.matches(request)
    }

    /// The hosts that `Host` matchers name, lower-case, wildcards (`*.example.com`) included and negated matchers
    /// not. TLS options and certificate domains are chosen by these.
    pub fn hosts(&self) -> Vec<String> {
        let mut hosts = Vec::new();
        self.expr.each_leaf(&mut |matcher, negated| {
            if let (Matcher::Host(pattern), false) = (matcher, negated) {
                let host = pattern.to_string();
                if !hosts.contains(&host) {
                    hosts.push(host);
                }
            }
        });
        hosts
    }

    pub(super) fn into_expr(self) -> Expr {
        self.expr
    }
}

impl Expr {
    pub(super) fn leaf(matcher: Matcher) -> Self {
        Self::Leaf { matcher, negated: false }
    }

    /// All of `parts`; nested conjunctions are flattened.
    pub(super) fn and(parts: Vec<Self>) -> Self {
        let parts = parts.into_iter().flat_map(|part| match part {
            Self::And(parts) => parts,
            other => vec![other],
        });
        Self::one_or(parts.collect(), Self::And)
    }

    /// Any of `parts`; nested disjunctions are flattened.
    pub(super) fn or(parts: Vec<Self>) -> Self {
        let parts = parts.into_iter().flat_map(|part| match part {
            Self::Or(parts) => parts,
            other => vec![other],
        });
        Self::one_or(parts.collect(), Self::Or)
    }

    fn one_or(mut parts: Vec<Self>, many: fn(Vec<Self>) -> Self) -> Self {
        match parts.pop() {
            Some(only) if parts.is_empty() => only,
            Some(last) => {
                parts.push(last);
                many(parts)
            }
            None => many(parts),
        }
    }

    /// The negation, by De Morgan's laws.
    pub(super) fn invert(self) -> Self {
        match self {
            Self::And(parts) => Self::Or(parts.into_iter().map(Self::invert).collect()),
            Self::Or(parts) => Self::And(parts.into_iter().map(Self::invert).collect()),
            Self::Leaf { matcher, negated } => Self::Leaf { matcher, negated: !negated },
        }
    }

    pub(super) fn matches(&self, request: &RequestView<'_>) -> bool {
        match self {
            Self::And(parts) => parts.iter().all(|part| part.matches(request)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(request)),
            Self::Leaf { matcher, negated } => matcher.matches(request) != *negated,
        }
    }

    /// Roughly what an evaluation costs, for ordering.
    pub(super) fn cost(&self) -> u32 {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::cost).sum(),
            Self::Leaf { matcher, .. } => matcher.cost(),
        }
    }

    fn each_leaf(&self, visit: &mut impl FnMut(&Matcher, bool)) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.each_leaf(visit)),
            Self::Leaf { matcher, negated } => visit(matcher, *negated),
        }
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(host) => f.write_str(host),
            Self::OneLabel(parent) => write!(f, "*.{parent}"),
        }
    }
}
