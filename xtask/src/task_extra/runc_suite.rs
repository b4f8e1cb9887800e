//! Runc's own integration tests (bats) with kogge-runtime in runc's place. What passed once has to pass:
//! `crates/runtime/tests/runc.txt` lists it, and only grows.
//!
//! Each file runs by itself under a terminal, in a pid and a mount namespace of its own: what a test leaves running ends
//! with its file, and no mount of its reaches the machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Peer;
use crate::Result;
use crate::build::replace;
use crate::run::{command, output, run as run_program, workspace};

/// `suite.words` is the folder of runc's sources.
pub(crate) fn run(suite: &Peer<'_>) -> Result {
    let [sources] = suite.words.as_slice() else {
        return Err("one folder with runc's sources is wanted".into());
    };
    let sources = PathBuf::from(sources);
    if !sources.join("tests/cmd/_bin").exists() {
        run_program(command("make", &["test-binaries"]).current_dir(&sources))?;
    }
    let folder = PathBuf::from(output(&mut command(
        "mktemp",
        &["--directory", "--tmpdir=/dev/shm", "kogge-runc-suite-XXXXXX"],
    ))?);
    let verdict = run_files(suite.programs, &sources, &folder);
    drop(std::fs::remove_dir_all(&folder));
    judge(&verdict?)
}

/// The verdicts of all files, a test being called `FILE: NAME`.
fn run_files(programs: &Path, sources: &Path, folder: &Path) -> Result<BTreeMap<String, Verdict>> {
    // Its name is what the tests know it by.
    let runtime = folder.join("runc");
    replace(&programs.join("kogge-runtime"), &runtime)?;
    let tests = sources.join("tests/integration");
    let mut verdicts = BTreeMap::new();
    for file in files(&tests)? {
        let started = Instant::now();
        let report = folder.join("report");
        let script = script(&tests, &runtime, &file, &report);
        let enter = format!("unshare --pid --fork --mount-proc --mount bash -c '{script}'");
        run_program(command("script", &["-qec", &enter, "/dev/null"]).stdin(std::process::Stdio::null()))?;
        let text = std::fs::read_to_string(&report).map_err(|error| format!("{file}: {error}"))?;
        let found = read(&file, &text);
        let failed = found.values().filter(|verdict| **verdict == Verdict::Failed).count();
        println!("{file}: {} tests, {failed} failed, {:.0?}", found.len(), started.elapsed());
        verdicts.extend(found);
    }
    Ok(verdicts)
}

fn files(tests: &Path) -> Result<Vec<String>> {
    let failed = |error| format!("{}: {error}", tests.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(tests).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".bats").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// The second command keeps the shell from becoming `timeout`: as the first process it has to reap what the tests leave.
fn script(tests: &Path, runtime: &Path, file: &str, report: &Path) -> String {
    format!(
        "cd {tests}; export RUNC={runtime} TMPDIR=/dev/shm TERM=xterm; mount --make-rprivate /; mount --make-rshared /; \
         timeout {limit} bats --tap {file}.bats > {report} 2>&1; true",
        tests = tests.display(),
        runtime = runtime.display(),
        limit = LIMIT.as_secs(),
        report = report.display(),
    )
}

/// For one file; the longest takes about a minute and a half on two processors.
const LIMIT: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Skipped,
    Failed,
}

/// `ok 3 NAME`, `ok 3 NAME # skip WHY`, `not ok 3 NAME`
fn read(file: &str, report: &str) -> BTreeMap<String, Verdict> {
    let mut verdicts = BTreeMap::new();
    for line in report.lines() {
        let (line, has_passed) = match line.strip_prefix("not ") {
            Some(rest) => (rest, false),
            None => (line, true),
        };
        let numbered = line.strip_prefix("ok ").and_then(|rest| rest.split_once(' '));
        let Some((_, name)) = numbered.filter(|(number, _)| number.parse::<u32>().is_ok()) else { continue };
        let (name, verdict) = match name.split_once(" # skip") {
            Some((name, _)) => (name, Verdict::Skipped),
            None => (name, if has_passed { Verdict::Passed } else { Verdict::Failed }),
        };
        verdicts.insert(format!("{file}: {}", name.trim()), verdict);
    }
    verdicts
}

fn judge(verdicts: &BTreeMap<String, Verdict>) -> Result {
    let list = workspace().join("crates/runtime/tests/runc.txt");
    let known = std::fs::read_to_string(&list).map_err(|error| format!("{}: {error}", list.display()))?;
    let count = |wanted| verdicts.values().filter(|verdict| **verdict == wanted).count();
    println!(
        "{} passed, {} skipped, {} failed",
        count(Verdict::Passed),
        count(Verdict::Skipped),
        count(Verdict::Failed)
    );
    let (worse, better) = compared(&known, verdicts);
    for name in &better {
        println!("not in the list yet: {name}");
    }
    if worse.is_empty() { Ok(()) } else { Err(format!("no longer passing:\n{}", worse.join("\n"))) }
}

/// What of the list fails or is gone, and what passes beyond it. A machine that lacks what a test needs says nothing.
fn compared(known: &str, verdicts: &BTreeMap<String, Verdict>) -> (Vec<String>, Vec<String>) {
    let known: Vec<&str> = known.lines().filter(|line| !line.starts_with('#')).collect();
    let fails = |name: &&&str| verdicts.get(**name).is_none_or(|verdict| *verdict == Verdict::Failed);
    let worse = known.iter().filter(fails).map(|name| (*name).to_owned()).collect();
    let passed = verdicts.iter().filter(|(_, verdict)| **verdict == Verdict::Passed);
    let better = passed.map(|(name, _)| name).filter(|name| !known.contains(&name.as_str()));
    (worse, better.cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_longer_passes_is_named() {
        let report = "1..4\nok 1 a b\nnot ok 2 c\n# why\nok 3 d # skip no e\nok 4 f\n";
        let verdicts = read("x", report);
        let (worse, better) = compared("# why\nx: a b\nx: c\nx: d\nx: g\n", &verdicts);
        assert_eq!(worse, ["x: c", "x: g"]);
        assert_eq!(better, ["x: f"]);
    }
}
