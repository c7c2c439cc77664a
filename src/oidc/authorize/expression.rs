//! Claim expressions, as Traefik Hub documents them for the option `claims` of its middlewares:
//! `Equals`, `Prefix`, `Contains`, `SplitContains` and `OneOf`, joined by `&&`, `||`, `!` and
//! parentheses.
//!
//! A claim that is missing, or of a kind that a test cannot read, makes the test neither true nor
//! false, and only what is true passes: `` !Equals(`blocked`, `true`) `` does not let somebody pass
//! of whom nothing is known.

use serde_json::Value;

use super::parse;
use crate::oidc::claims::{ClaimPath, Claims};

/// A fault in an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("character {}: {message}", position + 1)]
pub struct ExpressionError {
    /// Characters before the fault.
    pub position: usize,
    /// What is wrong.
    pub message: String,
}

/// A compiled expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression(pub(super) Expr);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Test { claim: ClaimPath, test: Test },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    Equals(String),
    Prefix(String),
    Contains(String),
    SplitContains { separator: String, value: String },
    OneOf(Vec<String>),
}

impl Expression {
    /// Compiles `text`.
    ///
    /// # Errors
    /// The first fault, with its position.
    pub fn compile(text: &str) -> Result<Self, ExpressionError> {
        parse::parse(text).map(Self)
    }

    /// Whether the expression is true of `claims`.
    pub fn admits(&self, claims: &Claims) -> bool {
        self.0.holds(claims) == Some(true)
    }

    /// Top-level claims that it reads.
    pub fn needed_claims(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.0.collect(&mut names);
        names
    }
}

impl Expr {
    /// Kleene's logic; `None` is "unknown".
    fn holds(&self, claims: &Claims) -> Option<bool> {
        match self {
            Self::And(parts) => all(parts.iter().map(|part| part.holds(claims))),
            Self::Or(parts) => all(parts.iter().map(|part| part.holds(claims).map(|is| !is))).map(|is| !is),
            Self::Not(inner) => inner.holds(claims).map(|is| !is),
            Self::Test { claim, test } => claims.find(claim).and_then(|value| test.of(value)),
        }
    }

    fn collect<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.collect(names)),
            Self::Not(inner) => inner.collect(names),
            Self::Test { claim, .. } => names.push(claim.name()),
        }
    }
}

/// False if one is false; else unknown if one is unknown; else true.
fn all(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut result = Some(true);
    for part in parts {
        match part {
            Some(true) => {}
            Some(false) => return Some(false),
            None => result = None,
        }
    }
    result
}

impl Test {
    fn of(&self, value: &Value) -> Option<bool> {
        match (self, value) {
            (Self::Contains(wanted), Value::Array(items)) => Some(any(items, |item| item == wanted)),
            (Self::OneOf(wanted), Value::Array(items)) => {
                Some(any(items, |item| wanted.iter().any(|wanted| wanted == item)))
            }
            (_, single) => text(single).map(|text| self.of_text(&text)),
        }
    }

    fn of_text(&self, text: &str) -> bool {
        match self {
            Self::Equals(wanted) => text == wanted,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Contains(part) => text.contains(part.as_str()),
            Self::SplitContains { separator, value } => {
                text.split(separator.as_str()).any(|part| part.trim() == value)
            }
            Self::OneOf(wanted) => wanted.iter().any(|wanted| wanted == text),
        }
    }
}

fn any(items: &[Value], test: impl Fn(&str) -> bool) -> bool {
    items.iter().filter_map(text).any(|item| test(&item))
}

/// What a scalar is compared by; lists and objects have no text.
fn text(value: &Value) -> Option<std::borrow::Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use serde_json::json;

    fn admits(expression: &str, claims: &Value) -> bool {
        let claims = Claims::new(claims.as_object().unwrap().clone());
        Expression::compile(expression)
            .unwrap_or_else(|error| panic!("{expression}: {error}"))
            .admits(&claims)
    }

    fn somebody() -> Value {
        json!({
            "active": true, "level": 500, "ratio": 1.5, "grp": "admin", "scope": "reader writer deploy",
            "list": "a, b ,c", "referrer": "http://example.com/foo/bar", "areas": ["office", "home", 7],
            "user": {"name": "john", "full.name": "John D.", "roles": ["dev"]}, "nothing": null,
            "https://x.example/access": {"roles": ["ops"]},
        })
    }

    #[test]
    fn each_function() {
        for (expression, expected) in [
            ("Equals(`grp`, `admin`)", true),
            ("Equals(`grp`, `adm`)", false),
            ("Equals(`grp`, `Admin`)", false),
            ("Equals(`active`, `true`)", true),
            ("Equals(`level`, \"500\") && Equals(`ratio`, `1.5`)", true),
            ("Equals(`areas`, `office`)", false),
            ("Prefix(`referrer`, `http://example.com`)", true),
            ("Prefix(`referrer`, `example.com`)", false),
            ("Contains(`referrer`, `/foo/`)", true),
            ("Contains(`areas`, `home`)", true),
            ("Contains(`areas`, `hom`)", false),
            ("Contains(`areas`, `7`)", true),
            ("SplitContains(`scope`, ` `, `writer`)", true),
            ("SplitContains(`scope`, ` `, `write`)", false),
            ("SplitContains(`list`, `,`, `b`)", true),
            ("OneOf(`areas`, `lab`, `office`)", true),
            ("OneOf(`grp`, `dev`, `admin`)", true),
            ("OneOf(`grp`, `dev`)", false),
        ] {
            assert_eq!(admits(expression, &somebody()), expected, "{expression}");
        }
    }

    #[test]
    fn names_reach_into_objects() {
        for (expression, expected) in [
            ("Equals(`user.name`, `john`)", true),
            ("Equals(`user.full\\.name`, `John D.`)", true),
            ("Equals(`user.full.name`, `John D.`)", true),
            ("Contains(`user.roles`, `dev`)", true),
            ("Contains(`https://x.example/access.roles`, `ops`)", true),
            ("Equals(`user.name.first`, `john`)", false),
            ("Equals(`user`, `john`)", false),
        ] {
            assert_eq!(admits(expression, &somebody()), expected, "{expression}");
        }
    }

    #[test]
    fn operators() {
        for (expression, expected) in [
            ("Equals(`grp`, `x`) || Equals(`user.name`, `john`) && Equals(`active`, `true`)", true),
            ("(Equals(`grp`, `admin`) || Equals(`user.name`, `john`)) && Equals(`active`, `false`)", false),
            ("!Equals(`grp`, `x`)", true),
            ("!!Equals(`grp`, `x`)", false),
            ("!(Equals(`grp`, `admin`) && Equals(`active`, `true`))", false),
        ] {
            assert_eq!(admits(expression, &somebody()), expected, "{expression}");
        }
    }

    #[test]
    fn what_is_missing_denies_even_when_it_is_negated() {
        for expression in [
            "Equals(`none`, `x`)",
            "!Equals(`none`, `x`)",
            "!Equals(`nothing`, `x`)",
            "!Equals(`user`, `x`)",
            "!(Equals(`none`, `x`) || Equals(`grp`, `other`))",
            "Equals(`grp`, `admin`) && !Contains(`none`, `x`)",
        ] {
            assert!(!admits(expression, &somebody()), "{expression}");
        }
        assert!(admits("Equals(`grp`, `admin`) || !Equals(`none`, `x`)", &somebody()));
        assert!(admits("!(Equals(`none`, `x`) && Equals(`grp`, `other`))", &somebody()));
    }

    #[test]
    fn names_the_claims_that_it_reads() {
        let expression =
            Expression::compile("Equals(`a.b`, `1`) && !OneOf(`c`, `2`) || Prefix(`d`, `3`)").unwrap();
        assert_eq!(expression.needed_claims(), ["a.b", "c", "d"]);
    }
}
