//! The columns of `ps`, with the titles and forms of procps. Pure.

use std::collections::HashMap;

use fault::{Error, Result};
use jiff::tz::TimeZone;

use super::process::{Machine, Process};

/// A column that is shown.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) title: String,
    cell: Cell,
}

type Cell = fn(&Process, &Machine) -> String;

/// `ps -f`
pub(super) const FULL: &[&str] = &["f:uid", "pid", "ppid", "c", "stime", "f:tty", "time", "cmd"];
/// `ps u`
pub(super) const USER: &[&str] =
    &["user", "pid", "%cpu", "%mem", "vsz", "rss", "f:tty", "stat", "start_time", "u:time", "args"];

/// The columns of one of the two lists above.
pub(super) fn shaped(names: &[&str]) -> Vec<Column> {
    names.iter().map(|name| Column::named(name).expect("the lists name columns that are")).collect()
}

impl Column {
    /// By the name that `-o` takes.
    pub(super) fn named(name: &str) -> Result<Self> {
        let found = COLUMNS.iter().find(|(names, ..)| names.contains(&name));
        let (_, title, cell) = found.ok_or_else(|| Error::unsupported(format!("ps column {name:?}")))?;
        Ok(Self { title: (*title).to_owned(), cell: *cell })
    }

    pub(super) fn is_pid(&self) -> bool {
        self.title == "PID"
    }

    pub(super) fn show(&self, process: &Process, machine: &Machine) -> String {
        (self.cell)(process, machine)
    }
}

/// Names, title, cell. Those with a colon are the forms that only the lists have.
const COLUMNS: &[(&[&str], &str, Cell)] = &[
    (&["pid", "tgid"], "PID", |process, _| process.pid.to_string()),
    (&["ppid"], "PPID", |process, _| process.parent.to_string()),
    (&["pgid", "pgrp"], "PGID", |process, _| process.group.to_string()),
    (&["sid", "sess", "session"], "SID", |process, _| process.session.to_string()),
    (&["tpgid"], "TPGID", |process, _| process.foreground_group.to_string()),
    (&["uid", "euid"], "UID", |process, _| process.uid.to_string()),
    (&["gid", "egid"], "GID", |process, _| process.gid.to_string()),
    (&["user", "euser", "uname"], "USER", |process, machine| name(&machine.users, process.uid)),
    (&["f:uid"], "UID", |process, machine| name(&machine.users, process.uid)),
    (&["group", "egroup"], "GROUP", |process, machine| name(&machine.groups, process.gid)),
    (&["comm", "ucmd", "ucomm"], "COMMAND", |process, _| comm(process)),
    (&["args", "command"], "COMMAND", |process, _| arguments(process)),
    (&["cmd"], "CMD", |process, _| arguments(process)),
    (&["c"], "C", |process, machine| (cpu_per_mille(process, machine) / 10).min(99).to_string()),
    (&["%cpu", "pcpu"], "%CPU", |process, machine| tenths(cpu_per_mille(process, machine))),
    (&["%mem", "pmem"], "%MEM", |process, machine| tenths(memory_per_mille(process, machine))),
    (&["stime"], "STIME", started),
    (&["start_time", "bsdstart", "start"], "START", started),
    (&["lstart"], "STARTED", |process, machine| {
        local(machine, start(process, machine), "%a %b %e %H:%M:%S %Y")
    }),
    (&["etime"], "ELAPSED", |process, machine| elapsed(seconds_lived(process, machine))),
    (&["etimes"], "ELAPSED", |process, machine| seconds_lived(process, machine).to_string()),
    (&["time", "cputime"], "TIME", |process, _| clock(process.ticks() / TICKS)),
    (&["u:time", "bsdtime"], "TIME", |process, _| minutes(process.ticks() / TICKS)),
    (&["tty", "tt"], "TT", |process, _| tty(process.tty)),
    (&["f:tty", "tname"], "TTY", |process, _| tty(process.tty)),
    (&["stat"], "STAT", state),
    (&["s", "state"], "S", |process, _| process.state.to_string()),
    (&["vsz", "vsize"], "VSZ", |process, _| (process.virtual_bytes / 1024).to_string()),
    (&["rss", "rssize", "rsz"], "RSS", |process, machine| (resident(process, machine) / 1024).to_string()),
    (&["ni", "nice"], "NI", |process, _| process.nice.to_string()),
    (&["pri"], "PRI", |process, _| (39 - process.priority).to_string()),
    (&["nlwp", "thcount"], "NLWP", |process, _| process.threads.to_string()),
    (&["psr"], "PSR", |process, _| process.cpu.to_string()),
];

/// Ticks a second.
const TICKS: u64 = 100;

fn name(names: &HashMap<u32, String>, number: u32) -> String {
    names.get(&number).cloned().unwrap_or_else(|| number.to_string())
}

fn comm(process: &Process) -> String {
    if process.state == 'Z' { format!("{} <defunct>", process.name) } else { process.name.clone() }
}

/// A name in brackets where there are no arguments, as for the dead.
fn arguments(process: &Process) -> String {
    if process.state == 'Z' {
        return format!("[{}] <defunct>", process.name);
    }
    if process.arguments.is_empty() { format!("[{}]", process.name) } else { process.arguments.join(" ") }
}

fn tenths(per_mille: u64) -> String {
    format!("{}.{}", per_mille / 10, per_mille % 10)
}

/// The part of its life that it has computed.
fn cpu_per_mille(process: &Process, machine: &Machine) -> u64 {
    (process.ticks() * 1000 / TICKS).checked_div(seconds_lived(process, machine)).unwrap_or_default()
}

fn memory_per_mille(process: &Process, machine: &Machine) -> u64 {
    let per_mille = (resident(process, machine) * 1000).checked_div(machine.memory_bytes);
    per_mille.unwrap_or_default().min(999)
}

fn resident(process: &Process, machine: &Machine) -> u64 {
    process.resident_pages * machine.page_bytes
}

/// Unix seconds.
fn start(process: &Process, machine: &Machine) -> i64 {
    machine.boot + i64::try_from(process.start / TICKS).unwrap_or(0)
}

fn seconds_lived(process: &Process, machine: &Machine) -> u64 {
    u64::try_from(machine.now - start(process, machine)).unwrap_or(0)
}

/// The hour for the last day, then the day, then the year.
fn started(process: &Process, machine: &Machine) -> String {
    let start = start(process, machine);
    let date = |seconds: i64, form: &str| local(machine, seconds, form);
    if date(start, "%Y-%m-%d") == date(machine.now, "%Y-%m-%d") {
        return date(start, "%H:%M");
    }
    let same_year = date(start, "%Y") == date(machine.now, "%Y");
    date(start, if same_year { "%b%d" } else { "%Y" })
}

/// A time as the machine's people see it.
fn local(machine: &Machine, seconds: i64, form: &str) -> String {
    let zone = machine.zone.clone().unwrap_or(TimeZone::UTC);
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "?".into(), |time| time.to_zoned(zone).strftime(form).to_string())
}

/// `[days-]hours:minutes:seconds`
fn clock(seconds: u64) -> String {
    let time = format!("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    if seconds < DAY { time } else { format!("{}-{time}", seconds / DAY) }
}

/// `[[days-]hours:]minutes:seconds`
fn elapsed(seconds: u64) -> String {
    if seconds < 3600 { format!("{:02}:{:02}", seconds / 60, seconds % 60) } else { clock(seconds) }
}

/// `minutes:seconds`
fn minutes(seconds: u64) -> String {
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

const DAY: u64 = 24 * 3600;

/// The name of a terminal by its number, which the kernel packs in 32 bits (proc_pid_stat(5), field 7).
fn tty(number: u32) -> String {
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xf_ff00));
    match (major, minor) {
        (0, _) => "?".into(),
        (136..=143, minor) => format!("pts/{}", (major - 136) * 256 + minor),
        (4, minor @ 0..64) => format!("tty{minor}"),
        (4, minor) => format!("ttyS{}", minor - 64),
        _ => "?".into(),
    }
}

/// The state's letter and the marks of BSD's format.
fn state(process: &Process, _: &Machine) -> String {
    let marks = [
        (process.nice < 0, '<'),
        (process.nice > 0, 'N'),
        (process.session == process.pid, 's'),
        (process.threads > 1, 'l'),
        (process.foreground_group == process.group, '+'),
    ];
    let marks = marks.into_iter().filter(|(holds, _)| *holds).map(|(_, mark)| mark);
    std::iter::once(process.state).chain(marks).collect()
}

#[cfg(test)]
mod tests {
    use super::super::process::tests::{STAT, STATUS};
    use super::*;

    fn machine() -> Machine {
        Machine {
            now: 1_738_400_000,
            boot: 1_738_400_000 - 7200,
            memory_bytes: 1 << 30,
            page_bytes: 4096,
            users: HashMap::from([(1000, "me".into())]),
            groups: HashMap::from([(33, "www-data".into())]),
            ..Machine::default()
        }
    }

    #[test]
    fn every_column_in_its_form() {
        let process = Process::parse(STAT, STATUS, "sleep\0a b\0").unwrap();
        let rows = COLUMNS.iter().map(|(names, title, cell)| {
            format!("{:<26}{title:<10}{}\n", names.join(","), cell(&process, &machine()))
        });
        insta::assert_snapshot!(rows.collect::<String>());
    }

    #[test]
    fn the_dead_and_the_nameless_are_shown_as_such() {
        let zombie = Process { state: 'Z', name: "sh".into(), ..Process::default() };
        assert_eq!((arguments(&zombie), comm(&zombie)), ("[sh] <defunct>".into(), "sh <defunct>".into()));
        let kernels = Process { state: 'S', name: "kthreadd".into(), ..Process::default() };
        assert_eq!(arguments(&kernels), "[kthreadd]");
        assert_eq!(name(&HashMap::new(), 7), "7");
    }

    #[test]
    fn times_grow_into_days_and_dates() {
        assert_eq!((clock(3661), clock(DAY + 1)), ("01:01:01".into(), "1-00:00:01".into()));
        assert_eq!((elapsed(61), elapsed(3600)), ("01:01".into(), "01:00:00".into()));
        let at = |start: i64| {
            let boot = start;
            started(&Process::default(), &Machine { boot, ..machine() })
        };
        assert_eq!(at(1_738_400_000 - 60), "08:52");
        assert_eq!(at(1_738_400_000 - 86_400), "Jan31");
        assert_eq!(at(1_738_400_000 - 400 * 86_400), "2023");
    }

    #[test]
    fn terminals_have_names() {
        assert_eq!((tty(0), tty(34817), tty(1025)), ("?".into(), "pts/1".into(), "tty1".into()));
        assert_eq!(tty(4 << 8 | 65), "ttyS1");
        assert_eq!(tty((136 << 8) | (1 << 20)), "pts/256");
    }
}
