//! The command line, with runc's commands and flags: what containerd, podman and dockerd call a runtime by.

mod args;
mod catalogue;
mod container;
mod create;
mod events;
mod exec;
mod features;
mod foreground;
mod list;
mod report;
mod spec;
mod update;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use fault::{Call, Error, Result};

use args::{Args, Global};
use catalogue::COMMANDS;

/// Runs the command that the process was started for.
pub(crate) fn main() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    let name = if words.is_empty() { OsString::new() } else { words.remove(0) };
    match face(&name, words.first()) {
        Face::Monitor => monitor(),
        Face::Init => init(words),
        Face::CommandLine => command_line(words),
    }
}

enum Face {
    Monitor,
    Init,
    CommandLine,
}

/// As `docker-init` the binary is bind-mounted into containers.
fn face(name: &OsString, first: Option<&OsString>) -> Face {
    let name = Path::new(name).file_name().and_then(|name| name.to_str());
    match (name, first.and_then(|word| word.to_str())) {
        (Some("docker-init" | "kogge-init"), _) | (_, Some("init")) => Face::Init,
        (_, Some("monitor")) => Face::Monitor,
        _ => Face::CommandLine,
    }
}

fn command_line(words: Vec<OsString>) -> ExitCode {
    let (global, args) = match args::parse_global(words) {
        Ok(parsed) => parsed,
        Err(error) => return report::failed(&Global::default(), &error),
    };
    match report::check_log(&global).and_then(|()| run(&global, args)) {
        Ok(code) => code,
        Err(error) => report::failed(&global, &error),
    }
}

type Run = fn(&Global, Args) -> Result<ExitCode>;

struct Command {
    name: &'static str,
    run: Run,
    about: &'static str,
    /// What follows the options.
    operands: &'static str,
    options: &'static str,
}

/// Runc's, which this build does not have.
const MISSING: &[&str] = &["checkpoint", "restore"];

fn run(global: &Global, mut args: Args) -> Result<ExitCode> {
    let Some(name) = args.positional()? else { return help() };
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) if args.wants_help() => help_with(command),
        Some(command) => (command.run)(global, args),
        None if name == "help" => help(),
        None if MISSING.contains(&name.as_str()) => Err(Error::unsupported(format!("`{name}`"))),
        None if args.wants_help() => Err(Error::invalid(format!("No help topic for '{name}'"))),
        None => Err(Error::invalid(format!("no such command: {name}"))),
    }
}

/// As what we were called: whoever has put us in another runtime's place sees that name.
fn program() -> String {
    let path = std::env::args_os().next().map(std::path::PathBuf::from).unwrap_or_default();
    path.file_name().map_or_else(|| "kogge-runtime".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn help() -> Result<ExitCode> {
    let mut text = HELP.replace("PROGRAM", &program());
    for Command { name, about, .. } in COMMANDS {
        text += &format!("   {name:<12}{about}\n");
    }
    print(&text)
}

fn help_with(command: &Command) -> Result<ExitCode> {
    let Command { name, about, operands, options, .. } = command;
    let program = program();
    let mut text = format!(
        "NAME:\n   {program} {name} - {about}\n\nUSAGE:\n   {program} {name} [command options] {operands}\n"
    );
    if !options.is_empty() {
        text += "\nOPTIONS:\n";
        options.lines().for_each(|line| text += &format!("   {line}\n"));
    }
    print(&text)
}

const HELP: &str = "NAME:
   PROGRAM - Open Container Initiative runtime of Kogge

USAGE:
   PROGRAM [global options] command [command options] [arguments...]

GLOBAL OPTIONS:
   --root DIR            where the state of containers is kept (default: /run/kogge-runtime)
   --log FILE            write errors there as well
   --log-format FORMAT   text or json (default: text)
   --cgroup-manager M    cgroupfs, which is the only one
   --debug               tell what is done, in the log or on standard error
   --version             show the version

COMMANDS:
";

fn print(text: &str) -> Result<ExitCode> {
    std::io::stdout().write_all(text.as_bytes()).call(|| "write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// For programs.
fn print_line(value: &impl serde::Serialize) -> Result<ExitCode> {
    let text =
        serde_json::to_string(value).map_err(|error| Error::internal("writing JSON").with_source(error))?;
    print(&format!("{text}\n"))
}

fn print_json(value: &impl serde::Serialize) -> Result<ExitCode> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::internal("writing JSON").with_source(error))?;
    print(&format!("{text}\n"))
}

/// The daemon has put its socket at descriptor 3.
fn monitor() -> ExitCode {
    let served = sys::socket::inherited(runtime::protocol::CONTROL_FD).and_then(runtime::monitor::run);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report::failed(&Global::default(), &error),
    }
}

/// `docker-init -- program…`, or `kogge-runtime init -- program…`.
fn init(words: Vec<OsString>) -> ExitCode {
    let words = words.into_iter().skip_while(|word| word == "init");
    ExitCode::from(runtime::reaper::run(words) as u8)
}
