//! The part of Go's templates that dynamic files use: raw strings and environment variables.
//!
//! Traefik executes every dynamic file as a template, so a file that passes `{{ … }}` on to a
//! middleware writes it as ``{{`{{ … }}`}}``. Anything beyond that and `{{ env "NAME" }}` is refused.

use std::path::Path;

use crate::config::value::Position;
use crate::config::{ConfigError, ConfigErrors};

/// A text whose templates were executed.
#[derive(Debug, Default)]
pub struct Rendered {
    /// The outcome.
    pub text: String,
    /// Variables that are not set, where they were asked for.
    pub warnings: Vec<ConfigError>,
}

/// Executes the templates in `text`, the content of `path`.
///
/// # Errors
/// Every action that is not one of the two forms, with its place.
pub fn render(
    path: &Path,
    text: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Rendered, ConfigErrors> {
    let mut rendered = Rendered::default();
    let mut errors = Vec::new();
    let mut rest = text;
    while let Some((before, action)) = rest.split_once("{{") {
        rendered.text.push_str(before);
        let offset = text.len() - action.len() - 2;
        let told = |message: String| {
            let at = Some(position(path, text, offset));
            ConfigError { at, path: String::new(), message }
        };
        match evaluate(action) {
            Ok(Evaluated { value, trim_before, after }) => {
                if trim_before {
                    rendered.text.truncate(rendered.text.trim_end().len());
                }
                match value {
                    Term::Raw(raw) => rendered.text.push_str(raw),
                    Term::Variable(name) => match variable(name) {
                        Some(value) => rendered.text.push_str(&value),
                        None => rendered.warnings.push(told(format!(
                            "the environment variable `{name}` is not set: it counts as empty"
                        ))),
                    },
                }
                rest = after;
            }
            Err(message) => {
                errors.push(told(message));
                rest = action.split_once("}}").map_or("", |(_, after)| after);
            }
        }
    }
    rendered.text.push_str(rest);
    if errors.is_empty() { Ok(rendered) } else { Err(ConfigErrors(errors)) }
}

/// What an action stands for.
enum Term<'a> {
    Raw(&'a str),
    /// The environment variable of this name.
    Variable(&'a str),
}

/// An action that was understood.
struct Evaluated<'a> {
    value: Term<'a>,
    /// `{{- `: white space before the action goes.
    trim_before: bool,
    /// What follows the closing braces; after ` -}}` without its leading white space.
    after: &'a str,
}

/// Reads the action at the start of `action`.
fn evaluate(action: &str) -> Result<Evaluated<'_>, String> {
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
        (Term::Raw(raw), after)
    } else {
        let name = inner.strip_prefix("env").map(str::trim_start).ok_or(ALLOWED)?;
        let quote = name.chars().next().filter(|quote| matches!(quote, '"' | '`')).ok_or(ALLOWED)?;
        let name = name.strip_prefix(quote).ok_or(ALLOWED)?;
        let (name, after) = name.split_once(quote).ok_or("this name does not end")?;
        (Term::Variable(name), after)
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
        let rendered = render(Path::new("d.yml"), text, variable);
        rendered.map(|rendered| rendered.text).map_err(|errors| errors.to_string())
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
    fn a_variable_that_is_not_set_is_told() {
        let variable = |name: &str| (name == "EMPTY").then(String::new);
        let text = "a: {{ env \"EMPTY\" }}\nb: x{{ env \"NONE\" }}\n";
        let rendered = render(Path::new("d.yml"), text, variable).unwrap();
        assert_eq!(rendered.text, "a: \nb: x\n");
        let told: Vec<_> = rendered.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["d.yml:2:5: the environment variable `NONE` is not set: it counts as empty"]);
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
