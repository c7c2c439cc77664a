//! What will differ from the traefikoidc plugin, by middleware.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::config::oidc_options::{self, Fate, PluginOption};
use crate::config::value::{Node, Position};

/// The longest line of names.
const WIDTH: usize = 110;

/// The options of one middleware's block, in the order of the file.
pub(super) struct Block<'a> {
    name: &'a str,
    at: &'a Position,
    options: Vec<(&'static PluginOption, &'a Position)>,
}

impl<'a> Block<'a> {
    pub(super) fn new(name: &'a str, block: &'a Node) -> Self {
        let mut options: Vec<_> = oidc_options::written(block).collect();
        options.sort_by_key(|(_, at)| (at.line, at.column));
        Self { name, at: &block.at, options }
    }

    /// The key path of an option, as warnings have it.
    pub(super) fn path(&self, option: &PluginOption) -> String {
        format!("http.middlewares.{}.{}", self.name, option.key)
    }

    /// The options with this fate, and where they are.
    pub(super) fn with(&self, fate: Fate) -> impl Iterator<Item = (&'static PluginOption, &'a Position)> {
        self.options.iter().copied().filter(move |(option, _)| option.fate == fate)
    }

    fn heading(&self) -> String {
        let fates = [Fate::Refused, Fate::Changed, Fate::WithoutEffect, Fate::Honoured];
        let counts = fates.map(|fate| (self.with(fate).count(), fate.as_str()));
        let counts =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, fate)| format!("{count} {fate}"));
        format!("{} ({}): {}", self.name, self.at, counts.collect::<Vec<_>>().join(", "))
    }
}

/// One heading for each middleware; below it what matters first. What was explained once is only named after that.
pub(super) fn told(mut blocks: Vec<Block<'_>>) -> String {
    blocks.sort_by_key(|block| (block.at.source.clone(), block.at.line, block.at.column));
    let mut explained = BTreeSet::new();
    let mut text = String::new();
    for block in &blocks {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<14}{}", "traefikoidc", block.heading());
        for fate in [Fate::Refused, Fate::Changed, Fate::WithoutEffect] {
            let (new, known): (Vec<_>, Vec<_>) =
                block.with(fate).partition(|(option, _)| explained.insert(option.key));
            for (option, at) in new {
                let place = if at.line == 0 { String::new() } else { format!(" (line {})", at.line) };
                row(&mut text, fate.as_str(), &format!("{}{place}: {}", option.key, option.why));
            }
            names(&mut text, fate.as_str(), " (as above)", known.into_iter());
        }
        names(&mut text, Fate::Honoured.as_str(), "", block.with(Fate::Honoured));
    }
    text
}

fn row(text: &mut String, fate: &str, what: &str) {
    let _ = writeln!(text, "  {fate:<16}{what}");
}

/// The names of these options, in as many lines as they need.
fn names<'a>(
    text: &mut String,
    fate: &str,
    remark: &str,
    options: impl Iterator<Item = (&'static PluginOption, &'a Position)>,
) {
    let mut options = options.map(|(option, _)| option.key).peekable();
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
