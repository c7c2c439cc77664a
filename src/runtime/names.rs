//! Names of configured objects: `name@provider`.

/// `name` as seen from `provider`: an unqualified name belongs to the provider that wrote it.
pub fn qualify(name: &str, provider: &str) -> String {
    if name.contains('@') { name.to_owned() } else { format!("{name}@{provider}") }
}

/// The name of what `provider` defines as `name`. An `@` in it is no provider, as in Traefik: what is defined as
/// `auth@file` does not take the place of `auth`.
pub fn defined(name: &str, provider: &str) -> String {
    format!("{name}@{provider}")
}

/// The entry of `known` nearest to `written`, as the end of a message: `; did you mean …?`.
pub fn hint<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match crate::config::error::nearest(written, known) {
        Some(name) => format!("; did you mean `{name}`?"),
        None => String::new(),
    }
}

/// Says that `name`, a middleware or another `kind` of object, does not work, without repeating what is told where it is
/// written.
pub fn see_there(kind: &str, name: &str) -> String {
    format!("{kind} `{name}` has faults (see there)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unqualified_names_belong_to_their_provider() {
        assert_eq!(qualify("web", "file"), "web@file");
        assert_eq!(qualify("web@internal", "file"), "web@internal");
        assert_eq!(defined("web", "file"), "web@file");
        assert_eq!(defined("web@file", "file"), "web@file@file");
    }

    #[test]
    fn a_slip_of_the_pen_is_named() {
        assert_eq!(hint("auht@file", ["auth@file", "web@file"]), "; did you mean `auth@file`?");
        assert_eq!(hint("something", ["auth@file"]), "");
    }
}
