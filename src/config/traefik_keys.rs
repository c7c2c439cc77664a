//! Every key of Traefik's schema has a known fate here: see `tests/data/traefik-keys.txt`.

use std::path::Path;

use super::decode::Decode;
use super::dynamic::DynamicConfig;
use super::source;
use super::{ConfigError, ConfigErrors, Decoder, StaticConfig};

const TABLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/traefik-keys.txt"));

/// A document that holds only the key at `path`, with a value of this kind.
fn document(path: &str, kind: &str) -> String {
    let value = match kind {
        "bool" => "true",
        "int" => "1",
        "numbers" => "[1]",
        "duration" => "1s",
        "text" => "x",
        "list" => "[x]",
        "map" => "{k: v}",
        "blocks" => "{a: {b: c}}",
        "block" => "{}",
        other => panic!("no such kind: {other}"),
    };
    path.rsplit('.').fold(value.to_owned(), |inner, segment| match segment.strip_suffix("[0]") {
        Some(list) => format!("{{{list}: [{inner}]}}"),
        None => format!("{{{segment}: {inner}}}"),
    })
}

fn decode<T: Decode>(text: &str) -> Result<Vec<ConfigError>, ConfigErrors> {
    let node = source::parse(Path::new("k.yml"), text)?;
    let mut decoder = Decoder::new();
    let value = T::decode(&node, &mut decoder);
    decoder.finish(value).map(|(_, warnings)| warnings)
}

/// What becomes of the key, by what is said about it and the blocks around it.
fn fate(document: &str, path: &str, kind: &str) -> String {
    let text = self::document(path, kind);
    let told = match document {
        "static" => decode::<StaticConfig>(&text),
        _ => decode::<DynamicConfig>(&text),
    };
    let about = |error: &ConfigError| {
        path.strip_prefix(&error.path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    match told {
        Ok(warnings) if warnings.iter().any(about) => "idle".to_owned(),
        Ok(_) => "honoured".to_owned(),
        Err(ConfigErrors(errors)) => {
            let mut errors = errors.iter().filter(|error| !error.message.ends_with("` is required"));
            match errors.next() {
                None => "honoured".to_owned(),
                Some(error) if about(error) && error.message.starts_with("not supported yet") => {
                    "later".to_owned()
                }
                Some(error) if about(error) && error.message.starts_with("unknown key") => error.to_string(),
                Some(error) if about(error) => "refused".to_owned(),
                Some(error) => error.to_string(),
            }
        }
    }
}

#[test]
fn every_key_has_the_fate_that_the_table_tells() {
    let mut wrong = Vec::new();
    let mut keys = 0;
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let [document, fate, kind, path] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("not four words: {line}")
        };
        keys += 1;
        let found = self::fate(document, path, kind);
        if found != fate {
            wrong.push(format!("{document} {found} {kind} {path}"));
        }
    }
    assert!(keys > 850, "{keys}");
    assert!(wrong.is_empty(), "{} of {keys} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_key_that_traefik_has_not_is_unknown() {
    assert!(fate("static", "entryPoints.x.adress", "text").contains("unknown key"));
    assert!(fate("dynamic", "http.router.x.rule", "text").contains("unknown key"));
    assert_eq!(fate("static", "log.level", "text"), "honoured");
    assert_eq!(fate("static", "providers.docker.watch", "bool"), "later");
}
