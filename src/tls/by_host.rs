//! What belongs to hosts, by their names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Values by host. A name `*.example.com` stands for one label, and an exact name goes before it. Names are in lower case
/// and without trailing dot.
#[derive(Debug, Clone)]
pub struct ByHost<T> {
    exact: HashMap<String, T>,
    /// By what follows `*.`.
    wildcard: HashMap<String, T>,
}

impl<T> Default for ByHost<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new() }
    }
}

impl<T> ByHost<T> {
    /// The place of a name, which may be a wildcard.
    pub fn entry(&mut self, name: &str) -> Entry<'_, String, T> {
        match name.strip_prefix("*.") {
            Some(parent) => self.wildcard.entry(parent.to_owned()),
            None => self.exact.entry(name.to_owned()),
        }
    }

    /// The value of a host.
    pub fn get(&self, host: &str) -> Option<&T> {
        self.exact.get(host).or_else(|| self.wildcard.get(host.split_once('.')?.1))
    }
}

impl<T> FromIterator<(String, T)> for ByHost<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(pairs: I) -> Self {
        let mut all = Self::default();
        for (name, value) in pairs {
            all.entry(&name).insert_entry(value);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_goes_before_a_wildcard_of_one_label() {
        let names = ["a.test", "*.test", "*.b.test"].map(|name| (name.to_owned(), name));
        let hosts: ByHost<&str> = names.into_iter().collect();
        let found =
            ["a.test", "c.test", "x.b.test", "b.test", "x.y.test", "test"].map(|host| hosts.get(host));
        assert_eq!(found, [Some(&"a.test"), Some(&"*.test"), Some(&"*.b.test"), Some(&"*.test"), None, None]);
    }
}
