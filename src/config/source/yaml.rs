//! YAML (and JSON, which is a subset of it) to written values.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::DEEPEST;
use crate::config::value::{Entry, Node, Position, Value};
use crate::config::{ConfigError, ConfigErrors};

/// How many values one document may hold once its aliases are expanded.
const MOST_NODES: usize = 1_000_000;

/// Parses one document.
///
/// # Errors
/// The first syntax error: a parser that has lost its way would only guess at the next.
pub fn parse(name: &str, text: &str) -> Result<Node, ConfigErrors> {
    let source: Arc<str> = name.into();
    let mut builder =
        Builder { events: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0, depth: 0, source };
    builder.document().map_err(|error| ConfigErrors(vec![error]))
}

struct Builder<'text> {
    events: Parser<'text, StrInput<'text>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    depth: usize,
    source: Arc<str>,
}

type Result<T, E = ConfigError> = std::result::Result<T, E>;

impl<'text> Builder<'text> {
    fn document(&mut self) -> Result<Node> {
        let start = Position { source: Arc::clone(&self.source), line: 1, column: 1 };
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                // `---` at the end of a file begins nothing.
                Event::Scalar(text, style, ..) if root.is_some() && scalar(&text, style) == Value::Null => {}
                _ if root.is_some() => {
                    return Err(self.error(&span, "only one document is allowed in a file"));
                }
                event => root = Some(self.value(event, &span)?),
            }
        }
        Ok(match root {
            Some(Node { value: Value::Null, at }) => Node { value: Value::Map(Vec::new()), at },
            Some(root) => root,
            None => Node { value: Value::Map(Vec::new()), at: start },
        })
    }

    fn next(&mut self) -> Result<(Event<'text>, Span)> {
        match self.events.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn value(&mut self, event: Event<'text>, span: &Span) -> Result<Node> {
        self.count(1, span)?;
        let at = self.position(span);
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => (scalar(&text, style), anchor),
            Event::SequenceStart(anchor, _) => (self.nested(span, Self::list)?, anchor),
            Event::MappingStart(anchor, _) => (self.nested(span, Self::mapping)?, anchor),
            Event::Alias(anchor) => return self.alias(anchor, span),
            _ => return Err(self.error(span, "expected a value")),
        };
        let node = Node { value, at };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn nested(&mut self, span: &Span, build: impl FnOnce(&mut Self) -> Result<Value>) -> Result<Value> {
        if self.depth >= DEEPEST {
            return Err(self.error(span, format!("nested more than {DEEPEST} levels deep")));
        }
        self.depth += 1;
        let value = build(self);
        self.depth -= 1;
        value
    }

    fn list(&mut self) -> Result<Value> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.value(event, &span)?),
            }
        }
    }

    fn mapping(&mut self) -> Result<Value> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines: HashMap<String, u32> = HashMap::new();
        let mut merged: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(self.error(&span, "a key must be plain text")),
            };
            let (event, value_span) = self.next()?;
            let node = self.value(event, &value_span)?;
            if key == "<<" {
                self.merge(node, &mut merged)?;
                continue;
            }
            let at = self.position(&span);
            if let Some(line) = lines.insert(key.clone(), at.line) {
                return Err(self.error(&span, format!("key `{key}` is written twice; first on line {line}")));
            }
            entries.push(Entry { key, at, node });
        }
        for entry in merged {
            if !lines.contains_key(&entry.key) {
                lines.insert(entry.key.clone(), entry.at.line);
                entries.push(entry);
            }
        }
        Ok(Value::Map(entries))
    }

    /// `<<`: keys of another mapping, or of several, that are not written here.
    fn merge(&self, node: Node, into: &mut Vec<Entry>) -> Result<()> {
        match node.value {
            Value::Map(entries) => into.extend(entries),
            Value::List(items) => {
                for item in items {
                    self.merge(item, into)?;
                }
            }
            _ => {
                return Err(ConfigError {
                    at: Some(node.at),
                    path: String::new(),
                    message: "`<<` takes a mapping".into(),
                });
            }
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: &Span) -> Result<Node> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(self.error(span, "this alias has no anchor before it"));
        };
        self.count(weight(&node), span)?;
        Ok(node)
    }

    /// Bounds what aliases can blow up to.
    fn count(&mut self, more: usize, span: &Span) -> Result<()> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > MOST_NODES {
            return Err(self.error(span, format!("more than {MOST_NODES} values")));
        }
        Ok(())
    }

    fn position(&self, span: &Span) -> Position {
        position(&self.source, span.start.line(), span.start.col() + 1)
    }

    fn error(&self, span: &Span, message: impl Into<String>) -> ConfigError {
        ConfigError { at: Some(self.position(span)), path: String::new(), message: message.into() }
    }

    fn syntax(&self, error: &ScanError) -> ConfigError {
        let marker = error.marker();
        ConfigError {
            at: Some(position(&self.source, marker.line(), marker.col() + 1)),
            path: String::new(),
            message: format!("not valid YAML: {}", error.info()),
        }
    }
}

fn position(source: &Arc<str>, line: usize, column: usize) -> Position {
    Position {
        source: Arc::clone(source),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX),
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    match (style, text) {
        (ScalarStyle::Plain, "" | "~" | "null" | "Null" | "NULL") => Value::Null,
        _ => Value::Scalar(text.to_owned()),
    }
}

fn weight(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(weight).sum::<usize>(),
        Value::Map(entries) => entries.iter().map(|entry| weight(&entry.node)).sum(),
        Value::Null | Value::Scalar(_) | Value::Repeated(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        parse("f.yml", text).unwrap_err().to_string()
    }

    #[test]
    fn values_know_their_place() {
        let root = parse("f.yml", "log:\n  level: DEBUG\n").unwrap();
        let level = &root.get("LOG").unwrap().node.get("level").unwrap().node;
        assert_eq!(level.value, Value::Scalar("DEBUG".into()));
        assert_eq!(level.at.to_string(), "f.yml:2:10");
    }

    #[test]
    fn an_empty_document_is_an_empty_mapping() {
        for text in ["", "# nothing\n", "---\n", "~"] {
            assert_eq!(parse("f.yml", text).unwrap().value, Value::Map(vec![]), "{text:?}");
        }
    }

    #[test]
    fn a_key_written_twice_is_refused() {
        assert_eq!(message("a: 1\na: 2\n"), "f.yml:2:1: key `a` is written twice; first on line 1");
    }

    #[test]
    fn anchors_and_merge_keys_work() {
        let root = parse("f.yml", "base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n").unwrap();
        let used = &root.get("use").unwrap().node;
        assert!(matches!(&used.value, Value::Map(entries) if entries.len() == 2));
        assert_eq!(used.get("x").unwrap().node.value, Value::Scalar("1".into()));
        assert_eq!(used.get("y").unwrap().node.value, Value::Scalar("3".into()));
    }

    #[test]
    fn of_several_merged_mappings_the_first_wins() {
        let root = parse("f.yml", "a: &a {x: 1}\nb: &b {x: 2, y: 2}\nuse: {<<: [*a, *b]}\n").unwrap();
        let used = &root.get("use").unwrap().node;
        assert_eq!(used.get("x").unwrap().node.value, Value::Scalar("1".into()));
        assert_eq!(used.get("y").unwrap().node.value, Value::Scalar("2".into()));
    }

    #[test]
    fn json_is_read_too() {
        let root =
            parse("f.json", "{\n  \"log\": {\"level\": \"INFO\"},\n  \"list\": [1, true, null]\n}").unwrap();
        assert_eq!(root.get("log").unwrap().node.get("level").unwrap().node.at.to_string(), "f.json:2:20");
        assert!(matches!(&root.get("list").unwrap().node.value, Value::List(items) if items.len() == 3));
    }

    #[test]
    fn a_second_document_is_refused() {
        assert!(parse("f.yml", "a: 1\n---\n").is_ok() && parse("f.yml", "a: 1\n---\n# end\n...\n").is_ok());
        assert_eq!(message("a: 1\n---\nb: 1\n"), "f.yml:3:1: only one document is allowed in a file");
    }

    #[test]
    fn aliases_cannot_blow_up() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for n in 1..9 {
            let items = vec![format!("*a{}", n - 1); 10].join(",");
            text += &format!("a{n}: &a{n} [{items}]\n");
        }
        assert!(message(&text).contains("more than 1000000 values"));
    }

    #[test]
    fn depth_is_bounded() {
        assert!(message(&("[".repeat(100) + &"]".repeat(100))).contains("levels deep"));
    }

    #[test]
    fn broken_syntax_has_a_place() {
        let said = message("a: [1, 2\nb: 3\n");
        assert!(said.starts_with("f.yml:2:") && said.contains("not valid YAML"), "{said}");
    }
}
