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
            Ok((value, after)) => {
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

/// The value of the action at the start of `action`, and what follows its closing braces.
fn evaluate<'a>(
    action: &'a str,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<(String, &'a str), String> {
    const ALLOWED: &str = "only {{`raw text`}} and {{ env \"NAME\" }} are supported in dynamic files";
    let inner = action.strip_prefix("- ").unwrap_or(action).trim_start();
    let (value, after) = if let Some(raw) = inner.strip_prefix('`') {
        let (raw, after) = raw.split_once('`').ok_or("this raw string does not end")?;
        (raw.to_owned(), after)
    } else if let Some(name) =
        inner.strip_prefix("env").map(str::trim_start).and_then(|n| n.strip_prefix('"'))
    {
        let (name, after) = name.split_once('"').ok_or("this name does not end")?;
        (variable(name).unwrap_or_default(), after)
    } else {
        return Err(ALLOWED.to_owned());
    };
    let after = after.trim_start();
    let after = after.strip_prefix("}}").ok_or_else(|| ALLOWED.to_owned())?;
    Ok((value, after))
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
        assert_eq!(render_it("plain { } text").unwrap(), "plain { } text");
    }

    #[test]
    fn anything_else_has_a_place() {
        let said = render_it("a: 1\nb: {{ range $i := until 3 }}x{{ end }}\n").unwrap_err();
        assert!(said.starts_with("d.yml:2:4: only {{`raw text`}}"), "{said}");
        assert_eq!(said.lines().count(), 2);
        assert!(render_it("{{`open").unwrap_err().contains("does not end"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = render_it(&text);
        }
    }
}
