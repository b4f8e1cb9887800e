//! `cargo xtask fuzz [--seconds N]`: every target under fuzz/, by cargo-fuzz on the nightly toolchain.

use crate::Result;
use crate::run::{self, command, on_path, output, workspace};

const SECONDS: &str = "30";

pub(crate) fn run(arguments: Vec<String>) -> Result {
    let seconds = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => SECONDS,
        ["--seconds", seconds] => seconds,
        _ => return Err("usage: cargo xtask fuzz [--seconds N]".into()),
    };
    if on_path("cargo-fuzz").is_none() {
        run_program(&["install", "--locked", "cargo-fuzz"])?;
    }
    for target in targets()? {
        let limit = format!("-max_total_time={seconds}");
        println!("fuzzing {target} for {seconds} s");
        run_program(&["+nightly", "fuzz", "run", "--target", &crate::build::host(), &target, "--", &limit])?;
    }
    Ok(())
}

fn targets() -> Result<Vec<String>> {
    let listed = output(command("cargo", &["+nightly", "fuzz", "list"]).current_dir(workspace()))?;
    Ok(listed.lines().map(str::to_owned).collect())
}

fn run_program(arguments: &[&str]) -> Result {
    // Sanitizers need the dynamic C library that the workspace's static setting leaves out.
    run::run(command("cargo", arguments).env("RUSTFLAGS", "-C target-feature=-crt-static"))
}

/// A fuzz target that no longer compiles must not land; the fuzzing itself takes its time elsewhere.
pub(crate) fn build_only() -> Result {
    run::run(
        command("cargo", &["check", "--manifest-path", "fuzz/Cargo.toml", "--bins"])
            .current_dir(workspace())
            .env("RUSTFLAGS", "-C target-feature=-crt-static"),
    )
}
