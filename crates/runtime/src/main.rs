//! `kogge-runtime`: the OCI runtime's command line, the monitor and the init, told apart by name and first argument.
//!
//! One small static binary without threads, so that it may clone itself into containers at any time.
#![forbid(unsafe_code)]

mod command;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::main()
}
