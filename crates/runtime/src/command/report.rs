//! How a failure is told: on standard error, and in the log where the caller looks for it.

use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

use fault::{Error, Kind};

use super::args::Global;

/// The end of the story.
pub(super) fn failed(global: &Global, error: &Error) -> ExitCode {
    if error.kind() == Kind::Unchanged {
        // Nothing to do but to say so, as for --version.
        write!(std::io::stdout(), "{error}").ok();
        return ExitCode::SUCCESS;
    }
    let line = line(global, error);
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

fn append(path: &std::path::Path, line: &str) -> std::io::Result<()> {
    std::fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(line.as_bytes())
}

/// As runc's logger writes it, because containerd reads the last line for the reason.
fn line(global: &Global, error: &Error) -> String {
    let time = sys::time::now_rfc3339_nano();
    let message = error.to_string();
    if global.log_json {
        let value = serde_json::json!({ "level": "error", "msg": message, "time": time });
        return format!("{value}\n");
    }
    let mut line = String::new();
    write!(line, "time=\"{time}\" level=error msg={message:?}").ok();
    line.push('\n');
    line
}
