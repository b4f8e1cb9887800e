//! The conformance suite of the distribution specification against `kogged registry serve`. What passed once has to pass:
//! `crates/registry/tests/conformance.txt` lists it, and only grows.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Peer;
use crate::run::{command, create_folder, on_path, output, run as run_program, workspace};
use crate::{Result, debian};

pub(crate) fn run(suite: &Peer<'_>) -> Result {
    let folder = tempfile_folder()?;
    let verdict = serve(suite.programs, &folder).and_then(|registry| {
        let [program, arguments @ ..] = suite.words.as_slice() else {
            return Err("no suite is named".into());
        };
        let mut suite = command(program, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        suite.current_dir(&folder).envs(SETTINGS).env("OCI_REGISTRY", &registry.address);
        let report = suite.output().map_err(|error| format!("{program}: {error}"))?;
        judge(&String::from_utf8_lossy(&report.stdout))
    });
    drop(std::fs::remove_dir_all(&folder));
    verdict
}

/// Builds the suite, once, where there is Go; `None` where there is none.
pub(super) fn build() -> Result<Option<PathBuf>> {
    let folder = debian::cache().join("conformance");
    let suite = folder.join("conformance");
    if suite.exists() {
        return Ok(Some(suite));
    }
    let Some(go) = on_path("go") else { return Ok(None) };
    println!("building the conformance suite: {MODULE}");
    create_folder(&folder)?;
    run_program(command(go, &["install", MODULE]).env("GOBIN", &folder))?;
    if suite.exists() { Ok(Some(suite)) } else { Err(format!("{MODULE} holds no `conformance`")) }
}

pub(super) const LACKS: &str = "neither a program `conformance` on PATH nor Go (1.24 or newer) to build it";
const MODULE: &str = "github.com/opencontainers/distribution-spec/conformance@main";
/// All that the suite can ask for, beyond what it asks by default.
const SETTINGS: [(&str, &str); 6] = [
    ("OCI_TLS", "disabled"),
    ("OCI_VERSION", "dev"),
    ("OCI_API_BLOBS_UPLOAD_CANCEL", "true"),
    ("OCI_API_BLOBS_DIGEST_HEADER", "true"),
    ("OCI_API_MANIFESTS_DIGEST_HEADER", "true"),
    ("OCI_API_MANIFESTS_TAG_PARAM", "true"),
];

/// A registry that ends with this value.
struct Registry {
    process: Child,
    address: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn serve(programs: &Path, folder: &Path) -> Result<Registry> {
    let failed = |error: std::io::Error| format!("kogged registry serve: {error}");
    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(failed)?;
    let address = address.to_string();
    let process = Command::new(programs.join("kogged"))
        .args(["registry", "serve", "--listen", &address, "--root"])
        .arg(folder.join("registry"))
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let registry = Registry { process, address };
    for _ in 0..500 {
        if TcpStream::connect(&registry.address).is_ok() {
            return Ok(registry);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err("kogged registry serve: it does not answer".into())
}

fn tempfile_folder() -> Result<PathBuf> {
    output(&mut command("mktemp", &["--directory", "--tmpdir=/dev/shm", "kogge-conformance-XXXXXX"]))
        .map(Into::into)
}

/// How often each check passed; the suite repeats some under one name.
fn passed(report: &str) -> BTreeMap<&str, usize> {
    let mut passed = BTreeMap::new();
    for line in report.lines() {
        if let Some(name) = line.trim().strip_suffix(": Pass").filter(|name| name.starts_with(SUITE)) {
            *passed.entry(name).or_default() += 1;
        }
    }
    passed
}

fn judge(report: &str) -> Result {
    let list = workspace().join("crates/registry/tests/conformance.txt");
    let known = std::fs::read_to_string(&list).map_err(|error| format!("{}: {error}", list.display()))?;
    let passed = passed(report);
    println!("{} checks passed", passed.values().sum::<usize>());
    let (worse, better) = compared(&known, &passed);
    for line in &better {
        println!("not in the list yet: {line}");
    }
    if worse.is_empty() { Ok(()) } else { Err(format!("no longer passing:\n{}", worse.join("\n"))) }
}

/// What the list has and the report lacks, and the reverse, as lines of the list.
fn compared(known: &str, passed: &BTreeMap<&str, usize>) -> (Vec<String>, Vec<String>) {
    let lines = known.lines().filter(|line| !line.starts_with('#'));
    let known: BTreeMap<&str, usize> = lines
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(count, name)| Some((name, count.parse().ok()?)))
        .collect();
    let more = |these: &BTreeMap<&str, usize>, others: &BTreeMap<&str, usize>| {
        let lacking = these.iter().filter(|(name, count)| others.get(**name).unwrap_or(&0) < *count);
        lacking.map(|(name, count)| format!("{count} {name}")).collect()
    };
    (more(&known, passed), more(passed, &known))
}

const SUITE: &str = "OCI Conformance Test";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_longer_passes_is_named() {
        let report =
            "  OCI Conformance Test/a: Pass\n OCI Conformance Test/a: Pass\n OCI Conformance Test/b: Skip\n";
        let passed = passed(report);
        let (worse, better) =
            compared("# why\n1 OCI Conformance Test/a\n1 OCI Conformance Test/b\n", &passed);
        assert_eq!(worse, ["1 OCI Conformance Test/b"]);
        assert_eq!(better, ["2 OCI Conformance Test/a"]);
    }
}
