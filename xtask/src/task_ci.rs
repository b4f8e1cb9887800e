//! `cargo xtask ci`: what a landing must pass, cheap checks first.

use std::path::PathBuf;

use crate::build::{bare_cargo, cargo};
use crate::run::{command, on_path, run as run_program};
use crate::{Result, debian, task_fuzz, task_test, task_tidy};

pub(crate) fn run(_: Vec<String>) -> Result {
    run_program(&mut cargo(&["fmt", "--all", "--check"]))?;
    task_tidy::run(Vec::new())?;
    run_program(&mut cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    run_program(&mut command(cargo_deny()?, &["check", "licenses", "bans", "sources"]))?;
    task_fuzz::run_seeds()?;
    task_test::run(Vec::new())
}

/// The one on PATH, else one of our own, built once and kept in the cache.
fn cargo_deny() -> Result<PathBuf> {
    if let Some(found) = on_path("cargo-deny") {
        return Ok(found);
    }
    let folder = debian::cache().join("tools");
    let program = folder.join("bin/cargo-deny");
    if !program.exists() {
        run_program(bare_cargo(&["install", "--locked", "cargo-deny", "--root"]).arg(&folder))?;
    }
    Ok(program)
}
