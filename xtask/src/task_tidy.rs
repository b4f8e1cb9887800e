//! `cargo xtask tidy`: the rules of the house that no lint knows.
//!
//! - dependencies between our crates point to a lower floor, or to `fault`, the ground below the floors;
//! - every module opens with `//!`;
//! - every crate but `sys` forbids unsafe code;
//! - no mark of work to do without an issue number.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Result;
use crate::build::cargo;
use crate::run::{output, workspace};

pub(crate) fn run(_: Vec<String>) -> Result {
    let metadata = output(&mut cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]))?;
    let metadata: Value =
        serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let mut faults = floors(&metadata);
    for file in sources(&workspace())? {
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let name = file.strip_prefix(workspace()).unwrap_or(&file).display().to_string();
        faults.extend(source_faults(&name, &text));
    }
    for fault in &faults {
        println!("{fault}");
    }
    if faults.is_empty() { Ok(()) } else { Err(format!("{} things to tidy", faults.len())) }
}

/// A dependency of one of our crates on another of ours must lie on a lower floor; all stand on `GROUND`.
fn floors(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut floors = BTreeMap::new();
    let mut faults = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        match package["metadata"]["floor"].as_u64() {
            Some(floor) => drop(floors.insert(name, floor)),
            None => faults.push(format!("{name}: Cargo.toml names no floor under [package.metadata]")),
        }
    }
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        for dependency in package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let below = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"] == "dev";
            if let (Some(floor), Some(other)) = (floors.get(name), floors.get(below))
                && other >= floor
                && below != GROUND
                && !for_tests
            {
                faults.push(format!("{name} (floor {floor}) depends on {below} (floor {other})"));
            }
        }
    }
    faults
}

/// The one error type: pure data that `oci`, on floor 0 like itself, needs too.
const GROUND: &str = "fault";

fn source_faults(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push(format!("{name}: opens without a //! that says what it is"));
    }
    let root = name.ends_with("src/lib.rs") || name.ends_with("src/main.rs");
    if root && !name.starts_with("crates/sys/") && !text.contains("#![forbid(unsafe_code)]") {
        faults.push(format!("{name}: lacks #![forbid(unsafe_code)]"));
    }
    let mark = ["TO", "DO"].concat();
    for (number, line) in text.lines().enumerate() {
        let followed = line.split(&mark).nth(1).is_some_and(|rest| rest.starts_with("(#"));
        if line.contains(&mark) && !followed {
            faults.push(format!("{name}:{}: {mark} without an issue number", number + 1));
        }
    }
    faults
}

/// Every Rust source of the workspace.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![
        folder.join("crates"),
        folder.join("xtask"),
        folder.join("tests"),
        folder.join("fuzz"),
        folder.join("benches"),
    ];
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.map_err(|error| format!("{}: {error}", folder.display()))?.path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_upwards_is_found() {
        let metadata = serde_json::json!({"packages": [
            {"name": "sys", "metadata": {"floor": 1}, "dependencies": [{"name": "engine", "kind": null}]},
            {"name": "engine", "metadata": {"floor": 5}, "dependencies": [{"name": "sys", "kind": null}]},
        ]});
        assert_eq!(floors(&metadata), ["sys (floor 1) depends on engine (floor 5)"]);
    }

    #[test]
    fn every_floor_stands_on_the_ground() {
        let metadata = serde_json::json!({"packages": [
            {"name": "fault", "metadata": {"floor": 0}, "dependencies": []},
            {"name": "oci", "metadata": {"floor": 0}, "dependencies": [{"name": "fault", "kind": null}]},
        ]});
        assert!(floors(&metadata).is_empty());
    }

    #[test]
    fn a_bare_module_is_found() {
        let faults = source_faults("crates/x/src/lib.rs", "fn main() {}");
        assert_eq!(faults.len(), 2);
        assert!(source_faults("crates/x/src/a.rs", "//! What.\n").is_empty());
    }
}
