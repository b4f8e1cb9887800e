//! `kogge commit`.

use api::container::Commit;

use super::{Args, Command, image_name};
use crate::cli::Cli;
use crate::exit::Outcome;
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
