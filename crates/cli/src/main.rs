//! `kogge`: Docker's command line for our daemon, or for any that speaks its API.
//!
//! Flags, texts and exit codes are Docker's, because scripts depend on them. It knows nothing behind the socket.
#![forbid(unsafe_code)]

mod autostart;
mod cli;
mod command;
mod completion;
mod config;
mod create;
mod credentials;
mod exit;
mod flags;
mod format;
mod interrupt;
mod packed;
mod plugin;
mod progress;
mod replace;
mod stream;
mod terminal;

use std::process::ExitCode;

/// The name in usage lines and messages.
pub(crate) const PROGRAM: &str = "kogge";

fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    match command::dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => exit.report(),
    }
}
