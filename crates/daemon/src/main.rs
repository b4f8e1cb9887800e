//! `kogged`, the daemon: settings, wiring, signals. Under the name `dockerd` it has Docker's paths and takes its flags.
//!
//! ```text
//! argv, daemon.json --> Settings --> lock, pid file, sockets --> Engine::open --> http::serve, until a signal
//! ```
//!
//! Containers outlive it: at its end nothing is stopped but the daemon.
#![forbid(unsafe_code)]

mod command_line;
mod config_file;
mod daemon;
mod defaults;
mod ending;
mod host;
mod http;
mod listen;
mod log;
mod networks;
mod options;
mod pid_file;
mod policy;
mod registries;
mod registry;
mod settings;
mod teardown;

use std::process::ExitCode;

use command_line::Wish;
use settings::Persona;

fn main() -> ExitCode {
    let mut words = std::env::args_os().peekable();
    let persona = Persona::of(words.next().as_deref());
    if persona == Persona::Kogged && words.next_if(|word| word == "registry").is_some() {
        return end(registry::run(words).map(|text| text.iter().for_each(|text| say(text))));
    }
    let done = command_line::parse(persona, words).and_then(|wish| match wish {
        Wish::Run(settings) => daemon::run(&settings),
        Wish::Teardown(settings) => teardown::run(&settings),
        Wish::Print(text) => {
            say(&text);
            Ok(())
        }
    });
    end(done)
}

fn end(done: fault::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

#[expect(clippy::print_stdout, reason = "help and version go to standard output")]
fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "the log may not be open yet")]
fn fail(error: &fault::Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}
