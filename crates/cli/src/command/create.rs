//! `kogge create`, and the steps that `run` shares with it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use api::container::{Create, Created};
use client::Client;
use client::image::Transfer;
use fault::{Error, Kind, Result};
use oci::Reference;

use super::{Args, Command, transfer};
use crate::PROGRAM;
use crate::cli::Cli;
use crate::create::{self, FLAGS, unreadable};
use crate::exit::{Exit, Outcome};
use crate::flags::Matches;
use crate::{progress, terminal};

pub(super) const CONTAINER_ARGS: &str = "[OPTIONS] IMAGE [COMMAND] [ARG...]";

pub(crate) const COMMAND: Command =
    Command::new("Create a new container", CONTAINER_ARGS, Args::AtLeast(1), |cli, matches| {
        Box::pin(run(cli, matches))
    })
    .also("kogge container create, kogge create")
    .flags(&[FLAGS])
    .flags_first();

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    check_pull(&matches, "create")?;
    let client = cli.client()?;
    let container = request(cli, client, &matches, "create")?;
    let id = new_container(cli, client, &matches, &container).await?;
    terminal::line(id)
}

/// The request that the flags ask for.
pub(super) fn request(cli: &Cli, client: &Client, matches: &Matches, verb: &str) -> Outcome<Create> {
    let host = client.endpoint().to_string();
    let proxies = cli.config().proxy_environment(&host, &matches.list("env"));
    let (image, args) = matches.args.split_first().expect("the command takes at least an image");
    create::container(matches, image, args, &proxies)
        .map_err(|message| Exit::new(125, with_help(&message, verb)))
}

pub(super) fn check_pull(matches: &Matches, verb: &str) -> Outcome {
    match matches.text("pull") {
        "always" | "missing" | "never" | "" => Ok(()),
        other => {
            let message = format!(
                "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
            );
            Err(Exit::new(125, with_help(&message, verb)))
        }
    }
}

fn with_help(message: &str, verb: &str) -> String {
    format!("{PROGRAM}: {message}\n\nRun '{PROGRAM} {verb} --help' for more information")
}

/// The code tells what failed: 127 no such program, 126 one that cannot be executed, 125 all else.
pub(super) fn refused(error: &Error, verb: &str) -> Exit {
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let code = match () {
        () if says(&[
            "executable file not found",
            "no such file or directory",
            "system cannot find the file specified",
        ]) =>
        {
            127
        }
        () if says(&["permission denied", "is a directory"]) => 126,
        () => 125,
    };
    Exit::new(code, with_help(&text, verb))
}

/// Creates the container, after a pull if its image is missing; returns its id.
pub(super) async fn new_container(
    cli: &Cli,
    client: &Client,
    matches: &Matches,
    container: &Create,
) -> Result<String> {
    let cid_file = CidFile::open(matches.text("cidfile"))?;
    let reference = reference(&container.config.image)?;
    if matches.is_on("use-api-socket") {
        return Err(Error::unsupported("--use-api-socket"));
    }
    // A tag would be looked up in a signed list; what has a digest needs none.
    if reference.as_ref().is_some_and(|reference| reference.digest().is_none()) {
        transfer::refuse_trust(matches)?;
    }
    let mut container = container.clone();
    let (height, width) = terminal::size();
    container.host_config.console_size = [height, width];
    if matches.text("pull") == "always" {
        pull(cli, client, matches, &container.config.image).await?;
    }
    let platform = transfer::platform(matches);
    let send = || client::container::create(client, matches.text("name"), &platform, &container);
    let created = match (send().await, reference) {
        (Err(error), Some(reference))
            if error.kind() == Kind::NotFound && matches.text("pull") == "missing" =>
        {
            if !matches.is_on("quiet") {
                let name = reference.with_default_tag().familiar();
                terminal::warn(format_args!("Unable to find image '{name}' locally"));
            }
            pull(cli, client, matches, &container.config.image).await?;
            send().await?
        }
        (other, _) => other?,
    };
    warn(&created, &container);
    cid_file.keep(&created.id)?;
    Ok(created.id)
}

/// The image's name, unless it is an id.
fn reference(image: &str) -> Result<Option<Reference>> {
    let is_id = oci::reference::is_image_id(image)
        || image.strip_prefix("sha256:").is_some_and(oci::reference::is_image_id);
    if is_id { Ok(None) } else { Reference::parse(image).map(Some) }
}

async fn pull(cli: &Cli, client: &Client, matches: &Matches, image: &str) -> Result<()> {
    let reference = Reference::parse(image)?.with_default_tag();
    let wanted = Transfer {
        repository: reference.canonical_name(),
        tag: super::pull::tag(&reference),
        platform: transfer::platform(matches),
        auth: cli.credentials().for_image(&reference)?,
    };
    let answer = client::image::pull(client, &wanted).await?;
    let place = if matches.is_on("quiet") { progress::Place::Nowhere } else { progress::Place::Stderr };
    progress::show(answer, place).await
}

fn warn(created: &Created, container: &Create) {
    for warning in &created.warnings {
        terminal::warn(format_args!("WARNING: {warning}"));
    }
    let servers = container.host_config.dns.iter().flatten();
    let local = servers.filter_map(|server| server.parse::<IpAddr>().ok()).find(IpAddr::is_loopback);
    if let Some(server) = local {
        terminal::warn(format_args!("WARNING: Localhost DNS ({server}) may fail in containers."));
    }
}

/// The file that gets the id. It is made before the container and taken away if none came to be.
struct CidFile {
    path: PathBuf,
    kept: bool,
}

impl CidFile {
    fn open(path: &str) -> Result<Self> {
        let file = Self { path: path.into(), kept: path.is_empty() };
        if path.is_empty() {
            return Ok(file);
        }
        if Path::new(path).exists() {
            return Err(Error::conflict(format!(
                "container ID file found, make sure the other container isn't running or delete {path}"
            )));
        }
        std::fs::write(path, "").map_err(|error| {
            let why = unreadable(path, &error);
            Error::invalid(format!("failed to create the container ID file: {why}"))
        })?;
        Ok(file)
    }

    fn keep(mut self, id: &str) -> Result<()> {
        if !self.kept {
            std::fs::write(&self.path, id)
                .map_err(|error| Error::io("failed to write the container ID to the file", error))?;
            self.kept = true;
        }
        Ok(())
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if !self.kept {
            std::fs::remove_file(&self.path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_tells_what_failed() {
        let check = |text: &str, code: u8| {
            assert_eq!(refused(&Error::internal(text.to_owned()), "run").code, code, "{text}");
        };
        check("exec: \"x\": executable file not found in $PATH", 127);
        check("exec: \"/x\": stat /x: no such file or directory", 127);
        check("exec: \"/etc\": permission denied", 126);
        check("exec: \"/etc\": is a directory", 126);
        check("Conflict. The container name \"/x\" is already in use", 125);
    }

    #[test]
    fn an_unused_id_file_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cid");
        let name = path.to_str().unwrap();
        drop(CidFile::open(name).unwrap());
        assert!(!path.exists());
        CidFile::open(name).unwrap().keep("abc").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "abc");
        assert!(CidFile::open(name).is_err());
    }
}
