//! From the text of a template to its nodes.

use super::render::signs;
use super::{Expr, Node, Range, TemplateError};

/// Deepest nesting of `if`, `range` and `with`.
const MAX_DEPTH: usize = 8;

/// Parses `text`; `listed` says whether a claim may be named.
pub(super) fn parse(text: &str, listed: &dyn Fn(&str) -> bool) -> Result<Vec<Node>, TemplateError> {
    if let Some(offset) = text.find(['\r', '\n', '\0']) {
        return fail(offset, "line breaks and NUL cannot be part of a header");
    }
    let pieces = split(text)?;
    let mut parser = Parser { pieces: &pieces, next: 0, listed, variables: Vec::new(), dot: 0 };
    let (nodes, end) = parser.block(0)?;
    match end {
        Some((offset, word)) => fail(offset, format!("`{word}` without a block to close")),
        None => Ok(nodes),
    }
}

fn fail<T>(offset: usize, message: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError { offset, message: message.into() })
}

/// Text between actions, or the tokens of one action.
enum Piece {
    Text(String),
    Action { offset: usize, tokens: Vec<Token> },
}

#[derive(Debug, Clone, PartialEq)]
struct Token {
    offset: usize,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// `.A.b`, `.`
    Field(String),
    /// `$`, `$x`
    Variable(String),
    Word(String),
    Literal(String),
    Symbol(&'static str),
}

fn split(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_left = false;
    loop {
        let at = text.len() - rest.len();
        let (before, after) =
            rest.split_once("{{").map_or((rest, None), |(before, after)| (before, Some(after)));
        let trims_before = after.is_some_and(|after| after.starts_with("- "));
        let mut literal = before;
        if trim_left {
            literal = literal.trim_start();
        }
        if trims_before {
            literal = literal.trim_end();
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.to_owned()));
        }
        let Some(after) = after else { return Ok(pieces) };
        let open = at + before.len();
        let (action, behind) = close(after).ok_or(()).or_else(|()| fail(open, "`{{` without `}}`"))?;
        trim_left = action.ends_with(" -");
        let inner = action.strip_suffix(" -").unwrap_or(action);
        let (inner, skipped) =
            if trims_before { (inner.get(1..).unwrap_or_default(), 3) } else { (inner, 2) };
        let mut tokens = Vec::new();
        tokenize(inner, open + skipped, &mut tokens)?;
        pieces.push(Piece::Action { offset: open, tokens });
        rest = behind;
    }
}

/// Splits at the `}}` that is not inside quotes.
fn close(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if text.get(at..).is_some_and(|rest| rest.starts_with("}}")) => {
                return Some((text.get(..at)?, text.get(at + 2..)?));
            }
            None => {}
        }
    }
    None
}

fn tokenize(text: &str, base: usize, tokens: &mut Vec<Token>) -> Result<(), TemplateError> {
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let offset = base + text.len() - rest.len();
        if c.is_whitespace() {
            rest = rest.trim_start();
            continue;
        }
        let (kind, length) =
            token(rest, c).ok_or(()).or_else(|()| fail(offset, format!("`{c}` is not accepted here")))?;
        tokens.push(Token { offset, kind });
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(())
}

fn token(rest: &str, first: char) -> Option<(Kind, usize)> {
    let name_end = |from: usize, extra: &[char]| {
        rest.char_indices()
            .find(|(at, c)| *at >= from && !(c.is_alphanumeric() || *c == '_' || extra.contains(c)))
            .map_or(rest.len(), |(at, _)| at)
    };
    let named = |end: usize| rest.get(..end).map(str::to_owned);
    match first {
        '.' => {
            let end = name_end(1, &['.']);
            Some((Kind::Field(named(end)?), end))
        }
        '$' => {
            let end = name_end(1, &[]);
            Some((Kind::Variable(named(end)?), end))
        }
        '"' => {
            let end = rest.get(1..)?.find('"')? + 1;
            let text = rest.get(1..end)?;
            // Escapes are not part of the subset; a raw string says the same.
            (!text.contains('\\')).then(|| (Kind::Literal(text.to_owned()), end + 1))
        }
        '`' => {
            let end = rest.get(1..)?.find('`')? + 1;
            Some((Kind::Literal(rest.get(1..end)?.to_owned()), end + 1))
        }
        '|' => Some((Kind::Symbol("|"), 1)),
        '(' => Some((Kind::Symbol("("), 1)),
        ')' => Some((Kind::Symbol(")"), 1)),
        ',' => Some((Kind::Symbol(","), 1)),
        ':' => rest.starts_with(":=").then_some((Kind::Symbol(":="), 2)),
        c if c.is_alphabetic() => {
            let end = name_end(0, &[]);
            Some((Kind::Word(named(end)?), end))
        }
        _ => None,
    }
}

struct Parser<'a> {
    pieces: &'a [Piece],
    next: usize,
    listed: &'a dyn Fn(&str) -> bool,
    variables: Vec<String>,
    /// How many blocks around have set the dot.
    dot: usize,
}

/// What ended a block: `end` or `else`, with its position; the tokens behind `else` follow.
type End = Option<(usize, String)>;

impl<'a> Parser<'a> {
    fn block(&mut self, depth: usize) -> Result<(Vec<Node>, End), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.get(self.next) {
            self.next += 1;
            match piece {
                Piece::Text(text) => nodes.push(Node::Text(text.clone())),
                Piece::Action { offset, tokens } => match tokens.first() {
                    None => return fail(*offset, "an empty action"),
                    Some(Token { offset, kind: Kind::Word(word) }) if word == "end" || word == "else" => {
                        return Ok((nodes, Some((*offset, word.clone()))));
                    }
                    Some(_) => nodes.push(self.action(*offset, tokens, depth)?),
                },
            }
        }
        Ok((nodes, None))
    }

    fn action(&mut self, open: usize, tokens: &'a [Token], depth: usize) -> Result<Node, TemplateError> {
        let word = match tokens.first() {
            Some(Token { kind: Kind::Word(word), .. }) => word.as_str(),
            _ => "",
        };
        let rest = tokens.get(1..).unwrap_or_default();
        match word {
            "if" | "with" | "range" if depth >= MAX_DEPTH => fail(open, "nested too deeply"),
            "if" => self.conditional(open, rest, depth),
            "with" => {
                let value = self.pipeline(open, rest)?;
                self.dot += 1;
                let then = self.block(depth + 1);
                self.dot -= 1;
                let (then, end) = then?;
                let otherwise = self.otherwise(open, end, depth)?;
                Ok(Node::With { value, then, otherwise })
            }
            "range" => self.range(open, rest, depth),
            _ => self.pipeline(open, tokens).map(Node::Print),
        }
    }

    fn conditional(&mut self, open: usize, tokens: &'a [Token], depth: usize) -> Result<Node, TemplateError> {
        let cond = self.pipeline(open, tokens)?;
        let (then, end) = self.block(depth + 1)?;
        let otherwise = self.otherwise(open, end, depth)?;
        Ok(Node::If { cond, then, otherwise })
    }

    fn range(&mut self, open: usize, tokens: &'a [Token], depth: usize) -> Result<Node, TemplateError> {
        let assign = tokens.iter().position(|token| token.kind == Kind::Symbol(":="));
        let (names, list) = match assign {
            Some(at) => (tokens.get(..at).unwrap_or_default(), tokens.get(at + 1..).unwrap_or_default()),
            None => (Default::default(), tokens),
        };
        let names: Vec<String> = names
            .iter()
            .filter_map(|token| match &token.kind {
                Kind::Variable(name) => Some(name.clone()),
                _ => None,
            })
            .collect();
        let list = self.pipeline(open, list)?;
        if !matches!(list, Expr::Claim(_) | Expr::Named(_)) {
            return fail(open, "`range` goes over one claim");
        }
        let before = self.variables.len();
        self.variables.extend(names.iter().cloned());
        self.dot += 1;
        let body = self.block(depth + 1);
        self.dot -= 1;
        self.variables.truncate(before);
        let (body, end) = body?;
        let otherwise = self.otherwise(open, end, depth)?;
        let mut names = names.into_iter();
        let (index, item) = match (names.next(), names.next()) {
            (Some(item), None) => (None, Some(item)),
            pair => pair,
        };
        let signs = signs(&body);
        Ok(Node::Range(Box::new(Range { list, index, item, body, otherwise, signs })))
    }

    /// What stands behind `else`, up to the `end` of the block that was opened at `open`.
    fn otherwise(&mut self, open: usize, end: End, depth: usize) -> Result<Vec<Node>, TemplateError> {
        match end {
            None => fail(open, "a block without `{{end}}`"),
            Some((_, word)) if word == "end" => Ok(Vec::new()),
            Some(_) => {
                let Some(Piece::Action { offset, tokens }) = self.pieces.get(self.next.saturating_sub(1))
                else {
                    return fail(open, "a block without `{{end}}`");
                };
                match tokens.get(1) {
                    None => {
                        let (nodes, end) = self.block(depth + 1)?;
                        self.otherwise(open, end.filter(|(_, word)| word == "end"), depth)?;
                        Ok(nodes)
                    }
                    Some(Token { kind: Kind::Word(word), .. }) if word == "if" && depth < MAX_DEPTH => {
                        Ok(vec![self.conditional(*offset, tokens.get(2..).unwrap_or_default(), depth + 1)?])
                    }
                    Some(token) => fail(token.offset, "only `else` and `else if` are accepted"),
                }
            }
        }
    }

    /// `operand | default "x" | …`
    fn pipeline(&self, open: usize, tokens: &[Token]) -> Result<Expr, TemplateError> {
        let mut stages = split_top(tokens).into_iter();
        let first = stages.next().unwrap_or_default();
        let mut value = self.command(open, first, None)?;
        for stage in stages {
            value = self.command(open, stage, Some(value))?;
        }
        Ok(value)
    }

    fn command(&self, open: usize, tokens: &[Token], piped: Option<Expr>) -> Result<Expr, TemplateError> {
        let Some(first) = tokens.first() else { return fail(open, "something is missing here") };
        let Kind::Word(word) = &first.kind else {
            if piped.is_some() {
                return fail(first.offset, "only `default` may follow `|`");
            }
            let (value, rest) = self.operand(tokens)?;
            return match rest.first() {
                None => Ok(value),
                Some(token) => fail(token.offset, "only one value is printed at a time"),
            };
        };
        let arguments = tokens.get(1..).unwrap_or_default();
        match word.as_str() {
            "get" => self.get(first.offset, arguments, piped),
            "default" => {
                let (fallback, rest) = self.operand_of(first.offset, arguments)?;
                let (value, rest) = match piped {
                    Some(value) => (value, rest),
                    None => self.operand_of(first.offset, rest)?,
                };
                match rest.first() {
                    None => Ok(Expr::Default { value: Box::new(value), fallback: Box::new(fallback) }),
                    Some(token) => fail(token.offset, "`default` takes the text and one value"),
                }
            }
            other => fail(
                first.offset,
                format!("`{other}` is not accepted; there are `get`, `default`, `if`, `range` and `with`"),
            ),
        }
    }

    /// `get .Claims "name"`. As with any function, what is piped in is the last argument: `"name" | get .Claims`.
    fn get(&self, offset: usize, arguments: &[Token], piped: Option<Expr>) -> Result<Expr, TemplateError> {
        let (map, rest) = arguments.split_first().unzip();
        let name = match (rest, piped) {
            (Some([Token { offset, kind: Kind::Literal(name) }]), None) => Some((*offset, name.clone())),
            (Some([]), Some(Expr::Literal(name))) => Some((offset, name)),
            (_, Some(_)) => return fail(offset, "only the name of a claim can be piped into `get .Claims`"),
            _ => None,
        };
        match (map.map(|map| &map.kind), name) {
            (Some(Kind::Field(map)), Some((offset, name))) if map == ".Claims" => {
                self.check_claim(offset, &name, name.split('.').next().unwrap_or_default())?;
                Ok(Expr::Named(name))
            }
            _ => fail(offset, "`get` is written as: get .Claims \"name\""),
        }
    }

    fn operand_of<'t>(
        &self,
        offset: usize,
        tokens: &'t [Token],
    ) -> Result<(Expr, &'t [Token]), TemplateError> {
        if tokens.is_empty() { fail(offset, "a value is missing") } else { self.operand(tokens) }
    }

    /// One value, and the tokens behind it.
    fn operand<'t>(&self, tokens: &'t [Token]) -> Result<(Expr, &'t [Token]), TemplateError> {
        let Some((first, rest)) = tokens.split_first() else { return fail(0, "a value is missing") };
        let value = match &first.kind {
            Kind::Literal(text) => Expr::Literal(text.clone()),
            Kind::Field(field) => self.field(first.offset, field)?,
            Kind::Variable(name) if self.variables.contains(name) => Expr::Variable(name.clone()),
            Kind::Variable(name) => return fail(first.offset, format!("`{name}` is not declared")),
            Kind::Symbol("(") => {
                let Some(end) = rest.iter().position(|token| token.kind == Kind::Symbol(")")) else {
                    return fail(first.offset, "`(` without `)`");
                };
                let inner = self.pipeline(first.offset, rest.get(..end).unwrap_or_default())?;
                return Ok((inner, rest.get(end + 1..).unwrap_or_default()));
            }
            Kind::Word(_) | Kind::Symbol(_) => return fail(first.offset, "a value is expected here"),
        };
        Ok((value, rest))
    }

    fn field(&self, offset: usize, field: &str) -> Result<Expr, TemplateError> {
        let path = field.strip_prefix('.').unwrap_or(field);
        match path {
            "" if self.dot > 0 => return Ok(Expr::Dot),
            "" => return fail(offset, "`.` has a meaning only inside `range` and `with`"),
            "AccessToken" => return Ok(Expr::AccessToken),
            "IdToken" | "IDToken" => return Ok(Expr::IdToken),
            "RefreshToken" => return fail(offset, "the refresh token never leaves Portcullis"),
            "Claims" => return fail(offset, "name one claim, as in `.Claims.email`"),
            _ => {}
        }
        let Some(claim) = path.strip_prefix("Claims.") else {
            return fail(
                offset,
                format!("`{field}` is unknown; there are `.Claims.…`, `.AccessToken` and `.IdToken`"),
            );
        };
        let segments: Vec<String> = claim.split('.').map(str::to_owned).collect();
        if segments.iter().any(String::is_empty) {
            return fail(offset, format!("`{field}` has an empty name in it"));
        }
        self.check_claim(offset, claim, segments.first().map_or("", String::as_str))?;
        Ok(Expr::Claim(segments))
    }

    fn check_claim(&self, offset: usize, whole: &str, first: &str) -> Result<(), TemplateError> {
        if (self.listed)(whole) || (self.listed)(first) {
            return Ok(());
        }
        fail(offset, format!("the claim `{first}` is not listed; add it to `allowedClaims`"))
    }
}

/// Splits at every `|` that is not in parentheses.
fn split_top(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0usize;
    tokens
        .split(move |token| {
            match token.kind {
                Kind::Symbol("(") => depth += 1,
                Kind::Symbol(")") => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && token.kind == Kind::Symbol("|")
        })
        .collect()
}
