//! Every example under `conf/` is loaded by the real binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::proxy::{BINARY, check};

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found);
        } else if path
            .extension()
            .is_some_and(|kind| ["yml", "yaml", "toml"].iter().any(|known| kind == *known))
        {
            found.push(path);
        }
    }
}

/// A static configuration says where to listen or where to look; the others are what it names.
fn is_static(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap();
    text.lines().any(|line| {
        line.starts_with("entryPoints") || line.starts_with("[entryPoints") || line.starts_with("providers")
    })
}

#[test]
fn every_example_passes_the_check() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let mut found = Vec::new();
    files(&folder, &mut found);
    let (fixed, dynamic): (Vec<PathBuf>, Vec<PathBuf>) = found.into_iter().partition(|path| is_static(path));
    assert!(!fixed.is_empty(), "no static configuration under {}", folder.display());
    for path in &fixed {
        let (passed, printed) = check(path);
        assert!(passed, "{}:\n{printed}", path.display());
    }
    // A dynamic file that no static one names, itself or by its folder, would go unchecked.
    for path in dynamic {
        let named = fixed.iter().any(|known| {
            let inside = path.strip_prefix(known.parent().unwrap()).ok();
            let first = inside.and_then(|inside| inside.components().next());
            let text = fs::read_to_string(known).unwrap();
            first.is_some_and(|first| text.contains(&*first.as_os_str().to_string_lossy()))
        });
        assert!(named, "{} is named by no static configuration beside or above it", path.display());
    }
}

#[test]
fn version_takes_no_arguments() {
    let run = |arguments: &[&str]| Command::new(BINARY).args(arguments).output().unwrap();
    let told = run(&["version"]);
    assert!(told.status.success() && String::from_utf8_lossy(&told.stdout).starts_with("Portcullis "));
    let refused = run(&["version", "--foo"]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("`--foo`"));
}
