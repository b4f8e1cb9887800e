//! `cargo xtask bench`: builds the programs and the bench, and starts it. Its own flags are passed on: `--runs N`,
//! `--only GROUP` (api, exec, cli, import, pull, push, load, memory, registry), `--json FILE`, `--peer-docker unix://…` (else
//! KOGGE_BENCH_DOCKER), `--podman WORDS` that start one (else KOGGE_BENCH_PODMAN), `--peer-registry ADDRESS:PORT@PID`, `--root
//! TAR`, `--megabytes N` of the image of pull, push and load (else 504). Ours is `--profile release|dev`.

use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::image;

use crate::build::{Profile, cargo, programs};
use crate::run::run as run_program;
use crate::{Result, debian};

pub(crate) fn run(arguments: Vec<String>) -> Result {
    let mut wish = Wish::read(arguments)?;
    debian::install(&[("/bin/busybox", "busybox-static"), ("/usr/sbin/mkfs.ext4", "e2fsprogs")])?;
    let folder = programs(wish.profile)?;
    build_bench(wish.profile)?;
    if wish.measures("import") && !wish.names("--root") {
        wish.pass("--root", &debian_root()?);
    }
    if let (Ok(host), false) = (std::env::var("KOGGE_BENCH_DOCKER"), wish.names("--peer-docker")) {
        wish.pass("--peer-docker", Path::new(&host));
    }
    if let (Ok(words), false) = (std::env::var("KOGGE_BENCH_PODMAN"), wish.names("--podman")) {
        wish.pass("--podman", Path::new(&words));
    }
    if wish.names("--peer-docker") {
        wish.pass("--client", &debian::stock_client()?);
    }
    wish.pass("--programs", &folder);
    run_program(Command::new(folder.join("bench")).args(&wish.passed_on))
}

struct Wish {
    profile: Profile,
    passed_on: Vec<String>,
}

impl Wish {
    fn read(arguments: Vec<String>) -> Result<Self> {
        let mut wish = Self { profile: Profile::Release, passed_on: Vec::new() };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            if argument != "--profile" {
                wish.passed_on.push(argument);
                continue;
            }
            wish.profile = match arguments.next().as_deref() {
                Some("dev") => Profile::Dev,
                Some("release") => Profile::Release,
                other => return Err(format!("--profile is dev or release, not {other:?}")),
            };
        }
        Ok(wish)
    }

    fn measures(&self, group: &str) -> bool {
        let only: Vec<&String> = self.values("--only").collect();
        only.is_empty() || only.iter().any(|only| *only == group)
    }

    fn names(&self, flag: &str) -> bool {
        self.values(flag).next().is_some()
    }

    fn values(&self, flag: &str) -> impl Iterator<Item = &String> {
        self.passed_on.windows(2).filter(move |pair| pair[0] == flag).map(|pair| &pair[1])
    }

    fn pass(&mut self, flag: &str, value: &Path) {
        self.passed_on.extend([flag.to_owned(), value.to_string_lossy().into_owned()]);
    }
}

fn build_bench(profile: Profile) -> Result {
    let release: &[&str] = if profile == Profile::Release { &["--release"] } else { &[] };
    let arguments = [&["build", "--package", "bench", "--bins"], release].concat();
    run_program(&mut cargo(&arguments))
}

fn debian_root() -> Result<PathBuf> {
    debian::install(&[("/usr/sbin/debootstrap", "debootstrap")])?;
    image::debian_root(&debian::cache()).map_err(|error| format!("making the Debian root: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_ours_and_the_rest_is_passed_on() {
        let words = ["--runs", "3", "--profile", "dev", "--only", "api"].map(str::to_owned).to_vec();
        let wish = Wish::read(words).unwrap();
        assert!(wish.profile == Profile::Dev && wish.measures("api") && !wish.measures("import"));
        assert_eq!(wish.passed_on, ["--runs", "3", "--only", "api"]);
    }
}
