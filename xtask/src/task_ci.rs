//! `cargo xtask ci`: what a landing must pass, cheap checks first.

use crate::build::cargo;
use crate::run::{self, on_path};
use crate::{Result, task_fuzz, task_test, task_tidy};

pub(crate) fn run(_: Vec<String>) -> Result {
    run::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    task_tidy::run(Vec::new())?;
    run::run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    if on_path("cargo-deny").is_some() {
        run::run(&mut cargo(&["deny", "--offline", "check", "licenses", "bans", "sources"]))?;
    } else {
        println!("cargo-deny is not installed: licences and sources stay unchecked in this run");
    }
    task_fuzz::build_only()?;
    task_test::run_all(&[])
}
