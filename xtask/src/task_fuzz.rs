//! `cargo xtask fuzz [--seconds N] [TARGET…]`: the targets under fuzz/, by libFuzzer with the address sanitizer. With
//! `--seconds 0` only seeds and corpus pass through, once.
//!
//! Neither cargo-fuzz nor a nightly toolchain is needed: the flags below are what cargo-fuzz would pass.
//!
//!   fuzz/seeds/TARGET/       what every run begins with, inputs that once crashed included; in the repository
//!   fuzz/corpus/TARGET/      what earlier runs found worth keeping
//!   fuzz/artifacts/TARGET/   what crashed, took too long or too much memory

use std::path::PathBuf;

use crate::Result;
use crate::build::{bare_cargo, host, target_folder};
use crate::run::{command, create_folder, run as run_program, workspace};

pub(crate) fn run(arguments: Vec<String>) -> Result {
    let wish = Wish::read(&arguments, targets()?)?;
    build()?;
    let mut failed = Vec::new();
    for target in &wish.targets {
        println!("{target} for {} s", wish.seconds);
        if let Err(error) = fuzz(target, wish.seconds) {
            println!("{error}");
            failed.push(target.as_str());
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

/// What every landing does.
pub(crate) fn run_seeds() -> Result {
    run(["--seconds", "0"].map(str::to_owned).to_vec())
}

#[derive(Debug, PartialEq)]
struct Wish {
    seconds: u32,
    targets: Vec<String>,
}

impl Wish {
    fn read(arguments: &[String], known: Vec<String>) -> Result<Self> {
        let (seconds, named) = match arguments {
            [flag, seconds, named @ ..] if flag == "--seconds" => (seconds.as_str(), named),
            named => (SECONDS, named),
        };
        let seconds = seconds.parse().map_err(|_| format!("--seconds takes a number, not `{seconds}`"))?;
        match named.iter().find(|name| !known.contains(name)) {
            Some(name) => Err(format!("no target `{name}`; there are {}", known.join(", "))),
            None if named.is_empty() => Ok(Self { seconds, targets: known }),
            None => Ok(Self { seconds, targets: named.to_vec() }),
        }
    }
}

const SECONDS: &str = "30";

/// A target is a file in fuzz/fuzz_targets/.
fn targets() -> Result<Vec<String>> {
    let folder = workspace().join("fuzz/fuzz_targets");
    let failed = |error| format!("{}: {error}", folder.display());
    let entries = std::fs::read_dir(&folder).map_err(failed)?;
    let paths = entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect::<Result<Vec<PathBuf>>>()?;
    let mut names: Vec<String> =
        paths.iter().filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

fn build() -> Result {
    let mut cargo = bare_cargo(&["build", "--release", "--bins", "--manifest-path", "fuzz/Cargo.toml"]);
    cargo.args(["--target", &host(), "--target-dir"]).arg(folder());
    // The sanitizer's flag is not stable, its runtime comes with every toolchain.
    run_program(cargo.env("RUSTFLAGS", FLAGS.join(" ")).env("RUSTC_BOOTSTRAP", "1"))
}

/// In place of the workspace's flags: sanitizers need the dynamic C library, and the fuzzer counters at every edge.
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Zsanitizer=address",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

fn folder() -> PathBuf {
    target_folder().join("fuzz")
}

fn fuzz(target: &str, seconds: u32) -> Result {
    let [corpus, artifacts] = ["corpus", "artifacts"].map(|kind| kept(kind, target));
    create_folder(&corpus)?;
    create_folder(&artifacts)?;
    // Without a time limit libFuzzer goes on for ever.
    let limit = if seconds == 0 { "-runs=0".to_owned() } else { format!("-max_total_time={seconds}") };
    let mut fuzzer = command(folder().join(host()).join("release").join(target), LIMITS);
    fuzzer.arg(format!("-malloc_limit_mb={}", malloc_max_mib(target)));
    fuzzer.arg(limit).arg(format!("-artifact_prefix={}/", artifacts.display()));
    run_program(fuzzer.arg(corpus).arg(kept("seeds", target)))
}

/// Foreign bytes take neither long nor much memory: seconds for an input; MiB in all, the sanitizer's and the corpus's
/// share included.
const LIMITS: &[&str] = &["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"];

/// How much may be asked for at once.
fn malloc_max_mib(target: &str) -> u32 {
    match target {
        // A zstd frame may refer back by 128 MiB.
        "compressed" => 160,
        _ => 64,
    }
}

fn kept(kind: &str, target: &str) -> PathBuf {
    workspace().join("fuzz").join(kind).join(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Wish> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Wish::read(&words, vec!["ignore".into(), "tar".into()])
    }

    #[test]
    fn all_targets_unless_some_are_named() {
        assert_eq!(read(&[]).unwrap(), Wish { seconds: 30, targets: vec!["ignore".into(), "tar".into()] });
        assert_eq!(
            read(&["--seconds", "5", "tar"]).unwrap(),
            Wish { seconds: 5, targets: vec!["tar".into()] }
        );
        assert_eq!(read(&["cpio"]).unwrap_err(), "no target `cpio`; there are ignore, tar");
        assert!(read(&["--seconds", "long"]).is_err());
    }
}
