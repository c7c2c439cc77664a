//! TOML to written values.

use std::ops::Range;
use std::sync::Arc;

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue};

use super::DEEPEST;
use crate::config::value::{Entry, Node, Position, Value};
use crate::config::{ConfigError, ConfigErrors};

/// Parses a document.
///
/// # Errors
/// Every syntax error, with its place.
pub fn parse(name: &str, text: &str) -> Result<Node, ConfigErrors> {
    let lines = Lines::new(name, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let errors = errors.iter().map(|error| ConfigError {
            at: Some(lines.position(error.span().unwrap_or_default())),
            path: String::new(),
            message: format!("not valid TOML: {}", error.message()),
        });
        return Err(ConfigErrors(errors.collect()));
    }
    let at = lines.position(0..0);
    let value = mapping(table.get_ref(), &lines, 0).map_err(|error| ConfigErrors(vec![error]))?;
    Ok(Node { value, at })
}

fn mapping(table: &DeTable<'_>, lines: &Lines<'_>, depth: usize) -> Result<Value, ConfigError> {
    let mut written: Vec<_> = table.iter().collect();
    // The table sorts by name; faults are told in the order of the file.
    written.sort_by_key(|(key, _)| key.span().start);
    let entries: Result<Vec<Entry>, _> = written
        .into_iter()
        .map(|(key, value)| {
            let at = lines.position(key.span());
            Ok(Entry { key: key.get_ref().to_string(), at, node: node(value, lines, depth)? })
        })
        .collect();
    entries.map(Value::Map)
}

fn node(value: &Spanned<DeValue<'_>>, lines: &Lines<'_>, depth: usize) -> Result<Node, ConfigError> {
    let at = lines.position(value.span());
    if depth >= DEEPEST {
        let message = format!("nested more than {DEEPEST} levels deep");
        return Err(ConfigError { at: Some(at), path: String::new(), message });
    }
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Scalar(text.to_string()),
        DeValue::Integer(number) => Value::Scalar(integer(number.as_str(), number.radix())),
        DeValue::Float(number) => Value::Scalar(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Value::Scalar(flag.to_string()),
        DeValue::Datetime(time) => Value::Scalar(time.to_string()),
        DeValue::Array(items) => {
            let items: Result<_, _> = items.iter().map(|item| node(item, lines, depth + 1)).collect();
            Value::List(items?)
        }
        DeValue::Table(table) => mapping(table, lines, depth + 1)?,
    };
    Ok(Node { value, at })
}

/// Decimal text of an integer written in any base.
fn integer(digits: &str, radix: u32) -> String {
    match i64::from_str_radix(digits, radix) {
        Ok(number) => number.to_string(),
        Err(_) => digits.to_owned(),
    }
}

/// Where each line starts, to turn byte offsets into lines and columns.
struct Lines<'text> {
    source: Arc<str>,
    text: &'text str,
    starts: Vec<usize>,
}

impl<'text> Lines<'text> {
    fn new(name: &str, text: &'text str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(index, _)| index + 1)).collect();
        Self { source: name.into(), text, starts }
    }

    fn position(&self, span: Range<usize>) -> Position {
        let line = self.starts.partition_point(|start| *start <= span.start);
        let start = line.checked_sub(1).and_then(|index| self.starts.get(index)).copied().unwrap_or(0);
        let column = self.text.get(start..span.start).map_or(0, |before| before.chars().count()) + 1;
        Position {
            source: Arc::clone(&self.source),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_place() {
        let root =
            parse("f.toml", "[log]\nlevel = \"DEBUG\"\n\n[entryPoints.web]\naddress = \":80\"\n").unwrap();
        let level = &root.get("log").unwrap().node.get("level").unwrap().node;
        assert_eq!(
            (level.value.clone(), level.at.to_string()),
            (Value::Scalar("DEBUG".into()), "f.toml:2:9".into())
        );
        let web = &root.get("entrypoints").unwrap().node.get("web").unwrap().node;
        assert_eq!(web.get("address").unwrap().node.value, Value::Scalar(":80".into()));
    }

    #[test]
    fn numbers_lists_and_tables() {
        let root = parse("f.toml", "a = 0x10\nb = [1, 2.5]\nc = {d = true}\n[[e]]\nf = 1\n").unwrap();
        assert_eq!(root.get("a").unwrap().node.value, Value::Scalar("16".into()));
        assert!(matches!(&root.get("b").unwrap().node.value, Value::List(items) if items.len() == 2));
        assert!(matches!(&root.get("e").unwrap().node.value, Value::List(items) if items.len() == 1));
    }

    #[test]
    fn broken_syntax_has_a_place() {
        let said = parse("f.toml", "a = 1\nb = = 2\n").unwrap_err().to_string();
        assert!(said.starts_with("f.toml:2:"), "{said}");
    }
}
