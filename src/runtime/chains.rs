//! Chains of middlewares, replaced by what they hold. Each is judged once, whether or not a router uses it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::names::{hint, qualify, see_there};
use crate::middleware::Middleware;

/// More middlewares than this on one router is a mistake.
pub const MAX_LENGTH: usize = 256;
/// Chains in chains in chains.
const MAX_DEPTH: usize = 64;

/// What a name stands for.
pub enum Compiled {
    /// A middleware.
    Single(Arc<Middleware>),
    /// The middlewares of a chain, in order.
    Chain(Vec<Arc<Middleware>>),
    /// What does not work; why is told where it is written.
    Broken,
}

/// What the names stand for that are settled already.
pub type Table = BTreeMap<String, Compiled>;

/// The middlewares that `name` stands for.
///
/// # Errors
/// Nobody defines it, or it does not work.
pub fn find<'a>(table: &'a Table, name: &str) -> Result<&'a [Arc<Middleware>], String> {
    match table.get(name) {
        Some(Compiled::Single(middleware)) => Ok(std::slice::from_ref(middleware)),
        Some(Compiled::Chain(members)) => Ok(members),
        Some(Compiled::Broken) => Err(see_there("middleware", name)),
        None => {
            Err(format!("middleware `{name}` does not exist{}", hint(name, table.keys().map(String::as_str))))
        }
    }
}

/// Puts the `chains`, by qualified name, with the names of their members as written, into `table`. What is wrong with
/// them is given to `tell`, with the chain's name.
pub fn settle(chains: &BTreeMap<String, &[String]>, table: &mut Table, tell: &mut dyn FnMut(&str, String)) {
    let mut settling = Settling { chains, table, open: Vec::new(), tell };
    for name in chains.keys() {
        settling.chain(name);
    }
}

struct Settling<'a> {
    chains: &'a BTreeMap<String, &'a [String]>,
    table: &'a mut Table,
    /// The chains that are being settled, the outermost first.
    open: Vec<String>,
    tell: &'a mut dyn FnMut(&str, String),
}

impl Settling<'_> {
    fn chain(&mut self, name: &str) {
        let Some(written) = self.chains.get(name).filter(|_| !self.table.contains_key(name)) else { return };
        self.open.push(name.to_owned());
        // An unqualified name belongs to the provider of the chain.
        let provider = name.rsplit_once('@').map_or("", |(_, provider)| provider);
        let (mut members, mut works) = (Vec::new(), true);
        for member in *written {
            match self.member(&qualify(member, provider)) {
                Ok(more) if members.len() + more.len() <= MAX_LENGTH => members.extend(more),
                Ok(_) => {
                    (self.tell)(name, format!("more than {MAX_LENGTH} middlewares"));
                    works = false;
                    break;
                }
                Err(message) => {
                    (self.tell)(name, message);
                    works = false;
                }
            }
        }
        self.open.pop();
        let compiled = if works { Compiled::Chain(members) } else { Compiled::Broken };
        self.table.insert(name.to_owned(), compiled);
    }

    fn member(&mut self, name: &str) -> Result<Vec<Arc<Middleware>>, String> {
        if self.open.iter().any(|open| open == name) {
            let cycle = self.open.iter().skip_while(|open| *open != name).map(String::as_str);
            return Err(format!(
                "chains form a cycle: {}",
                cycle.chain([name]).collect::<Vec<_>>().join(" -> ")
            ));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(format!("chains nest deeper than {MAX_DEPTH}"));
        }
        self.chain(name);
        match find(self.table, name) {
            Ok(members) => Ok(members.to_vec()),
            // Chains whose turn has not come are known, too.
            Err(message) if self.table.contains_key(name) => Err(message),
            Err(_) => {
                let known = self.table.keys().chain(self.chains.keys()).map(String::as_str);
                Err(format!("middleware `{name}` does not exist{}", hint(name, known)))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::config::middleware as config;

    fn single(prefix: &str) -> Arc<Middleware> {
        let add_prefix = config::AddPrefix { prefix: prefix.to_owned() };
        let config = config::Middleware { add_prefix: Some(add_prefix), ..config::Middleware::default() };
        Arc::new(Middleware::new(&config).unwrap())
    }

    /// The table, with the members of each chain that works, and what is told.
    fn settled(chains: &[(&str, &[&str])]) -> (Table, Vec<String>) {
        let mut table: Table = ["a@file", "b@file", "c@other"]
            .map(|name| (name.to_owned(), Compiled::Single(single(name))))
            .into();
        table.insert("bad@file".to_owned(), Compiled::Broken);
        let written: Vec<(String, Vec<String>)> = chains
            .iter()
            .map(|(name, members)| ((*name).to_owned(), members.iter().map(|m| (*m).to_owned()).collect()))
            .collect();
        let written = written.iter().map(|(name, members)| (name.clone(), members.as_slice())).collect();
        let mut told = Vec::new();
        settle(&written, &mut table, &mut |name, message| told.push(format!("{name}: {message}")));
        (table, told)
    }

    #[test]
    fn chains_are_flattened_in_their_own_provider() {
        let chains: &[(&str, &[&str])] =
            &[("outer@file", &["a", "inner@other", "b"]), ("inner@other", &["c", "a@file"])];
        let (table, told) = settled(chains);
        assert_eq!(told, Vec::<String>::new());
        let expected = ["a@file", "c@other", "a@file", "b@file"];
        let found = find(&table, "outer@file").unwrap();
        let is = |(at, name): (usize, &&str)| Arc::ptr_eq(&found[at], &find(&table, name).unwrap()[0]);
        assert!(found.len() == expected.len() && expected.iter().enumerate().all(is));
    }

    #[test]
    fn every_fault_is_told_once_and_at_its_chain() {
        let (table, told) = settled(&[
            ("x@file", &["y", "nobody", "bad", "a"]),
            ("y@file", &["x"]),
            ("loop@file", &["loop", "outre"]),
            ("outer@file", &["x"]),
        ]);
        assert_eq!(
            told,
            [
                "loop@file: chains form a cycle: loop@file -> loop@file",
                "loop@file: middleware `outre@file` does not exist; did you mean `outer@file`?",
                "y@file: chains form a cycle: x@file -> y@file -> x@file",
                "x@file: middleware `y@file` has faults (see there)",
                "x@file: middleware `nobody@file` does not exist",
                "x@file: middleware `bad@file` has faults (see there)",
                "outer@file: middleware `x@file` has faults (see there)",
            ]
        );
        assert!(find(&table, "x@file").is_err() && find(&table, "outer@file").is_err());
    }

    #[test]
    fn neither_length_nor_depth_is_without_end() {
        let names: Vec<String> = (0..80).map(|n| format!("c{n:02}@file")).collect();
        let members: Vec<[&str; 2]> =
            (0..80).map(|n| names.get(n + 1).map_or(["a", "a"], |c| [c, c])).collect();
        let chains: Vec<_> = names.iter().zip(&members).map(|(n, m)| (n.as_str(), m.as_slice())).collect();
        let (_, told) = settled(&chains);
        assert!(told[0].ends_with("chains nest deeper than 64"), "{told:?}");
        let (_, told) = settled(&chains[70..]);
        assert!(told[0].ends_with("more than 256 middlewares"), "{told:?}");
    }
}
