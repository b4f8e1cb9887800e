//! Building the three programs, static for the host.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::run::{command, output, run, workspace};

pub(crate) const PROGRAMS: [&str; 3] = ["kogge", "kogged", "kogge-runtime"];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// What tests drive: quick to build.
    Dev,
    /// What people run: optimised, the runtime for size.
    Release,
}

/// Builds the programs and returns the folder with all three.
pub(crate) fn programs(profile: Profile) -> Result<PathBuf> {
    match profile {
        Profile::Dev => {
            run(&mut cargo(&[
                "build",
                "--package",
                "cli",
                "--package",
                "daemon",
                "--package",
                "runtime",
                "--bins",
            ]))?;
            Ok(built(profile))
        }
        Profile::Release => {
            run(&mut stamped(&["build", "--release", "--package", "cli", "--package", "daemon", "--bins"]))?;
            run(&mut stamped(&["build", "--profile", "small", "--package", "runtime", "--bins"]))?;
            let folder = built(profile);
            replace(&folder.with_file_name("small").join("kogge-runtime"), &folder.join("kogge-runtime"))?;
            Ok(folder)
        }
    }
}

/// Where the programs of a profile lie once they are built.
pub(crate) fn built(profile: Profile) -> PathBuf {
    let name = match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    };
    target_folder().join(host()).join(name)
}

/// Copies beside the old file and renames, because the old one may be running.
pub(crate) fn replace(from: &Path, to: &Path) -> Result {
    let beside = to.with_extension("new");
    std::fs::copy(from, &beside)
        .and_then(|_| std::fs::rename(&beside, to))
        .map_err(|error| format!("copying {} to {}: {error}", from.display(), to.display()))
}

/// Cargo with the host's triple named, so that flags for our programs stay away from build scripts.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = bare_cargo(arguments);
    cargo.env("CARGO_BUILD_TARGET", host());
    cargo
}

/// Cargo told the commit that is built and the commit's time, so that the same source gives the same programs.
fn stamped(arguments: &[&str]) -> Command {
    let mut cargo = cargo(arguments);
    for (variable, format) in [("KOGGE_COMMIT", "--format=%h"), ("KOGGE_BUILD_TIME", "--format=%cI")] {
        let shown = output(command("git", &["log", "-1", format]).current_dir(workspace()));
        if let Ok(text) = shown {
            cargo.env(variable, text.trim());
        }
    }
    cargo
}

/// The cargo that runs this chore, without a word about the target.
pub(crate) fn bare_cargo(arguments: &[&str]) -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments)
}

/// The triple of the machine that builds, for example `x86_64-unknown-linux-gnu`.
pub(crate) fn host() -> String {
    let text = output(&mut command("rustc", &["-vV"])).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.unwrap_or("x86_64-unknown-linux-gnu").to_owned()
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> PathBuf {
    workspace().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}
