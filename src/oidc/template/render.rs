//! From nodes and claims to text.

use std::fmt::Write;

use serde_json::Value;

use super::{Expr, Node, Range, Source};
use crate::oidc::identity_headers;

/// What is rendered so far, within the bounds of a header.
#[derive(Default)]
pub(super) struct Output {
    text: String,
    rounds: usize,
}

impl Output {
    /// Rounds of all `range`s together. Users have as many groups as they have; two lists of them have the product.
    const MOST_ROUNDS: usize = 20_000;

    pub(super) fn text(self) -> String {
        self.text
    }

    fn push(&mut self, text: &str) -> Option<()> {
        (self.text.len() + text.len() <= identity_headers::MAX_LIST).then(|| self.text.push_str(text))
    }

    fn count(&mut self) -> Option<()> {
        self.rounds += 1;
        (self.rounds <= Self::MOST_ROUNDS).then_some(())
    }
}

/// What names mean at one place of the template.
pub(super) struct Scope<'a> {
    source: Source<'a>,
    dot: Option<&'a Value>,
    variables: Vec<(&'a str, Item<'a>)>,
    /// What values are told apart by, inside `range`.
    signs: Option<&'a str>,
}

#[derive(Clone, Copy)]
enum Item<'a> {
    Text(&'a str),
    Number(usize),
    Json(&'a Value),
}

impl<'a> Scope<'a> {
    pub(super) fn new(source: Source<'a>) -> Self {
        Self { source, dot: None, variables: Vec::new(), signs: None }
    }

    pub(super) fn render(&self, nodes: &'a [Node], out: &mut Output) -> Option<()> {
        for node in nodes {
            match node {
                Node::Text(text) => out.push(text)?,
                Node::Print(expr) => print(self.eval(expr)?, self.signs, out)?,
                Node::If { cond, then, otherwise } => {
                    let branch = if self.eval(cond).is_some_and(truthy) { then } else { otherwise };
                    self.render(branch, out)?;
                }
                Node::With { value, then, otherwise } => {
                    match self.eval(value).filter(|item| truthy(*item)) {
                        Some(Item::Json(dot)) => self.with_dot(dot).render(then, out)?,
                        Some(_) => self.render(then, out)?,
                        None => self.render(otherwise, out)?,
                    }
                }
                Node::Range(range) => self.range(range, out)?,
            }
        }
        Some(())
    }

    fn range(&self, range: &'a Range, out: &mut Output) -> Option<()> {
        let values: &[Value] = match self.eval(&range.list) {
            Some(Item::Json(Value::Array(values))) => values,
            Some(Item::Json(single)) => std::slice::from_ref(single),
            _ => &[],
        };
        if values.is_empty() {
            return self.render(&range.otherwise, out);
        }
        for (position, value) in values.iter().enumerate() {
            out.count()?;
            let mut inner = self.with_dot(value);
            inner.variables.extend(range.index.as_deref().map(|name| (name, Item::Number(position))));
            inner.variables.extend(range.item.as_deref().map(|name| (name, Item::Json(value))));
            // Those of the outermost hold those of all within.
            inner.signs = self.signs.or(Some(range.signs.as_str()));
            inner.render(&range.body, out)?;
        }
        Some(())
    }

    fn with_dot(&self, dot: &'a Value) -> Self {
        Self { source: self.source, dot: Some(dot), variables: self.variables.clone(), signs: self.signs }
    }

    fn eval(&self, expr: &'a Expr) -> Option<Item<'a>> {
        match expr {
            Expr::Claim(path) => self.source.claims.at(path.iter().map(String::as_str)).and_then(present),
            Expr::Named(name) => self.source.claims.get(name).and_then(present),
            Expr::AccessToken => Some(Item::Text(self.source.access_token)).filter(|item| truthy(*item)),
            Expr::IdToken => Some(Item::Text(self.source.id_token)).filter(|item| truthy(*item)),
            Expr::Literal(text) => Some(Item::Text(text)),
            Expr::Dot => self.dot.and_then(present),
            Expr::Variable(name) => {
                self.variables.iter().rev().find(|(n, _)| n == name).map(|(_, item)| *item)
            }
            Expr::Default { value, fallback } => {
                self.eval(value).filter(|item| truthy(*item)).or_else(|| self.eval(fallback))
            }
        }
    }
}

fn present(value: &Value) -> Option<Item<'_>> {
    (!value.is_null()).then_some(Item::Json(value))
}

/// Go's truth: not zero, not empty.
fn truthy(item: Item<'_>) -> bool {
    match item {
        Item::Text(text) => !text.is_empty(),
        Item::Number(number) => number != 0,
        Item::Json(Value::Null) => false,
        Item::Json(Value::Bool(value)) => *value,
        Item::Json(Value::Number(number)) => number.as_f64() != Some(0.0),
        Item::Json(Value::String(text)) => !text.is_empty(),
        Item::Json(Value::Array(items)) => !items.is_empty(),
        Item::Json(Value::Object(members)) => !members.is_empty(),
    }
}

/// Scalars as text, lists comma-joined (each value encoded as in the list headers); an object has no text. Inside `range`
/// text must not look like two values: what would part it is percent-encoded.
fn print(item: Item<'_>, signs: Option<&str>, out: &mut Output) -> Option<()> {
    match (item, signs) {
        (Item::Json(Value::String(text)), Some(signs)) => out.push(&encoded(text, signs)),
        (Item::Json(Value::String(text)), None) => out.push(text),
        (Item::Text(text), _) => out.push(text),
        (Item::Number(number), _) => out.push(&number.to_string()),
        (Item::Json(Value::Bool(value)), _) => out.push(if *value { "true" } else { "false" }),
        (Item::Json(Value::Number(number)), _) => out.push(&number.to_string()),
        (Item::Json(Value::Array(items)), _) => {
            let list = identity_headers::list(items.iter().filter_map(Value::as_str))?;
            out.push(list.to_str().ok()?)
        }
        (Item::Json(Value::Null | Value::Object(_)), _) => None,
    }
}

fn encoded(text: &str, signs: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '%' || signs.contains(c) {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{:02X}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// The signs of ASCII in the fixed text of the body of a `range`. Spaces beside others part nothing.
pub(super) fn signs(body: &[Node]) -> String {
    let mut signs = String::new();
    collect(body, &mut signs);
    if signs.contains(|c: char| c != ' ') {
        signs.retain(|c| c != ' ');
    }
    signs
}

fn collect(nodes: &[Node], signs: &mut String) {
    for node in nodes {
        match node {
            Node::Text(text) | Node::Print(Expr::Literal(text)) => {
                signs.extend(text.chars().filter(|c| c.is_ascii_punctuation() || *c == ' '));
            }
            Node::Print(_) => {}
            Node::If { then, otherwise, .. } | Node::With { then, otherwise, .. } => {
                collect(then, signs);
                collect(otherwise, signs);
            }
            Node::Range(range) => {
                collect(&range.body, signs);
                collect(&range.otherwise, signs);
            }
        }
    }
}
