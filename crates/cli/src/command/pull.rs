//! `kogge pull`.

use client::image::Transfer;
use fault::Error;
use oci::Reference;

use super::folder::{self, Folder};
use super::transfer::{self, QUIET};
use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::{Flag, Matches};
use crate::progress::{self, Place};
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Download an image from a registry",
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    Args::Exactly(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge image pull, kogge pull")
.flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::switch("all-tags", "Pull all tags of the repository").short('a'),
    Flag::switch("disable-content-trust", "Skip image verification").default("true"),
    Flag::string("platform", "Platform of the image, where there are several"),
    Flag::switch("lazy", "Fetch files when they are first read").hidden(),
    QUIET,
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    if matches.is_on("lazy") {
        return Err(Error::unsupported("--lazy").into());
    }
    if let Some(folder) = Folder::parse(&matches.args[0]) {
        return folder::pull(cli, &matches, folder).await;
    }
    let reference = transfer::reference(&matches)?;
    transfer::refuse_trust(&matches)?;
    let wanted = Transfer {
        repository: reference.canonical_name(),
        tag: tag(&reference),
        platform: transfer::platform(&matches),
        // Without credentials the registry may still say yes.
        auth: cli.credentials().for_image(&reference).unwrap_or_default(),
    };
    let answer = client::image::pull(cli.client()?, &wanted).await?;
    let place = if matches.is_on("quiet") { Place::Nowhere } else { Place::Stdout };
    progress::show(answer, place).await?;
    terminal::line(reference.canonical())
}

/// What stands for the tag in a request to pull; empty for all of them.
pub(super) fn tag(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or_default().to_owned(),
    }
}
