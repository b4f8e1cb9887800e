//! What the chores take from Debian: packages to install, and the stock client unpacked beside the project.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::run::{command, create_folder, on_path, run, workspace};

/// Installs the packages whose program is missing. `wanted` are pairs of a file that proves presence and its package.
pub(crate) fn install(wanted: &[(&str, &str)]) -> Result {
    let missing: Vec<&str> =
        wanted.iter().filter(|(file, _)| !Path::new(file).exists()).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if on_path("apt-get").is_none() {
        return Err(format!("needs {} and finds no apt-get: install them by hand", missing.join(", ")));
    }
    println!("installing {}", missing.join(", "));
    run(&mut apt(&["update", "-qq"]))?;
    let mut arguments = vec!["install", "-qq", "-y", "--no-install-recommends"];
    arguments.extend(&missing);
    run(&mut apt(&arguments))
}

/// The stock `docker` client: the one on PATH, else Debian's, unpacked into the cache and not installed, because
/// the package would start its daemon.
pub(crate) fn stock_client() -> Result<PathBuf> {
    if let Some(found) = on_path("docker") {
        return Ok(found);
    }
    let folder = cache().join("stock-client");
    let client = folder.join("usr/bin/docker");
    if client.exists() {
        return Ok(client);
    }
    println!("fetching the stock docker client from Debian");
    create_folder(&folder)?;
    run(&mut apt(&["update", "-qq"]))?;
    // docker-cli is a package of its own since Debian 13; before, the client is part of docker.io.
    let package = ["docker-cli", "docker.io"]
        .into_iter()
        .find(|package| run(apt(&["download", "-qq", package]).current_dir(&folder)).is_ok())
        .ok_or("neither docker-cli nor docker.io can be had from Debian")?;
    run(command("dpkg", &["-x"]).arg(downloaded(package, &folder)?).arg(&folder))?;
    if client.exists() { Ok(client) } else { Err(format!("{package} holds no usr/bin/docker")) }
}

/// `apt-get download` puts a version and an architecture behind the name.
fn downloaded(package: &str, folder: &Path) -> Result<PathBuf> {
    let failed = |error| format!("{}: {error}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with(&format!("{package}_")) {
            return Ok(entry.path());
        }
    }
    Err(format!("{}: {package} was not downloaded", folder.display()))
}

/// Where things are kept that cost time to make.
pub(crate) fn cache() -> PathBuf {
    workspace().join(".cache")
}

fn apt(arguments: &[&str]) -> std::process::Command {
    let mut apt = command("apt-get", arguments);
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt
}
