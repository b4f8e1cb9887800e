//! Help pages, laid out as Docker's: usage, what the command does, its aliases, its options in two columns.

use std::fmt::Write;

use super::{Flag, HELP};
use crate::command::{Command, GLOBAL, GROUPS, Group, PLAIN, Section};

/// A command's page; `path` is how it was called, `width` the terminal's.
pub(crate) fn page(command: &Command, path: &str, width: usize) -> String {
    let mut page = format!("Usage:  {}\n\n{}\n", usage_line(command, path), command.about);
    if !command.also.is_empty() {
        push(&mut page, format_args!("\nAliases:\n  {}\n", command.also));
    }
    let mut flags: Vec<&Flag> = command.flags.iter().flat_map(|part| part.iter()).collect();
    flags.retain(|flag| !flag.hidden);
    // Where its letter has another meaning, `--help` is not to be guessed.
    if flags.iter().any(|flag| flag.short == HELP.short) {
        flags.push(&HELP_ROW);
    }
    if !flags.is_empty() {
        flags.sort_by_key(|flag| flag.long);
        push(&mut page, format_args!("\nOptions:\n{}", options(&flags, width)));
    }
    page
}

/// `kogge ps [OPTIONS]`.
pub(crate) fn usage_line(command: &Command, path: &str) -> String {
    if command.usage.is_empty() { path.to_owned() } else { format!("{path} {}", command.usage) }
}

pub(crate) fn group(group: &Group) -> String {
    let path = format!("{} {}", crate::PROGRAM, group.name);
    let mut page = format!("Usage:  {path} COMMAND\n\n{}\n\nCommands:\n", group.about);
    let rows: Vec<_> = group.entries.iter().map(|entry| (entry.name, entry.command.about)).collect();
    page.push_str(&columns(&rows));
    push(&mut page, format_args!("\nRun '{path} COMMAND --help' for more information on a command.\n"));
    page
}

pub(crate) fn root(width: usize) -> String {
    let program = crate::PROGRAM;
    let mut page = format!("Usage:  {program} [OPTIONS] COMMAND\n\nRuns containers as Docker does\n");
    for (section, title) in [(Section::Common, "Common Commands"), (Section::Other, "Commands")] {
        if section == Section::Other {
            let groups: Vec<_> = GROUPS.iter().map(|group| (group.name, group.about)).collect();
            push(&mut page, format_args!("\nManagement Commands:\n{}", columns(&groups)));
        }
        let rows: Vec<_> = PLAIN
            .iter()
            .filter(|entry| entry.section == section)
            .map(|entry| (entry.name, entry.command.about))
            .collect();
        push(&mut page, format_args!("\n{title}:\n{}", columns(&rows)));
    }
    let flags: Vec<&Flag> = GLOBAL.iter().filter(|flag| !flag.hidden).collect();
    push(&mut page, format_args!("\nGlobal Options:\n{}", options(&flags, width)));
    push(&mut page, format_args!("\nRun '{program} COMMAND --help' for more information on a command.\n"));
    page
}

fn columns(rows: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, about) in rows {
        push(
            &mut text,
            format_args!("  {name:<11} {}\n", about.lines().next().unwrap_or_default().trim_end_matches('.')),
        );
    }
    text
}

fn options(flags: &[&Flag], width: usize) -> String {
    let heads: Vec<String> = flags.iter().map(|flag| head(flag)).collect();
    let column = heads.iter().map(String::len).max().unwrap_or(0) + 3;
    let mut text = String::new();
    for (flag, head) in flags.iter().zip(&heads) {
        let lines = wrap(&describe(flag), width.saturating_sub(column + 1).max(TEXT_WIDTH_MIN));
        push(&mut text, format_args!("{head:<column$}{}\n", lines.join(&format!("\n{:column$}", ""))));
    }
    text
}

fn head(flag: &Flag) -> String {
    let mut head = match flag.short {
        Some(short) => format!("  -{short}, --{}", flag.long),
        None => format!("      --{}", flag.long),
    };
    if !flag.kind.is_empty() {
        push(&mut head, format_args!(" {}", flag.kind));
    }
    head
}

fn describe(flag: &Flag) -> String {
    match (flag.default, flag.kind) {
        ("" | "0" | "false", _) => flag.help.to_owned(),
        (default, "string") => format!("{} (default {default:?})", flag.help),
        (default, _) => format!("{} (default {default})", flag.help),
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("writing to a string does not fail");
}

const HELP_ROW: Flag = Flag { short: None, ..HELP };

/// Narrower than this, text is not worth wrapping.
const TEXT_WIDTH_MIN: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_pages_stay_as_they_are() {
        let mut all = root(80);
        for entry in PLAIN {
            all.push_str("\n----\n");
            all.push_str(&page(entry.command, &format!("kogge {}", entry.name), 80));
        }
        for part in GROUPS {
            all.push_str("\n----\n");
            all.push_str(&group(part));
        }
        insta::assert_snapshot!("help_pages", all);
    }
}
