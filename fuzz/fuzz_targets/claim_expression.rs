//! Claim expressions: any text compiles or is refused at a place in it. What compiles says which claims it reads, never
//! holds together with its negation, and lets nobody pass of whom nothing is known.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use portcullis::oidc::authorize::Expression;
use portcullis::oidc::claims::Claims;
use serde_json::{Value, json};

static CLAIMS: LazyLock<Value> = LazyLock::new(|| {
    json!({"sub": "s", "groups": ["a", "b", 5, null], "scope": "a b", "n": 17, "t": true, "empty": "", "null": null,
        "a": {"b": {"c": ["x", "y"]}, "d": "z"}, "a.b": "literal", "https://x.example/r": ["t"]})
});

fuzz_target!(|text: &str| {
    let expression = match Expression::compile(text) {
        Ok(expression) => expression,
        Err(error) => return assert!(error.position <= text.chars().count()),
    };
    let all = CLAIMS.as_object().unwrap();
    let needed = expression.needed_claims();
    // As written: a path into a claim, or a name with dots of its own.
    let leads_into = |path: &str, name: &str| {
        let path = path.replace("\\\\", "\\").replace("\\.", ".");
        path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let kept = all.iter().filter(|(name, _)| needed.iter().any(|path| leads_into(path, name)));
    let kept = Claims::new(kept.map(|(name, value)| (name.clone(), value.clone())).collect());
    let all = Claims::new(all.clone());
    let admits = expression.admits(&all);
    assert_eq!(admits, expression.admits(&kept));
    assert!(!expression.admits(&Claims::default()));
    // Too deep or too long by what was added, at most.
    if let Ok(negation) = Expression::compile(&format!("!({text})")) {
        assert!(!(admits && negation.admits(&all)));
    }
});
