//! The shape of the source: which module may use which, where the HTTP engine's types may stand, how long a file is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may use besides itself. `main` uses `cli` and is not listed.
///
/// main → cli → lifecycle, entrypoint, admin, provider, runtime, demo → proxy → middleware, service, router → oidc,
/// tls → observe, net, config
const ALLOWED: [(&str, &[&str]); 16] = [
    ("config", &[]),
    ("net", &[]),
    ("observe", &["net", "config"]),
    ("tls", &["observe", "net", "config"]),
    ("oidc", &["tls", "observe", "net", "config"]),
    ("router", &["oidc", "tls", "observe", "net", "config"]),
    ("service", &["router", "oidc", "tls", "observe", "net", "config"]),
    ("middleware", &["service", "router", "oidc", "tls", "observe", "net", "config"]),
    ("proxy", &["middleware", "service", "router", "oidc", "tls", "observe", "net", "config"]),
    ("demo", &["net", "config"]),
    ("provider", &["observe", "net", "config"]),
    ("admin", BELOW_TOP),
    ("entrypoint", BELOW_TOP),
    ("lifecycle", TOP),
    ("runtime", TOP),
    (
        "cli",
        &[
            "lifecycle",
            "entrypoint",
            "admin",
            "provider",
            "runtime",
            "demo",
            "proxy",
            "middleware",
            "service",
            "router",
            "oidc",
            "tls",
            "observe",
            "net",
            "config",
        ],
    ),
];

const BELOW_TOP: &[&str] =
    &["proxy", "middleware", "service", "router", "oidc", "tls", "observe", "net", "config"];

const TOP: &[&str] = &[
    "lifecycle",
    "entrypoint",
    "admin",
    "provider",
    "runtime",
    "proxy",
    "middleware",
    "service",
    "router",
    "oidc",
    "tls",
    "observe",
    "net",
    "config",
];

/// Where Pingora's types may stand.
const ENGINE: [&str; 7] = ["entrypoint", "proxy", "service", "tls", "lifecycle", "middleware", "runtime"];

/// Lines of a file that are not tests.
const LONGEST: usize = 500;

struct Source {
    path: PathBuf,
    /// The top-level module that it belongs to; `main` and `lib` belong to none.
    module: String,
    /// Its lines without comments and without test modules.
    lines: Vec<(usize, String)>,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths
        .into_iter()
        .map(|path| {
            let inside = path.strip_prefix(&root).unwrap();
            let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
            let module = first.trim_end_matches(".rs").to_owned();
            let lines = code(&fs::read_to_string(&path).unwrap());
            Source { path, module, lines }
        })
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            if name != "tests" && !name.ends_with("_tests") {
                paths.push(path);
            }
        }
    }
}

/// Everything before the first test module, without comment lines.
fn code(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let is_test = |at: usize| {
        lines[at].trim() == "#[cfg(test)]"
            && lines[at + 1..].iter().take(3).any(|line| line.trim_start().starts_with("mod "))
    };
    let end = (0..lines.len()).find(|&at| is_test(at)).unwrap_or(lines.len());
    let kept = lines[..end].iter().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    kept.map(|(at, line)| (at + 1, (*line).to_owned())).collect()
}

/// Modules of ours that the text names, with their places: `crate::a`, and each first word of `crate::{a::{b, c}, d}`.
fn used(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, path) in text.match_indices("crate::") {
        let rest = &text[at + path.len()..];
        match rest.strip_prefix('{') {
            None => found.push((at, first_word(rest))),
            Some(list) => found.extend(members(list).into_iter().map(|item| (at, first_word(item)))),
        }
    }
    found
}

/// The items of a list up to its closing brace, split at the commas outside of inner braces.
fn members(list: &str) -> Vec<&str> {
    let (mut items, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let mut wrong = Vec::new();
    let mut edges = 0;
    for source in sources() {
        let module = source.module.as_str();
        if module == "main" || module == "lib" {
            continue;
        }
        let Some(may_use) = allowed.get(module) else {
            wrong.push(format!("{}: module `{module}` has no place in the order", source.path.display()));
            continue;
        };
        let text: String = source.lines.iter().flat_map(|(_, line)| [line.as_str(), "\n"]).collect();
        for (at, name) in used(&text) {
            let known = allowed.contains_key(name.as_str()) && name != module;
            edges += usize::from(known);
            if known && !may_use.contains(&name.as_str()) {
                let number = source.lines[text[..at].matches('\n').count()].0;
                wrong.push(format!("{}:{number}: `{module}` may not use `{name}`", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(edges > 10, "the test does not see the code: {edges} edges");
}

#[test]
fn the_engine_stays_in_its_modules() {
    let mut wrong = Vec::new();
    for source in sources() {
        if ENGINE.contains(&source.module.as_str()) {
            continue;
        }
        for (number, line) in &source.lines {
            // In quotes it is the target of log lines.
            let line = line.replace("\"pingora_", "");
            if line.contains("pingora::") || line.contains("pingora_") || line.contains("use pingora") {
                wrong.push(format!("{}:{number}: {}", source.path.display(), line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_stay_short() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| source.lines.len() > LONGEST)
        .map(|source| format!("{}: {} lines", source.path.display(), source.lines.len()))
        .collect();
    assert!(long.is_empty(), "more than {LONGEST} lines without tests:\n{}", long.join("\n"));
}

#[test]
fn the_reader_of_paths_sees_all_forms() {
    let names = |text| used(text).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    assert_eq!(names("use crate::net::LocalResponse;"), ["net"]);
    assert_eq!(names("use crate::{\n    config::{Located, X},\n    net,\n};"), ["config", "net", ""]);
    assert_eq!(names("fn f(x: crate::oidc::A, y: crate::tls::B)"), ["oidc", "tls"]);
    assert!(
        code("a\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    use crate::cli;\n}")
            .iter()
            .all(|(_, l)| l != "mod tests {")
    );
}
