//! `cargo xtask extra`: what needs peers or foreign suites. Each part names what it lacked instead of passing silently.

use crate::Result;
use crate::run::on_path;

/// A foreign program, and what it would be used for.
const PARTS: &[(&str, &str)] = &[
    ("podman", "podman running containers through kogge-runtime"),
    ("bats", "runc's integration suite against kogge-runtime"),
    ("qemu-system-x86_64", "the tests on a machine with only cgroup v2"),
];

pub(crate) fn run(_: Vec<String>) -> Result {
    for (program, purpose) in PARTS {
        match on_path(program) {
            None => println!("lacking {program}: not done: {purpose}"),
            Some(_) => println!("not supported yet: {purpose}"),
        }
    }
    Err("no part of it ran".into())
}
