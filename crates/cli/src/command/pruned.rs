//! What the prunes have in common: their flags, the question before them, and what they tell afterwards.

use api::filters::Filters;

use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::format::human;
use crate::terminal;

pub(super) const FLAGS: &[Flag] =
    &[Flag::filter("Remove only what fits"), Flag::switch("force", "Do not ask").short('f')];

/// The user's filters, and those of the settings that do not contradict them.
pub(super) fn filters(cli: &Cli, matches: &Matches) -> Filters {
    let mut filters = matches.filters();
    for (name, value) in cli.config().prune_filters.iter().filter_map(|filter| filter.split_once('=')) {
        let opposite = match name {
            "label" => "label!",
            "label!" => "label",
            _ => "",
        };
        if !filters.values(opposite).any(|known| known == value) {
            filters.insert(name, value);
        }
    }
    filters
}

/// Asks before anything is removed, unless the user said beforehand that it may. No is an end without words, and no
/// failure.
pub(super) async fn confirm(matches: &Matches, question: &str) -> Outcome {
    match matches.is_on("force") || terminal::confirm(question).await? {
        true => Ok(()),
        false => Err(Exit::new(0, "")),
    }
}

/// What a prune removed.
pub(super) struct Pruned {
    text: String,
    pub(super) bytes: u64,
}

impl Pruned {
    pub(super) fn new(title: &str, names: &[String], bytes: u64) -> Self {
        match names {
            [] => Self { text: String::new(), bytes },
            names => Self { text: format!("{title}\n{}\n\n", names.join("\n")), bytes },
        }
    }

    pub(super) fn show(&self) -> Outcome {
        terminal::print(&self.text)
    }

    /// The same, and how much room that made.
    pub(super) fn show_with_space(&self) -> Outcome {
        self.show()?;
        let bytes = i64::try_from(self.bytes).unwrap_or(i64::MAX);
        terminal::line(format!("Total reclaimed space: {}", human::size_exact(bytes)))
    }
}
