//! The grammar as a whole: what can be written is read back, and nothing that can be written hurts.

use proptest::prelude::*;

use crate::router::Rule;

/// A rule before it is written down.
#[derive(Debug, Clone)]
enum Tree {
    Call { name: &'static str, spelling: usize, value: String, quoted: bool },
    Not(Box<Tree>),
    Join { all: bool, parts: Vec<Tree> },
}

fn tree() -> impl Strategy<Value = Tree> {
    let names = prop::sample::select(vec!["Host", "PathPrefix", "Method", "Query"]);
    let call =
        (names, 0_usize..4, "[a-z\"\\\\]{1,8}", any::<bool>()).prop_map(|(name, spelling, text, quoted)| {
            let value = if name == "PathPrefix" { format!("/{text}") } else { text };
            Tree::Call { name, spelling, value, quoted }
        });
    call.prop_recursive(5, 32, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|tree| Tree::Not(Box::new(tree))),
            (any::<bool>(), prop::collection::vec(inner, 2..4))
                .prop_map(|(all, parts)| Tree::Join { all, parts }),
        ]
    })
}

/// Writes a rule in one of its many forms; `space` goes between any two tokens.
fn write(tree: &Tree, space: &str, plain: bool) -> String {
    match tree {
        Tree::Call { name, spelling, value, quoted } => {
            let name = match spelling {
                _ if plain => (*name).to_owned(),
                0 => name.to_lowercase(),
                1 => name.to_uppercase(),
                2 => name[..1].to_owned() + &name[1..].to_lowercase(),
                _ => (*name).to_owned(),
            };
            let value = if *quoted && !plain {
                format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\x22"))
            } else {
                format!("`{value}`")
            };
            [&name, "(", &value, ")"].join(space)
        }
        Tree::Not(inner) => ["!", "(", &write(inner, space, plain), ")"].join(space),
        Tree::Join { all, parts } => {
            let operator = if *all { "&&" } else { "||" };
            let parts: Vec<_> =
                parts.iter().map(|part| ["(", &write(part, space, plain), ")"].join(space)).collect();
            parts.join(&[space, operator, space].concat())
        }
    }
}

proptest! {
    #[test]
    fn spelling_quotes_and_spaces_make_no_difference(
        tree in tree(),
        space in "([ \t\n]|//[a(`]{0,2}\n|/[*][a)\"]{0,2}[*]/){0,2}",
    ) {
        let plain = Rule::parse(&write(&tree, "", true)).unwrap();
        let fancy = Rule::parse(&write(&tree, &space, false)).unwrap();
        prop_assert_eq!(format!("{plain:?}"), format!("{fancy:?}"));
    }

    #[test]
    fn a_double_negation_is_none(tree in tree()) {
        let text = write(&tree, "", true);
        let doubled = Rule::parse(&format!("!(!({text}))")).unwrap();
        prop_assert_eq!(format!("{:?}", Rule::parse(&text).unwrap()), format!("{doubled:?}"));
    }

    #[test]
    fn errors_point_into_the_rule(text in "([A-Za-z]{0,4}|[`\"'(),!&|\\\\é ]|Host\\(`|PathPrefix\\(`/`\\)){0,12}") {
        if let Err(error) = Rule::parse(&text) {
            prop_assert!(text.is_char_boundary(error.offset), "{} in {text:?}", error);
            prop_assert!(!error.message.is_empty() && error.message.len() < 400);
        }
    }
}
