//! How a failure is told: on standard error, and in the log where the caller looks for it.

use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

use fault::{Call, Error, Kind, Result};

use super::args::Global;

/// The end of the story.
pub(super) fn failed(global: &Global, error: &Error) -> ExitCode {
    if error.kind() == Kind::Unchanged {
        // Nothing to do but to say so, as for --version.
        write!(std::io::stdout(), "{error}").ok();
        return ExitCode::SUCCESS;
    }
    let line = line(global, "error", &error.to_string());
    match &global.log {
        Some(path) => {
            append(path, &line).ok();
            writeln!(std::io::stderr(), "{error}").ok();
        }
        None => {
            write!(std::io::stderr(), "{line}").ok();
        }
    }
    ExitCode::FAILURE
}

/// A log that nobody could read is an error before anything is done.
pub(super) fn check_log(global: &Global) -> Result<()> {
    let Some(path) = &global.log else { return Ok(()) };
    append(path, "").call(|| format!("unable to open log {}", path.display()))
}

/// What went on, for who asks for it by `--debug`; in runc's words where scripts look for those.
pub(super) fn debug(global: &Global, message: impl FnOnce() -> String) {
    if global.is_debug {
        tell(global, "debug", &message());
    }
}

/// What was done in another way than asked.
pub(super) fn warn(global: &Global, message: &str) {
    tell(global, "warning", message);
}

/// Where nobody can be told there is nobody to tell that.
fn tell(global: &Global, level: &str, message: &str) {
    let line = line(global, level, message);
    match &global.log {
        Some(path) => append(path, &line).ok(),
        None => write!(std::io::stderr(), "{line}").ok(),
    };
}

fn append(path: &std::path::Path, line: &str) -> std::io::Result<()> {
    std::fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(line.as_bytes())
}

/// As runc's logger writes it, because containerd reads the last line for the reason.
fn line(global: &Global, level: &str, message: &str) -> String {
    let time = sys::time::now_rfc3339_nano();
    if global.log_json {
        let value = serde_json::json!({ "level": level, "msg": message, "time": time });
        return format!("{value}\n");
    }
    let mut line = String::new();
    write!(line, "time=\"{time}\" level={level} msg={message:?}").ok();
    line.push('\n');
    line
}
