//! `cargo xtask test`: builds the programs, then runs every test of the workspace. Nothing is skipped: what is missing
//! is fetched, and what cannot be had is an error.

use crate::build::{Profile, cargo, programs};
use crate::run::{on_path, run as run_program};
use crate::{Result, debian};

/// With words for the runner in `arguments`.
pub(crate) fn run(arguments: Vec<String>) -> Result {
    run_with(&[&["--workspace".to_owned()], &arguments[..]].concat(), &[])
}

/// Runs the tests that `selection` names, the end-to-end ones with these settings.
pub(crate) fn run_with(selection: &[String], settings: &[(&str, &str)]) -> Result {
    debian::install(&[("/bin/busybox", "busybox-static"), ("/usr/sbin/ip", "iproute2")])?;
    let client = debian::stock_client()?;
    let folder = programs(Profile::Dev)?;
    let runner: &[&str] = if on_path("cargo-nextest").is_some() { &["nextest", "run"] } else { &["test"] };
    let mut cargo = cargo(runner);
    cargo.args(selection).env("KOGGE_BIN", folder).env("KOGGE_STOCK_CLIENT", client);
    // Tests do the same on every machine, whatever it has.
    cargo.env_remove(PEER).envs(settings.iter().copied());
    run_program(&mut cargo)
}

/// Makes the scenes take Docker's own daemon along: `cargo xtask extra` sets it.
pub(crate) const PEER: &str = "KOGGE_PEER_DOCKERD";
