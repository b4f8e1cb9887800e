//! What may follow on a command line, for shells: from the tree of commands and their flags, and from the daemon.
//!
//! ```text
//! words in front, the word that is begun --walk the tree--> Wanted --the daemon, if it runs--> Proposal, Proposal, …
//! ```
//!
//! A script for each shell calls `kogge __complete WORDS…`, as those of Docker's own client do, and reads a line for each
//! proposal (`word TAB description`) and a last one that begins with a colon: 4 if nothing else fits, 0 if files do.

mod things;
mod walk;

use std::fmt::Write;

use crate::cli::Cli;
use crate::command::GLOBAL;
use crate::exit::{Exit, Outcome};
use crate::flags;
use crate::terminal;

use walk::{Proposal, Wanted};

/// The script that makes a shell ask us; none for a shell that is not known.
pub(crate) fn script(shell: &str) -> Option<&'static str> {
    Some(match shell {
        "bash" => include_str!("completion/kogge.bash"),
        "zsh" => include_str!("completion/kogge.zsh"),
        "fish" => include_str!("completion/kogge.fish"),
        "powershell" => include_str!("completion/kogge.ps1"),
        _ => return None,
    })
}

/// Answers a shell. The last word is the one that is begun. Nothing is started, and no trouble is told: who only looks for
/// a word must not be interrupted.
pub(crate) fn answer(words: &[String], is_described: bool) -> Outcome {
    let (begun, before) = words.split_last().map_or(("", words), |(last, rest)| (last.as_str(), rest));
    // An empty word, as PowerShell sends it.
    let begun = if begun == "\"\"" { "" } else { begun };
    let (proposals, is_all) = match walk::wanted(before, begun) {
        Wanted::Words(words) => (words, true),
        Wanted::Things(things) => (ask(before, things)?, true),
        Wanted::Files => (Vec::new(), false),
    };
    let mut text = String::new();
    for Proposal { word, about } in proposals.iter().filter(|proposal| proposal.word.starts_with(begun)) {
        let told = match is_described && !about.is_empty() {
            true => writeln!(text, "{word}\t{about}"),
            false => writeln!(text, "{word}"),
        };
        told.expect("a string takes everything");
    }
    let (directive, name) = if is_all { (4, "NoFileComp") } else { (0, "Default") };
    terminal::print(&format!("{text}:{directive}\n"))?;
    terminal::write_error(format!("Completion ended with directive: ShellCompDirective{name}\n").as_bytes())
}

fn ask(before: &[String], things: walk::Things) -> Outcome<Vec<Proposal>> {
    let Ok(global) = flags::parse(&[GLOBAL], false, before) else { return Ok(Vec::new()) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::failure(format!("starting the runtime: {error}")))?;
    let cli = Cli::new(global);
    let found = runtime.block_on(async { tokio::time::timeout(PATIENCE, things::names(&cli, things)).await });
    let names = found.ok().and_then(Result::ok).unwrap_or_default();
    Ok(names.into_iter().map(Proposal::bare).collect())
}

/// Longer nobody waits for a word.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
