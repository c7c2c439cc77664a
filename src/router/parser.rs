//! The grammar of rules: Go expressions made of calls, `!`, `&&`, `||` and parentheses.
//!
//! ```text
//! or    = and { "||" and }
//! and   = unary { "&&" unary }
//! unary = { "!" } ( "(" or ")" | name "(" string { "," string } [ "," ] ")" )
//! ```
//! Between any two of these may be white space and Go's comments.

use super::matcher::{Matcher, NAMES};
use super::rule::{Expr, RuleError};

mod literal;

/// The longest rule, in bytes.
const MAX_RULE: usize = 256 << 10;
/// How deep parentheses and `!` may nest.
const MAX_DEPTH: usize = 100;

pub(super) fn parse(text: &str) -> Result<Expr, RuleError> {
    let mut parser = Parser { text, at: 0 };
    if text.len() > MAX_RULE {
        return parser.fail(format!("the rule is longer than {MAX_RULE} bytes"));
    }
    let expr = parser.or(0)?;
    match parser.peek() {
        None => Ok(expr),
        Some(')') => parser.fail("`)` without `(`"),
        Some(_) => parser.fail("expected `&&`, `||` or the end of the rule"),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Byte offset of what is read next.
    at: usize,
}

impl<'a> Parser<'a> {
    fn fail<T>(&self, message: impl Into<String>) -> Result<T, RuleError> {
        self.fail_at(self.at, message)
    }

    fn fail_at<T>(&self, offset: usize, message: impl Into<String>) -> Result<T, RuleError> {
        Err(RuleError { offset, message: message.into() })
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Skips white space and comments, and looks at the next character.
    fn peek(&mut self) -> Option<char> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
            self.at += rest.len() - trimmed.len();
            match comment(trimmed) {
                Some(length) => self.at += length,
                None => return trimmed.chars().next(),
            }
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        self.peek();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn or(&mut self, depth: usize) -> Result<Expr, RuleError> {
        let mut parts = vec![self.and(depth)?];
        while self.eat("||") {
            parts.push(self.and(depth)?);
        }
        Ok(Expr::or(parts))
    }

    fn and(&mut self, depth: usize) -> Result<Expr, RuleError> {
        let mut parts = vec![self.unary(depth)?];
        while self.eat("&&") {
            parts.push(self.unary(depth)?);
        }
        Ok(Expr::and(parts))
    }

    fn unary(&mut self, depth: usize) -> Result<Expr, RuleError> {
        let mut negated = false;
        while self.eat("!") {
            negated = !negated;
        }
        if depth > MAX_DEPTH {
            return self.fail(format!("parentheses nest deeper than {MAX_DEPTH}"));
        }
        let expr = match self.peek() {
            Some('(') => self.group(depth)?,
            Some(first) if first.is_alphabetic() || first == '_' => self.call()?,
            None => return self.fail("the rule ends where a matcher is expected"),
            Some(_) => return self.fail("expected a matcher, `!` or `(`"),
        };
        Ok(if negated { expr.invert() } else { expr })
    }

    fn group(&mut self, depth: usize) -> Result<Expr, RuleError> {
        let opened = self.at;
        self.eat("(");
        let expr = self.or(depth + 1)?;
        match self.eat(")") {
            true => Ok(expr),
            false if self.peek().is_none() => self.fail_at(opened, "`(` is never closed"),
            false => self.fail("expected `&&`, `||` or `)`"),
        }
    }

    fn call(&mut self) -> Result<Expr, RuleError> {
        let start = self.at;
        let rest = self.rest();
        let end = rest.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(rest.len());
        let (word, _) = rest.split_at_checked(end).unwrap_or((rest, ""));
        self.at += end;
        let Some(name) = canonical_name(word) else { return self.fail_at(start, unknown(word)) };
        if !self.eat("(") {
            return self.fail(format!("expected `(` after {name}"));
        }
        let args = self.arguments(name)?;
        let matcher = Matcher::compile(name, &args).or_else(|message| self.fail_at(start, message))?;
        Ok(Expr::leaf(matcher))
    }

    fn arguments(&mut self, name: &str) -> Result<Vec<String>, RuleError> {
        let mut args = Vec::new();
        while !self.eat(")") {
            if !args.is_empty() && !self.eat(",") {
                return self.fail(format!("expected `,` or `)` in the arguments of {name}"));
            }
            if !args.is_empty() && self.eat(")") {
                break;
            }
            args.push(self.string()?);
        }
        Ok(args)
    }

    fn string(&mut self) -> Result<String, RuleError> {
        self.peek();
        let (value, length) = literal::parse(self.rest())
            .or_else(|(within, message)| self.fail_at(self.at + within, message))?;
        self.at += length;
        Ok(value)
    }
}

/// The length of the comment that `text` begins with: to the end of its line, or between `/*` and `*/`.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    let end = text.strip_prefix("/*")?.find("*/")?;
    Some(end + "/**/".len())
}

/// The matcher behind one of its four spellings: `PathPrefix`, `pathprefix`, `PATHPREFIX`, `Pathprefix`.
fn canonical_name(word: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|name| {
        let title = |word: &str| {
            word.starts_with(|first: char| first.is_ascii_uppercase())
                && word.chars().skip(1).all(|next| next.is_ascii_lowercase())
        };
        *name == word
            || name.eq_ignore_ascii_case(word)
                && (title(word)
                    || word.bytes().all(|byte| byte.is_ascii_lowercase())
                    || word.bytes().all(|byte| byte.is_ascii_uppercase()))
    })
}

fn unknown(word: &str) -> String {
    let wanted = word.to_lowercase();
    let nearest = NAMES
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&name.to_lowercase(), &wanted), name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3));
    match nearest {
        _ if matches!(&*wanted, "hostsni" | "hostsniregexp" | "alpn") => {
            format!("unsupported matcher `{word}`: it belongs to TCP routers")
        }
        Some((_, name)) => format!("unsupported matcher `{word}`; did you mean `{name}`?"),
        None => format!("unsupported matcher `{word}`; there are {}", NAMES.join(", ")),
    }
}
