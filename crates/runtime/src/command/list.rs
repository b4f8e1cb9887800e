//! `list`, `state` and `ps`: what there is.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use fault::{Error, Kind, Result};
use oci::runtime::{State, Status};
use serde::Serialize;

use super::args::{Args, Global, Word};
use super::container::Container;
use super::{print, print_json};

/// A state as runc prints it: the specification's, and a little more.
#[derive(Debug, Serialize)]
struct LongState {
    #[serde(flatten)]
    state: State,
    rootfs: PathBuf,
    created: String,
    owner: String,
}

impl LongState {
    fn of(container: &Container) -> Result<Self> {
        Ok(Self {
            state: container.state()?,
            rootfs: container.record.rootfs.clone(),
            created: container.record.created.clone(),
            owner: String::new(),
        })
    }
}

pub(super) fn state(global: &Global, mut args: Args) -> Result<ExitCode> {
    print_json(&LongState::of(&Container::load(&global.root, &args.only_id()?)?)?)
}

pub(super) fn list(global: &Global, mut args: Args) -> Result<ExitCode> {
    let (mut format, mut quiet) = ("table".to_owned(), false);
    while let Some(word) = args.next()? {
        match word {
            Word::Flag(flag) if flag == "f" || flag == "format" => format = args.value()?,
            Word::Flag(flag) if flag == "q" || flag == "quiet" => quiet = true,
            Word::Flag(flag) => return Err(args.unknown(&flag)),
            Word::Positional(word) => return Err(Error::invalid(format!("unexpected argument {word:?}"))),
        }
    }
    let states = all(global)?;
    match format.as_str() {
        _ if quiet => print(&states.iter().map(|state| format!("{}\n", state.state.id)).collect::<String>()),
        "table" => print(&table(&states)),
        "json" => print_json(&states),
        _ => Err(Error::invalid("invalid format option")),
    }
}

fn all(global: &Global) -> Result<Vec<LongState>> {
    let names = match sys::fs::read_dir(&global.root) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(Vec::new()),
        result => result?,
    };
    let mut states = Vec::new();
    for name in names {
        match Container::load(&global.root, &name.to_string_lossy()) {
            // Being made or unmade this moment.
            Err(error) if error.kind() == Kind::NotFound => {}
            result => states.push(LongState::of(&result?)?),
        }
    }
    states.sort_by(|one, other| one.state.id.cmp(&other.state.id));
    Ok(states)
}

fn table(states: &[LongState]) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    rows.extend(states.iter().map(|state| {
        [
            state.state.id.clone(),
            state.state.pid.to_string(),
            status_name(state.state.status).to_owned(),
            state.state.bundle.display().to_string(),
            state.created.clone(),
            state.owner.clone(),
        ]
    }));
    aligned(&rows)
}

fn status_name(status: Status) -> &'static str {
    match status {
        Status::Creating => "creating",
        Status::Created => "created",
        Status::Running => "running",
        Status::Paused => "paused",
        Status::Stopped => "stopped",
    }
}

/// As Go's tabwriter with runc's settings: at least twelve columns a cell, the last one as long as it is.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count() + 3).max().unwrap_or(0).max(12);
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = if column + 1 == N { 0 } else { width(column) };
            write!(text, "{cell:<width$}").ok();
        }
        text.push('\n');
    }
    text
}

pub(super) fn ps(global: &Global, mut args: Args) -> Result<ExitCode> {
    let (mut format, mut id) = ("table".to_owned(), None);
    while id.is_none() {
        match args.next()? {
            Some(Word::Flag(flag)) if flag == "f" || flag == "format" => format = args.value()?,
            Some(Word::Flag(flag)) => return Err(args.unknown(&flag)),
            Some(Word::Positional(word)) => id = Some(word),
            None => return Err(super::args::missing_id()),
        }
    }
    if !args.rest()?.is_empty() {
        return Err(Error::unsupported("options for ps(1)"));
    }
    let pids = Container::load(&global.root, &id.unwrap_or_default())?.cgroup()?.pids()?;
    match format.as_str() {
        "json" => print_json(&pids),
        "table" => print(&process_table(&pids)),
        _ => Err(Error::invalid("invalid format option")),
    }
}

fn process_table(pids: &[i32]) -> String {
    let mut rows = vec![["PID", "CMD"].map(str::to_owned)];
    for pid in pids {
        // One that has ended since is left out.
        let Ok(command) = sys::fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let words: Vec<_> = command.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
        rows.push([pid.to_string(), words.join(" ").trim_end().to_owned()]);
    }
    aligned(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["ID", "X"].map(str::to_owned), ["a-long-container-id", "1"].map(str::to_owned)];
        assert_eq!(aligned(&rows), "ID                    X\na-long-container-id   1\n");
    }
}
