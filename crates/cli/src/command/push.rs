//! `kogge push`.

use client::image::Transfer;

use super::folder::{self, Folder};
use super::transfer::{self, QUIET};
use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::progress::{self, Place};
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Upload an image to a registry",
    "[OPTIONS] NAME[:TAG]",
    Args::ExactlyUnless(1, is_to_folder),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge image push, kogge push")
.flags(&[FLAGS]);

const FLAGS: &[Flag] = &[
    Flag::switch("all-tags", "Push all tags of the repository").short('a'),
    Flag::switch("disable-content-trust", "Skip image signing").default("true"),
    Flag::string("platform", "Push only what is for this platform (os[/arch[/variant]])"),
    QUIET,
];

/// `push IMAGE oci:/path:tag`.
fn is_to_folder(words: &[String]) -> bool {
    matches!(words, [_, place] if Folder::parse(place).is_some())
}

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    if let Some(folder) = matches.args.get(1).and_then(|text| Folder::parse(text)) {
        return folder::push(cli, &matches, folder).await;
    }
    let platform = platform(matches.text("platform"))?;
    let reference = transfer::reference(&matches)?;
    transfer::refuse_trust(&matches)?;
    let auth = cli.credentials().for_image(&reference)?;
    if reference.digest().is_some() {
        return Err(Exit::failure("cannot push a digest reference"));
    }
    let wanted = Transfer {
        repository: reference.canonical_name(),
        tag: reference.tag().unwrap_or_default().to_owned(),
        platform,
        auth,
    };
    let answer = client::image::push(cli.client()?, &wanted).await?;
    if !matches.is_on("quiet") {
        return Ok(progress::show(answer, Place::Stdout).await?);
    }
    progress::show(answer, Place::Nowhere).await?;
    terminal::line(reference.canonical())
}

/// As JSON, which is how a push says it.
fn platform(text: &str) -> Outcome<String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let platform = transfer::platform_json(text).inspect_err(|_| {
        terminal::write_error(format!("Invalid platform {text}").as_bytes()).ok();
    })?;
    progress::note(
        "Using --platform pushes only the specified platform manifest of a multi-platform image index.\n\
         Other components, like attestations, will not be included.\n\
         To push the complete multi-platform image, remove the --platform flag.\n",
    )?;
    Ok(platform)
}
