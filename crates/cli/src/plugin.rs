//! Docker's plugins of the command line: a program `docker-NAME` in one of a few folders is the command NAME.
//!
//! We become the plugin, with all that was typed. It reads the same settings as we do (`plugins` in `config.json` is for
//! plugins only), but knows nothing of our daemon's own place, so that is handed over in Docker's variable.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::replace::replace;

pub(crate) fn find(cli: &Cli, name: &str) -> Option<PathBuf> {
    let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !is_name {
        return None;
    }
    let named = cli.config().cli_plugins_extra_dirs.iter().map(PathBuf::from);
    let folders =
        named.chain([cli.config_folder().join("cli-plugins")]).chain(FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(format!("docker-{name}"))).find(|program| is_program(program))
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Becomes the plugin; returns only if that cannot be.
pub(crate) fn run(cli: &Cli, program: &Path, words: &[String]) -> Outcome {
    let own_name = std::env::args().next().unwrap_or_else(|| crate::PROGRAM.to_owned());
    let mut variables = vec![("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", own_name)];
    variables.extend(cli.host_for_plugins().map(|host| ("DOCKER_HOST", host)));
    Err(replace(program, words, &variables).into())
}

/// Puts in place of an alias what the user's settings have for it.
pub(crate) fn unaliased(cli: &Cli, args: &[String], is_own: impl Fn(&str) -> bool) -> Outcome<Vec<String>> {
    let mut meant = args.to_vec();
    for (alias, target) in &cli.config().aliases {
        if alias != ALIASED {
            return Err(Exit::failure(format!(
                "not allowed to alias {alias:?} (allowed: map[string]struct {{}}{{{ALIASED:?}:struct {{}}{{}}}})"
            )));
        }
        let target: Vec<String> = target.split(' ').map(str::to_owned).collect();
        if target.first().is_some_and(|first| is_own(first)) {
            return Err(Exit::failure(format!(
                "not allowed to alias with builtin {:?} as target",
                target.join(" ")
            )));
        }
        if args.first() == Some(alias) {
            drop(meant.splice(..1, target));
        }
    }
    Ok(meant)
}

/// The one that Docker's client allows.
const ALIASED: &str = "builder";

/// After the user's own (docker/cli, cli-plugins/manager).
const FOLDERS: &[&str] = &[
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];
