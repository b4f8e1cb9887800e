//! Chores: `cargo xtask <task>`. One file a task; nothing to install by hand but the Rust toolchain.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a chore runs programs and talks to a terminal"
)]

mod build;
mod debian;
mod run;
mod task_bench;
mod task_ci;
mod task_demo;
mod task_extra;
mod task_fuzz;
mod task_install;
mod task_test;
mod task_tidy;

use std::process::ExitCode;

/// An error is one sentence for the person who started the chore.
type Result<T = ()> = std::result::Result<T, String>;

struct Task {
    name: &'static str,
    about: &'static str,
    run: fn(Vec<String>) -> Result,
}

const TASKS: &[Task] = &[
    Task {
        name: "demo",
        about: "a container with a published port, from nothing; --debian, --down",
        run: task_demo::run,
    },
    Task {
        name: "test",
        about: "every test, those with the kernel and the stock client included",
        run: task_test::run,
    },
    Task {
        name: "extra",
        about: "comparisons with other engines, where there are any; --help names them",
        run: task_extra::run,
    },
    Task {
        name: "install",
        about: "kogge, kogged, kogge-runtime and a systemd unit; --prefix DIR",
        run: task_install::run,
    },
    Task {
        name: "ci",
        about: "formatting, lints, tidy, licences, the fuzz targets' seeds, then `test`",
        run: task_ci::run,
    },
    Task { name: "tidy", about: "the rules of the house that no lint knows", run: task_tidy::run },
    Task {
        name: "bench",
        about: "interleaved measures against the floor and the peers",
        run: task_bench::run,
    },
    Task { name: "fuzz", about: "every fuzz target for --seconds N (default 30)", run: task_fuzz::run },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let wanted = arguments.next().unwrap_or_default();
    let Some(task) = TASKS.iter().find(|task| task.name == wanted) else {
        println!("usage: cargo xtask <task>\n");
        for task in TASKS {
            println!("  {:8} {}", task.name, task.about);
        }
        return ExitCode::from(if wanted.is_empty() || wanted == "help" { 0 } else { 2 });
    };
    match (task.run)(arguments.collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {wanted}: {error}");
            ExitCode::FAILURE
        }
    }
}
