//! `cargo xtask test`: builds the programs, then runs every test of the workspace. Nothing is skipped: what is missing
//! is fetched, and what cannot be had is an error.

use crate::build::{Profile, cargo, programs};
use crate::run::{self, on_path};
use crate::{Result, debian};

pub(crate) fn run_all(more: &[String]) -> Result {
    debian::install(&[("/bin/busybox", "busybox-static"), ("/usr/sbin/ip", "iproute2")])?;
    let client = debian::stock_client()?;
    let folder = programs(Profile::Dev)?;
    let nextest = on_path("cargo-nextest").is_some();
    let mut arguments =
        if nextest { vec!["nextest", "run", "--workspace"] } else { vec!["test", "--workspace"] };
    arguments.extend(more.iter().map(String::as_str));
    run::run(cargo(&arguments).env("KOGGE_BIN", folder).env("KOGGE_STOCK_CLIENT", client))
}

pub(crate) fn run(arguments: Vec<String>) -> Result {
    run_all(&arguments)
}
