//! The part of Go's templates that dynamic files use: raw strings and environment variables.
//!
//! Traefik executes every dynamic file as a template, so a file that passes `{{ … }}` on to a
//! middleware writes it as ``{{`{{ … }}`}}``. Anything beyond that and `{{ env "NAME" }}` is refused.

use std::path::Path;

use crate::config::value::Position;
use crate::config::{ConfigError, ConfigErrors};

/// Executes the templates in `text`, the content of `path`.
///
/// # Errors
/// Every action that is not one of the two forms, with its place.
pub fn render(
    path: &Path,
    text: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<String, ConfigErrors> {
    let mut rendered = String::with_capacity(text.len());
    let mut errors = Vec::new();
    let mut rest = text;
    while let Some((before, action)) = rest.split_once("{{") {
        rendered.push_str(before);
        let offset = text.len() - action.len() - 2;
        match evaluate(action, &variable) {
            Ok(Evaluated { value, trim_before, after }) => {
                if trim_before {
                    rendered.truncate(rendered.trim_end().len());
                }
                rendered.push_str(&value);
                rest = after;
            }
            Err(message) => {
                errors.push(ConfigError {
                    at: Some(position(path, text, offset)),
                    path: String::new(),
                    message,
                });
                rest = action.split_once("}}").map_or("", |(_, after)| after);
            }
        }
    }
    rendered.push_str(rest);
    if errors.is_empty() { Ok(rendered) } else { Err(ConfigErrors(errors)) }
}

/// An executed action.
struct Evaluated<'a> {
    value: String,
    /// `{{- `: white space before the action goes.
    trim_before: bool,
    /// What follows the closing braces; after ` -}}` without its leading white space.
    after: &'a str,
}

/// Executes the action at the start of `action`.
fn evaluate<'a>(
    action: &'a str,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<Evaluated<'a>, String> {
    const ALLOWED: &str = "only {{`raw text`}} and {{ env \"NAME\" }} are supported in dynamic files";
    /// Something for a middleware to execute, as it stands where no template is executed before.
    const ESCAPED: &str = "dynamic files are templates themselves: write what a middleware is to execute \
        as raw text, as in {{`{{.Claims.email}}`}}";
    let trimmed = action.strip_prefix('-').filter(|rest| rest.starts_with(char::is_whitespace));
    let inner = trimmed.unwrap_or(action).trim_start();
    if inner.starts_with(['.', '{']) {
        return Err(ESCAPED.to_owned());
    }
    let (value, after) = if let Some(raw) = inner.strip_prefix('`') {
        let (raw, after) = raw.split_once('`').ok_or("this raw string does not end")?;
        (raw.to_owned(), after)
    } else {
        let name = inner.strip_prefix("env").map(str::trim_start).ok_or(ALLOWED)?;
        let quote = name.chars().next().filter(|quote| matches!(quote, '"' | '`')).ok_or(ALLOWED)?;
        let name = name.strip_prefix(quote).ok_or(ALLOWED)?;
        let (name, after) = name.split_once(quote).ok_or("this name does not end")?;
        (variable(name).unwrap_or_default(), after)
    };
    let (trim_after, after) = match after.trim_start().strip_prefix("-}}") {
        Some(rest) if after.starts_with(char::is_whitespace) => (true, rest),
        _ => (false, after.trim_start().strip_prefix("}}").ok_or(ALLOWED)?),
    };
    let after = if trim_after { after.trim_start() } else { after };
    Ok(Evaluated { value, trim_before: trimmed.is_some(), after })
}

fn position(path: &Path, text: &str, offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    Position {
        source: path.display().to_string().into(),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render_it(text: &str) -> Result<String, String> {
        let variable = |name: &str| (name == "HOST").then(|| "example.com".to_owned());
        render(Path::new("d.yml"), text, variable).map_err(|errors| errors.to_string())
    }

    #[test]
    fn the_two_forms() {
        assert_eq!(render_it("value: \"{{`{{.Claims.email}}`}}\"").unwrap(), "value: \"{{.Claims.email}}\"");
        assert_eq!(render_it("rule: Host(`{{ env \"HOST\" }}`)").unwrap(), "rule: Host(`example.com`)");
        assert_eq!(render_it("a: {{env \"NONE\"}}b").unwrap(), "a: b");
        assert_eq!(render_it("a: {{ env `HOST` }}").unwrap(), "a: example.com");
        assert_eq!(render_it("a \n{{- env \"HOST\" -}}\n b").unwrap(), "aexample.comb");
        assert_eq!(render_it("a {{`x` -}} b {{- `y`}}").unwrap(), "a xby");
        assert_eq!(render_it("plain { } text").unwrap(), "plain { } text");
    }

    #[test]
    fn anything_else_has_a_place() {
        let said = render_it("a: 1\nb: {{ range $i := until 3 }}x{{ end }}\n").unwrap_err();
        assert!(said.starts_with("d.yml:2:4: only {{`raw text`}}"), "{said}");
        assert_eq!(said.lines().count(), 2);
        for text in ["v: {{.Claims.email}}", "v: {{ .AccessToken }}", "v: {{{{.Claims.email}}}}"] {
            let said = render_it(text).unwrap_err();
            assert!(said.contains("as in {{`{{.Claims.email}}`}}"), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
        assert!(render_it("{{`open").unwrap_err().contains("does not end"));
        for refused in [
            "{{}}",
            "{{env}}",
            "{{ env NAME }}",
            "{{environment \"X\"}}",
            "{{- }}",
            "{{/* x */}}",
            "{{`a` | upper}}",
            "{{",
        ] {
            assert!(render_it(refused).is_err(), "{refused}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = render_it(&text);
        }
    }
}
