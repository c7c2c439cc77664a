//! What will differ from the traefikoidc plugin, by middleware.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::config::oidc_options::{self, Fate, PluginOption};
use crate::config::value::{Node, Position};

/// The longest line of names.
const WIDTH: usize = 110;

/// An option, and where it is written.
type Placed<'a> = (&'static PluginOption, &'a Position);

/// The options of one middleware's block, in the order of the file.
pub(super) struct Block<'a> {
    name: &'a str,
    path: String,
    at: &'a Position,
    options: Vec<Placed<'a>>,
    /// Those that are left to another default than the plugin's.
    unwritten: Vec<&'static PluginOption>,
}

/// In place of a fate, for options that are not written.
const BY_DEFAULT: &str = "by default";

impl<'a> Block<'a> {
    pub(super) fn new(name: &'a str, path: String, block: &'a Node) -> Self {
        let mut options: Vec<_> = oidc_options::written(block).collect();
        options.sort_by_key(|(_, at)| (at.line, at.column));
        Self { name, path, at: &block.at, options, unwritten: oidc_options::unwritten(block).collect() }
    }

    /// The key path of an option, as warnings have it.
    pub(super) fn path(&self, option: &PluginOption) -> String {
        format!("{}.{}", self.path, option.key)
    }

    /// The options with this fate, and where they are.
    pub(super) fn with(&self, fate: Fate) -> impl Iterator<Item = Placed<'a>> {
        self.options.iter().copied().filter(move |(option, _)| option.fate == fate)
    }

    fn heading(&self) -> String {
        let fates = [Fate::Refused, Fate::Changed, Fate::WithoutEffect, Fate::Honoured];
        let counts = fates.map(|fate| (self.with(fate).count(), fate.as_str()));
        let counts =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, fate)| format!("{count} {fate}"));
        let defaults = (!self.unwritten.is_empty()).then(|| format!("{} {BY_DEFAULT}", self.unwritten.len()));
        let counts = counts.chain(defaults);
        format!("{} ({}): {}", self.name, self.at, counts.collect::<Vec<_>>().join(", "))
    }
}

/// One heading for each middleware; below it what matters first. What was explained once is only named after that.
pub(super) fn told(mut blocks: Vec<Block<'_>>) -> String {
    blocks.sort_by_key(|block| (block.at.source.clone(), block.at.line, block.at.column));
    let (mut explained, mut defaults) = (BTreeSet::new(), BTreeSet::new());
    let mut text = String::new();
    for block in &blocks {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<14}{}", "traefikoidc", block.heading());
        for fate in [Fate::Refused, Fate::Changed, Fate::WithoutEffect] {
            let (new, known): (Vec<_>, Vec<_>) =
                block.with(fate).partition(|(option, _)| explained.insert(option.key));
            for (why, options) in by_reason(new) {
                row(&mut text, fate.as_str(), &format!("{}: {why}", placed(&options)));
            }
            names(&mut text, fate.as_str(), " (as above)", keys(known));
        }
        let (new, known): (Vec<&PluginOption>, Vec<&PluginOption>) =
            block.unwritten.iter().copied().partition(|option| defaults.insert(option.key));
        for option in new {
            row(&mut text, BY_DEFAULT, &format!("{}: {}", option.key, option.unwritten));
        }
        names(&mut text, BY_DEFAULT, " (as above)", known.into_iter().map(|option| option.key));
        names(&mut text, Fate::Honoured.as_str(), "", keys(block.with(Fate::Honoured)));
    }
    text
}

/// What is explained alike stands together, where the first of it does.
fn by_reason<'a>(options: Vec<Placed<'a>>) -> Vec<(&'static str, Vec<Placed<'a>>)> {
    let mut reasons: Vec<(&str, Vec<_>)> = Vec::new();
    for (option, at) in options {
        match reasons.iter_mut().find(|(why, _)| *why == option.why) {
            Some((_, alike)) => alike.push((option, at)),
            None => reasons.push((option.why, vec![(option, at)])),
        }
    }
    reasons
}

/// Names, and the lines that they are in.
fn placed(options: &[Placed<'_>]) -> String {
    let names = options.iter().map(|(option, _)| option.key).collect::<Vec<_>>().join(", ");
    let mut lines: Vec<_> = options.iter().map(|(_, at)| at.line).filter(|line| *line > 0).collect();
    lines.dedup();
    let label = if lines.len() == 1 { "line" } else { "lines" };
    let lines = lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if lines.is_empty() { names } else { format!("{names} ({label} {lines})") }
}

fn row(text: &mut String, fate: &str, what: &str) {
    let _ = writeln!(text, "  {fate:<16}{what}");
}

fn keys<'a>(options: impl IntoIterator<Item = Placed<'a>>) -> impl Iterator<Item = &'static str> {
    options.into_iter().map(|(option, _)| option.key)
}

/// These names, in as many lines as they need.
fn names(text: &mut String, fate: &str, remark: &str, options: impl Iterator<Item = &'static str>) {
    let mut options = options.peekable();
    let mut label = fate;
    while let Some(first) = options.next() {
        let mut line = first.to_owned();
        while let Some(next) = options.next_if(|next| line.len() + next.len() < WIDTH) {
            line = format!("{line}, {next}");
        }
        let end = if options.peek().is_some() { "," } else { remark };
        row(text, label, &format!("{line}{end}"));
        label = "";
    }
}
