//! Go's regular-expression syntax, rewritten for the `regex` crate.
//!
//! Source: the syntax page of Go's `regexp/syntax` package. What both understand alike is copied through, so errors
//! such as an unclosed group are left to the compiler.

use std::iter::Peekable;
use std::str::Chars;

use super::RegexError;

/// Go's limit for `{n,m}`.
const MAX_REPEAT: u32 = 1000;

pub(super) fn translate(expression: &str) -> Result<String, RegexError> {
    let mut translator = Translator { rest: expression.chars().peekable(), out: String::new() };
    translator.run()?;
    Ok(translator.out)
}

struct Translator<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
}

/// What an escape stands for.
enum Escape {
    /// One character.
    Literal(char),
    /// Something that is already in the target syntax and cannot end a range.
    Other(String),
}

fn error<T>(message: impl Into<String>) -> Result<T, RegexError> {
    Err(RegexError(message.into()))
}

impl Translator<'_> {
    fn run(&mut self) -> Result<(), RegexError> {
        while let Some(next) = self.rest.next() {
            match next {
                '\\' => self.escape_outside_class()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '{' => self.repeat()?,
                '}' | ']' => self.literal(next),
                _ => self.out.push(next),
            }
        }
        Ok(())
    }

    fn literal(&mut self, literal: char) {
        if literal.is_ascii_punctuation() && !matches!(literal, '<' | '>' | '_') {
            self.out.push('\\');
        }
        self.out.push(literal);
    }

    fn escape_outside_class(&mut self) -> Result<(), RegexError> {
        match self.rest.peek() {
            Some('Q') => {
                self.rest.next();
                self.quoted();
            }
            Some(&anchor @ ('A' | 'z')) => {
                self.rest.next();
                self.out.extend(['\\', anchor]);
            }
            Some(&boundary @ ('b' | 'B')) => {
                self.rest.next();
                self.out.push_str("(?-u:\\");
                self.out.extend([boundary, ')']);
            }
            _ => match self.escape()? {
                Escape::Literal(literal) => self.literal(literal),
                Escape::Other(class) => self.out.push_str(&class),
            },
        }
        Ok(())
    }

    /// `\Q…\E`, or to the end.
    fn quoted(&mut self) {
        while let Some(next) = self.rest.next() {
            if next == '\\' && self.rest.next_if_eq(&'E').is_some() {
                return;
            }
            self.literal(next);
        }
    }

    /// What follows a backslash, inside a class and outside.
    fn escape(&mut self) -> Result<Escape, RegexError> {
        let Some(next) = self.rest.next() else { return error("trailing backslash") };
        let class = match next {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            's' => r"[\t\n\f\r ]",
            'S' => r"[^\t\n\f\r ]",
            'p' | 'P' => return self.unicode_class(next),
            'a' => return Ok(Escape::Literal('\x07')),
            'f' => return Ok(Escape::Literal('\x0c')),
            'n' => return Ok(Escape::Literal('\n')),
            'r' => return Ok(Escape::Literal('\r')),
            't' => return Ok(Escape::Literal('\t')),
            'v' => return Ok(Escape::Literal('\x0b')),
            'x' => return self.hexadecimal().map(Escape::Literal),
            '0'..='7' => return self.octal(next).map(Escape::Literal),
            _ if next.is_ascii_punctuation() || next == ' ' => return Ok(Escape::Literal(next)),
            _ => return error(format!("invalid escape `\\{next}`")),
        };
        Ok(Escape::Other(class.to_owned()))
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}`.
    fn unicode_class(&mut self, kind: char) -> Result<Escape, RegexError> {
        let Some(first) = self.rest.next() else { return error("unfinished Unicode class") };
        if first != '{' {
            return Ok(Escape::Other(format!("\\{kind}{first}")));
        }
        let negated = self.rest.next_if_eq(&'^').is_some();
        let kind = if negated == (kind == 'p') { 'P' } else { 'p' };
        let name = self.until('}')?;
        Ok(Escape::Other(format!("\\{kind}{{{name}}}")))
    }

    fn hexadecimal(&mut self) -> Result<char, RegexError> {
        let digits = match self.rest.next_if_eq(&'{') {
            Some(_) => self.until('}')?,
            None => self.rest.by_ref().take(2).collect(),
        };
        let braced_or_two = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u32::from_str_radix(&digits, 16)
            .ok()
            .filter(|_| braced_or_two)
            .and_then(char::from_u32)
            .map_or_else(|| error(format!("invalid escape `\\x{digits}`")), Ok)
    }

    fn octal(&mut self, first: char) -> Result<char, RegexError> {
        let mut value = first.to_digit(8).unwrap_or(0);
        let mut digits = 1;
        while digits < 3
            && let Some(digit) = self.rest.next_if(|next| next.is_digit(8))
        {
            value = value * 8 + digit.to_digit(8).unwrap_or(0);
            digits += 1;
        }
        if digits == 1 && first != '0' {
            return error(format!("back-references such as `\\{first}` are not supported"));
        }
        char::from_u32(value).map_or_else(|| error("invalid octal escape"), Ok)
    }

    fn until(&mut self, end: char) -> Result<String, RegexError> {
        let mut text = String::new();
        for next in self.rest.by_ref() {
            if next == end {
                return Ok(text);
            }
            text.push(next);
        }
        error(format!("missing `{end}`"))
    }

    /// After `(`: only the group kinds and flags of Go.
    fn group(&mut self) -> Result<(), RegexError> {
        self.out.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        self.out.push('?');
        if self.rest.peek().is_some_and(|next| matches!(next, 'P' | '<')) {
            return Ok(());
        }
        for next in self.rest.by_ref() {
            match next {
                ':' | ')' => {
                    self.out.push(next);
                    return Ok(());
                }
                'i' | 'm' | 's' | 'U' | '-' => self.out.push(next),
                _ => return error(format!("invalid or unsupported group `(?{next}`")),
            }
        }
        error("missing `)`")
    }

    /// After `{`: a repetition, or a brace that stands for itself.
    fn repeat(&mut self) -> Result<(), RegexError> {
        let body: String = self.rest.clone().take_while(|next| *next != '}').take(12).collect();
        let (low, high) = body.split_once(',').unwrap_or((&body, ""));
        let closed = self.rest.clone().nth(body.chars().count()) == Some('}');
        let number = |text: &str| {
            text.bytes().all(|digit| digit.is_ascii_digit()) && (text.len() < 2 || !text.starts_with('0'))
        };
        if !closed || low.is_empty() || !number(low) || !number(high) {
            self.literal('{');
            return Ok(());
        }
        if [low, high]
            .iter()
            .any(|text| !text.is_empty() && text.parse().map_or(true, |count: u32| count > MAX_REPEAT))
        {
            return error(format!("repetition `{{{body}}}` is more than {MAX_REPEAT}"));
        }
        let body = self.until('}')?;
        self.out.extend(["{", &body, "}"]);
        Ok(())
    }

    /// After `[`.
    fn class(&mut self) -> Result<(), RegexError> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let Some(next) = self.rest.next() else { return error("missing `]`") };
            match next {
                ']' if !first => break,
                '[' if self.rest.peek() == Some(&':') && self.posix_class() => {}
                _ => self.class_item(next)?,
            }
            first = false;
        }
        self.out.push(']');
        Ok(())
    }

    /// Copies `[:name:]`, of which `[` has been read. False when it is not one.
    fn posix_class(&mut self) -> bool {
        let ahead: String = self.rest.clone().skip(1).take_while(|next| *next != ']').take(16).collect();
        let Some(name) = ahead.strip_suffix(':') else { return false };
        if !name.strip_prefix('^').unwrap_or(name).bytes().all(|byte| byte.is_ascii_lowercase()) {
            return false;
        }
        self.out.push_str("[:");
        self.out.push_str(&ahead);
        self.out.push(']');
        // `:`, the name with its `:`, and `]`.
        self.rest.by_ref().take(ahead.chars().count() + 2).for_each(drop);
        true
    }

    /// One character, range or escape inside a class.
    fn class_item(&mut self, first: char) -> Result<(), RegexError> {
        let Some(low) = self.class_character(first)? else { return Ok(()) };
        self.literal(low);
        let mut ahead = self.rest.clone();
        if ahead.next() != Some('-') || ahead.next().is_none_or(|end| end == ']') {
            return Ok(());
        }
        self.rest.next();
        let Some(end) = self.rest.next() else { return error("missing `]`") };
        self.out.push('-');
        match self.class_character(end)? {
            Some(high) => self.literal(high),
            None => return error("a class cannot end a range"),
        }
        Ok(())
    }

    /// The character that `first` is or begins; `None` when it was a class, which is then written.
    fn class_character(&mut self, first: char) -> Result<Option<char>, RegexError> {
        if first != '\\' {
            return Ok(Some(first));
        }
        Ok(match self.escape()? {
            Escape::Literal(literal) => Some(literal),
            Escape::Other(class) => {
                self.out.push_str(&class);
                None
            }
        })
    }
}
