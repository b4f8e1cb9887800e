//! The command line, with runc's commands and flags: what containerd, podman and dockerd call a runtime by.

mod args;
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
    match run(&global, args) {
        Ok(code) => code,
        Err(error) => report::failed(&global, &error),
    }
}

type Command = fn(&Global, Args) -> Result<ExitCode>;

const COMMANDS: &[(&str, Command, &str)] = &[
    ("create", create::create, "create a container"),
    ("delete", container::delete, "delete any resources held by the container"),
    ("events", events::events, "display what a container uses, and when its memory runs out"),
    ("exec", exec::exec, "execute new process inside the container"),
    ("features", features::features, "show the enabled features"),
    ("kill", container::kill, "send the specified signal (default: SIGTERM) to the container's init process"),
    ("list", list::list, "list containers started by this runtime with the given root"),
    ("pause", container::pause, "suspend all processes inside the container"),
    ("ps", list::ps, "display the processes running inside a container"),
    ("resume", container::resume, "resume all processes that have been previously paused"),
    ("run", create::run, "create and run a container"),
    ("spec", spec::spec, "create a new specification file"),
    ("start", create::start, "execute the user defined process in a created container"),
    ("state", list::state, "output the state of a container"),
    ("update", update::update, "update container resource constraints"),
];

/// Runc's, which this build does not have.
const MISSING: &[&str] = &["checkpoint", "restore"];

fn run(global: &Global, mut args: Args) -> Result<ExitCode> {
    let Some(name) = args.positional()? else { return help() };
    if let Some((_, command, _)) = COMMANDS.iter().find(|(known, ..)| *known == name) {
        return command(global, args);
    }
    match name.as_str() {
        "help" => help(),
        _ if MISSING.contains(&name.as_str()) => Err(Error::unsupported(format!("`{name}`"))),
        _ => Err(Error::invalid(format!("no such command: {name}"))),
    }
}

fn help() -> Result<ExitCode> {
    let mut text = String::from(HELP);
    for (name, _, about) in COMMANDS {
        text += &format!("   {name:<10}{about}\n");
    }
    print(&text)
}

const HELP: &str = "NAME:
   kogge-runtime - Open Container Initiative runtime of Kogge

USAGE:
   kogge-runtime [global options] command [command options] [arguments...]

GLOBAL OPTIONS:
   --root DIR            where the state of containers is kept (default: /run/kogge-runtime)
   --log FILE            write errors there as well
   --log-format FORMAT   text or json (default: text)
   --debug               accepted, and without effect
   --version             show the version

COMMANDS:
";

fn print(text: &str) -> Result<ExitCode> {
    std::io::stdout().write_all(text.as_bytes()).call(|| "write to standard output")?;
    Ok(ExitCode::SUCCESS)
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
