//! `bench`: how fast and how big the engine is, beside another engine and beside the floor, and whether that is within
//! the budgets.
//!
//! ```text
//! loop disk ── kogged, in a cgroup of its own ──┐
//!              floor, in another                ├── interleaved, each run after a pause ── rows ── table, JSON
//!              dockerd, if a socket is named  ──┘
//! ```
//!
//! `cargo xtask bench` builds what it needs and starts it. Everything lies under [`host::FOLDER`] and [`host::CGROUP`] and
//! is taken away at the end, after a failure and after Ctrl-C too; what a killed run has left goes at the next start.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a chore runs programs and talks to a terminal"
)]

mod archive;
mod arguments;
mod cgroup;
mod clients;
mod daemon;
mod disk;
mod distribution;
mod engine;
mod floor;
mod groups;
mod host;
mod http;
mod layers;
mod memory;
mod registry;
mod report;
mod rounds;
mod series;
mod served;

use std::process::ExitCode;

use fault::Result;

use arguments::Arguments;
use host::Host;

fn main() -> ExitCode {
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<()> {
    let arguments = Arguments::from_command_line()?;
    let mut host = Host::prepare(&arguments)?;
    let rows = groups::run(&mut host, &arguments)?;
    println!("{}", report::table(&rows));
    for lack in host.lacking() {
        println!("lacking: {lack}");
    }
    if let Some(path) = &arguments.json {
        sys::fs::write(path, report::json(&rows).to_string())?;
    }
    report::verdict(&rows)
}
