//! `kogge export`.

use super::{Args, Command, archive_file};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::{Flag, Matches};
use crate::interrupt;

pub(crate) const COMMAND: Command = Command::new(
    "Export a container's filesystem as a tar archive",
    "[OPTIONS] CONTAINER",
    Args::Exactly(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.also("kogge container export, kogge export")
.flags(&[&[Flag::string("output", "Write to a file instead of STDOUT").short('o')]]);

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    interrupt::ending(async {
        let target = archive_file::Target::open(matches.text("output"), "failed to export container")?;
        let answer = client::container::export(cli.client()?, &matches.args[0]).await?;
        target.fill(answer).await
    })
    .await
}
