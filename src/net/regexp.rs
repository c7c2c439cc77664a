//! Regular expressions in Go's dialect (RE2), which is what Traefik's configuration is written in.
//!
//! Go's syntax is translated to the `regex` crate's, because the two differ where it matters: `\d`, `\w`, `\s` and
//! `\b` are ASCII in Go, `\Q…\E` and a literal `{` exist only in Go, and set operations in classes only in Rust.
//! Both run in time linear in the text.

use std::borrow::Cow;

use regex::bytes::{Regex, RegexBuilder};
use thiserror::Error;

mod translate;

/// The largest compiled program, in bytes.
const SIZE_LIMIT: usize = 1 << 20;
/// The longest expression that is looked at, in bytes.
const MAX_EXPRESSION: usize = 16 << 10;

/// Why an expression was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("bad regular expression: {0}")]
pub struct RegexError(pub(crate) String);

/// A compiled expression in Go's dialect. Matching is unanchored, as Go's `MatchString` is.
#[derive(Debug, Clone)]
pub struct GoRegex {
    compiled: Regex,
    source: Box<str>,
}

impl GoRegex {
    /// Compiles `expression`.
    ///
    /// # Errors
    /// Syntax that Go does not have, and expressions that are too large.
    pub fn new(expression: &str) -> Result<Self, RegexError> {
        if expression.len() > MAX_EXPRESSION {
            return Err(RegexError(format!("longer than {MAX_EXPRESSION} bytes")));
        }
        let translated = translate::translate(expression)?;
        let compiled = RegexBuilder::new(&translated)
            .size_limit(SIZE_LIMIT)
            .dfa_size_limit(SIZE_LIMIT)
            .build()
            .map_err(|error| RegexError(reason(&error)))?;
        Ok(Self { compiled, source: expression.into() })
    }

    /// Whether any part of `text` matches.
    pub fn is_match(&self, text: impl AsRef<[u8]>) -> bool {
        self.compiled.is_match(text.as_ref())
    }

    /// Replaces every match; `$1`, `${1}` and `${name}` in `replacement` stand for groups, `$$` for `$`.
    /// `None` when nothing matches.
    pub fn replace_all(&self, text: &str, replacement: &str) -> Option<String> {
        if !self.is_match(text) {
            return None;
        }
        match self.compiled.replace_all(text.as_bytes(), replacement.as_bytes()) {
            Cow::Borrowed(_) => Some(text.to_owned()),
            Cow::Owned(replaced) => Some(String::from_utf8_lossy(&replaced).into_owned()),
        }
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

/// The last line of the crate's message; the others draw the translated expression, which nobody wrote.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "too large when compiled".to_owned(),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(expression: &str, text: &str) -> bool {
        GoRegex::new(expression).unwrap().is_match(text)
    }

    #[test]
    fn perl_classes_are_ascii() {
        assert!(matches(r"^\d+$", "12"));
        assert!(!matches(r"^\d+$", "١٢"));
        assert!(!matches(r"^\w$", "é"));
        assert!(matches(r"^\W$", "é"));
        assert!(matches(r"^[\w-]+$", "a-b"));
        assert!(matches(r"^[^\d]$", "é"));
        assert!(matches(r"^[\D]$", "é"));
        assert!(!matches(r"^\s$", "\u{b}"));
        assert!(matches(r"a\b", "aé"));
    }

    #[test]
    fn what_only_go_has() {
        assert!(matches(r"^\Qa.b\E$", "a.b"));
        assert!(!matches(r"^\Qa.b\E$", "axb"));
        assert!(matches(r"^\Qa.b", "a.b"));
        assert!(matches(r"^{a}$", "{a}"));
        assert!(matches(r"^a{,2}$", "a{,2}"));
        assert!(matches(r"^\<a\>$", "<a>"));
        assert!(matches(r"^[a&&b]$", "&"));
        assert!(matches(r"^[[a]$", "["));
        assert!(matches(r"^[]a]$", "]"));
        assert!(matches(r"^[+--]$", ","));
        assert!(matches(r"^[a-]$", "-"));
        assert!(matches(r"^[\d-z]$", "-"));
        assert!(matches(r"^\101\x42\x{43}$", "ABC"));
        assert!(matches(r"^\p{^Greek}$", "a"));
        assert!(matches(r"^[[:alpha:]]$", "a"));
        assert!(matches(r"^(?P<x>a)(?<y>b)(?i:C)$", "abc"));
    }

    #[test]
    fn ordinary_expressions_work() {
        assert!(matches("^.+$", "a"));
        assert!(matches(r"^/v[0-9]{1,3}/(a|b)?$", "/v12/"));
        assert!(matches(r"(?i)^FOO\.", "foo.x"));
        assert!(matches("", ""));
        assert!(matches("é+", "éé"));
        assert!(matches(r"^[^/]+$", "é"));
        assert!(!matches("a$", "a\n"));
    }

    #[test]
    fn errors_are_short() {
        for bad in [
            "(", "[a", r"\1", r"\8", r"\C", r"\y", r"\", "(?x)a", "(?=a)", "a{1001}", "*", r"[\b]", r"\pX",
            "[b-a]",
        ] {
            let error = GoRegex::new(bad).unwrap_err().to_string();
            assert!(!error.contains('\n') && error.len() < 120, "{bad}: {error}");
        }
        assert!(GoRegex::new(&"a{1000}".repeat(2000)).is_err());
    }

    #[test]
    fn replacements() {
        let regex = GoRegex::new(r"^http://([^/]+)/(?P<rest>.*)$").unwrap();
        assert_eq!(regex.replace_all("http://h/x/y", "https://$1/${rest}").as_deref(), Some("https://h/x/y"));
        assert_eq!(regex.replace_all("http://h/x", "$1x$$").as_deref(), Some("$"));
        assert_eq!(regex.replace_all("ftp://h/x", "$1"), None);
    }

    proptest! {
        #[test]
        fn literal_text_matches_itself(text in "\\PC{0,20}") {
            let quoted = format!(r"^\Q{text}\E$");
            if !text.contains(r"\E") && !text.ends_with('\\') {
                prop_assert!(matches(&quoted, &text));
            }
        }

        #[test]
        fn never_panics(text in r"[\[\]\\(){}?*+^$|:a-z0-9<>&~,-]{0,24}") {
            if let Ok(regex) = GoRegex::new(&text) {
                regex.is_match(&text);
            }
        }
    }
}
