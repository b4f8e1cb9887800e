//! `list`, `state` and `ps`: what there is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use fault::{Call, Error, Kind, Result};
use oci::runtime::{State, Status};
use serde::Serialize;

use super::args::{Args, Global, Word};
use super::container::{Container, Record};
use super::{print, print_json, print_line};

/// A state as runc prints it: the specification's, and a little more, in runc's order.
#[derive(Debug, Serialize)]
struct LongState {
    #[serde(rename = "ociVersion")]
    version: String,
    id: String,
    pid: i32,
    status: Status,
    bundle: PathBuf,
    rootfs: PathBuf,
    created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    owner: String,
}

impl LongState {
    fn of(container: &Container) -> Result<Self> {
        let State { version, id, status, pid, bundle, annotations } = container.state()?;
        let Record { rootfs, created, .. } = &container.record;
        let (rootfs, created, owner) = (rootfs.clone(), created.clone(), String::new());
        Ok(Self { version, id, pid, status, bundle, rootfs, created, annotations, owner })
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
        _ if quiet => print(&states.iter().map(|state| format!("{}\n", state.id)).collect::<String>()),
        "table" => print(&table(&states)),
        "json" => print_line(&states),
        _ => Err(Error::invalid("invalid format option")),
    }
}

fn all(global: &Global) -> Result<Vec<LongState>> {
    let names = match sys::fs::read_dir(&global.root) {
        Err(error) if error.kind() == Kind::NotFound && global.is_default_root() => return Ok(Vec::new()),
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
    states.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(states)
}

fn table(states: &[LongState]) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    rows.extend(states.iter().map(|state| {
        [
            state.id.clone(),
            state.pid.to_string(),
            status_name(state.status).to_owned(),
            state.bundle.display().to_string(),
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
    let options = args.rest()?;
    let pids = Container::load(&global.root, &id.unwrap_or_default())?.cgroup()?.pids()?;
    match format.as_str() {
        "json" => print_json(&pids),
        "table" => print(&of_pids(&process_table(options)?, &pids)?),
        _ => Err(Error::invalid("invalid format option")),
    }
}

/// What ps(1) says of all processes.
#[expect(
    clippy::disallowed_methods,
    reason = "the options of `ps` are those of the program ps, by runc's definition"
)]
fn process_table(options: Vec<String>) -> Result<String> {
    let options = if options.is_empty() { vec!["-ef".to_owned()] } else { options };
    let output = Command::new("ps").args(&options).output().call(|| "running ps")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(Error::invalid(format!("ps {}: {}", options.join(" "), reason.trim_end())))
}

/// The lines of some processes, told by the column PID.
fn of_pids(table: &str, pids: &[i32]) -> Result<String> {
    let header = table.lines().next().unwrap_or_default();
    let column = header.split_ascii_whitespace().position(|title| title == "PID");
    let column = column.ok_or_else(|| Error::invalid("couldn't find PID field in ps output"))?;
    let is_wanted = |line: &&str| {
        let pid = line.split_ascii_whitespace().nth(column).and_then(|word| word.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    let lines = std::iter::once(header).chain(table.lines().skip(1).filter(is_wanted));
    Ok(lines.map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["ID", "X"].map(str::to_owned), ["a-long-container-id", "1"].map(str::to_owned)];
        assert_eq!(aligned(&rows), "ID                    X\na-long-container-id   1\n");
    }

    #[test]
    fn processes_are_found_by_their_number() {
        let table = "UID   PID CMD\nroot    1 init 7\nroot    7 sh\n";
        assert_eq!(of_pids(table, &[7]).unwrap(), "UID   PID CMD\nroot    7 sh\n");
        assert!(of_pids("CMD\nsh\n", &[7]).is_err());
    }
}
