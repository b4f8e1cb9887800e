//! `kogge commit`.

use api::container::Commit;
use oci::Reference;

use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::{Flag, Matches};
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Create a new image from a container's changes",
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    Args::Between(1, 2),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container commit, kogge commit")
.flags(&[FLAGS])
.flags_first();

const FLAGS: &[Flag] = &[
    Flag::string("author", "Author of the image").short('a'),
    Flag::list("change", "Apply a Dockerfile instruction to the image").short('c'),
    Flag::string("message", "Message of the commit").short('m'),
    Flag::switch("pause", "Pause the container meanwhile").short('p').default("true"),
];

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let (repo, tag) = image_name(matches.args.get(1).map_or("", String::as_str))?;
    let commit = Commit {
        container: matches.args[0].clone(),
        repo,
        tag,
        comment: matches.text("message").into(),
        author: matches.text("author").into(),
        pause: matches.is_on("pause"),
        changes: matches.list("change"),
        config: None,
    };
    terminal::line(client::container::commit(cli.client()?, &commit).await?)
}

/// Repository and tag of a new image's name, which may be empty. Without a tag the daemon takes `latest`.
fn image_name(text: &str) -> Outcome<(String, String)> {
    if text.is_empty() {
        return Ok((String::new(), String::new()));
    }
    let reference = Reference::parse(text)?;
    if reference.digest().is_some() {
        return Err(Exit::failure("refusing to create a tag with a digest reference"));
    }
    let reference = reference.with_default_tag();
    Ok((reference.canonical_name(), reference.tag().unwrap_or_default().to_owned()))
}
