//! Traefik's environment variables: `TRAEFIK_ENTRYPOINTS_WEB_ADDRESS=:80`.

use super::assignments::{Step, Tree};
use crate::config::ConfigError;
use crate::config::decode::BlockKeys;
use crate::config::error::nearest;
use crate::config::value::{Node, Position};

const PREFIX: &str = "TRAEFIK_";

/// What the environment says.
#[derive(Debug, Default)]
pub struct Environment {
    /// The configuration; `None` when no variable belongs to it.
    pub node: Option<Node>,
    /// Variables with Traefik's prefix that are no configuration.
    pub others: Vec<ConfigError>,
    /// Variables whose first level looks like a slip of the pen.
    pub unknown: Vec<ConfigError>,
}

/// Reads the variables with Traefik's prefix, in any case, whose first level is a key of `root`.
///
/// Other variables with the prefix are left alone, as in Traefik: Kubernetes makes some for a service
/// of the name `traefik`, such as `TRAEFIK_SERVICE_HOST`. They are told in [`Environment::others`].
pub fn parse(variables: &[(String, String)], root: &BlockKeys) -> Environment {
    let mut tree = Tree::default();
    let mut others = Vec::new();
    let mut unknown = Vec::new();
    for (name, value, path) in ours(variables) {
        let steps: Vec<Step> = path.split('_').take(super::DEEPEST).map(step).collect();
        let Some(Step::Key(first)) =
            steps.first().filter(|step| matches!(step, Step::Key(key) if !key.is_empty()))
        else {
            continue;
        };
        if is_root(root, first) {
            tree.assign(&steps, value.clone(), place(name));
        } else if let Some(meant) = nearest(first, root.traefik()) {
            let message = format!("unknown key `{first}`; did you mean `{meant}`?");
            unknown.push(ConfigError { at: Some(place(name)), path: String::new(), message });
        } else {
            let message = format!("is not configuration: there is no key `{first}`");
            others.push(ConfigError { at: Some(place(name)), path: String::new(), message });
        }
    }
    Environment { node: (!tree.is_empty()).then(|| tree.into_node()), others, unknown }
}

/// Whether there is any configuration in the environment.
pub fn is_used(variables: &[(String, String)], root: &BlockKeys) -> bool {
    ours(variables).any(|(_, _, path)| path.split('_').next().is_some_and(|first| is_root(root, first)))
}

fn is_root(root: &BlockKeys, first: &str) -> bool {
    root.traefik().any(|key| key.eq_ignore_ascii_case(first))
}

fn ours(variables: &[(String, String)]) -> impl Iterator<Item = (&String, &String, &str)> {
    variables.iter().filter_map(|(name, value)| {
        let prefix = name.get(..PREFIX.len())?;
        prefix.eq_ignore_ascii_case(PREFIX).then_some((name, value, name.get(PREFIX.len()..)?))
    })
}

fn place(name: &str) -> Position {
    Position::whole(format!("environment variable {name}"))
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
    use crate::config::StaticConfig;
    use crate::config::value::Value;

    fn read(variables: &[(&str, &str)]) -> Environment {
        let variables: Vec<_> = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        parse(&variables, &StaticConfig::BLOCK)
    }

    #[test]
    fn underscores_separate_levels() {
        let variables =
            [("TRAEFIK_ENTRYPOINTS_WEB_ADDRESS", ":80"), ("PATH", "/bin"), ("traefik_log_level", "INFO")];
        let node = read(&variables).node.unwrap();
        let web = &node.get("entryPoints").unwrap().node.get("web").unwrap().node;
        assert_eq!(web.get("address").unwrap().node.value, Value::Scalar(":80".into()));
        assert_eq!(
            node.get("log").unwrap().node.get("level").unwrap().at.to_string(),
            "environment variable traefik_log_level"
        );
    }

    #[test]
    fn numbers_are_positions_in_lists() {
        let node = read(&[("TRAEFIK_METRICS_PROMETHEUS_BUCKETS_0", "1")]).node.unwrap();
        let metrics = &node.get("metrics").unwrap().node;
        let buckets = &metrics.get("prometheus").unwrap().node.get("buckets").unwrap().node;
        assert!(matches!(&buckets.value, Value::List(items) if items.len() == 1));
    }

    #[test]
    fn numbers_that_begin_no_list_are_names() {
        let node = read(&[("TRAEFIK_ENTRYPOINTS_8080_ADDRESS", ":8080")]).node.unwrap();
        let named = node.get("entryPoints").unwrap().node.get("8080").unwrap();
        assert_eq!(named.node.get("address").unwrap().node.value, Value::Scalar(":8080".into()));
    }

    #[test]
    fn what_kubernetes_adds_is_not_configuration() {
        let read = read(&[("TRAEFIK_SERVICE_HOST", "10.0.0.1"), ("TRAEFIKX", "1"), ("TRAEFIK_", "1")]);
        assert!(read.node.is_none());
        assert_eq!(
            read.others[0].to_string(),
            "environment variable TRAEFIK_SERVICE_HOST: is not configuration: there is no key `service`"
        );
    }

    #[test]
    fn a_slip_of_the_pen_is_refused_and_hides_nothing() {
        let read = read(&[("TRAEFIK_ENTRYPOINT_WEB_ADDRESS", ":80"), ("TRAEFIK_LOG_LEVEL", "INFO")]);
        assert!(read.node.unwrap().get("log").is_some());
        assert_eq!(
            read.unknown[0].to_string(),
            "environment variable TRAEFIK_ENTRYPOINT_WEB_ADDRESS: unknown key `entrypoint`; did you mean `entryPoints`?"
        );
    }
}
