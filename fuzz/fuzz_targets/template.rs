//! Header templates: any text compiles or is refused at a place in it. A template that prints a token says that it
//! needs tokens, and one that is given only the claims that it says it needs renders the same.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use portcullis::oidc::claims::Claims;
use portcullis::oidc::template::{Source, Template};
use serde_json::{Value, json};

const TOKEN: &str = "<token that nobody guesses>";

static CLAIMS: LazyLock<Value> = LazyLock::new(|| {
    json!({"sub": "s", "email": "a@b.example", "name": "", "groups": ["a", "b", 5, null, {"x": "y"}], "exp": 17,
        "email_verified": true, "realm_access": {"roles": ["r", "s"], "deep": {"er": 1.5}}, "locale": null,
        "https://x.example/roles": ["t"], "a.b": "literal"})
});

fuzz_target!(|text: &str| {
    let template = match Template::compile(text, &["a".to_owned(), "a.b".to_owned()]) {
        Ok(template) => template,
        Err(error) => return assert!(text.is_char_boundary(error.offset)),
    };
    let all = CLAIMS.as_object().unwrap();
    let needed = template.needed_claims();
    let kept = all.iter().filter(|(name, _)| needed.contains(&name.as_str()));
    let kept = Claims::new(kept.map(|(name, value)| (name.clone(), value.clone())).collect());
    let all = Claims::new(all.clone());
    let render = |claims| template.render(Source { claims, access_token: TOKEN, id_token: TOKEN });
    let rendered = render(&all);
    assert_eq!(rendered, render(&kept));
    if rendered.is_some_and(|rendered| rendered.contains(TOKEN)) {
        assert!(template.needs_tokens() || text.contains(TOKEN));
    }
});
