//! `cargo xtask extra [PART…]`: what needs foreign programs, which a machine has or has not.
//!
//! Each part runs Kogge beside or beneath its peer. A part without its peer is named as lacking; the run fails if a part
//! failed, or if none ran.

mod conformance;
mod cosign;
mod dockerd;
mod podman;
mod runc_suite;
mod runtimes;

use std::path::{Path, PathBuf};

use crate::build::{Profile, programs};
use crate::run::on_path;
use crate::{Result, debian};

/// A part is called by its peer's program.
struct Part {
    name: &'static str,
    about: &'static str,
    /// Words that start the peer, in place of the program of that name on PATH.
    variable: &'static str,
    /// What is missing where it cannot run.
    lacks: &'static str,
    /// Makes the peer where it can be made; where it lies then.
    build: Option<fn() -> Result<Option<PathBuf>>>,
    run: fn(&Peer<'_>) -> Result,
}

const PARTS: &[Part] = &[
    Part {
        name: "dockerd",
        about: "the stock client's sessions with Docker's own daemon read as those with ours",
        variable: "KOGGE_PEER_DOCKERD",
        lacks: PROGRAM,
        build: None,
        run: dockerd::run,
    },
    Part {
        name: "podman",
        about: "podman with kogge-runtime in the place of its runtime",
        variable: "KOGGE_PEER_PODMAN",
        lacks: PROGRAM,
        build: None,
        run: podman::run,
    },
    Part {
        name: "crun",
        about: "states and exit codes of kogge-runtime's command line are crun's",
        variable: "KOGGE_PEER_CRUN",
        lacks: PROGRAM,
        build: None,
        run: runtimes::against_crun,
    },
    Part {
        name: "runc",
        about: "states and exit codes of kogge-runtime's command line are runc's",
        variable: "KOGGE_PEER_RUNC",
        lacks: PROGRAM,
        build: None,
        run: runtimes::against_runc,
    },
    Part {
        name: "conformance",
        about: "the suite of the distribution specification, built, against our registry",
        variable: "KOGGE_PEER_CONFORMANCE",
        lacks: conformance::LACKS,
        build: Some(conformance::build),
        run: conformance::run,
    },
    Part {
        name: "cosign",
        about: "what cosign signs we verify and enforce, and the other way round",
        variable: "KOGGE_PEER_COSIGN",
        lacks: PROGRAM,
        build: None,
        run: cosign::run,
    },
    Part {
        name: "runc-suite",
        about: "runc's integration tests, by bats, with kogge-runtime in runc's place; its folder of sources instead of words",
        variable: "KOGGE_RUNC_SOURCES",
        lacks: "no folder of runc's sources",
        build: None,
        run: runc_suite::run,
    },
];

/// What a part works with.
struct Peer<'a> {
    /// Start the peer; its arguments follow.
    words: Vec<String>,
    /// The folder of our programs.
    programs: &'a Path,
}

pub(crate) fn run(arguments: Vec<String>) -> Result {
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{}", help());
        return Ok(());
    }
    let wanted = wanted(&arguments)?;
    let mut ready = Vec::new();
    for part in wanted {
        match words(part)? {
            Some(words) => ready.push((part, words)),
            None => println!("{}: lacking: {}, and no {}", part.name, part.lacks, part.variable),
        }
    }
    if ready.is_empty() {
        return Err("no part of it ran".into());
    }
    debian::install(&[("/bin/busybox", "busybox-static"), ("/usr/sbin/ip", "iproute2")])?;
    let programs = programs(Profile::Dev)?;
    let failing = ready.into_iter().filter(|(part, words)| !passes(part, words, &programs));
    let failed: Vec<&str> = failing.map(|(part, _)| part.name).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

fn wanted(names: &[String]) -> Result<Vec<&'static Part>> {
    if names.is_empty() {
        return Ok(PARTS.iter().collect());
    }
    let find = |name: &String| PARTS.iter().find(|part| part.name == name);
    names.iter().map(|name| find(name).ok_or_else(|| format!("no part `{name}`\n\n{}", help()))).collect()
}

fn passes(part: &Part, words: &[String], programs: &Path) -> bool {
    println!("{}: {}", part.name, part.about);
    let peer = Peer { words: words.to_vec(), programs };
    let verdict = (part.run)(&peer);
    println!("{}: {}", part.name, verdict.as_ref().err().map_or("passed", String::as_str));
    verdict.is_ok()
}

/// What starts the peer: as the operator says, on PATH, or built here.
fn words(part: &Part) -> Result<Option<Vec<String>>> {
    if let Ok(words) = std::env::var(part.variable) {
        return Ok(Some(words.split_whitespace().map(str::to_owned).collect()));
    }
    let found = match (on_path(part.name), part.build) {
        (None, Some(build)) => build()?,
        (found, _) => found,
    };
    Ok(found.map(|program| vec![program.to_string_lossy().into_owned()]))
}

const PROGRAM: &str = "no such program on PATH";

fn help() -> String {
    let mut text = "usage: cargo xtask extra [PART…]\n".to_owned();
    for Part { name, about, variable, .. } in PARTS {
        text += &format!(
            "\n  {name:8} {about}\n           {variable}: words that start it, else `{name}` on PATH"
        );
    }
    text + "\n\nA peer may have a root of its own, for example by `nsenter`; it must see this machine's /dev, /proc and /sys at their\n\
            places. `unshare --mount` in front of such a dockerd keeps its mounts away from the others there."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_unless_some_are_named() {
        assert_eq!(wanted(&[]).unwrap().len(), PARTS.len());
        let named = wanted(&["runc".to_owned()]).unwrap();
        assert_eq!(named.iter().map(|part| part.name).collect::<Vec<_>>(), ["runc"]);
        assert!(wanted(&["lxc".to_owned()]).err().unwrap().starts_with("no part `lxc`"));
    }
}
