//! The grammar of claim expressions.
//!
//! ```text
//! or    = and { "||" and }
//! and   = unary { "&&" unary }
//! unary = "!" unary | "(" or ")" | name "(" string { "," string } ")"
//! ```

use winnow::ascii::multispace0;
use winnow::combinator::{alt, delimited, opt, preceded, repeat};
use winnow::error::{ErrMode, ParserError};
use winnow::prelude::*;
use winnow::stream::Stream;
use winnow::token::{take_till, take_while};

use super::expression::{Expr, ExpressionError, Test};
use crate::oidc::claims::ClaimPath;

/// The longest expression, in bytes.
const MAX_LENGTH: usize = 64 << 10;
/// How deep parentheses and `!` may nest.
const MAX_DEPTH: usize = 100;

const FUNCTIONS: &str = "Equals, Prefix, Contains, SplitContains or OneOf";

/// A fault at the place where the input then stands.
#[derive(Debug)]
struct Fault(String);

impl<I: Stream> ParserError<I> for Fault {
    type Inner = Self;

    fn from_input(_: &I) -> Self {
        Self("not an expression".to_owned())
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

type Parsed<T> = Result<T, ErrMode<Fault>>;

pub(super) fn parse(text: &str) -> Result<Expr, ExpressionError> {
    if text.len() > MAX_LENGTH {
        let message = format!("the expression is longer than {MAX_LENGTH} bytes");
        return Err(ExpressionError { position: 0, message });
    }
    whole.parse(text).map_err(|error| ExpressionError {
        position: text.get(..error.offset()).map_or(0, |before| before.chars().count()),
        message: error.into_inner().0,
    })
}

fn fail<T>(message: impl Into<String>) -> Parsed<T> {
    Err(ErrMode::Cut(Fault(message.into())))
}

fn whole(input: &mut &str) -> Parsed<Expr> {
    let expr = or(input, 0)?;
    space(input)?;
    match input.chars().next() {
        None => Ok(expr),
        Some(')') => fail("`)` without `(`"),
        Some(_) => fail("expected `&&`, `||` or the end"),
    }
}

fn space(input: &mut &str) -> Parsed<()> {
    multispace0.void().parse_next(input)
}

fn name<'a>(input: &mut &'a str) -> Parsed<&'a str> {
    take_while(0.., |c: char| c.is_alphanumeric() || c == '_').parse_next(input)
}

/// Whether `symbol` comes next, behind white space; takes it.
fn eat(input: &mut &str, symbol: &'static str) -> Parsed<bool> {
    opt(preceded(multispace0, symbol)).map(|found| found.is_some()).parse_next(input)
}

fn or(input: &mut &str, depth: usize) -> Parsed<Expr> {
    let first = and(input, depth)?;
    let mut parts = vec![first];
    while eat(input, "||")? {
        parts.push(and(input, depth)?);
    }
    Ok(single_or(parts, Expr::Or))
}

fn and(input: &mut &str, depth: usize) -> Parsed<Expr> {
    let first = unary(input, depth)?;
    let mut parts = vec![first];
    while eat(input, "&&")? {
        parts.push(unary(input, depth)?);
    }
    Ok(single_or(parts, Expr::And))
}

fn single_or(mut parts: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            join(parts)
        }
    }
}

fn unary(input: &mut &str, depth: usize) -> Parsed<Expr> {
    if depth > MAX_DEPTH {
        return fail(format!("nests deeper than {MAX_DEPTH}"));
    }
    if eat(input, "!")? {
        return unary(input, depth + 1).map(|inner| Expr::Not(Box::new(inner)));
    }
    if !eat(input, "(")? {
        return call(input);
    }
    let inner = or(input, depth + 1)?;
    if eat(input, ")")? { Ok(inner) } else { fail("expected `&&`, `||` or `)`") }
}

fn call(input: &mut &str) -> Parsed<Expr> {
    space(input)?;
    let start = input.checkpoint();
    let name = name(input)?;
    if name.is_empty() {
        return fail(format!("expected {FUNCTIONS}, `!` or `(`"));
    }
    if !matches!(name, "Equals" | "Prefix" | "Contains" | "SplitContains" | "OneOf") {
        input.reset(&start);
        return fail(format!("there is no function `{name}`; expected {FUNCTIONS}"));
    }
    if !eat(input, "(")? {
        return fail(format!("expected `(` behind {name}"));
    }
    let arguments = arguments(input)?;
    expression(name, arguments).or_else(|message| {
        input.reset(&start);
        fail(message)
    })
}

fn arguments(input: &mut &str) -> Parsed<Vec<String>> {
    let mut arguments = vec![string(input)?];
    loop {
        if eat(input, ")")? {
            return Ok(arguments);
        }
        if !eat(input, ",")? {
            return fail("expected `,` or `)`");
        }
        arguments.push(string(input)?);
    }
}

/// Between back-ticks as it is, or between double quotes with `\"` and `\\`.
fn string(input: &mut &str) -> Parsed<String> {
    space(input)?;
    let raw = delimited('`', take_till(0.., '`'), '`').map(str::to_owned);
    let start = input.checkpoint();
    alt((raw, quoted)).parse_next(input).or_else(|_: ErrMode<Fault>| {
        input.reset(&start);
        fail("expected a string in back-ticks or double quotes")
    })
}

fn quoted(input: &mut &str) -> Parsed<String> {
    let piece = alt((take_till(1.., ['"', '\\']), preceded('\\', alt(("\"", "\\")))));
    let joined = repeat(0.., piece).fold(String::new, |mut all, piece: &str| {
        all.push_str(piece);
        all
    });
    delimited('"', joined, '"').parse_next(input)
}

/// The test that a call stands for.
fn expression(name: &str, arguments: Vec<String>) -> Result<Expr, String> {
    let mut arguments = arguments.into_iter();
    let claim = arguments.next().filter(|claim| !claim.is_empty()).ok_or("the name of a claim is empty")?;
    let values: Vec<String> = arguments.collect();
    let test = match (name, values.as_slice()) {
        ("Equals", [value]) => Test::Equals(value.clone()),
        ("Prefix" | "Contains", [value]) if value.is_empty() => {
            return Err(format!("{name} of nothing is true of everything"));
        }
        ("Prefix", [value]) => Test::Prefix(value.clone()),
        ("Contains", [value]) => Test::Contains(value.clone()),
        ("SplitContains", [separator, _]) if separator.is_empty() => {
            return Err("the separator of SplitContains is empty".to_owned());
        }
        ("SplitContains", [separator, value]) => {
            Test::SplitContains { separator: separator.clone(), value: value.clone() }
        }
        ("OneOf", [_, ..]) => Test::OneOf(values),
        ("SplitContains", _) => return Err("SplitContains takes a claim, a separator and a value".to_owned()),
        ("OneOf", _) => return Err("OneOf takes a claim and one or more values".to_owned()),
        _ => return Err(format!("{name} takes a claim and a value")),
    };
    Ok(Expr::Test { claim: ClaimPath::parse(&claim), test })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn faults_name_their_place() {
        let deep = "!".repeat(200) + "Equals(`a`, `b`)";
        let cases = [
            ("", 0, "expected Equals"),
            ("Equals", 6, "expected `(`"),
            ("Equals(`a`)", 0, "Equals takes"),
            ("Equals(`a`, `b`", 15, "expected `,` or `)`"),
            ("Equals(`a`, b)", 12, "expected a string"),
            ("Equals(`a`, `b)", 12, "expected a string"),
            ("Equals(`a`, \"b)", 12, "expected a string"),
            ("Equals(`a`, `b`) & Equals(`a`, `b`)", 17, "expected `&&`"),
            ("Equals(`a`, `b`) &&", 19, "expected Equals"),
            ("Equals(`a`, `b`))", 16, "`)` without"),
            ("(Equals(`a`, `b`)", 17, "or `)`"),
            ("Equals(`é`, `b`) || equals(`a`, `b`)", 20, "no function `equals`"),
            ("Equals(``, `b`)", 0, "name of a claim"),
            ("Contains(`a`, ``)", 0, "true of everything"),
            ("SplitContains(`a`, ``, `b`)", 0, "separator"),
            ("SplitContains(`a`, `b`)", 0, "a separator and"),
            ("OneOf(`a`)", 0, "one or more"),
            (deep.as_str(), 101, "nests deeper"),
        ];
        for (text, position, message) in cases {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(message), "{text}: {error}");
            assert_eq!(error.position, position, "{text}: {error}");
        }
    }

    #[test]
    fn strings_and_white_space() {
        let quoted = parse(" Equals ( \"a\\\"b\" ,\n \"c\\\\d\" ) ").unwrap();
        assert_eq!(quoted, parse("Equals(`a\"b`,`c\\d`)").unwrap());
    }

    proptest! {
        #[test]
        fn any_text_parses_or_not_without_panic(text in "[A-Za-z`\"(),!&| .\\\\é]{0,80}") {
            let _ = parse(&text);
        }
    }
}
