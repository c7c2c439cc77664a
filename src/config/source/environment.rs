//! Traefik's environment variables: `TRAEFIK_ENTRYPOINTS_WEB_ADDRESS=:80`.

use super::assignments::{Step, Tree};
use crate::config::value::{Node, Position};

const PREFIX: &str = "TRAEFIK_";

/// Reads the variables with Traefik's prefix, in any case; `None` when there are none.
pub fn parse(variables: &[(String, String)]) -> Option<Node> {
    let mut tree = Tree::default();
    for (name, value) in variables {
        let Some(prefix) = name.get(..PREFIX.len()) else { continue };
        let Some(path) = name.get(PREFIX.len()..).filter(|_| prefix.eq_ignore_ascii_case(PREFIX)) else {
            continue;
        };
        let steps: Vec<Step> = path.split('_').map(step).collect();
        tree.assign(&steps, value.clone(), Position::whole(format!("environment variable {name}")));
    }
    (!tree.is_empty()).then(|| tree.into_node(&Position::whole("environment")))
}

fn step(part: &str) -> Step {
    match part.parse() {
        Ok(index) => Step::Index(index),
        Err(_) => Step::Key(part.to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Value;

    #[test]
    fn underscores_separate_levels() {
        let variables = [
            ("TRAEFIK_ENTRYPOINTS_WEB_ADDRESS".to_owned(), ":80".to_owned()),
            ("PATH".to_owned(), "/bin".to_owned()),
            ("traefik_log_level".to_owned(), "INFO".to_owned()),
        ];
        let node = parse(&variables).unwrap();
        let web = &node.get("entryPoints").unwrap().node.get("web").unwrap().node;
        assert_eq!(web.get("address").unwrap().node.value, Value::Scalar(":80".into()));
        assert_eq!(
            node.get("log").unwrap().node.get("level").unwrap().at.to_string(),
            "environment variable traefik_log_level"
        );
    }

    #[test]
    fn other_variables_are_not_configuration() {
        assert!(parse(&[("TRAEFIKX".to_owned(), "1".to_owned())]).is_none());
    }
}
