//! Traefik's flags: `--entryPoints.web.address=:80`, `--ping`, `--list[0].key=value`.

use super::assignments::{Step, Tree};
use crate::config::value::{Node, Position};
use crate::config::{ConfigError, ConfigErrors};

/// How deep a key path may be: as deep as a file may be nested.
const DEEPEST: usize = super::DEEPEST;

/// Reads flags; `None` when there are none.
///
/// A flag without a value is `true`. Without `=` the next argument is the value, unless it is a flag
/// itself. One or two dashes; `--` ends the flags. Keys lose their capitals, as in Traefik.
///
/// # Errors
/// Arguments that are no flags, and malformed paths.
pub fn parse(arguments: &[String]) -> Result<Option<Node>, ConfigErrors> {
    let mut tree = Tree::default();
    let mut errors = Vec::new();
    let mut rest = arguments.iter().peekable();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            errors.extend(rest.map(|argument| ConfigError::new("", format!("`{argument}` is not a flag"))));
            break;
        }
        let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
            errors.push(ConfigError::new("", format!("`{argument}` is not a flag")));
            continue;
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => {
                let value = rest.next_if(|next| is_value(next));
                (flag, value.map_or_else(|| "true".to_owned(), Clone::clone))
            }
        };
        match path(name) {
            Some(path) => tree.assign(&path, value, Position::whole(format!("flag --{name}"))),
            None => errors.push(ConfigError::new("", format!("`--{name}` is not a key path"))),
        }
    }
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    Ok((!tree.is_empty()).then(|| tree.into_node()))
}

/// Whether an argument is the value of the flag before it, and not a flag: `-1` is a number.
fn is_value(argument: &str) -> bool {
    argument.strip_prefix('-').is_none_or(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// `a.b[0].c` in steps.
fn path(name: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    for part in name.split('.') {
        let (key, indexes) = part.split_once('[').map_or((part, None), |(key, rest)| (key, Some(rest)));
        if key.is_empty() {
            return None;
        }
        steps.push(Step::Key(key.to_ascii_lowercase()));
        for index in indexes.into_iter().flat_map(|rest| rest.split('[')) {
            steps.push(Step::Index(index.strip_suffix(']')?.parse().ok()?));
        }
    }
    (steps.len() <= DEEPEST).then_some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Value;
    use crate::config::{Decode, Decoder};

    fn read(flags: &[&str]) -> Node {
        parse(&flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>()).unwrap().unwrap()
    }

    fn at<'a>(node: &'a Node, path: &[&str]) -> &'a Node {
        path.iter().fold(node, |node, key| &node.get(key).unwrap().node)
    }

    #[test]
    fn forms_of_flags() {
        let node =
            read(&["--entryPoints.web.address=:80", "-log.level", "DEBUG", "--ping", "--api.insecure"]);
        assert_eq!(at(&node, &["entrypoints", "WEB", "address"]).value, Value::Scalar(":80".into()));
        assert_eq!(at(&node, &["log", "level"]).value, Value::Scalar("DEBUG".into()));
        assert_eq!(at(&node, &["ping"]).value, Value::Scalar("true".into()));
        assert_eq!(at(&node, &["ping"]).at.to_string(), "flag --ping");
    }

    #[test]
    fn lists_by_index_and_by_repetition() {
        let node = read(&["--a.list[1].x=2", "--a.list[0].x=1", "--b=1", "--b=2"]);
        let Value::List(items) = &at(&node, &["a", "list"]).value else { panic!("no list") };
        assert_eq!(items[0].get("x").unwrap().node.value, Value::Scalar("1".into()));
        assert_eq!(at(&node, &["b"]).last().value, Value::Scalar("2".into()));
        let mut decoder = Decoder::new();
        assert_eq!(Vec::<String>::decode(at(&node, &["b"]), &mut decoder).unwrap(), ["1", "2"]);
        assert_eq!(String::decode(at(&node, &["b"]), &mut decoder).unwrap(), "2");
    }

    #[test]
    fn capitals_make_no_difference() {
        let node = read(&["--entryPoints.Web.address=:80", "--entrypoints.web.asDefault"]);
        let Value::Map(entries) = &at(&node, &["entryPoints"]).value else { panic!("no mapping") };
        assert_eq!(entries.len(), 1);
        assert_eq!(at(&node, &["entryPoints", "web", "asDefault"]).value, Value::Scalar("true".into()));
    }

    #[test]
    fn a_negative_number_is_a_value() {
        let node = read(&["--a", "-1", "--b", "--"]);
        assert_eq!(at(&node, &["a"]).value, Value::Scalar("-1".into()));
        assert_eq!(at(&node, &["b"]).value, Value::Scalar("true".into()));
    }

    #[test]
    fn what_is_no_flag_is_said() {
        let errors = parse(&["serve".to_owned(), "--.x=1".to_owned()]).unwrap_err();
        assert_eq!(errors.to_string(), "`serve` is not a flag\n`--.x` is not a key path");
    }
}
