//! `kogge tag`.

use fault::Error;
use oci::Reference;

use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::Matches;

pub(crate) const COMMAND: Command = Command::new(
    "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    Args::Exactly(2),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge image tag, kogge tag")
.flags_first();

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let (source, target) = (&matches.args[0], &matches.args[1]);
    if !oci::reference::is_image_id(source) {
        Reference::parse(source).map_err(|error| wrong(source, &error))?;
    }
    let reference = Reference::parse(target).map_err(|error| wrong(target, &error))?;
    if reference.digest().is_some() {
        return Err(Error::invalid("refusing to create a tag with a digest reference").into());
    }
    let reference = reference.with_default_tag();
    let tag = reference.tag().unwrap_or_default().to_owned();
    Ok(client::image::tag(cli.client()?, source, &reference.canonical_name(), &tag).await?)
}

fn wrong(name: &str, error: &Error) -> Error {
    Error::invalid(format!("Error parsing reference: {name:?} is not a valid repository/tag: {error}"))
}
